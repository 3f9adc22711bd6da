"""Layout of the bucket, and paths in a pod. Pure.

<prefix>/<namespace>/<uid>/revisions/<rev>/{preflight.json, training-digest,
attempts/<pod-uid>/{progress.json, report.json, checkpoints/step-<n>/…, adapter/…},
wandb/<pod-uid>/…, COMMIT.json,
exports/<artifact>/{<pod-uid>/…, EXPORT.json}}
<prefix>/<namespace>/evals/<uid>/{job.json, progress.json, report.json, report.html,
samples.jsonl, tracking.json, wandb/…}
<prefix>/<namespace>/aliases/<alias>/current.json
<prefix>/<namespace>/pools/<pool>/index.json
"""

# Paths in the pods of Jobs.
JOB_FILE = "/etc/qwen3/job.json"
"""The job spec, mounted read-only from a ConfigMap."""
CONFIG_MAP_DATA = "/etc/qwen3-data"
"""<role>/<key>: ConfigMap datasets are mounted below this folder (role train, validation, …)."""
WORK_DIR = "/work"
"""The pod's scratch space (emptyDir)."""
TERMINATION_LOG = "/dev/termination-log"

# Environment of the pods of Jobs.
ENV_POD_UID = "QWEN3_POD_UID"
ENV_POD_NAME = "QWEN3_POD_NAME"


def _join(*parts: str) -> str:
    return "/".join(p.strip("/") for p in parts if p.strip("/"))


def tenant_prefix(prefix: str, namespace: str) -> str:
    """Prefix that a tenant's credentials are limited to."""
    return _join(prefix, namespace)


def revision_prefix(prefix: str, namespace: str, uid: str, revision: str) -> str:
    """Folder of one revision of a fine-tune."""
    return _join(prefix, namespace, uid, "revisions", revision)


def finetune_prefix(prefix: str, namespace: str, uid: str) -> str:
    """Folder of everything that belongs to one fine-tune."""
    return _join(prefix, namespace, uid)


def eval_prefix(prefix: str, namespace: str, uid: str) -> str:
    """Folder of one evaluation."""
    return _join(prefix, namespace, "evals", uid)


def alias_key(prefix: str, namespace: str, alias: str) -> str:
    """Key of the pointer behind a public name."""
    return _join(prefix, namespace, "aliases", alias, "current.json")


def pool_index_key(prefix: str, namespace: str, pool: str) -> str:
    """Key of the desired set of a pool."""
    return _join(prefix, namespace, "pools", pool, "index.json")


# Below a revision's prefix.
COMMIT = "COMMIT.json"
PREFLIGHT = "preflight.json"
TRAINING_DIGEST = "training-digest"
"""`qwen3_api.job.holdout.TrainingDigest`."""
JOB = "job.json"
ATTEMPTS = "attempts"
# Below an attempt's prefix, and below an evaluation's.
PROGRESS = "progress.json"
REPORT = "report.json"
REPORT_HTML = "report.html"
"""HTML report of an evaluation."""
ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"
CHECKPOINT_MANIFEST = "CHECKPOINT.json"
SAMPLES = "samples.jsonl"
TRACKING = "tracking.json"
WANDB = "wandb"
EXPORTS = "exports"
EXPORT_MANIFEST = "EXPORT.json"


def attempt_prefix(revision: str, pod_uid: str) -> str:
    """Folder of one attempt (a pod) below a revision's prefix."""
    return _join(revision, ATTEMPTS, pod_uid)


def wandb_prefix(revision: str, pod_uid: str) -> str:
    """Folder of the offline W&B run of an attempt below a revision's prefix."""
    return _join(revision, WANDB, pod_uid)


def checkpoint_prefix(attempt: str, step: int) -> str:
    """Folder of one checkpoint below an attempt's prefix."""
    return _join(attempt, CHECKPOINTS, f"step-{step}")


def export_prefix(revision: str, artifact: str) -> str:
    """Folder of one exported artifact below a revision's prefix; it contains EXPORT.json, and a
    folder for each pod that tried."""
    return _join(revision, EXPORTS, artifact)
