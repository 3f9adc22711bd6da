"""Lines of the result file."""

import itertools
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.train.configurations import WARM_UP, Configuration

System = Literal["product", "TRL + PEFT"]


@dataclass(frozen=True)
class Machine:
    """Where and with what it was measured."""

    date: str
    card: str
    memory_mib: int
    driver: str
    python: str
    commit: str
    versions: dict[str, str]
    defaults: bool = False
    """The planner's own choices were run, without TRL + PEFT."""

    @property
    def product(self) -> str:
        """The card's node label, nvidia.com/gpu.product."""
        return self.card.replace(" ", "-")


@dataclass(frozen=True)
class Phase:
    """Loading or training: how long, and the peaks in bytes; 0 on the CPU."""

    seconds: float
    allocated: int
    reserved: int
    context: int
    """In use on the card at its end beyond what PyTorch reserves then."""


@dataclass(frozen=True)
class StepEnd:
    """When the loss of a step is there."""

    at: float
    """time.monotonic()."""
    loss: float
    tokens: int
    """Of this step and all before it, without padding."""


@dataclass(frozen=True)
class Run:
    """One training that went through its steps. Bytes; 0 on the CPU."""

    system: System
    configuration: Configuration
    load_seconds: float
    train_seconds: float
    step_seconds: list[float]
    """Of each step but the first, which has no step before it."""
    losses: list[float]
    """Of each step."""
    allocated: int
    """torch.cuda.max_memory_allocated of the training."""
    reserved: int
    """torch.cuda.max_memory_reserved of the training."""
    load_reserved: int
    """The same while loading the model."""
    before: int
    """Allocated before the model was loaded: what earlier runs left behind."""
    context: int
    """In use on the card beyond what PyTorch reserves."""
    tokens: list[int] = field(default_factory=list)
    """Of each step but the first, without padding; the trainer's count."""

    @classmethod
    def of(
        cls,
        system: System,
        configuration: Configuration,
        *,
        loading: Phase,
        training: Phase,
        steps: list[StepEnd],
        before: int,
    ) -> "Run":
        """`before` as below."""
        return cls(
            system=system,
            configuration=configuration,
            load_seconds=round(loading.seconds, 2),
            train_seconds=round(training.seconds, 2),
            step_seconds=[round(b.at - a.at, 4) for a, b in itertools.pairwise(steps)],
            losses=[step.loss for step in steps],
            tokens=[b.tokens - a.tokens for a, b in itertools.pairwise(steps)],
            allocated=training.allocated,
            reserved=training.reserved,
            load_reserved=loading.reserved,
            before=before,
            context=training.context,
        )

    @property
    def steady_step_seconds(self) -> float:
        """Median of the steps after the warm-up."""
        return median(self.step_seconds[WARM_UP - 1 :])

    @property
    def tokens_per_second(self) -> float:
        """Median of the steps after the warm-up; padding doesn't count."""
        if self.configuration.shortest is None:
            return self.tokens_per_step / self.steady_step_seconds
        rates = [n / s for n, s in zip(self.tokens, self.step_seconds, strict=True)]
        return median(rates[WARM_UP - 1 :])

    @property
    def tokens_per_step(self) -> int:
        """Of full rows; a row of DPO has two sequences."""
        c = self.configuration
        sequences = 2 if c.method == "DPO" else 1
        return c.micro_batch_size * c.accumulation * c.tokens * sequences


@dataclass(frozen=True)
class Failure:
    """One training that did not."""

    system: System
    configuration: Configuration
    error: str


@dataclass
class Results:
    """All lines of a file."""

    machine: Machine | None = None
    runs: list[Run] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


KINDS: dict[str, type[Machine] | type[Run] | type[Failure]] = {
    "machine": Machine,
    "run": Run,
    "failure": Failure,
}


def append(path: Path, line: Machine | Run | Failure) -> None:
    """Adds a line that survives whatever happens to this process next."""
    kind = next(name for name, type_ in KINDS.items() if isinstance(line, type_))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": kind, **asdict(line)}) + "\n")


def read(path: Path) -> Results:
    """The lines of a file. Raises KeyError for a line of another kind."""
    results = Results()
    if not path.exists():
        return results
    for text in path.read_text(encoding="utf-8").splitlines():
        values: dict[str, Any] = json.loads(text)
        kind = KINDS[values.pop("kind")]
        if "configuration" in values:
            values["configuration"] = Configuration(**values["configuration"])
        line = kind(**values)
        if isinstance(line, Machine):
            results.machine = line
        elif isinstance(line, Run):
            results.runs.append(line)
        else:
            results.failures.append(line)
    return results
