"""The varlen attention of the trainer image's torch, on a machine that has an older one.

Unsloth gives rows that lie one behind the other to `torch.nn.attention.varlen.varlen_attn` if it
takes fewer heads of keys than of queries (`enable_gqa`), as it does since torch 2.12; the image has
2.13. Before that Unsloth starts an SDPA kernel for each row: on an H100 a tenth slower, which says
nothing about the product. Both torch versions run the same kernel of FlashAttention 2.
"""

import inspect
from typing import Any

import torch


def provide_varlen_attention() -> bool:
    """Gives Unsloth the kernel under the newer interface; tells whether torch lacked it."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  (torch 2.10 and newer)
    from unsloth.utils import attention_dispatch  # noqa: PLC0415  (it raises without a GPU)

    if "enable_gqa" in inspect.signature(varlen_attn).parameters:
        return False
    attention_dispatch._TORCH_VARLEN_ATTN = _varlen_attn
    return True


def _varlen_attn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Shapes as in torch: query (tokens, heads, size of a head), cu_seq_* (rows + 1,), result like
    query. A window of (-1, 0) is causal."""
    left, right = window_size
    result: tuple[Any, ...] = torch.ops.aten._flash_attention_forward(
        *(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k),
        *(0.0, False, False),  # dropout, causal (by the window), return_debug_mask
        scale=scale,
        window_size_left=left,
        window_size_right=right,
    )
    output: torch.Tensor = result[0]
    return output
