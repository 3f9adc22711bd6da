"""The cluster's certificates and kubeconfigs, made by openssl.

EC keys: making ten of them takes a quarter of a second, RSA keys take several.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from qwen3_local.programs import run

DAYS = "3650"


@dataclass(frozen=True)
class Identity:
    """One client or server certificate; `groups` become O= fields, which RBAC reads."""

    file: str
    user: str
    groups: tuple[str, ...] = ()
    alternative_names: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return "".join(f"/O={group}" for group in self.groups) + f"/CN={self.user}"


def extensions(identity: Identity) -> str:
    """The openssl extension file of a certificate."""
    lines = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    if identity.alternative_names:
        lines.append("subjectAltName=" + ",".join(identity.alternative_names))
    return "\n".join(lines) + "\n"


def ensure_authority(folder: Path) -> None:
    """`ca.crt`/`ca.key` and the service-account key pair `sa.key`/`sa.pub`, once."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if not (folder / "ca.crt").exists():
        make_key(folder / "ca.key")
        run([
            "openssl", "req", "-x509", "-new", "-key", folder / "ca.key", "-days", DAYS,
            "-subj", "/CN=qwen3-local-ca", "-out", folder / "ca.crt",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        ])  # fmt: skip
    if not (folder / "sa.pub").exists():
        make_key(folder / "sa.key")
        run(["openssl", "ec", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub"])


def make_key(path: Path) -> None:
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path])


def ensure_certificates(folder: Path, identities: Sequence[Identity]) -> None:
    """`<file>.crt` and `<file>.key` per identity, signed by the folder's authority, once each."""
    ensure_authority(folder)
    for identity in identities:
        certificate = folder / f"{identity.file}.crt"
        if certificate.exists():
            continue
        key, request = folder / f"{identity.file}.key", folder / f"{identity.file}.csr"
        extension_file = folder / f"{identity.file}.ext"
        extension_file.write_text(extensions(identity))
        make_key(key)
        run(["openssl", "req", "-new", "-key", key, "-subj", identity.subject, "-out", request])
        run([
            "openssl", "x509", "-req", "-in", request, "-CA", folder / "ca.crt",
            "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", DAYS,
            "-extfile", extension_file, "-out", certificate,
        ])  # fmt: skip
        request.unlink()
        extension_file.unlink()


def render_kubeconfig(server: str, folder: Path, identity: str, cluster: str) -> str:
    """A kubeconfig with everything inside, so that it can be copied away."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": cluster,
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": encode(folder / "ca.crt"),
                    },
                }
            ],
            "users": [
                {
                    "name": identity,
                    "user": {
                        "client-certificate-data": encode(folder / f"{identity}.crt"),
                        "client-key-data": encode(folder / f"{identity}.key"),
                    },
                }
            ],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": identity}}],
            "current-context": cluster,
        },
        sort_keys=False,
    )


def encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def write_kubeconfig(path: Path, content: str) -> None:
    """Readable by its owner only: it holds a private key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(content)
