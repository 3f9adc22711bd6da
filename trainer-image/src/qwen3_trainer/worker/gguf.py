"""GGUF files by llama.cpp's own converter and quantiser, both of one pinned source (llama-cpp.txt).

`conversion` and `gguf` are the Python of its convert_hf_to_gguf.py; `llama_cpp` its C API. Every
file is loaded again before it counts: tokens must be those of the tokenizer, logits finite.
"""

import ctypes
import json
import logging
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

from qwen3_api.families.qwen3 import PRE_TOKENIZER, PRE_TOKENIZER_SPLIT
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.export import Quantization
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import ConvertPlan, Done, QuantizePlan

log = logging.getLogger(__name__)

PROBES = (
    "<|im_start|>user\nWhat's 12345 + 67?  Tell me, please!<|im_end|>\n<|im_start|>assistant\n",
    "你好，世界！今天是2026年。\n\n\t def f(x):\n    return x ** 2  # done\r\n",
    "Größe, naïve café — 3.14 % “quoted” (a_b)  \n  trailing ",
)
"""Texts that every export must cut into the tokenizer's tokens."""


def convert(plan: ConvertPlan, channel: Channel) -> None:
    """The merged model as one GGUF file, in its own 16-bit type. Raises FailureError:
    ExportFailed."""
    import gguf  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class  # noqa: PLC0415

    model = Path(plan.model)
    hparams = ModelBase.load_hparams(model, False)
    architecture = get_model_architecture(hparams, ModelType.TEXT)
    try:
        known: Any = get_model_class(architecture)
    except NotImplementedError as error:
        raise _failed(f"llama.cpp's converter doesn't know {architecture}") from error
    pre_tokenizer = read_pre_tokenizer(model)

    class Model(known):  # type: ignore[misc]
        """Knows the pre-tokenizer by its rule; the converter only by hashes of known models."""

        model_arch = known.model_arch

        def get_vocab_base_pre(self, tokenizer: Any) -> str:
            return pre_tokenizer or str(super().get_vocab_base_pre(tokenizer))

    try:
        with torch.inference_mode():
            # GUESSED: bfloat16 or float16, by the first weight.
            Model(
                model,
                gguf.LlamaFileType.GUESSED,
                Path(plan.output),
                model_name=plan.job.name,
            ).write()
    except NotImplementedError as error:
        raise _failed(f"llama.cpp's converter: {error}") from error
    channel.send(Done())


def read_pre_tokenizer(folder: Path) -> str | None:
    """llama.cpp's name of what the tokenizer does before BPE; None: ask the converter."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    steps = tokenizer.get("pre_tokenizer") or {}
    if steps.get("type") == "Sequence" and len(steps.get("pretokenizers", ())) == 2:
        split, level = steps["pretokenizers"]
        regex = (split.get("pattern") or {}).get("Regex")
        plain = level.get("type") == "ByteLevel" and level.get("use_regex") is False
        if regex == PRE_TOKENIZER_SPLIT and plain and not level.get("add_prefix_space"):
            return PRE_TOKENIZER
    return None


def quantize(plan: QuantizePlan, channel: Channel) -> None:
    """One type. Blocks that don't divide a row fall back to larger types, as llama.cpp decides.
    Raises FailureError: ExportFailed."""
    import llama_cpp  # noqa: PLC0415

    source, output = Path(plan.source), Path(plan.output)
    if not _is_of_type(source, plan.type):
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{plan.type.value.upper()}")
        parameters.nthread = len(os.sched_getaffinity(0))
        status = llama_cpp.llama_model_quantize(
            str(source).encode(), str(output).encode(), ctypes.byref(parameters)
        )
        if status != 0:
            raise _failed(f"llama.cpp can't write the model as {plan.type.value}")
    else:
        os.link(source, output)
    check(output, Path(plan.tokenizer))
    types = tensor_types(output)
    log.info("%s: %s", output.name, types)
    channel.send(Done(tensor_types=types))


def _is_of_type(source: Path, wanted: Quantization) -> bool:
    """Whether the converted file is that type already."""
    types = tensor_types(source)
    types.pop("F32", None)  # norms
    return list(types) == [wanted.value.upper()]


def tensor_types(file: Path) -> dict[str, int]:
    """How many tensors a GGUF file has of each type."""
    import gguf  # noqa: PLC0415

    counted = Counter(tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors)
    return dict(sorted(counted.items()))


def check(file: Path, tokenizer: Path) -> None:
    """Loads the file as its users will. Raises FailureError: ExportFailed."""
    import llama_cpp  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415

    reference = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    try:
        model = llama_cpp.Llama(str(file), n_ctx=256, n_gpu_layers=0, verbose=False)
    except ValueError as error:
        raise _failed(f"llama.cpp doesn't load {file.name}: {error}") from error
    for text in PROBES:
        tokens = model.tokenize(text.encode(), add_bos=False, special=True)
        if tokens != reference.encode(text, add_special_tokens=False).ids:
            raise _failed(f"llama.cpp cuts {text[:30]!r} into other tokens than the tokenizer")
    model.eval(model.tokenize(PROBES[0].encode(), add_bos=False, special=True))
    logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)[: model.n_vocab()]
    if not all(map(math.isfinite, logits)):
        raise _failed(f"{file.name} computes logits that are not finite")
    model.close()


def _failed(message: str) -> FailureError:
    return FailureError(
        Reason.EXPORT_FAILED, message, "The adapter itself is stored and can be served."
    )
