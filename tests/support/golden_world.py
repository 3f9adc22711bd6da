"""The world of a golden case, from its short YAML to what a decision looks at.

The format is described in tests/golden/README.md. A world that can't be is refused: a golden file
of something that never happens proves nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from qwen3_api.job.base import FileDigest, S3Location
from qwen3_api.job.preflight import Preflight
from qwen3_api.job.report import Commit, Progress, TrainReport
from qwen3_api.job.train import StartAdapter
from qwen3_api.serving.pool import AliasRejection
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.evaluation.views import Evaluation
from qwen3_operator.finetune.views import (
    Alias,
    FineTune,
    Observed,
    ReadableFineTune,
    UnreadableFineTune,
)
from qwen3_operator.resources.identity import export_digest
from qwen3_operator.resources.labels import ANNOTATION_EXPORT, ANNOTATION_PARKED
from qwen3_operator.resources.names import export_name, job_name, preflight_name
from qwen3_operator.resources.views import parse_job, parse_pod
from qwen3_operator.serving.views import PoolPod, PoolView
from support.operator_world import (
    NAMESPACE,
    build_agent,
    build_commit,
    build_current,
    build_evaluation,
    build_export,
    build_preflight,
    build_progress,
    id_of,
    revision_of,
)

World = Mapping[str, Any]
KEYS = {
    "preflight", "preflightJob", "preflightPods", "start",
    "job", "otherJobs", "pods", "progress", "report", "commit", "damage", "storage", "pointer",
    "pool", "aliasOwner", "evaluation", "otherEvaluations", "rollback",
    "exportJob", "exportPods", "exports",
}  # fmt: skip


class ImpossibleError(AssertionError):
    """No cluster shows this."""


def build_observed(ft: FineTune, world: World) -> Observed:
    """What `gather_finetune` would find.

    Raises:
        ImpossibleError: the parts contradict each other.
    """
    unknown = set(world) - KEYS
    if unknown:
        raise ImpossibleError(f"unknown keys {sorted(unknown)}")
    check_possible(ft, world)
    revision = ft.revision if isinstance(ft, ReadableFineTune) else ""
    job, preflight_job, export_job = (
        world.get(key) for key in ("job", "preflightJob", "exportJob")
    )
    commit = build_commit(ft, revision) if world.get("commit") else None
    return Observed(
        job=parse_job(_job(ft, {"revision": revision, **job})) if job is not None else None,
        other_jobs=tuple(parse_job(_job(ft, j)) for j in world.get("otherJobs", ())),
        pods=tuple(parse_pod(_pod(n, p)) for n, p in enumerate(world.get("pods", ()))),
        preflight=_preflight(ft, world.get("preflight")),
        preflight_job=(
            parse_job(_job(ft, {"revision": revision, **preflight_job}, preflight_name))
            if preflight_job is not None
            else None
        ),
        preflight_pods=tuple(
            parse_pod(_pod(n, p)) for n, p in enumerate(world.get("preflightPods", ()))
        ),
        export_job=(
            parse_job(_job(ft, {"revision": revision, **export_job}, export_name))
            if export_job is not None
            else None
        ),
        export_pods=tuple(parse_pod(_pod(n, p)) for n, p in enumerate(world.get("exportPods", ()))),
        exports=tuple(build_export(ft, name) for name in world.get("exports", ())),
        start=_start(world.get("start")),
        commit=commit,
        verified=commit is not None and "damage" not in world,
        artifact_problem=FailureStatus.of(**world["damage"]) if "damage" in world else None,
        storage_problem=FailureStatus.of(**world["storage"]) if "storage" in world else None,
        progress=_progress(world.get("progress")),
        report=_report(world.get("report")),
        alias=_alias(ft, world.get("pointer")),
        alias_owner=world.get("aliasOwner"),
        pool=_pool(ft, world.get("pool")),
        rollback=_rollback(ft, world.get("rollback")),
        evaluation=_evaluation(ft, revision, world.get("pointer"), world.get("evaluation")),
        other_evaluations=tuple(
            build_evaluation(ft, e["revision"], None, e) for e in world.get("otherEvaluations", ())
        ),
    )


def check_possible(ft: FineTune, world: World) -> None:
    """Refuse contradictions. An ordered list of rules, each with its reason."""
    job, pods, pool = world.get("job"), world.get("pods", ()), world.get("pool")
    running = [p for p in pods if p["phase"] == "Running" and not p.get("deleting")]
    rules = {
        "two pods of a revision run at once": len(running) > 1,
        "a passed preflight's Job failed": world.get("preflight") is not None
        and "failure" not in world["preflight"]
        and str(world.get("preflightJob", {}).get("condition", "")).startswith("Failed"),
        "a preflight runs with a result": world.get("preflight") is not None
        and any(p["phase"] == "Running" for p in world.get("preflightPods", ())),
        "pods run without a Job": bool(running) and job is None,
        "a suspended Job has running pods": bool(running)
        and job is not None
        and bool(job.get("suspend")),
        "a finished Job has running pods": bool(running) and job is not None and "condition" in job,
        "progress without a pod": "progress" in world and not pods,
        "a report without a failed Job": "report" in world
        and (job is None or not str(job.get("condition", "")).startswith("Failed")),
        "progress beside a commit isn't read": "progress" in world and "commit" in world,
        "damage without a commit": "damage" in world and "commit" not in world,
        "a refusing store shows its content": "storage" in world
        and bool({"commit", "progress", "pointer"} & set(world)),
        "a pool without serving": pool is not None
        and isinstance(ft, ReadableFineTune)
        and ft.spec.serving.mode != "SharedBase",
        "another revision's Job has the current revision": any(
            isinstance(ft, ReadableFineTune) and j["revision"] == revision_of(ft)
            for j in world.get("otherJobs", ())
        ),
        "an export before a result": "commit" not in world
        and bool({"exports", "exportJob"} & set(world)),
        "a candidate is evaluated without a commit": "evaluation" in world
        and "commit" not in world,
        "an evaluation that nobody asked for": "evaluation" in world
        and (isinstance(ft, UnreadableFineTune) or ft.spec.evaluation is None),
        "a rollback that nobody asked for": "rollback" in world
        and (isinstance(ft, UnreadableFineTune) or ft.spec.promotion.rollback_to is None),
        "a failed pod without an exit code or a reason": any(
            p["phase"] == "Failed" and "exitCode" not in p and not p.get("evicted") for p in pods
        ),
    }
    if pool is not None:
        current = (world.get("pointer") or {}).get("revision")
        for pod in pool.get("pods", ()):
            loaded, answers = pod.get("loaded", []), pod.get("answers")
            rules |= {
                f"{pod['name']} answers what it doesn't hold": answers is not None
                and answers not in loaded,
                f"{pod['name']} is ready without the required adapter": bool(pod.get("ready"))
                and current is not None
                and current not in loaded
                and not pool.get("indexLags"),
            }
    broken = [what for what, is_so in rules.items() if is_so]
    if broken:
        raise ImpossibleError("; ".join(broken))


def _rollback(ft: FineTune, rollback: Any) -> Commit | FailureStatus | None:
    if rollback is None or isinstance(ft, UnreadableFineTune):
        return None
    if isinstance(rollback, Mapping):
        return FailureStatus.of(**rollback)
    return build_commit(ft, ft.spec.promotion.rollback_to)


def _evaluation(
    ft: FineTune, revision: str, pointer: World | None, evaluation: World | None
) -> Evaluation | None:
    if evaluation is None:
        return None
    return build_evaluation(ft, revision, (pointer or {}).get("revision"), evaluation)


def _job(
    ft: FineTune, job: Mapping[str, Any], namer: Callable[[str, str], str] = job_name
) -> dict[str, Any]:
    """A batch/v1 Job. condition: "Complete" or "Failed/<reason>"."""
    name = namer(ft.meta.name, job["revision"])
    conditions = []
    if "condition" in job:
        type_, _, reason = job["condition"].partition("/")
        conditions = [
            {"type": type_, "status": "True", "reason": reason, "message": job.get("message", "")}
        ]
    spec = {"suspend": bool(job.get("suspend"))}
    if "ttl" in job:
        spec["ttlSecondsAfterFinished"] = job["ttl"]
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{name}",
        "labels": {"qwen3.dev/revision": job["revision"]},
        "annotations": {
            **({ANNOTATION_PARKED: "true"} if job.get("parked") else {}),
            **(
                {ANNOTATION_EXPORT: export_digest(ft.spec)}
                if namer is export_name and isinstance(ft, ReadableFineTune)
                else {}
            ),
        },
        "ownerReferences": [{"uid": job.get("owner", ft.meta.uid), "controller": True}],
    }
    if job.get("deleting"):
        metadata["deletionTimestamp"] = "2026-03-01T11:58:00Z"
    return {
        "metadata": metadata,
        "spec": spec,
        "status": {
            "conditions": conditions,
            "startTime": "2026-03-01T11:00:00Z",
            "failed": job.get("failed", 0),
        },
    }


def _pod(number: int, pod: Mapping[str, Any]) -> dict[str, Any]:
    """A training pod."""
    metadata = {
        "name": f"bot-pod-{number}",
        "uid": f"uid-pod-{number}",
        "creationTimestamp": f"2026-03-01T11:0{number}:00Z",
    }
    if pod.get("deleting"):
        metadata["deletionTimestamp"] = "2026-03-01T11:58:00Z"
    state: dict[str, Any] = {}
    if "exitCode" in pod:
        message = pod.get("message", "")
        state = {"terminated": {"exitCode": pod["exitCode"], "message": message}}
    elif "waiting" in pod:
        state = {"waiting": {"reason": pod["waiting"], "message": pod.get("message", "")}}
    status: dict[str, Any] = {"phase": pod["phase"], "containerStatuses": [{"state": state}]}
    if "unschedulable" in pod:
        scheduled = {"type": "PodScheduled", "status": "False", "message": pod["unschedulable"]}
        status["conditions"] = [scheduled]
    return {"metadata": metadata, "status": status}


def _preflight(ft: FineTune, found: Mapping[str, Any] | None) -> Preflight | None:
    return None if found is None else build_preflight(ft, **found)


def _start(found: Mapping[str, Any] | None) -> StartAdapter | FailureStatus | None:
    if found is None:
        return None
    if "reason" in found:
        return FailureStatus.of(**found)
    return StartAdapter(
        location=S3Location(endpoint=None, region=None, bucket="qwen3", prefix=found["prefix"]),
        files=[FileDigest(path="adapter_model.safetensors", size=3, sha256="3" * 64)],
        digest="4" * 64,
    )


def _progress(found: Mapping[str, Any] | None) -> Progress | None:
    return None if found is None else build_progress(**found)


def _report(found: Mapping[str, Any] | None) -> TrainReport | None:
    if found is None:
        return None
    return TrainReport.model_validate(
        {
            "attempt": "uid-pod-0",
            "outcome": "Failed",
            "step": 0,
            "total_steps": None,
            "started": "2026-03-01T11:00:00Z",
            "finished": "2026-03-01T11:01:00Z",
            **found,
        }
    )


def _commit(ft: FineTune, revision: str) -> Commit:
    return build_commit(ft, revision)


def _alias(ft: FineTune, pointer: Mapping[str, Any] | None) -> Alias | None:
    if pointer is None:
        return None
    previous = pointer.get("previous")
    changes: dict[str, Any] = {"owner_uid": pointer.get("owner", ft.meta.uid)}
    if previous:
        changes |= {
            "previous_revision": previous,
            "previous_id": id_of(ft, _commit(ft, previous)),
        }
    if "rejection" in pointer:
        changes["rejection"] = AliasRejection.model_validate(pointer["rejection"])
    return Alias(build_current(ft, _commit(ft, pointer["revision"]), **changes), '"etag-1"')


def _pool(ft: FineTune, pool: Mapping[str, Any] | None) -> PoolView | None:
    if pool is None:
        return None
    return PoolView(
        name="pool-of-the-case",
        exists=True,
        desired_replicas=pool.get("replicas", 1),
        pods=tuple(_pool_pod(ft, pod) for pod in pool.get("pods", ())),
        trouble=FailureStatus.of(**pool["trouble"]) if "trouble" in pool else None,
    )


def _pool_pod(ft: FineTune, pod: Mapping[str, Any]) -> PoolPod:
    ready = bool(pod.get("ready"))
    if pod.get("silent"):
        return PoolPod(pod["name"], ready, None)
    commits = {r: _commit(ft, r) for r in pod.get("loaded", ())}
    loaded = {id_of(ft, c): c.digest for c in commits.values()}
    failed = {id_of(ft, _commit(ft, r)): reason for r, reason in pod.get("failed", {}).items()}
    answers = pod.get("answers")
    aliases = {f"{NAMESPACE}.{ft.meta.name}": id_of(ft, commits[answers])} if answers else {}
    agent = build_agent(pod["name"], loaded, aliases, failed=failed, ready=ready)
    return PoolPod(pod["name"], ready, agent)
