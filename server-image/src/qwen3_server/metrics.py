"""Prometheus metrics of the agent, on a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class AgentMetrics:
    """What `GET /metrics` of the agent shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.loads = Counter(
            "qwen3_agent_loads", "Adapters loaded into vLLM and proved", registry=self.registry
        )
        self.failures = Counter(
            "qwen3_agent_failures",
            "Attempts to pull, verify or load an adapter that failed",
            ["reason"],
            registry=self.registry,
        )
        self.load_seconds = Histogram(
            "qwen3_agent_bring_up_seconds",
            "Time from the start of a pull to the proof",
            buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120),
            registry=self.registry,
        )
        self.adapters = Gauge(
            "qwen3_agent_adapters", "Adapters of the index", ["state"], registry=self.registry
        )
        self.serial = Gauge(
            "qwen3_agent_index_serial", "Serial of the index applied", registry=self.registry
        )
        self.index_errors = Counter(
            "qwen3_agent_index_errors",
            "Polls of the index that failed or brought a useless one",
            ["reason"],
            registry=self.registry,
        )
        self.engine_starts = Counter(
            "qwen3_agent_vllm_starts",
            "vLLM processes seen; more than one is a restart",
            registry=self.registry,
        )
        self.loop_errors = Counter(
            "qwen3_agent_loop_errors",
            "Rounds of the loop that ended by an unexpected error",
            registry=self.registry,
        )
