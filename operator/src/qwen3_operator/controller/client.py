"""The operator's own client: plain dict objects, server-side apply, a fence before every write.

Two layers. `ApiServer` sends one request, counts it and classifies what comes back; the election
uses it directly, since it can't be fenced by its own lease. `Client` is what reconciles get.

kopf has no server-side apply, and a typed client spends more time on building objects than the API
server on storing them: docs/adr/0003-kubernetes-client.md has the numbers.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import aiohttp

from qwen3_operator.controller.api_errors import classify_exception, classify_response
from qwen3_operator.controller.connection import CONNECT_SECONDS, REQUEST_SECONDS, Connection
from qwen3_operator.controller.errors import Conflict, NotLeader, OperatorError, Transient
from qwen3_operator.controller.kind import EVENT, Kind, Kinds, Manifest, Manifests
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.metrics import (
    API_REQUESTS,
    API_SECONDS,
    API_WRITES,
    EVENTS_LOST,
    WRITES_FENCED,
)

LIST_SECONDS = 60.0
LIST_PAGE = 500
CONNECTIONS = 32

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"

logger = get_logger(__name__)


class ApiServer:
    """Requests to one API server. Open it with `async with`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ApiServer":
        self._session = self._connection.open_session(connections=CONNECTIONS)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        verb: str,
        kind: Kind,
        namespace: str | None,
        name: str | None = None,
        *,
        sub: str | None = None,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = JSON,
        seconds: float = REQUEST_SECONDS,
    ) -> Manifest | None:
        """Send one request and return the object that came back, None for 404.

        verb: of Kubernetes (get, list, create, update, apply, patch, delete); picks the method.
        seconds: for the whole exchange.

        Raises:
            Conflict, Transient, Stalled: see cluster/errors.py.
        """
        if self._session is None:
            raise RuntimeError("the API session is not open")
        what = f"{verb} {kind.plural}/{name or ''} in {namespace or 'all namespaces'}"
        started, code = time.perf_counter(), "none"
        try:
            async with self._session.request(
                _METHODS[verb],
                self._connection.server + kind.path(namespace, name, sub),
                params=query,
                data=None if body is None else json.dumps(body, separators=(",", ":")).encode(),
                headers=None if body is None else {"Content-Type": content_type},
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS),
            ) as response:
                code = str(response.status)
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise classify_exception(error, what) from error
        finally:
            API_REQUESTS.labels(verb, kind.name, code).inc()
            API_SECONDS.labels(verb, kind.name).observe(time.perf_counter() - started)
        if response.status == 404:
            return None
        if response.status >= 400:
            raise classify_response(response.status, content, response.headers, what)
        return _parse(content, what)

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """The object, or None."""
        return await self.request("get", kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str | None, label_selector: str | None = None
    ) -> tuple[Manifests, str]:
        """All objects and the resourceVersion that they are a snapshot of; read in pages.

        Raises:
            Transient: also when the kind isn't served (404), because a CRD may be on its way.
        """
        items: list[Manifest] = []
        query = {"limit": str(LIST_PAGE)}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            page = await self.request("list", kind, namespace, query=query, seconds=LIST_SECONDS)
            if page is None:
                raise Transient("KindNotServed", f"{kind.plural}.{kind.group} is not served")
            for item in page["items"]:
                # Lists leave out what their own type already says.
                item["apiVersion"], item["kind"] = kind.api_version, kind.name
                items.append(item)
            if not page["metadata"].get("continue"):
                return items, str(page["metadata"]["resourceVersion"])
            query["continue"] = page["metadata"]["continue"]


class Client:
    """What reconciles read and write with.

    fence: True while this process may write; asked right before each write is sent.
    observe: gets each object that a write returned (the cache's write-through) before the caller.

    Every write raises NotLeader when the fence is closed, Conflict, Transient or Stalled otherwise.
    """

    def __init__(
        self,
        api: ApiServer,
        kinds: Kinds,
        *,
        fence: Callable[[], bool],
        observe: Callable[[Manifest], object] | None = None,
        reporter: str = "",
    ) -> None:
        self._api = api
        self._kinds = kinds
        self._fence = fence
        self._observe = observe
        self._reporter = reporter

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """The object as the API server has it now, or None. Prefer the cache."""
        return await self._api.get(kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str | None, label_selector: str | None = None
    ) -> tuple[Manifests, str]:
        """All objects and the list's resourceVersion. Prefer the cache."""
        return await self._api.list(kind, namespace, label_selector)

    async def apply(
        self, obj: Manifest, field_manager: str | None = None, force: bool = True
    ) -> Manifest:
        """Server-side apply: create the object or make the fields in `obj` so; returns it whole.

        A `metadata.uid` or `metadata.resourceVersion` in `obj` is a precondition.

        Raises:
            Conflict: a precondition failed, or without `force` another manager owns a field.
            Stalled: refused (400, 403, 422), or the namespace or kind doesn't exist.
        """
        applied = await self._write_apply(obj, None, field_manager, force)
        if applied is None:
            kind, metadata = self._kinds.of(obj), obj["metadata"]
            what = f"apply {kind.plural}/{metadata['name']} in {metadata['namespace']}"
            raise classify_response(404, b"namespace or kind not found", {}, what)
        return applied

    async def apply_status(
        self, obj: Manifest, field_manager: str | None = None, force: bool = True
    ) -> Manifest | None:
        """Server-side apply of `obj["status"]`; None when the object is gone.

        Give `metadata.uid`: the object may have been deleted and a namesake created meanwhile. The
        API server ignores it on this subresource (unlike in `apply`), so it is compared with the
        answer. The namesake's own reconcile then replaces the status that wasn't meant for it. A
        `metadata.resourceVersion` is a precondition as always.

        Raises:
            Conflict: the status landed on a namesake, or the precondition failed.
        """
        applied = await self._write_apply(obj, "status", field_manager, force)
        wanted = obj["metadata"].get("uid")
        if applied is not None and wanted is not None and applied["metadata"]["uid"] != wanted:
            what = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
            raise Conflict(
                "UidMismatch",
                f"the status of {what} was written to another object of the same name",
            )
        return applied

    async def _write_apply(
        self, obj: Manifest, sub: str | None, field_manager: str | None, force: bool
    ) -> Manifest | None:
        metadata = obj["metadata"]
        return await self._write(
            "apply",
            self._kinds.of(obj),
            metadata["namespace"],
            metadata["name"],
            sub=sub,
            query={
                "fieldManager": field_manager or self._kinds.field_manager,
                "force": "true" if force else "false",
            },
            body=obj,
            content_type=APPLY_PATCH,
        )

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        propagation: str = "Background",
        uid: str | None = None,
    ) -> None:
        """Delete; an object that is gone already is fine.

        propagation: Background, Foreground or Orphan.
        uid: delete this very object and no namesake (Conflict otherwise).
        """
        options: Manifest = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        await self._write("delete", kind, namespace, name, body=options, observed=False)

    async def patch_finalizers(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        finalizers: Sequence[str],
        resource_version: str,
    ) -> Manifest | None:
        """Replace the whole list of finalizers; None when the object is gone.

        Raises:
            Conflict: the object is no longer at `resource_version`, so the list may be stale.
        """
        return await self._write(
            "patch",
            kind,
            namespace,
            name,
            body={"metadata": {"finalizers": [*finalizers], "resourceVersion": resource_version}},
            content_type=MERGE_PATCH,
            query={"fieldManager": self._kinds.field_manager},
        )

    async def create_event(
        self, about: Manifest, *, type_: str, reason: str, message: str, action: str = "Reconcile"
    ) -> None:
        """Post a Kubernetes Event about an object; shown by `kubectl describe`.

        type_: Normal or Warning.

        An event is a courtesy to a reader: when it can't be posted, that is logged and counted and
        the reconcile goes on. Only NotLeader is raised.
        """
        metadata = about["metadata"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        event: Manifest = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            # Names of objects may be longer than what is left beside the suffix.
            "metadata": {
                "generateName": f"{metadata['name'][:200]}.",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": type_,
            "reason": reason,
            "message": message[:1024],
            "action": action,
            "eventTime": now,
            "firstTimestamp": f"{now[:19]}Z",
            "lastTimestamp": f"{now[:19]}Z",
            "count": 1,
            "source": {"component": self._kinds.field_manager},
            "reportingComponent": f"{self._kinds.domain}/{self._kinds.field_manager}",
            "reportingInstance": self._reporter or self._kinds.field_manager,
        }
        try:
            await self._write(
                "create", EVENT, metadata["namespace"], None, body=event, observed=False
            )
        except NotLeader:
            raise
        except OperatorError as error:
            EVENTS_LOST.inc()
            logger.warning("event not posted", extra={"event_reason": reason, "error": str(error)})

    async def _write(
        self,
        verb: str,
        kind: Kind,
        namespace: str,
        name: str | None,
        *,
        observed: bool = True,
        sub: str | None = None,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = JSON,
    ) -> Manifest | None:
        """The only way out for a write: fence, count, send, write through."""
        label = f"{verb}/{sub}" if sub else verb
        if not self._fence():
            WRITES_FENCED.labels(label, kind.name).inc()
            raise NotLeader(f"{verb} {kind.plural}/{name} in {namespace}: the lease isn't held")
        API_WRITES.labels(label, kind.name).inc()
        result = await self._api.request(
            verb, kind, namespace, name, sub=sub, query=query, body=body, content_type=content_type
        )
        if observed and result is not None and self._observe is not None:
            self._observe(result)
        return result


_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "apply": "PATCH",
    "patch": "PATCH",
    "delete": "DELETE",
}


def _parse(content: bytes, what: str) -> Manifest:
    """The object in an answer.

    Raises:
        Transient: it isn't a JSON object (a proxy in between, or a connection cut short).
    """
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise Transient("BadAnswer", f"{what}: not JSON: {content[:200]!r}") from error
    if not isinstance(parsed, dict):
        raise Transient("BadAnswer", f"{what}: not an object: {content[:200]!r}")
    return parsed
