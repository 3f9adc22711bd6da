"""The assessment of one fine-tune: the facts and decisions, and the summary of them. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.finetune.actions import ExportPlan, ServingPlan, TrainingPlan
from qwen3_operator.finetune.recall import Recalled
from qwen3_operator.finetune.views import Observed
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.summary import Explanation, Progress, Summary
from qwen3_operator.settings import Settings


@dataclass(frozen=True)
class Assessment:
    """Everything that was found and decided about one fine-tune."""

    revision: str
    problem: FailureStatus | None
    storage: StorageTarget | None
    training: TrainingPlan
    serving: ServingPlan | None
    export: ExportPlan | None
    observed: Observed
    settings: Settings
    recalled: Recalled

    @property
    def refused(self) -> bool:
        """The store refuses the operator, and that is the only problem."""
        return self.problem is not None and self.problem == self.observed.storage_problem

    @property
    def settled(self) -> bool:
        """The store refuses, and nothing is left to be done: earlier reads found every result of
        this spec, and the sidecars confirm what serves."""
        known = self.recalled
        return (
            self.refused
            and self.serving is not None
            and self.serving.ready
            and known.stored
            and known.exported is not False
            and known.failure is None
        )

    @property
    def recorded_failure(self) -> FailureStatus | None:
        """The failure of a run that status recorded before the bucket became unreadable."""
        unread = self.refused or self.storage is None
        return self.recalled.failure if unread else None

    @property
    def blocking_problem(self) -> FailureStatus | None:
        """The problem that has to be fixed before anything continues, of the earliest stage."""
        if self.settled:
            return None
        if self.recorded_failure is not None:
            return self.recorded_failure
        return (
            self.problem
            or self.training.problem
            or (self.serving.problem if self.serving else None)
            or (self.export.problem if self.export else None)
        )

    @property
    def warning(self) -> FailureStatus | None:
        """A problem that stops nothing: a pod can't start for now, or the store refuses."""
        if self.settled:
            return self.problem
        return self.training.warning or (self.export.warning if self.export else None)


def check_blocked(a: Assessment) -> Summary | None:
    """A user or the platform team has to act."""
    problem = a.blocking_problem
    if problem is None:
        return None
    return Summary(False, problem.reason, problem.advice, Progress.STALLED)


def check_settled(a: Assessment) -> Summary | None:
    """The store refuses, but everything is done and the sidecars confirm it."""
    if not a.settled or a.serving is None or a.problem is None:
        return None
    message = f"{a.serving.message}; {a.problem.message}"
    return Summary(True, a.serving.reason, message, headline=str(a.problem.reason))


def check_planned(a: Assessment) -> Summary | None:
    """mode Plan: the preflight was all that was asked for."""
    if not a.training.planned:
        return None
    return Summary(True, a.training.reason, a.training.message)


def check_training(a: Assessment) -> Summary | None:
    """The adapter isn't there yet."""
    training = a.training
    if training.committed:
        return None
    message = training.warning.advice if training.warning is not None else training.message
    suspended = training.reason is Reason.SUSPENDED
    progress = Progress.NONE if suspended else Progress.RECONCILING
    return Summary(False, training.reason, message, progress)


def check_verified(a: Assessment) -> Summary | None:
    """The adapter is committed, but its files weren't compared with the commit yet."""
    if a.observed.verified:
        return None
    message = "the committed files are being verified"
    return Summary(False, Reason.VERIFYING, message, Progress.RECONCILING)


def check_exported(a: Assessment) -> Summary | None:
    """Only the export is missing: whatever else moves is reported first."""
    export = a.export
    if export is None or export.done or (a.serving is not None and not a.serving.ready):
        return None
    message = export.warning.advice if export.warning is not None else export.message
    return Summary(False, export.reason, message, Progress.RECONCILING)


def check_unserved(a: Assessment) -> Summary | None:
    """An adapter in the bucket is all that was asked for."""
    if a.serving is not None:
        return None
    return Summary(True, Reason.TRAINED, "the adapter is stored; serving wasn't requested")


def check_served(a: Assessment) -> Summary | None:
    """Ready when the pods answer from the revision that they must answer from."""
    serving = a.serving
    if serving is None:
        return None
    waits = serving.ready or serving.by_person
    progress = Progress.NONE if waits else Progress.RECONCILING
    return Summary(serving.ready, serving.reason, serving.message, progress)


CHECKS: tuple[Callable[[Assessment], Summary | None], ...] = (
    # Before any progress: a stage may look busy beside the problem that it can't get past.
    check_blocked,
    # The one problem that doesn't block; without the bucket the stages below know nothing.
    check_settled,
    # Has no commit and never will: before the check that waits for one.
    check_planned,
    # From here in the order of a run: what a stage needs is reported before the stage.
    check_training,
    check_verified,
    # Before serving, because it holds Ready back when all pods answer already; it steps back itself
    # while they don't.
    check_exported,
    check_unserved,
    # Always decides when it is reached.
    check_served,
)


def degraded_unreadable(a: Assessment) -> Explanation | None:
    """The store refuses, while what serves is as asked for."""
    if not a.settled or a.problem is None:
        return None
    return Explanation(a.problem.reason, a.problem.advice)


def degraded_older(a: Assessment) -> Explanation | None:
    """Another revision than that of the spec answers."""
    status = a.serving.status if a.serving is not None else None
    if status is None or status.revision == a.revision:
        return None
    message = f"revision {status.revision} is in service instead of {a.revision}"
    return Explanation(Reason.OLDER_REVISION, message)


def degraded_scaling(a: Assessment) -> Explanation | None:
    """Fewer pods answer than the spec asks for."""
    status = a.serving.status if a.serving is not None else None
    if status is None or status.loaded_replicas >= status.desired_replicas:
        return None
    message = f"{status.loaded_replicas} of {status.desired_replicas} pods serve it"
    return Explanation(Reason.POOL_SCALING, message)


def summarise(a: Assessment) -> Summary:
    """The first check that has something to say, with what is degraded beside it."""
    summary = next(found for check in CHECKS if (found := check(a)) is not None)
    return replace(summary, degraded=find_degraded(a))


def find_degraded(a: Assessment) -> Explanation | None:
    """The shortfall of serving, while something serves."""
    serving = a.serving
    if serving is None:
        return None
    if serving.ready:
        return degraded_unreadable(a)
    return (degraded_older(a) or degraded_scaling(a)) if serving.served else None
