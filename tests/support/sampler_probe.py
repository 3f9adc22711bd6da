"""Which sampler vLLM's GPU build takes, and whether it works where CUDA's compiler isn't installed.

Runs in the GPU image's environment, without a GPU: vLLM believes that it has a Hopper card, which
decides the same way as a real one does; the sampler is then given tensors of the CPU. FlashInfer's
has to be compiled before it can look at its tensors, so it fails here exactly as it does there.
"""

import os
import shutil
import sys
from types import ModuleType

os.environ["FLASHINFER_CUDA_ARCH_LIST"] = "9.0a"
# vLLM's own kernels are linked to the driver, which is not here; samplers call none of them.
for kernels in ("vllm._C", "vllm._C_stable_libtorch", "vllm._moe_C"):
    sys.modules[kernels] = ModuleType(kernels)

import torch  # noqa: E402
from vllm import platforms  # noqa: E402
from vllm.platforms.cuda import NonNvmlCudaPlatform  # noqa: E402
from vllm.platforms.interface import DeviceCapability  # noqa: E402


class Hopper(NonNvmlCudaPlatform):  # type: ignore[misc]
    """The answers of an H100 to what the choice of a sampler asks."""

    @classmethod
    def get_device_capability(cls, device_id: int = 0) -> DeviceCapability:
        return DeviceCapability(9, 0)

    @classmethod
    def num_compute_units(cls, device_id: int = 0) -> int:
        return 132


def main() -> None:
    """Samples one token of the likeliest three."""
    for tool in ("nvcc", "g++", "c++"):
        assert shutil.which(tool) is None, f"{tool} is installed: nothing is shown by this"
    platforms._current_platform = Hopper()
    torch.accelerator.current_device_index = lambda: 0  # type: ignore[attr-defined]
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler  # noqa: PLC0415

    sampler = TopKTopPSampler()
    logits = torch.arange(1000, dtype=torch.float32).reshape(1, 1000)
    k, p = torch.tensor([3], dtype=torch.int32), torch.tensor([0.99])
    print(f"forward: {sampler.forward.__name__}", file=sys.stderr)
    token, _ = sampler.forward(logits, {}, k, p)
    print(int(token[0]))


if __name__ == "__main__":
    main()
