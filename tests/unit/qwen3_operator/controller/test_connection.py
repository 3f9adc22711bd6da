"""Kubeconfigs and service accounts."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwen3_operator.controller import connection
from qwen3_operator.controller.connection import (
    ConnectionConfigError,
    connect,
    from_kubeconfig,
    from_service_account,
)


def write(path: Path, **parts: Any) -> Path:
    content = {"apiVersion": "v1", "kind": "Config", **parts}
    path.write_text(yaml.safe_dump(content))
    return path


def simple(user: dict[str, Any], server: str = "http://127.0.0.1:1/") -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "ns"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, crt = tmp_path / "tls.key", tmp_path / "tls.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=x", "-keyout", str(key), "-out", str(crt)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return crt, key


def test_server_namespace_and_fixed_token(tmp_path: Path) -> None:
    found = from_kubeconfig([write(tmp_path / "config", **simple({"token": "secret"}))])
    assert (found.server, found.namespace, found.token()) == ("http://127.0.0.1:1", "ns", "secret")
    assert "secret" not in repr(found)


def test_a_token_file_is_read_again_when_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("one\n")
    found = from_kubeconfig([write(tmp_path / "config", **simple({"tokenFile": "token"}))])
    assert found.token() == "one"
    (tmp_path / "token").write_text("two\n")
    assert found.token() == "one"
    monkeypatch.setattr(connection, "TOKEN_CACHE_SECONDS", -1.0)
    assert found.token() == "two"


@pytest.mark.parametrize("inline", [True, False])
def test_client_certificates(
    tmp_path: Path, certificate: tuple[Path, Path], *, inline: bool
) -> None:
    crt, key = certificate
    files = {"client-certificate": crt, "client-key": key, "certificate-authority": crt}
    user = {
        f"{name}-data" if inline else name: base64.b64encode(path.read_bytes()).decode()
        if inline
        else path.name
        for name, path in files.items()
    }
    content = simple(user, server="https://127.0.0.1:1")
    content["clusters"][0]["cluster"] |= {k: v for k, v in user.items() if "authority" in k}
    found = from_kubeconfig([write(tmp_path / "config", **content)])
    assert found.tls is not None
    assert len(found.tls.get_ca_certs()) == 1


def test_of_several_files_the_first_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "a", **simple({"token": "first"}))
    second = simple({"token": "second"})
    second["users"].append({"name": "other", "user": {"token": "x"}})
    assert from_kubeconfig([first, write(tmp_path / "b", **second)]).token() == "first"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current-context": None}, "current-context"),
        ({"current-context": "nope"}, "current-context"),
        ({"clusters": []}, "no server"),
        ({"users": [{"name": "u", "user": {"exec": {"command": "x"}}}]}, "not supported"),
    ],
)
def test_unusable_configs_say_why(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "config", **(simple({}) | change))
    with pytest.raises(ConnectionConfigError, match=message):
        from_kubeconfig([path])


def test_in_a_pod(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.crt").write_bytes(certificate[0].read_bytes())
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "namespace").write_text("qwen3-system")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    found = from_service_account(tmp_path)
    assert found.server == "https://[fd00::1]:6443"
    assert (found.namespace, found.token()) == ("qwen3-system", "pod-token")


def test_nothing_to_connect_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(connection, "SERVICE_ACCOUNT", tmp_path)
    with pytest.raises(ConnectionConfigError, match="no API server"):
        connect()
