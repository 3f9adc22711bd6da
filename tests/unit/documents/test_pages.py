"""Pages that users copy from: their YAML is taken, their commands name what there is."""

import json
import os
import re
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from qwen3_api.kinds import FINE_TUNE, KINDS
from qwen3_api.v1alpha1.finetune import FineTuneSpec, alias_of
from qwen3_api.v1alpha1.meta import API_VERSION
from qwen3_operator.resources.names import pool_endpoint
from qwen3_operator.serving.manifests import build_pool_objects
from support.api_objects import FINE_TUNE_MINIMAL
from support.operator_world import SETTINGS, build_finetune, merge
from support.pool_specs import build_pool_spec

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "qwen3-operator"
READMES = ("README.md", "README.zh-CN.md")
INSTALL = "docs/howto/install.md"
PAGES = [
    *READMES,
    *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("[ht]*/*.md"))),
    *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "examples").glob("*/README.md"))),
]
LEFT_OUT = re.compile(r"\.\.\.|…")
"""In a block: something is for the reader to fill in."""


def blocks(page: str, *languages: str) -> list[str]:
    """Fenced blocks of a page, of these languages; "" is none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    return [text for language, text in found if language in languages]


def shell_lines(page: str) -> Iterator[str]:
    """Commands of a page, in fences or indented, with what continues them."""
    text = (ROOT / page).read_text()
    indented = "".join(f"{line[4:]}\n" for line in text.splitlines() if line.startswith("    "))
    for block in [*blocks(page, "", "sh"), indented]:
        yield from block.replace("\\\n", " ").splitlines()


# --- YAML -----------------------------------------------------------------------------------------


def objects_of(text: str) -> list[dict[str, Any]]:
    """Our objects among the documents. PyYAML reads `2e-4` as text (YAML 1.1 wants a point), where
    kubectl reads a number: one value to the models."""
    documents = [d for d in yaml.safe_load_all(text) if isinstance(d, dict)]
    return [d for d in documents if d.get("apiVersion") == API_VERSION]


def parse(document: dict[str, Any]) -> None:
    (kind,) = (kind for kind in KINDS if kind.kind == document["kind"])
    kind.spec.model_validate(document["spec"])


EXAMPLES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "examples").rglob("*.yaml")
    if path.name != "small-model.yaml" and objects_of(path.read_text())
)


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_taken(path: str) -> None:
    for document in objects_of((ROOT / path).read_text()):
        parse(document)


def test_examples_have_numbers_bare_and_in_quotes() -> None:
    text = "".join(path.read_text() for path in (ROOT / "examples").rglob("*.yaml"))
    assert re.search(r"learningRate: [0-9.e-]+$", text, re.M)
    assert re.search(r'learningRate: "[0-9.e-]+"$', text, re.M)


@pytest.mark.parametrize("page", PAGES)
def test_yaml_of_a_page_is_taken(page: str) -> None:
    for text in blocks(page, "yaml"):
        loaded = yaml.safe_load(textwrap.dedent(text))
        assert isinstance(loaded, dict), text
        if LEFT_OUT.search(text):
            continue
        for document in objects_of(text):
            parse(document)
        if set(loaded) == {"spec"}:
            FINE_TUNE.spec.model_validate(merge(FINE_TUNE_MINIMAL, loaded["spec"]))


def test_the_readme_shows_an_object() -> None:
    for page in READMES:
        assert [d["kind"] for t in blocks(page, "yaml") for d in objects_of(t)] == [FINE_TUNE.kind]


@pytest.mark.parametrize("page", [*READMES, INSTALL])
def test_values_of_a_page_are_those_of_the_chart(page: str) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    schema.pop("required", None)
    found = 0
    for text in blocks(page, "yaml"):
        values = yaml.safe_load(text.replace("sha256:…", f"sha256:{'0' * 64}"))
        if "apiVersion" not in values:
            jsonschema.validate(values, schema)
            found += 1
    assert found


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_command_names_exist(page: str) -> None:
    """From the repository's root; in an example from its own folder, too."""
    top = "|".join(re.escape(p.name) for p in ROOT.iterdir() if p.is_dir() and p.name[0] != ".")
    here = (ROOT / page).parent
    for line in shell_lines(page):
        for name in re.findall(rf"(?<![\w./:-])(?:{top})/[\w./-]*", line):
            assert (ROOT / name).exists(), f"{page}: {name}"
        if page.startswith("examples/"):
            for name in re.findall(r"-f ([\w./-]+\.yaml)", line):
                assert (here / name).exists() or (ROOT / name).exists(), f"{page}: {name}"


def build_commands(page: str) -> list[str]:
    return [line for line in shell_lines(page) if line.startswith("docker build ")]


@pytest.mark.parametrize("page", [*READMES, INSTALL])
def test_the_images_of_the_chart_are_built_and_pushed(page: str) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    wanted = {values["image"]["repository"]} | {
        image["repository"] for image in values["images"].values() if isinstance(image, dict)
    }
    built: list[str] = []
    for command in build_commands(page):
        match = re.fullmatch(r"docker build -f (\S+) -t (\S+) \.", command)
        assert match is not None, command
        dockerfile, tag = match.groups()
        text = (ROOT / dockerfile).read_text()
        assert f"-f {dockerfile} " in text.split("ARG")[0], "its first lines show the command"
        # What it stands on was built before, under the name that its own default has.
        for base in re.findall(r"^ARG ML_BASE=(\S+)$", text, re.M):
            assert base in built, command
        built.append(tag)
    deployed = [tag for tag in built if tag.startswith("$registry/")]
    assert set(deployed) == {f"$registry/{name}:{version}" for name in wanted}

    (push,) = (line for line in shell_lines(page) if "docker push" in line)
    names = re.search(r"for name in ([\w ]+);.*docker push (\S+);", push)
    assert names is not None, push
    pushed = {names[2].replace("$name", name) for name in names[1].split()}
    assert pushed == set(deployed)
    registry = re.search(r"^imageRegistry: (\S+)$", (ROOT / page).read_text(), re.M)
    assert registry is not None
    assert f"registry={registry[1]}" in (ROOT / page).read_text()


def test_pages_build_the_same() -> None:
    commands = {page: build_commands(page) for page in (*READMES, INSTALL)}
    assert len({tuple(lines) for lines in commands.values()}) == 1, commands


STUB = """#!/bin/sh
echo "$(basename "$0")" "$@" >> "$CALLS"
case "$*" in *jsonpath*) printf %s "$ENDPOINT";; esac
"""


@pytest.mark.parametrize(
    ("page", "namespace", "name"),
    [
        ("README.md", "default", "support-bot"),
        ("README.zh-CN.md", "default", "support-bot"),
        (INSTALL, "team-a", "support-bot"),
        ("examples/05-two-adapters/README.md", "default", "support-en"),
    ],
)
def test_a_question_reaches_the_pool(page: str, namespace: str, name: str, tmp_path: Path) -> None:
    """The page's own commands, run by a shell, against the Service that the operator builds."""
    ft = build_finetune()
    pool = replace(build_pool_spec(), namespace=namespace, name=ft.pool)
    (service,) = (m for m in build_pool_objects(pool, SETTINGS) if m["kind"] == "Service")
    for program in ("kubectl", "curl"):
        (tmp_path / program).write_text(STUB)
        (tmp_path / program).chmod(0o755)
    calls = tmp_path / "calls"
    endpoint = pool_endpoint(namespace, pool.name, SETTINGS)
    text = textwrap.dedent((ROOT / page).read_text().partition("endpoint=$(")[2])
    script = "endpoint=$(" + re.split(r"^```|\n\n", text, maxsplit=1, flags=re.M)[0] + "\nwait\n"
    subprocess.run(
        ["bash", "-euc", script],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "ENDPOINT": endpoint,
            "CALLS": str(calls),
        },
        check=True,
        timeout=30,
    )

    flag = "" if namespace == "default" else f"-n {namespace} "
    get, *others = calls.read_text().splitlines()
    assert get.startswith(f"kubectl {flag}get q3ft {name} ")
    (forward,) = (call for call in others if "port-forward" in call)
    service_port = service["spec"]["ports"][0]["port"]
    match = re.fullmatch(
        rf"kubectl {flag}port-forward service/{service['metadata']['name']} (\d+):{service_port}",
        forward,
    )
    assert match is not None, forward
    (curl,) = (call for call in others if call.startswith("curl "))
    path = endpoint.partition("//")[2].partition("/")[2]
    assert f" http://localhost:{match[1]}/{path}/chat/completions " in curl
    asked = json.loads(curl.partition(" -d ")[2])
    served = [ft.spec]
    if page.startswith("examples/"):
        text = next((ROOT / page).parent.glob("*.yaml")).read_text()
        served = [FineTuneSpec.model_validate(document["spec"]) for document in objects_of(text)]
    assert asked["model"] in {alias_of(namespace, name, spec) for spec in served}


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "claim"), [("README.md", "only if it is better"), ("README.zh-CN.md", "更好才会上线")]
)
def test_what_needs_gates_is_said_with_them(page: str, claim: str) -> None:
    first = (ROOT / page).read_text().partition("```")[0]
    (sentence,) = (s for s in re.split(r"[;；。]|\.\s", " ".join(first.split())) if claim in s)
    assert "`spec.evaluation`" in sentence
