"""Every Prometheus metric of the operator, declared once.

Labels never hold an object's name: their number must not grow with the number of fine-tunes.
"""

from prometheus_client import Counter, Gauge, Histogram

FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

API_REQUESTS = Counter(
    "qwen3_operator_api_requests_total",
    "Requests sent to the API server (watches excluded).",
    ["verb", "kind", "code"],
)
API_WRITES = Counter(
    "qwen3_operator_api_writes_total",
    "Writes sent to the API server, regardless of outcome.",
    ["verb", "kind"],
)
API_SECONDS = Histogram(
    "qwen3_operator_api_request_seconds",
    "Duration of requests to the API server (watches excluded).",
    ["verb", "kind"],
    buckets=FAST_BUCKETS,
)
WRITES_FENCED = Counter(
    "qwen3_operator_writes_fenced_total",
    "Writes blocked because the lease was not held.",
    ["verb", "kind"],
)
EVENTS_LOST = Counter(
    "qwen3_operator_events_lost_total",
    "Kubernetes Events that could not be posted.",
)
CACHED_OBJECTS = Gauge("qwen3_operator_cached_objects", "Objects in the cache.", ["kind"])
WATCH_EVENTS = Counter(
    "qwen3_operator_watch_events_total", "Watch events by kind and type.", ["kind", "type"]
)
RESYNC_REPAIRS = Counter(
    "qwen3_operator_resync_repairs_total",
    "Differences between cache and API server repaired by the periodic LIST.",
    ["kind", "repair"],
)
RESYNC_ERRORS = Counter(
    "qwen3_operator_resync_errors_total", "Periodic LISTs that failed.", ["kind", "reason"]
)
QUEUE_DEPTH = Gauge("qwen3_operator_queue_depth", "Keys ready for a worker.")
QUEUE_DELAYED = Gauge("qwen3_operator_queue_delayed", "Keys scheduled for later.")
QUEUE_SECONDS = Histogram(
    "qwen3_operator_queue_wait_seconds",
    "Time from a key being ready to its worker starting.",
    ["priority"],
    buckets=FAST_BUCKETS,
)
RECONCILE_SECONDS = Histogram(
    "qwen3_operator_reconcile_seconds",
    "Duration of one reconcile.",
    ["kind"],
    buckets=FAST_BUCKETS,
)
RECONCILES = Counter(
    "qwen3_operator_reconciles_total", "Reconciles by outcome.", ["kind", "outcome"]
)
LEADER = Gauge("qwen3_operator_leader", "1 while this process holds the lease.")
LOOP_LAG = Gauge("qwen3_operator_loop_lag_seconds", "Maximum recent delay of the event loop.")
