"""GPUs whose memory and speed are known, by their node label nvidia.com/gpu.product.

The label is nvidia-smi's product name with dashes for blanks (NVIDIA GPU feature discovery). Memory
is nvidia-smi's memory.total in MiB, with ECC where the card has it on. Speed is the dense bfloat16
figure with fp32 accumulation of NVIDIA's data sheets: half of the one "with sparsity"; bandwidth
is theirs, too. Cards without bfloat16 (V100, T4) are left out. The platform's own list
(`training.gpus`) comes first.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A GPU as a plan sees it."""

    name: str
    memory_mib: int
    tflops: float
    """Dense bfloat16 TFLOP/s; 0 where it is not known."""
    bandwidth_gbs: float = 0.0
    """Of the memory, in GB/s; 0 where it is not known."""


CARDS: dict[str, Card] = {
    card.name: card
    for card in (
        # B200: data sheet of HGX B200 (4.5 PFLOP/s with sparsity).
        Card("NVIDIA-B200", 183_359, 2250.0, 8000),
        # H200 and H100 data sheets: 1,979 (SXM), 1,671 (NVL), 1,513 (PCIe) with sparsity.
        Card("NVIDIA-H200", 143_771, 989.0, 4800),
        Card("NVIDIA-H200-NVL", 143_771, 835.5, 4800),
        Card("NVIDIA-H100-80GB-HBM3", 81_559, 989.0, 3350),
        Card("NVIDIA-H100-NVL", 95_830, 835.0, 3900),
        Card("NVIDIA-H100-PCIe", 81_559, 756.0, 2000),
        # A100 data sheet: 312 dense for all four.
        Card("NVIDIA-A100-SXM4-80GB", 81_920, 312.0, 2039),
        Card("NVIDIA-A100-80GB-PCIe", 81_920, 312.0, 1935),
        Card("NVIDIA-A100-SXM4-40GB", 40_960, 312.0, 1555),
        Card("NVIDIA-A100-PCIE-40GB", 40_960, 312.0, 1555),
        # L40S 733, L40 362, L4 242 with sparsity.
        Card("NVIDIA-L40S", 46_068, 362.05, 864),
        Card("NVIDIA-L40", 46_068, 181.05, 864),
        Card("NVIDIA-L4", 23_034, 121.0, 300),
        # A40 149.7, A10 125 dense; A10G (AWS) 70.
        Card("NVIDIA-A40", 46_068, 149.7, 696),
        Card("NVIDIA-A10", 23_028, 125.0, 600),
        Card("NVIDIA-A10G", 23_028, 70.0, 600),
        # White papers of GA102, AD102 and GB202; GeForce accumulates in fp32 at half its rate.
        Card("NVIDIA-RTX-A6000", 49_140, 154.8, 768),
        Card("NVIDIA-RTX-6000-Ada-Generation", 49_140, 364.2, 960),
        Card("NVIDIA-GeForce-RTX-3090", 24_576, 71.0, 936),
        Card("NVIDIA-GeForce-RTX-4090", 24_564, 165.2, 1008),
        Card("NVIDIA-GeForce-RTX-5090", 32_607, 209.5, 1792),
    )
}
