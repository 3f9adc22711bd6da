"""From values to the settings file that the operator reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from chart.rendering import CHART, NAMESPACE, Helm, Manifest, only, render_case
from pydantic import BaseModel

from qwen3_operator.settings import Settings, load_settings

EVERYTHING = CHART / "ci" / "everything-values.yaml"

DERIVED = {("operatorNamespace",): NAMESPACE}
"""Settings that follow from the release and take the default's value here."""


def settings_of(manifests: tuple[Manifest, ...] | list[Manifest], folder: Path) -> Settings:
    """The settings that the operator would load."""
    file = folder / "settings.yaml"
    file.write_text(only(manifests, "ConfigMap")["data"]["settings.yaml"])
    return load_settings(file)


def leaves(model: type[BaseModel], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of all settings, in the file's spelling; lists are leaves."""
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        path = (*at, field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += leaves(field.annotation, path)
        else:
            found.append(path)
    return found


def pick(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def test_every_case_loads(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    settings = settings_of(manifests, tmp_path)
    assert settings.operator_namespace == NAMESPACE


def test_defaults_are_those_of_the_operator(tmp_path: Path) -> None:
    """Two sets of defaults must not drift apart."""
    chart = settings_of(render_case("minimal"), tmp_path)
    plain = Settings.model_validate(
        {"images": chart.images.model_dump(), "storage": {"default": {"bucket": "adapters"}}}
    )
    expected = plain.model_copy(
        update={"catalogue": chart.catalogue, "watch_namespaces": ["default"]}
    )
    assert chart == expected
    sizes = ("0.6B", "1.7B", "4B", "8B", "14B", "32B")
    assert [model.name for model in chart.catalogue] == [f"Qwen/Qwen3-{size}" for size in sizes]


@pytest.mark.parametrize("path", leaves(Settings), ids=".".join)
def test_every_setting_can_be_set(path: tuple[str, ...], tmp_path: Path) -> None:
    default = settings_of(render_case("minimal"), tmp_path).model_dump(by_alias=True)
    changed = settings_of(render_case("everything"), tmp_path).model_dump(by_alias=True)
    if path in DERIVED:
        assert pick(changed, path) == DERIVED[path]
    else:
        assert pick(changed, path) != pick(default, path)


def test_a_quantity_may_be_a_number(helm: Helm, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        "training: {cpu: 8, sharedMemory: 1.0e+9}\nserving: {cpu: '2', memory: 8Gi}\n"
    )
    settings = settings_of(helm.render(f"--values={values}", "--set=export.cpu=0.5"), tmp_path)
    training, serving = settings.training, settings.serving
    assert (training.cpu, training.shared_memory) == ("8", "1000000000")
    assert (serving.cpu, serving.memory, settings.export.cpu) == ("2", "8Gi", "0.5")


@pytest.mark.parametrize("value", ["true", "-1", "8 cores", "[8]"])
def test_a_quantity_is_nothing_else(value: str, helm: Helm, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(f"training: {{cpu: {value}}}\n")
    done = helm.template(f"--values={values}")
    assert done.returncode != 0
    assert "/training/cpu" in done.stderr


def test_every_field_of_a_further_store_can_be_set(tmp_path: Path) -> None:
    (store,) = settings_of(render_case("everything"), tmp_path).storage.additional
    assert all(value is not None for value in store.model_dump().values())


def test_credentials_are_mounted_where_the_settings_say(tmp_path: Path) -> None:
    manifests = render_case("production")
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    secrets = {
        mounts[v["name"]]: v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v
    }
    storage = settings_of(manifests, tmp_path).storage
    assert secrets == {
        storage.default.credentials_dir: "store-main",
        storage.additional[0].credentials_dir: "store-lab",
    }
    for volume in pod["volumes"]:
        if "secret" in volume:
            files = {item["path"] for item in volume["secret"]["items"]}
            assert files == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_settings_are_where_the_program_looks_for_them() -> None:
    pod = only(render_case("minimal"), "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert "--settings=/etc/qwen3-operator/settings.yaml" in container["args"]
    assert {"name": "settings", "mountPath": "/etc/qwen3-operator", "readOnly": True} in container[
        "volumeMounts"
    ]


def test_a_changed_setting_restarts_the_operator(helm: Helm) -> None:
    def checksum(*arguments: str) -> str:
        template = only(helm.render(*arguments), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/settings"])

    assert checksum() == checksum()
    assert checksum() != checksum("--set=workers=17")


def test_digests_win_over_tags(helm: Helm) -> None:
    digest = "sha256:" + "a" * 64
    manifests = helm.render(
        "--set=image.tag=v1,images.trainer.tag=v2,imageRegistry=r.example.com/x",
        f"--set=image.digest={digest},images.trainer.digest={digest}",
    )
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"r.example.com/x/qwen3-operator@{digest}"
    settings = yaml.safe_load(only(manifests, "ConfigMap")["data"]["settings.yaml"])
    assert settings["images"]["trainer"] == f"r.example.com/x/qwen3-trainer@{digest}"
    assert settings["images"]["server"] == "r.example.com/x/qwen3-server:0.1.0"


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("replicaCont=2", "replicaCont"),
        ("serving.maxLoraRnk=8", "maxLoraRnk"),
        ("storage.default.bukket=x", "bukket"),
        ("image.digest=sha256:abc", "digest"),
        ("images.trainer.image=x", "image"),
        ("training.memory=32GB", "memory"),
        ("serving.maxLoraRank=63", "maxLoraRank"),
        ("storage.default.endpoint=s3.example.com", "endpoint"),
        ("catalogue[0].name=Qwen3-8B", "catalogue"),
        ("catalogue[0].name=a/b,catalogue[0].source.type=S3", "s3"),
        ("storage.additional[0].name=x", "endpoint"),
        ("logLevel=LOUD", "logLevel"),
        ("watchNamespaces={Not_A_Name}", "watchNamespaces"),
    ],
)
def test_a_wrong_value_is_refused(helm: Helm, argument: str, complaint: str) -> None:
    done = helm.template(f"--set={argument}")
    assert done.returncode != 0
    assert complaint in done.stderr


def test_no_namespace_is_refused_with_the_way_out(helm: Helm) -> None:
    done = helm.template("--set-json=watchNamespaces=[]")
    assert done.returncode != 0
    assert "clusterWide=true" in done.stderr


def test_two_stores_of_one_name_are_refused(helm: Helm) -> None:
    done = helm.template(
        "--set=storage.additional[0].name=default",
        "--set=storage.additional[0].endpoint=https://s3.example.com",
    )
    assert done.returncode != 0
    assert "names of stores must differ" in done.stderr


def test_lint(helm: Helm, case: str) -> None:
    done = helm.run("lint", "--strict", str(CHART), f"--values={CHART}/ci/{case}-values.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
