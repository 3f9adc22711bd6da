"""Prometheus metrics of the agent, on a registry of their own."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from qwen3_api.serving.pool import AgentCanary


class CanaryCollector(Collector):
    """The gateway's counts of its canaries, as the agent read them last.

    No Counter of our own: these begin at zero and vanish with each canary.
    """

    def __init__(self) -> None:
        self._shown: Mapping[str, AgentCanary] = {}

    def show(self, canaries: Mapping[str, AgentCanary]) -> None:
        """Replace what is shown."""
        self._shown = canaries

    def collect(self) -> Iterable[Metric]:
        """At each scrape; `canary` is the id on both sides."""
        sides = ["alias", "canary", "side"]
        requests = CounterMetricFamily(
            "qwen3_agent_canary_requests",
            "Finished requests of a name that has a canary, by the side that answered",
            labels=sides,
        )
        errors = CounterMetricFamily(
            "qwen3_agent_canary_errors",
            "Of them: answered with 5xx or broken off by the server",
            labels=sides,
        )
        seconds = CounterMetricFamily(
            "qwen3_agent_canary_first_byte_seconds",
            "Sum over them of the time to the first byte of the answer",
            labels=sides,
        )
        weight = GaugeMetricFamily(
            "qwen3_agent_canary_weight_percent",
            "Requests of the name that go to the canary",
            labels=["alias", "canary"],
        )
        for alias, found in self._shown.items():
            weight.add_metric([alias, found.id], found.weight_percent)
            for side, traffic in (("canary", found.canary), ("stable", found.stable)):
                labels = [alias, found.id, side]
                requests.add_metric(labels, traffic.requests)
                errors.add_metric(labels, traffic.errors)
                seconds.add_metric(labels, traffic.seconds)
        return [requests, errors, seconds, weight]


class AgentMetrics:
    """What `GET /metrics` of the agent shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.loads = Counter(
            "qwen3_agent_loads",
            "Adapters loaded into vLLM that passed the smoke test",
            registry=self.registry,
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
        self.canaries = CanaryCollector()
        self.registry.register(self.canaries)
        self.loop_errors = Counter(
            "qwen3_agent_loop_errors",
            "Rounds of the loop that ended by an unexpected error",
            registry=self.registry,
        )
