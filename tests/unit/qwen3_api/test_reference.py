"""The reference pages: complete, with links that lead somewhere."""

import re
from enum import Enum
from pathlib import Path

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.kinds import KINDS, ResourceKind, object_schema
from qwen3_api.reference import member_docs, render_kind
from qwen3_api.structural import walk
from qwen3_api.v1alpha1.conditions import Reason

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))


class Lamp(Enum):
    """A lamp."""

    # Colours
    RED = "Red"
    """Stop,
    please."""
    # Others
    OFF = "Off"
    """Nothing."""


class Silent(Enum):
    """Without docs."""

    A = "a"


def test_member_docs() -> None:
    found = [(m.name, m.value, m.doc, m.group) for m in member_docs(Lamp)]
    assert found == [
        ("RED", "Red", "Stop,\nplease.", "Colours"),
        ("OFF", "Off", "Nothing.", "Others"),
    ]


def test_a_member_without_a_docstring_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Silent\.A has no docstring"):
        member_docs(Silent)


@pytest.mark.parametrize("enum", [Reason, ExitCode])
def test_all_members_are_found(enum: type[Enum]) -> None:
    assert [m.name for m in member_docs(enum)] == list(enum.__members__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_on_the_page(kind: ResourceKind) -> None:
    page = render_kind(kind)
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))

    def visit(path: str, node: dict[str, object]) -> None:
        properties = node.get("properties", {})
        assert isinstance(properties, dict)
        for name in properties:
            assert re.search(rf"^\| \[?`{name}`", sections[path], re.MULTILINE), f"{path}.{name}"

    for part in ("spec", "status"):
        walk(object_schema(kind)["properties"][part], part, visit)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_links_have_a_target(kind: ResourceKind) -> None:
    page = render_kind(kind)
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_-]", "", heading.lower()) for heading in headings}
    links = re.findall(r"\]\(#([^)]*)\)", page)
    assert links
    assert set(links) <= anchors


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_no_placeholder_is_taken_for_html(kind: ResourceKind) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`|<!--.*?-->", "", render_kind(kind), flags=re.DOTALL)
    assert "<" not in prose


def test_tables_are_even() -> None:
    """Every row of a table has as many cells as its header: no bar escaped its code."""
    for page in PAGES:
        width = 0
        for line in page.read_text().splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert cells in (0, width) or not width, f"{page.name}: {line}"
            width = cells
