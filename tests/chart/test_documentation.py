"""Words: every value is described, and what is generated is up to date."""

import importlib.util
import json
from typing import Any

from chart.rendering import CHART, ROOT, Helm

spec = importlib.util.spec_from_file_location("chart_generate", ROOT / "helm" / "generate.py")
assert spec is not None
assert spec.loader is not None
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


def test_generated_files_are_up_to_date() -> None:
    for path, text in generate.render(CHART).items():
        assert path.read_text() == text, f"{path.name}: run `python helm/generate.py`"


def objects(node: Any, at: str = "values") -> list[tuple[str, dict[str, Any]]]:
    """Every object of the schema that has properties, with its path."""
    found = []
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            found.append((at, node))
        for key, child in node.items():
            if key not in {"if", "then", "else"}:
                found += objects(child, f"{at}.{key}")
    return found


def test_the_schema_is_strict_and_describes_everything() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path, node in objects(schema):
        assert node["additionalProperties"] is False, path
        for name, child in node["properties"].items():
            assert child.get("description"), f"{path}.{name}"


def test_schema_and_values_have_the_same_keys() -> None:
    documented = {value.path for value in generate.read_values(CHART / "values.yaml")}
    schema = json.loads((CHART / "values.schema.json").read_text())

    def paths(node: dict[str, Any], at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for name, child in node.get("properties", {}).items():
            found |= {(*at, name), *paths(child, (*at, name))}
        return found

    # `resources` is described as a whole; `global` is Helm's.
    undocumented = {("global",), ("resources", "requests"), ("resources", "limits")}
    assert paths(schema) - undocumented == documented


def test_crds_are_those_of_the_api() -> None:
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        assert (CHART / "crds" / path.name).read_text() == path.read_text()


def test_notes_name_the_next_steps(helm: Helm) -> None:
    done = helm.run(
        "install", "q", str(CHART), "--dry-run=client", "--namespace=x",
        "--set=storage.default.credentialsSecret=keys,training.allowCpu=true",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    for words in ("Secret keys in x", "qwen3-s3", "get q3ft -w", "allowCpu is on", "digest"):
        assert words in notes
