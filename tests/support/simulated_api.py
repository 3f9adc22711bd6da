"""The API server and the bucket of the simulated world; see operator_simulator.py."""

import asyncio
import copy
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.controller.errors import Conflict, Stalled
from qwen3_operator.resources.conditions import format_time
from support.operator_world import NAMESPACE, NOW, merge

Body = dict[str, Any]
LIVE = ("Pending", "Running")


@dataclass
class ApiModel:
    """Objects of one namespace, what each field manager applied, and what a watch has to tell."""

    now: datetime = NOW
    objects: dict[tuple[str, str], Body] = field(default_factory=dict)
    applied: dict[tuple[str, str], dict[str, Body]] = field(default_factory=dict)
    pending: list[tuple[str, Body]] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    """How many objects of each kind there have ever been."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def number(self) -> int:
        return next(self._numbers)

    def all(self, kind: str) -> list[Body]:
        return [body for (k, _), body in sorted(self.objects.items()) if k == kind]

    def get(self, kind: str, name: str) -> Body | None:
        return self.objects.get((kind, name))

    def changed(self, body: Body) -> Body:
        """A new resourceVersion, and news for the watch."""
        body["metadata"]["resourceVersion"] = str(self.number())
        self.pending.append(("put", copy.deepcopy(body)))
        return body

    def create(self, body: Body) -> Body:
        meta = body["metadata"]
        self.created[body["kind"]] += 1
        meta.setdefault("namespace", NAMESPACE)
        meta["uid"] = f"uid-{self.number()}"
        meta["creationTimestamp"] = format_time(self.now)
        self.objects[body["kind"], meta["name"]] = body
        return self.changed(body)

    def remove(self, body: Body) -> None:
        key = (body["kind"], body["metadata"]["name"])
        if self.objects.get(key) is body:
            del self.objects[key]
            self.applied.pop(key, None)
            body["metadata"]["resourceVersion"] = str(self.number())
            self.pending.append(("remove", copy.deepcopy(body)))

    def delete(self, body: Body) -> None:
        """Finalizers and a pod's grace period hold an object; the rest goes at once."""
        if "deletionTimestamp" in body["metadata"]:
            return
        held = body["metadata"].get("finalizers") or (
            body["kind"] == "Pod" and body["status"]["phase"] in LIVE
        )
        if held:
            body["metadata"]["deletionTimestamp"] = format_time(self.now)
            self.changed(body)
        else:
            self.remove(body)

    def apply(self, manifest: Body, manager: str) -> Body:
        """Server-side apply with force."""
        manifest = copy.deepcopy(manifest)
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        uid = manifest["metadata"].pop("uid", None)
        body = self.objects.get((kind, name))
        if uid is not None and (body is None or body["metadata"]["uid"] != uid):
            raise Conflict("Conflict", f"{kind} {name}: uid mismatch")
        if body is None:
            if kind == "Job" and "template" not in manifest["spec"]:
                raise Stalled("Invalid", f"Job {name}: spec.template: Required value")
            if kind == "Job":
                manifest["spec"].setdefault("suspend", False)
                self.applied[kind, name] = {manager: manifest}
                return self.create({**copy.deepcopy(manifest), "status": {}})
            self.applied[kind, name] = {manager: manifest}
            return self.create(copy.deepcopy(manifest))
        managers = {**self.applied.get((kind, name), {}), manager: manifest}
        wanted = self._merged(body, managers)
        self._check_update(body, wanted)
        self.applied[kind, name] = managers
        if wanted == body:
            return body
        body.clear()
        body.update(wanted)
        return self.changed(body)

    def _merged(self, body: Body, managers: Mapping[str, Body]) -> Body:
        wanted: Body = {}
        owners: dict[str, Body] = {}
        for manifest in managers.values():
            wanted = merge(wanted, copy.deepcopy(manifest))
        for old in (body, wanted):
            for owner in old["metadata"].get("ownerReferences", ()):
                owners[owner["uid"]] = owner
        for key in ("uid", "creationTimestamp", "resourceVersion", "deletionTimestamp"):
            if key in body["metadata"]:
                wanted["metadata"][key] = body["metadata"][key]
        if owners:
            wanted["metadata"]["ownerReferences"] = list(owners.values())
        if body["kind"] == "Job":
            wanted["spec"].setdefault("suspend", False)
        if "status" in body:
            wanted["status"] = body["status"]
        return wanted

    def _check_update(self, old: Body, new: Body) -> None:
        where = f"{old['kind']} {old['metadata']['name']}"
        if old["kind"] == "Job" and old["spec"]["template"] != new["spec"]["template"]:
            raise Stalled("Invalid", f"{where}: spec.template: field is immutable")
        if old.get("immutable") and (old["data"] != new["data"] or not new.get("immutable")):
            raise Stalled("Invalid", f"{where}: data: field is immutable when `immutable` is set")
        if len(new["metadata"].get("ownerReferences", ())) > 1:
            raise Stalled("Invalid", f"{where}: only one reference can have Controller set to true")

    def collect_garbage(self) -> None:
        """Background deletion: what lost its owner goes."""
        uids = {body["metadata"]["uid"] for body in self.objects.values()}
        for body in list(self.objects.values()):
            owners = body["metadata"].get("ownerReferences", ())
            if owners and not any(o["uid"] in uids for o in owners):
                self.delete(body)


@dataclass
class Bucket:
    """Objects with ETags and conditional writes."""

    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    writes: int = 0
    away: bool = False
    """Nobody gets an answer."""
    refuses: FailureStatus | None = None
    """The answer to the operator; the pods have keys of their own."""
    poisoned: tuple[str, ...] = ()
    """Reads of keys with one of these parts raise what nobody expects."""
    held: asyncio.Event | None = None
    """Streams wait for it, if there is one."""

    def put(self, key: str, body: bytes) -> None:
        self.writes += 1
        self.objects[key] = (body, f'"{self.writes}"')

    def body(self, key: str) -> bytes | None:
        found = self.objects.get(key)
        return found[0] if found else None
