"""A small model of the world that the operator acts on, for property tests of its decisions.

Modelled: the API server's server-side apply with two field managers, preconditions and immutable
fields; garbage collection; the Job controller (podFailurePolicy, podReplacementPolicy Failed,
suspend); kubelets that take their time; trainers that commit or fail; a Deployment controller; pods
of a pool whose sidecars decide by the server's own pure functions; an object store with
compare-and-swap; watches that lag.

Real, because it is what is tested: the operator's reconciles, from gather to the last write, its
cache and its reading of documents. `Operator.fuse` makes the process die at a chosen write.
"""

import asyncio
import copy
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.base import Failure, FileDigest, S3Location
from qwen3_api.job.exit_codes import ACTIONS, ExitCode, PodFailureAction
from qwen3_api.job.preflight import PreflightJob
from qwen3_api.job.report import Commit, adapter_digest
from qwen3_api.job.train import TrainJob
from qwen3_api.serving.config import ServerConfig
from qwen3_api.serving.pool import AgentAdapter, AgentStatus, CurrentAlias, PoolIndex
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_operator.resources.conditions import format_time
from qwen3_operator.resources.labels import (
    ANNOTATION_ORDER,
    COMPONENT_PREFLIGHT,
    LABEL_COMPONENT,
    LABEL_POOL,
)
from qwen3_server.agent.plan import assess_readiness, plan_routes, plan_unloads
from qwen3_server.routes import Routes
from support.operator_world import build_metrics, build_preflight_document, merge, sha256
from support.simulated_api import LIVE, ApiModel, Body, Bucket


@dataclass
class Server:
    """A pod of a pool: vLLM's memory and the sidecar's mind."""

    ip: str
    pool: str
    bucket: Bucket
    boot: int = 0
    index: PoolIndex | None = None
    routes: Routes | None = None
    loaded: dict[str, str] = field(default_factory=dict)
    verified: set[tuple[str, str]] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    refuses: bool = False
    """vLLM refuses whatever is new."""

    @property
    def ready(self) -> bool:
        return assess_readiness(
            self.index, True, set(self.loaded), self.routes, str(self.boot)
        ).ready

    def status(self) -> AgentStatus:
        adapters = [AgentAdapter(id=i, digest=d, state="Loaded") for i, d in self.loaded.items()]
        adapters += [
            AgentAdapter(id=i, digest="", state="Failed", reason=reason)
            for i, reason in self.failed.items()
            if i not in self.loaded
        ]
        told = {a.id for a in adapters}
        listed = self.index.adapters if self.index else []
        adapters += [
            AgentAdapter(id=a.id, digest="", state="Pending") for a in listed if a.id not in told
        ]
        return AgentStatus(
            pod=self.ip,
            ready=self.ready,
            serial=self.index.serial if self.index else 0,
            adapters=adapters,
            aliases=self.routes.aliases if self.routes else {},
        )

    def step(self, key: str) -> None:
        """Look at the index, load at most one adapter, write the routes, unload."""
        body = None if self.bucket.away else self.bucket.body(key)
        if body is not None:
            self.index = PoolIndex.model_validate_json(body)
        if self.index is None:
            return
        for adapter in self.index.adapters:
            if adapter.id in self.loaded:
                continue
            if not self._fetch(adapter.id, adapter.digest, adapter.location, adapter.files):
                continue
            self.failed.pop(adapter.id, None)
            self.loaded[adapter.id] = adapter.digest
            break
        boot = str(self.boot)
        self.routes = plan_routes(self.index, set(self.loaded), self.routes, boot)
        for gone in plan_unloads(self.index, set(self.loaded), self.routes, {}, 0.0):
            del self.loaded[gone]

    def _fetch(self, id_: str, digest: str, location: S3Location, files: list[FileDigest]) -> bool:
        if (id_, digest) in self.verified:
            return True
        if self.bucket.away:
            return False
        for file in files:
            body = self.bucket.body(f"{location.prefix}/{file.path}")
            if body is None or sha256(body) != file.sha256:
                self.failed[id_] = "ArtifactCorrupt"
                return False
        if self.refuses:
            self.failed[id_] = "LoadFailed"
            return False
        self.verified.add((id_, digest))
        return True

    def crash(self) -> None:
        """vLLM restarts: the sidecar and its verified files are still there."""
        self.boot += 1
        self.loaded.clear()
        self.routes = None


@dataclass
class World:
    """Everything around the operator. Methods are single steps of one actor."""

    loop: asyncio.AbstractEventLoop
    api: ApiModel = field(default_factory=ApiModel)
    bucket: Bucket = field(default_factory=Bucket)
    servers: dict[str, Server] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    statuses: list[Body] = field(default_factory=list)
    """Every status that was written, with its object."""
    history: list[str] = field(default_factory=list)

    def on_status(self, body: Body) -> None:
        self.statuses.append(copy.deepcopy(body))

    # Users

    def finetune(self, name: str) -> Body | None:
        return self.api.get("Qwen3FineTune", name)

    def create(self, name: str, spec: Body) -> None:
        if self.finetune(name) is None:
            self.api.create(
                {
                    "apiVersion": "qwen3.dev/v1alpha1",
                    "kind": "Qwen3FineTune",
                    "metadata": {"name": name, "generation": 1},
                    "spec": copy.deepcopy(spec),
                }
            )

    def edit(self, name: str, **changes: Any) -> None:
        """Also while it is being deleted, as at the API server."""
        body = self.finetune(name)
        if body is None:
            return
        spec = merge(body["spec"], changes)
        if spec != body["spec"]:
            body["spec"] = spec
            body["metadata"]["generation"] += 1
            self.api.changed(body)

    def delete(self, name: str) -> None:
        body = self.finetune(name)
        if body is not None:
            self.api.delete(body)

    # Jobs and their pods

    def pods_of(self, job: Body) -> list[Body]:
        return [
            p
            for p in self.api.all("Pod")
            if any(
                o["uid"] == job["metadata"]["uid"] for o in p["metadata"].get("ownerReferences", ())
            )
        ]

    def job_pods(self) -> list[Body]:
        """Pods of preflights and of training."""
        return [p for p in self.api.all("Pod") if LABEL_POOL not in p["metadata"]["labels"]]

    def training_pods(self) -> list[Body]:
        return [p for p in self.job_pods() if not is_preflight(p)]

    def control_jobs(self) -> None:
        """One round of the Job controller."""
        for job in self.api.all("Job"):
            self._control(job)

    def _control(self, job: Body) -> None:
        if job["status"].get("conditions"):
            return
        pods = self.pods_of(job)
        live = [p for p in pods if p["status"]["phase"] in LIVE]
        if job["spec"]["suspend"]:
            for pod in live:
                self.api.delete(pod)
            return
        if any(p["status"]["phase"] == "Succeeded" for p in pods):
            self._finish(job, "Complete", "")
            return
        codes = [_exit_code(p) for p in pods if p["status"]["phase"] == "Failed"]
        actions = [ACTIONS.get(ExitCode(c), PodFailureAction.COUNT) for c in codes]
        job["status"]["failed"] = actions.count(PodFailureAction.COUNT)
        if PodFailureAction.FAIL_JOB in actions:
            self._finish(job, "Failed", "PodFailurePolicy")
        elif job["status"]["failed"] > job["spec"]["backoffLimit"]:
            self._finish(job, "Failed", "BackoffLimitExceeded")
        elif not live:
            # podReplacementPolicy Failed: a pod that is still terminating has no successor.
            self._start_pod(job)

    def _finish(self, job: Body, type_: str, reason: str) -> None:
        condition = {"type": type_, "status": "True", "reason": reason, "message": ""}
        job["status"]["conditions"] = [condition]
        self.api.changed(job)

    def _start_pod(self, job: Body) -> None:
        name = job["metadata"]["name"]
        number = self.api.number()
        job["status"].setdefault("startTime", format_time(self.api.now))
        self.api.changed(job)
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{name}-{number}",
                    "labels": copy.deepcopy(job["spec"]["template"]["metadata"]["labels"]),
                    "ownerReferences": [{"uid": job["metadata"]["uid"], "controller": True}],
                },
                "job": name,
                "order": self._order(job),
                "status": {"phase": "Pending"},
            }
        )

    def _order(self, job: Body) -> str:
        template = job["spec"]["template"]["metadata"]
        if ANNOTATION_ORDER in template.get("annotations", {}):
            return str(template["annotations"][ANNOTATION_ORDER])
        return str(self.api.objects["ConfigMap", job["metadata"]["name"]]["data"]["job.json"])

    def expire_jobs(self) -> None:
        """The TTL controller."""
        for job in self.api.all("Job"):
            if job["status"].get("conditions") and "ttlSecondsAfterFinished" in job["spec"]:
                self.api.remove(job)

    def start_pod(self, pod: Body) -> None:
        if pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
            pod["status"] = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
            self.api.changed(pod)

    def end_pod(self, pod: Body, code: ExitCode, *, broken: bool = False) -> None:
        """A running trainer or preflight ends; with code 0 (or when it dies just after) its
        document is in the bucket."""
        if pod["status"]["phase"] != "Running":
            return
        if is_preflight(pod):
            self._tell_preflight(pod, code)
        elif code in (ExitCode.SUCCEEDED, ExitCode.UNEXPECTED):
            self._commit(pod, broken=broken)
        phase = "Succeeded" if code is ExitCode.SUCCEEDED else "Failed"
        state = {"terminated": {"exitCode": int(code), "message": ""}}
        pod["status"] = {"phase": phase, "containerStatuses": [{"state": state}]}
        self.api.changed(pod)

    def _tell_preflight(self, pod: Body, code: ExitCode) -> None:
        """preflight.json of good data, or of what ends with a user's error."""
        order = PreflightJob.model_validate_json(pod["order"])
        failure = None
        if code is ExitCode.USER_ERROR:
            failure = Failure(reason=Reason.DATASET_INVALID, message="line 3", hint="Mend it.")
        elif code not in (ExitCode.SUCCEEDED, ExitCode.UNEXPECTED):
            return
        found = build_preflight_document(order.spec_hash, failure=failure)
        self.bucket.put(f"{order.output.prefix}/{layout.PREFLIGHT}", found.to_json())

    def _commit(self, pod: Body, *, broken: bool) -> None:
        """Upload, then COMMIT.json with If-None-Match. Seeds 2n and 2n+1 give the same bytes."""
        order = TrainJob.model_validate_json(pod["order"])
        attempt = layout.attempt_prefix(order.output.prefix, pod["metadata"]["uid"])
        content = f"{order.name} {order.hyperparameters.seed // 2}".encode()
        path = "adapter_model.safetensors"
        files = [FileDigest(path=path, size=len(content), sha256=sha256(content))]
        self.bucket.put(f"{attempt}/adapter/{path}", b"bad" if broken else content)
        key = f"{order.output.prefix}/{layout.COMMIT}"
        if self.bucket.body(key) is None:
            document = {
                "spec_hash": order.spec_hash,
                "revision": order.revision,
                "attempt": pod["metadata"]["uid"],
                "prefix": f"{attempt}/adapter",
                "files": [f.model_dump() for f in files],
                "digest": adapter_digest(files),
                "rank": order.adapter.rank,
                "metrics": build_metrics().model_dump(),
                "provenance": {
                    "base_model": order.base_model.name,
                    "base_commit": "abc",
                    "dataset_sha256": "1" * 64,
                    "chat_template_sha256": "2" * 64,
                    "seed": order.hyperparameters.seed,
                    "image": order.image,
                    "versions": {},
                },
                "committed": format_time(self.api.now),
            }
            self.bucket.put(key, Commit.model_validate(document).to_json())

    def terminate_pods(self) -> None:
        """Kubelets: pods whose grace period is over are gone."""
        for pod in self.api.all("Pod"):
            if "deletionTimestamp" in pod["metadata"]:
                self.api.remove(pod)
                self.servers.pop(pod["metadata"]["name"], None)

    # Pools

    def control_deployments(self) -> None:
        """One round of the Deployment controller."""
        wanted = {d["metadata"]["name"]: d["spec"]["replicas"] for d in self.api.all("Deployment")}
        pods = [p for p in self.api.all("Pod") if LABEL_POOL in p["metadata"]["labels"]]
        pods = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
        for pod in pods:
            pool = pod["metadata"]["labels"][LABEL_POOL]
            mine = [p for p in pods if p["metadata"]["labels"][LABEL_POOL] == pool]
            if pod in mine[wanted.get(pool, 0) :]:
                self.api.delete(pod)
        for pool, replicas in wanted.items():
            mine = [p for p in pods if p["metadata"]["labels"][LABEL_POOL] == pool]
            for _ in range(replicas - len(mine)):
                self._start_server(pool)

    def _start_server(self, pool: str) -> None:
        number = self.api.number()
        name, ip = f"{pool}-{number}", f"10.0.0.{number}"
        deployment = self.api.objects["Deployment", pool]
        self.servers[name] = Server(ip, pool, self.bucket)
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "labels": copy.deepcopy(deployment["spec"]["template"]["metadata"]["labels"]),
                },
                "status": {"phase": "Running", "podIP": ip, "conditions": []},
            }
        )

    def index_key(self, pool: str) -> str:
        config = self.api.get("ConfigMap", pool)
        if config is None:
            return ""
        return ServerConfig.model_validate_json(config["data"]["server.json"]).index.prefix

    def step_servers(self) -> None:
        for name in sorted(self.servers):
            self.step_server(name)

    def step_server(self, name: str) -> None:
        """A sidecar's round, and the kubelet's probe after it."""
        server = self.servers.get(name)
        pod = self.api.get("Pod", name)
        if server is None or pod is None:
            return
        server.step(self.index_key(server.pool))
        self.probe(name)

    def probe(self, name: str) -> None:
        """The readiness probe."""
        pod, server = self.api.get("Pod", name), self.servers.get(name)
        if pod is None or server is None:
            return
        conditions = [{"type": "Ready", "status": str(server.ready)}]
        if pod["status"]["conditions"] != conditions:
            pod["status"]["conditions"] = conditions
            self.api.changed(pod)

    def staying_servers(self) -> list[Server]:
        """Pods that aren't on their way out."""
        return [
            server
            for name, server in self.servers.items()
            if (pod := self.api.get("Pod", name)) is not None
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def ready_servers(self, pool: str) -> list[Server]:
        """Pods that get requests now."""
        found = []
        for name, server in self.servers.items():
            pod = self.api.get("Pod", name)
            if (
                pod is not None
                and server.pool == pool
                and "deletionTimestamp" not in pod["metadata"]
                and pod["status"]["conditions"] == [{"type": "Ready", "status": "True"}]
            ):
                found.append(server)
        return found

    # What the bucket says

    def indexes(self) -> dict[str, PoolIndex]:
        return {
            key: PoolIndex.model_validate_json(body)
            for key, (body, _) in self.bucket.objects.items()
            if key.endswith("/index.json")
        }

    def pointers(self) -> dict[str, CurrentAlias]:
        found = {}
        for key, (body, _) in self.bucket.objects.items():
            if key.endswith("/current.json"):
                current = CurrentAlias.model_validate_json(body)
                found[current.alias] = current
        return found

    def advance(self, seconds: float) -> None:
        self.api.now += timedelta(seconds=seconds)


def is_preflight(pod: Body) -> bool:
    """A pod of a preflight Job."""
    return bool(pod["metadata"]["labels"].get(LABEL_COMPONENT) == COMPONENT_PREFLIGHT)


def _exit_code(pod: Body) -> int:
    return int(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"])
