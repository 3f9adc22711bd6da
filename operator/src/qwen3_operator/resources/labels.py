"""Labels, annotations and field managers of everything that the operator makes."""

FIELD_MANAGER = "qwen3-operator"
LIFECYCLE_MANAGER = "qwen3-operator-lifecycle"
"""Second field manager, for the mutable fields of a Job. The Job itself is applied once: its
template is immutable, and a second apply by the first manager would try to change it after an
operator upgrade. Under a manager of their own, `suspend` and the TTL come and go alone."""
FINALIZER = "qwen3.dev/artifacts"

LABEL_MANAGED = "qwen3.dev/managed"
LABEL_FINE_TUNE = "qwen3.dev/fine-tune"
LABEL_EVAL = "qwen3.dev/eval"
LABEL_SCHEDULE = "qwen3.dev/eval-schedule"
"""On a Qwen3Eval: the one whose schedule it is a run of."""
LABEL_POOL = "qwen3.dev/pool"
LABEL_REVISION = "qwen3.dev/revision"
ANNOTATION_SCHEDULED = "qwen3.dev/scheduled-time"
"""On a run of a schedule: the time that it runs for."""
ANNOTATION_PARKED = "qwen3.dev/parked"
"""On a Job that the operator suspended because of spec.suspend. Without it a suspended Job belongs
to a queue, and the operator never starts it."""
ANNOTATION_RESOURCES = "qwen3.dev/resources"
"""On a training Job: `resources_digest` of the spec that it was made for. Resources make no
revision, but a Job that waits for a node or ran out of memory must follow when they are edited."""
ANNOTATION_CHECKS = "qwen3.dev/checks"
"""On a preflight Job: `checks_digest` of the spec that it was made for."""
ANNOTATION_ORDER = "qwen3.dev/order"
"""On a preflight pod: the order that it reads."""
ANNOTATION_EXPORT = "qwen3.dev/export"
"""On an export Job: `export_digest` of the spec that it was made for."""
LABEL_COMPONENT = "app.kubernetes.io/component"
COMPONENT_PREFLIGHT = "preflight"
COMPONENT_TRAINER = "trainer"
COMPONENT_EXPORT = "export"
LABEL_GPU_PRODUCT = "nvidia.com/gpu.product"
"""Of nodes, by NVIDIA's GPU feature discovery."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"


def labels(component: str, **extra: str) -> dict[str, str]:
    """Labels of every child; `extra` holds the owner's key."""
    return {
        "app.kubernetes.io/name": "qwen3-finetune",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": FIELD_MANAGER,
        LABEL_MANAGED: "true",
        **extra,
    }
