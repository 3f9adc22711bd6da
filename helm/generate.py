"""Chart documentation from one source: the `# -- ` comments of values.yaml.

`python helm/generate.py` writes each comment into values.schema.json as the description of its
property, and the table of values into the chart's README.md. `--check` only tells whether they are
up to date. A comment goes on over the lines that follow it, up to the key.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "qwen3-operator"
BEGIN, END = "<!-- values: begin (generated) -->", "<!-- values: end -->"
LONGEST_DEFAULT = 60
"""Characters of a default that fits into the table."""


@dataclass(frozen=True)
class Value:
    """A key of values.yaml with a comment."""

    path: tuple[str, ...]
    default: Any
    description: str

    @property
    def is_section(self) -> bool:
        """It only groups other keys."""
        return isinstance(self.default, dict) and bool(self.default)


def read_values(path: Path) -> list[Value]:
    """All documented keys of a values file, in its order.

    Raises:
        ValueError: a key has no comment, and isn't inside of a key whose default is a whole object
            that only its own comment describes (`resources`).
    """
    text = path.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{path} is not a mapping")
    return list(_read(root, text.splitlines(), ()))


def _read(node: yaml.MappingNode, lines: list[str], above: tuple[str, ...]) -> Iterator[Value]:
    for key, value in node.value:
        path = (*above, key.value)
        comment = _comment_above(lines, key.start_mark.line)
        if comment is None:
            raise ValueError(f"values.yaml:{key.start_mark.line + 1}: {'.'.join(path)}: no `# -- `")
        default = yaml.SafeLoader("").construct_document(value)
        yield Value(path, default, comment)
        if isinstance(value, yaml.MappingNode) and _is_documented_inside(value, lines):
            yield from _read(value, lines, path)


def _is_documented_inside(node: yaml.MappingNode, lines: list[str]) -> bool:
    return any(_comment_above(lines, key.start_mark.line) is not None for key, _ in node.value)


def _comment_above(lines: list[str], line: int) -> str | None:
    """The comment that ends right above a line (counted from 0), or None."""
    found: list[str] = []
    for text in reversed([line.strip() for line in lines[:line]]):
        if not text.startswith("#"):
            return None
        if text.startswith("# -- "):
            return " ".join([text.removeprefix("# -- "), *reversed(found)])
        found.append(text.lstrip("# "))
    return None


def render_schema(schema: dict[str, Any], values: list[Value]) -> str:
    """The schema with every comment as a description.

    Raises:
        KeyError: the schema has no property for a value.
    """
    for value in values:
        node = schema
        for part in value.path:
            node = node["properties"][part]
        node["description"] = value.description
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def render_table(values: list[Value]) -> str:
    """A Markdown table, sections as rows without a default."""
    rows = ["| Value | Default | Meaning |", "|---|---|---|"]
    for value in values:
        default = "" if value.is_section else f"`{json.dumps(value.default, ensure_ascii=False)}`"
        if len(default) > LONGEST_DEFAULT:
            default = "see values.yaml"
        name = f"`{'.'.join(value.path)}`"
        rows.append(f"| {name} | {default} | {value.description.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def render_readme(readme: str, values: list[Value]) -> str:
    """The README with the table between its markers.

    Raises:
        ValueError: the markers are missing.
    """
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n{render_table(values)}\n{END}{tail}"


def render(chart: Path) -> dict[Path, str]:
    """The generated files of a chart and what they should hold."""
    values = read_values(chart / "values.yaml")
    schema, readme = chart / "values.schema.json", chart / "README.md"
    return {
        schema: render_schema(json.loads(schema.read_text()), values),
        readme: render_readme(readme.read_text(), values),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args().check
    stale = {path: text for path, text in render(CHART).items() if path.read_text() != text}
    for path, text in stale.items():
        print(f"{'stale' if check else 'written'}: {path.relative_to(CHART.parent)}")
        if not check:
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
