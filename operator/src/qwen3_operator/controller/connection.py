"""Where the API server is and how we prove who we are: in a pod, or by a kubeconfig.

One `Connection` serves both our own client and kopf's watches, so that they can't disagree. The
bearer token is read for every request (cached for a few seconds), because the kubelet replaces it
long before it expires and never tells us.
"""

import base64
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_CACHE_SECONDS = 10.0
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 20.0


class ConnectionConfigError(Exception):
    """No usable way to reach an API server; the message says what was tried."""


@dataclass(frozen=True)
class Connection:
    """An API server and one identity there.

    server: "https://host:port", without a slash at the end.
    namespace: the default one of the context or the pod.
    """

    server: str
    tls: ssl.SSLContext | None = field(repr=False)
    token: Callable[[], str | None] = field(repr=False)
    namespace: str = "default"

    async def authorise(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """aiohttp middleware: the bearer token of this moment, on every request."""
        token = self.token()
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        return await handler(request)

    def open_session(
        self,
        *,
        connections: int,
        response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse,
        user_agent: str = "qwen3-operator",
    ) -> aiohttp.ClientSession:
        """A session of at most `connections` connections (0: no limit), to be closed by the caller.

        Environment proxies are ignored on purpose: in a cluster they lead away from the API server.
        """
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, ssl=self.tls if self.tls is not None else True
            ),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
            headers={"User-Agent": user_agent},
            middlewares=(self.authorise,),
            response_class=response_class,
        )


def connect() -> Connection:
    """By $KUBECONFIG, else by the pod's service account, else by ~/.kube/config.

    Raises:
        ConnectionConfigError: none of the three is usable.
    """
    configured = os.environ.get("KUBECONFIG", "")
    if configured:
        return from_kubeconfig([Path(part).expanduser() for part in configured.split(os.pathsep)])
    if (SERVICE_ACCOUNT / "token").exists():
        return from_service_account()
    default = Path("~/.kube/config").expanduser()
    if default.exists():
        return from_kubeconfig([default])
    raise ConnectionConfigError(
        "no API server: $KUBECONFIG is not set, this is not a pod, and ~/.kube/config is missing"
    )


def from_service_account(folder: Path = SERVICE_ACCOUNT) -> Connection:
    """The connection of a pod."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if ":" in host:
        host = f"[{host}]"
    return Connection(
        server=f"https://{host}:{port}",
        tls=ssl.create_default_context(cafile=str(folder / "ca.crt")),
        token=_FileToken(folder / "token"),
        namespace=(folder / "namespace").read_text().strip(),
    )


def from_kubeconfig(paths: Sequence[Path]) -> Connection:
    """The current context of kubeconfig files; of entries with one name, the first file wins.

    Raises:
        ConnectionConfigError: no context, or a way to log in that only kubectl knows (`exec`,
            `auth-provider`).
    """
    current = ""
    entries: dict[str, dict[str, Any]] = {"clusters": {}, "users": {}, "contexts": {}}
    for path in paths:
        content = yaml.safe_load(path.read_text()) or {}
        current = current or content.get("current-context") or ""
        for section, found in entries.items():
            for entry in content.get(section) or []:
                found.setdefault(entry["name"], _absolute(entry[section[:-1]] or {}, path.parent))
    where = ", ".join(str(path) for path in paths)
    context = entries["contexts"].get(current)
    if context is None:
        raise ConnectionConfigError(f"{where}: current-context is missing or unknown")
    cluster = entries["clusters"].get(context.get("cluster"))
    if cluster is None or "server" not in cluster:
        raise ConnectionConfigError(f"{where}: the context's cluster has no server")
    user = entries["users"].get(context.get("user"), {})
    if {"exec", "auth-provider"} & user.keys():
        raise ConnectionConfigError(
            f"{where}: exec and auth-provider logins are not supported; use a token or certificate"
        )
    return Connection(
        server=cluster["server"].rstrip("/"),
        tls=_tls_context(cluster, user) if cluster["server"].startswith("https://") else None,
        token=_token_source(user),
        namespace=context.get("namespace") or "default",
    )


def _absolute(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """File references of an entry are relative to the file that holds it."""
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    return {
        key: str(folder / value) if key in files and value else value
        for key, value in entry.items()
    }


def _token_source(user: dict[str, Any]) -> Callable[[], str | None]:
    if user.get("tokenFile"):
        return _FileToken(Path(user["tokenFile"]))
    fixed: str | None = user.get("token")
    return lambda: fixed


def _tls_context(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(authority).decode() if authority else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with ExitStack() as stack:
        certificate = _as_file(stack, user, "client-certificate")
        key = _as_file(stack, user, "client-key")
        if certificate and key:
            context.load_cert_chain(certificate, key)
    return context


def _as_file(stack: ExitStack, user: dict[str, Any], name: str) -> str | None:
    """The path of a credential; inline data goes to a file for a moment, as `ssl` reads files."""
    if user.get(name):
        return str(user[name])
    if not user.get(f"{name}-data"):
        return None
    file = stack.enter_context(tempfile.NamedTemporaryFile(buffering=0))  # noqa: SIM115
    file.write(base64.b64decode(user[f"{name}-data"]))
    return file.name


class _FileToken:
    """The content of a token file, read again when the copy is older than a few seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token: str | None = None
        self._read_at = float("-inf")

    def __call__(self) -> str | None:
        now = time.monotonic()
        if now - self._read_at > TOKEN_CACHE_SECONDS:
            self._token = self._path.read_text().strip()
            self._read_at = now
        return self._token
