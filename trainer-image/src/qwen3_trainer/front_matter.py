"""The front matter of a base model's card (README.md): a file of others that may hold anything.

It decorates: whatever it holds, the license is at worst unknown. Nothing of it is constructed, only
its nodes are looked at, so a date that is none or a huge number is text like any other.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

log = logging.getLogger(__name__)

MODEL_CARD = "README.md"
READ_BYTES = 64 << 10
"""Front matter ends within so many bytes of the file, or is not read."""
LICENSE_LIMIT = 256
"""Characters that the manifest takes."""
NOT_STATED = "not stated in its card"

_FRONT = re.compile(rb"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_STRING = "tag:yaml.org,2002:str"
_LICENSE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9 .+_-]{{0,{LICENSE_LIMIT - 1}}}")
"""The hub's identifiers, such as apache-2.0."""


@dataclass(frozen=True)
class FrontMatter:
    """The fields of a card that hold a single string."""

    fields: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why they can't be read; "" when they were, or when there are none."""


@dataclass(frozen=True)
class License:
    """The license of a base model, as its card states it."""

    name: str | None = None
    problem: str = NOT_STATED
    """Why it is unknown; "" when it is known."""


def read_front_matter(folder: Path) -> FrontMatter:
    """The front matter of the card in a model's folder; never raises for what it holds."""
    path = folder / MODEL_CARD
    try:
        with path.open("rb") as file:
            return parse_front_matter(file.read(READ_BYTES))
    except FileNotFoundError:
        return FrontMatter()
    except OSError as error:
        return FrontMatter(problem=f"its {MODEL_CARD} can't be read ({error.strerror})")


def parse_front_matter(head: bytes) -> FrontMatter:
    """The front matter in the first `READ_BYTES` of a card. Pure."""
    if not re.match(rb"---[ \t]*\r?\n", head):
        return FrontMatter()
    found = _FRONT.match(head)
    if found is None:
        return FrontMatter(problem=f"its front matter doesn't end within {READ_BYTES >> 10} KiB")
    try:
        node = yaml.compose(found[1].decode(), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        return FrontMatter(problem="its front matter is not UTF-8")
    except RecursionError:
        return FrontMatter(problem="its front matter is nested too deeply")
    except Exception:  # noqa: BLE001 - PyYAML lets more through than its own: ValueError, OverflowError
        return FrontMatter(problem="its front matter is not valid YAML")
    if node is None:
        return FrontMatter()
    if not isinstance(node, yaml.MappingNode):
        return FrontMatter(problem="its front matter is no mapping")
    return FrontMatter(
        {
            key.value: value.value
            for key, value in node.value
            if isinstance(key, yaml.ScalarNode) and _is_string(value)
        }
    )


def _is_string(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _STRING


def find_license(front: FrontMatter) -> License:
    """The license that a card states. Pure."""
    if front.problem:
        return License(problem=front.problem)
    name = front.fields.get("license")
    if name is None:
        return License()
    if not _LICENSE.fullmatch(name):
        return License(problem="its card states something that is no name of a license")
    return License(name, "")


def read_license(model: str, folder: Path) -> License:
    """The license of the base model in a folder; a warning in the log when it is unknown."""
    found = find_license(read_front_matter(folder))
    if found.name is None:
        log.warning("the license of %s is unknown: %s", model, found.problem)
    return found
