"""Muon in fp32: momentum, orthogonalised by Newton-Schulz, for the weight matrices of the layers.

Why not `torch.optim.Muon`: it multiplies in bfloat16 and one matrix at a time, which crawls on a
CPU without AVX512. Here matrices of one shape are stacked, and the arithmetic is fp32 everywhere.
On this corpus AdamW alone needs several times as many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

# Quintic coefficients and five iterations after Keller Jordan's Muon (2024): they push every
# singular value into about [0.7, 1.2], which is as good as 1 for an update direction.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum with orthogonalised updates; every parameter must be a matrix."""

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                stack = torch.stack(
                    [self._advance(p, p.grad, group["momentum"]) for p in parameters]
                )
                # The scale keeps the size of an update the same for wide and tall matrices.
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, update in zip(parameters, orthogonalise(stack), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-scale)

    def _advance(
        self, parameter: torch.nn.Parameter, gradient: torch.Tensor, momentum: float
    ) -> torch.Tensor:
        """Moves the momentum on by the gradient; returns Nesterov's look-ahead."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: torch.Tensor = state["momentum"]
        buffer.lerp_(gradient, 1 - momentum)
        return gradient.lerp(buffer, momentum)


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrices, roughly; shape (batch, rows, columns) in and out."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x
