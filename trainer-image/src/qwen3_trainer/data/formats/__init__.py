"""Formats of rows: a module for each declares it (`base.Format`), this one lists them. Pure.

CONTRIBUTING.md has a worked example, "Add a row format".
"""

from collections.abc import Mapping, Sequence

import msgspec

from qwen3_api.methods import METHODS, MethodType, RowKind
from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data.formats.alpaca import ALPACA
from qwen3_trainer.data.formats.base import Format
from qwen3_trainer.data.formats.messages import MESSAGES
from qwen3_trainer.data.formats.preference import PREFERENCE
from qwen3_trainer.data.formats.prompt_completion import PROMPT_COMPLETION
from qwen3_trainer.data.formats.share_gpt import SHARE_GPT
from qwen3_trainer.data.messages import parse_tools
from qwen3_trainer.data.rows import RawRow, Row, RowError

FORMATS: Mapping[DatasetFormat, Format] = {
    each.name: each for each in (MESSAGES, SHARE_GPT, ALPACA, PROMPT_COMPLETION, PREFERENCE)
}
_SHOWN_KEYS = 8


def convert(row: RawRow, shape: DatasetFormat) -> Row:
    """A row on disk as one to work on. Raises RowError."""
    converted = FORMATS[shape].convert(row)
    if row.get("tools"):
        return msgspec.structs.replace(converted, tools=parse_tools(row["tools"]))
    return converted


def detect_format(row: RawRow, method: MethodType = MethodType.SFT) -> DatasetFormat:
    """The format of a row by its keys. Raises RowError when none that the method takes fits."""
    found = [each for each in FORMATS.values() if set(each.keys) <= set(row)]
    taken = formats_of(method)
    fitting = next((each for each in found if each in taken), None)
    if fitting is not None:
        return fitting.name
    if METHODS[method].rows is RowKind.PREFERENCE:
        raise RowError(
            "",
            f"not a preference row, it has these keys: {_shown(row)}; method {method} needs "
            f"{_alternatives(taken, ' and ')}",
        )
    if found:
        keys = ", ".join(found[0].keys)
        raise RowError("", f"a preference row ({keys}); method {method} needs answers")
    raise RowError(
        "",
        f"no known format has these keys: {_shown(row)}; expected {_alternatives(taken, ' + ')}",
    )


def formats_of(method: MethodType) -> list[Format]:
    """Those that the method can learn from."""
    return [each for each in FORMATS.values() if each.rows is METHODS[method].rows]


def require_format(shape: DatasetFormat, method: MethodType) -> None:
    """Raises RowError when the method can't learn from rows of this format."""
    if FORMATS[shape].rows is not METHODS[method].rows:
        raise RowError("", f"method {method} can't learn from rows of format {shape}")


def formats_hint(method: MethodType) -> str:
    """The shapes that a row may have."""
    taken = formats_of(method)
    if METHODS[method].rows is RowKind.PREFERENCE:
        shapes = (f"dataset.format {each.name}: a row has {each.fields}" for each in taken)
        return f"Method {method} takes {', or '.join(shapes)}."
    return f"A row is one of: {'; '.join(each.fields for each in taken)}."


def _shown(row: RawRow) -> str:
    return ", ".join(sorted(str(k)[:40] for k in row)[:_SHOWN_KEYS]) or "none"


def _alternatives(formats: Sequence[Format], joint: str) -> str:
    *most, last = [joint.join(each.keys) for each in formats]
    return f"{', '.join(most)}, or {last}" if most else last
