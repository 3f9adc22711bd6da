"""When a run is given up although nothing has failed: a stall, the GPU budget, a lost optimum.

No clock and no process in here: moments come in as monotonic seconds, decisions go out.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from qwen3_api.job.train import TrainJob
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason

LOOK_SECONDS = 5.0
"""Longest time between two looks at the guards."""
BUDGET_WARNING = 0.8
"""Part of the budget after which a warning is logged."""
RESERVE_PART = 0.05
RESERVE_SECONDS = 60.0
"""What a checkpoint at the end of the budget may take: a part of the budget, at most so long."""
LOSS_WINDOW = 15
"""Logged losses behind one median: up to 7 of them may be spikes."""
LOSS_PATIENCE = 32
"""Medians in a row that have to be far above the best one."""


class GpuMeter:
    """GPU seconds: GPUs times wall-clock of this attempt, and those of the attempts before it."""

    def __init__(self, gpus: int, began: float, earlier: float = 0.0) -> None:
        self.gpus = gpus
        self.earlier = earlier
        self._began = began

    def attempt(self, at: float) -> float:
        """Of this attempt until a moment."""
        return self.gpus * max(0.0, at - self._began)

    def revision(self, at: float) -> float:
        """Of all attempts of the revision until a moment."""
        return self.earlier + self.attempt(at)


@dataclass(frozen=True)
class Pause:
    """What a look at the budget found."""

    stop: bool = False
    warn: bool = False


class Budget:
    """limits.maxGPUSeconds over all attempts. Without a limit, or without GPUs, it never ends."""

    def __init__(self, meter: GpuMeter, limit: int | None) -> None:
        self._meter = meter
        self.limit = limit if meter.gpus else None
        self._warned = False
        self._last: tuple[float, int] | None = None
        self._step_seconds = 0.0

    def observe(self, at: float, step: int) -> None:
        """A step was reached: how long the next one may take is learnt from it."""
        if self._last is not None and step > self._last[1]:
            self._step_seconds = (at - self._last[0]) / (step - self._last[1])
        self._last = (at, step)

    def look(self, at: float) -> Pause:
        """Whether to save and stop now, and whether this is the moment of the warning."""
        if self.limit is None:
            return Pause()
        used = self._meter.revision(at)
        warn = not self._warned and used >= BUDGET_WARNING * self.limit
        self._warned = self._warned or warn
        return Pause(stop=used >= self.limit - self._reserve(), warn=warn)

    def describe(self, at: float) -> str:
        """Used and allowed, in words."""
        return f"{self._meter.revision(at):.0f} of {self.limit} GPU seconds are used"

    def exhausted(self, at: float, step: int | None = None) -> FailureError:
        """BudgetExhausted with its hint."""
        return FailureError(
            Reason.BUDGET_EXHAUSTED,
            f"{self.describe(at)} by all attempts, those for the last checkpoint included",
            "Raise limits.maxGPUSeconds: the run resumes from its last checkpoint.",
            step,
        )

    def _reserve(self) -> float:
        """GPU seconds for the step under way and the checkpoint after it."""
        assert self.limit is not None  # noqa: S101  (asked only with a limit)
        saving = min(RESERVE_PART * self.limit, RESERVE_SECONDS * self._meter.gpus)
        return saving + self._step_seconds * self._meter.gpus


class StallWatch:
    """failurePolicy.stallTimeoutSeconds without a sign of a step; starting up gets as long."""

    def __init__(self, timeout: float, at: float) -> None:
        self._timeout = timeout
        self._last = at
        self._step: int | None = None

    def alive(self, at: float, step: int) -> None:
        """The loop has begun, made a step, saved or evaluated."""
        self._last, self._step = at, step

    def left(self, at: float) -> float:
        """Seconds until it is a stall."""
        return self._last + self._timeout - at

    def check(self, at: float) -> None:
        """Raises FailureError: StallDetected."""
        if self.left(at) > 0:
            return
        silent = at - self._last
        where = "before the first step" if self._step is None else f"after step {self._step}"
        raise FailureError(
            Reason.STALL_DETECTED,
            f"nothing happened for {silent:.0f} s {where}",
            "The next attempt resumes from the last checkpoint. If single steps or the start take "
            "so long, raise failurePolicy.stallTimeoutSeconds.",
            self._step,
        )


class Deadline:
    """failurePolicy.stallTimeoutSeconds for a worker that makes no steps, from start to end. As
    `workers.run_worker` looks at it."""

    def __init__(self, what: str, timeout: float, clock: Callable[[], float]) -> None:
        self._what = what
        self._timeout = timeout
        self._clock = clock
        self._ends = clock() + timeout

    def look(self, _stop: Callable[[], None], _warn: Callable[[str], None]) -> float:
        """Seconds until the next look. Raises FailureError: StallDetected."""
        left = self._ends - self._clock()
        if left <= 0:
            raise FailureError(
                Reason.STALL_DETECTED,
                f"{self._what} has not ended after {self._timeout:.0f} s",
                "The next attempt resumes from the last checkpoint. If it takes so long, raise "
                "failurePolicy.stallTimeoutSeconds.",
            )
        return min(LOOK_SECONDS, left)


class LossWatch:
    """Whether training has lost what it had learnt, by the logged losses. Pure but for its memory.

    Diverged: the median of the last LOSS_WINDOW losses was above 3 × best + 1 nat, LOSS_PATIENCE
    times in a row, where best is the lowest such median so far. The median doesn't see spikes. The
    factor leaves small losses room (0.05 → 1.15), the nat large ones (2.0 → 7.0, a perplexity of
    1,100 after one of 7): a run that is called diverged is worse than before it had learnt
    anything, and has been for a while. One that learns slowly, not at all, or comes back is left
    alone. After a resume the best is learnt anew: it may be told later, never wrongly.
    """

    def __init__(self, window: int = LOSS_WINDOW, patience: int = LOSS_PATIENCE) -> None:
        self._recent: deque[float] = deque(maxlen=window)
        self._patience = patience
        self._above = 0
        self.best: float | None = None
        self.current: float | None = None

    def observe(self, loss: float) -> bool:
        """Takes the next logged loss, in nats. True: diverged."""
        self._recent.append(loss)
        if len(self._recent) < (self._recent.maxlen or 0):
            return False
        self.current = median(self._recent)
        if self.best is None or self.current < self.best:
            self.best = self.current
        self._above = self._above + 1 if self.current > 3 * self.best + 1 else 0
        return self._above >= self._patience

    def diverged(self, step: int) -> FailureError:
        """LossDiverged with its hint."""
        return FailureError(
            Reason.LOSS_DIVERGED,
            f"the loss was {self.best:.3f} at best and has been around {self.current:.3f} for the "
            f"last {self._patience} logged windows (medians of {self._recent.maxlen})",
            "Lower hyperparameters.learningRate, or raise hyperparameters.warmupRatio.",
            step,
        )


class Guards:
    """The guards of one training worker, as `workers.run_worker` looks at them."""

    def __init__(self, job: TrainJob, budget: Budget, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._budget = budget
        self._stall = StallWatch(job.guards.stall_timeout_seconds, clock())
        self._losses = LossWatch()
        self._begun = False
        self.stopping = False
        """The worker was told to save and stop because the budget ends."""

    def alive(self, step: int, loss: float | None = None) -> None:
        """A sign of life from the loop. Raises FailureError: LossDiverged."""
        now = self._clock()
        self._begun = True
        self._stall.alive(now, step)
        self._budget.observe(now, step)
        if loss is not None and self._losses.observe(loss):
            raise self._losses.diverged(step)

    def look(self, stop: Callable[[], None], warn: Callable[[str], None]) -> float:
        """Calls `stop` at the end of the budget. Returns seconds until the next look.

        Raises FailureError: StallDetected, or BudgetExhausted before there is anything to save.
        """
        now = self._clock()
        self._stall.check(now)
        found = self._budget.look(now)
        if found.warn:
            warn(self._budget.describe(now))
        if found.stop and not self.stopping:
            if not self._begun:
                raise self._budget.exhausted(now)
            self.stopping = True
            stop()
        return max(0.0, min(LOOK_SECONDS, self._stall.left(now)))

    def exhausted(self, step: int | None) -> FailureError:
        """BudgetExhausted, after the worker has saved."""
        return self._budget.exhausted(self._clock(), step)
