"""What the steps of one attempt share."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from qwen3_api.job import layout
from qwen3_api.job.base import Document
from qwen3_api.job.report import Sizing
from qwen3_api.job.train import TrainJob
from qwen3_trainer.environment import Paths
from qwen3_trainer.guards import Budget, GpuMeter
from qwen3_trainer.ladder import sizing_of
from qwen3_trainer.progress import now
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.store import Bucket, Buckets
from qwen3_trainer.worker.messages import Message
from qwen3_trainer.workers import OnMessage, Watch, run_worker


@dataclass
class Attempt:
    """An order, where it runs, and how far it has come."""

    job: TrainJob
    pod_uid: str
    paths: Paths
    shutdown: Shutdown
    environ: Mapping[str, str]
    buckets: Buckets = field(default_factory=Buckets)
    started: str = field(default_factory=now)
    step: int = 0
    total_steps: int | None = None
    longest_row: int | None = None
    """Tokens of the longest training row after cutting; None until a worker tells."""
    meter: GpuMeter = field(init=False)
    budget: Budget = field(init=False)
    sizing: Sizing = field(init=False)
    """In force; the order's until the memory ladder is climbed down."""
    adaptations: list[str] = field(default_factory=list)
    """A line for each rung, oldest first, those of earlier attempts included."""

    def __post_init__(self) -> None:
        self.meter = GpuMeter(self.job.gpus, time.monotonic())
        self.budget = Budget(self.meter, self.job.guards.max_gpu_seconds)
        self.sizing = sizing_of(self.job)

    @property
    def bucket(self) -> Bucket:
        """Where results go."""
        return self.buckets.at(self.job.output)

    @property
    def revision(self) -> str:
        """Key prefix of the revision."""
        return self.job.output.prefix

    @property
    def prefix(self) -> str:
        """Key prefix of the attempt."""
        return layout.attempt_prefix(self.revision, self.pod_uid)

    def gpu_time(self) -> dict[str, float]:
        """Fields of the progress that grow by themselves."""
        at = time.monotonic()
        return {
            "gpu_seconds": round(self.meter.attempt(at), 1),
            "revision_gpu_seconds": round(self.meter.revision(at), 1),
        }

    def run_worker(
        self,
        command: str,
        plan: Document,
        environment: Mapping[str, str],
        *,
        on_message: OnMessage = lambda _: None,
        watch: Watch | None = None,
        processes: int = 1,
    ) -> Message:
        """`workers.run_worker` in the attempt's folder."""
        return run_worker(
            command,
            plan,
            folder=self.paths.work,
            environment=environment,
            shutdown=self.shutdown,
            on_message=on_message,
            watch=watch,
            processes=processes,
        )
