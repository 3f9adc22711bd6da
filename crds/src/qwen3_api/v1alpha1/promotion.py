"""From a stored adapter to its public name: evaluation, gates, promotion."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.v1alpha1.holdout import HoldoutSpec
from qwen3_api.v1alpha1.meta import (
    DnsLabel,
    KubeModel,
    Message,
    Rule,
    ShortText,
    StatusModel,
    Timestamp,
)
from qwen3_api.v1alpha1.suites import GATES_MEASURED, Gates, RunnerSpec, Suites

RevisionId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", max_length=8)]
BASE, INCUMBENT = "base", "incumbent"
"""Names of the baselines of a fine-tune's evaluation."""


class EvaluationSpec(KubeModel):
    """Evaluation of a new revision before its promotion. A change of it never retrains."""

    suites: Suites
    """suites of questions."""
    gates: Gates = []
    """gates that must all pass. Baselines are `base` and `incumbent`, the revision in service; a
    gate against the incumbent is skipped while nothing is served."""
    holdout: HoldoutSpec | None = None
    """holdout: how the questions are kept separate from the training data."""
    runner: RunnerSpec = RunnerSpec()
    """runner: the Job that runs the evaluation."""

    rules: ClassVar[tuple[Rule, ...]] = (
        GATES_MEASURED,
        Rule(
            cel="self.gates.all(g, !has(g.baseline) || g.baseline in ['base', 'incumbent'])",
            message="gates[].baseline is base or incumbent",
            check=lambda m: all(g.baseline in (None, BASE, INCUMBENT) for g in m.gates),
            field_path=".gates",
        ),
    )


class Strategy(StrEnum):
    """Who approves a promotion."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class OnFailure(StrEnum):
    """Handling of a rejected candidate. The incumbent stays in service either way."""

    KEEP_INCUMBENT = "KeepIncumbent"
    HOLD = "Hold"


class ForceSpec(KubeModel):
    """A recorded promotion against the verdict."""

    revision: RevisionId
    """revision to promote regardless of its evaluation."""
    reason: Annotated[str, Field(min_length=10, max_length=512)]
    """reason, for the history and the event."""


class PromotionSpec(KubeModel):
    """When a revision gets the public name. A change of it never retrains."""

    strategy: Strategy = Strategy.AUTOMATIC
    """strategy: Automatic promotes as soon as the gates pass; Manual also requires
    approvedRevision."""
    on_failure: OnFailure = OnFailure.KEEP_INCUMBENT
    """onFailure: KeepIncumbent unloads a rejected candidate; Hold keeps it loaded under its
    immutable id, so that users can query it."""
    approved_revision: RevisionId | None = None
    """approvedRevision with strategy Manual: the revision that may be promoted (a commit in
    Git)."""
    rollback_to: RevisionId | None = None
    """rollbackTo an earlier revision of status.revisions: it is served for as long as this is set,
    and no other revision is promoted."""
    force: ForceSpec | None = None
    """force the promotion of a revision, regardless of its gates."""
    keep_previous_seconds: Annotated[int, Field(ge=0, le=604_800)] = 600
    """keepPreviousSeconds: how long the replaced revision stays loaded for a rollback."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.approvedRevision) || self.strategy == 'Manual'",
            message="approvedRevision goes with strategy Manual only",
            check=lambda m: m.approved_revision is None or m.strategy is Strategy.MANUAL,
            field_path=".approvedRevision",
        ),
        Rule(
            cel="!(has(self.force) && has(self.rollbackTo))",
            message="set either force or rollbackTo, not both",
            check=lambda m: m.force is None or m.rollback_to is None,
            field_path=".force",
        ),
    )


class Move(StrEnum):
    """Kind of history entry."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    FORCED = "Forced"
    REFUSED = "Refused"


class HistoryEntry(StatusModel):
    """One switch of the public name, or a rejection."""

    time: Timestamp
    """time of the entry."""
    action: Move
    """action: Promoted, RolledBack, Forced or Refused."""
    revision: ShortText
    """revision of the entry."""
    previous_revision: ShortText | None = None
    """previousRevision that served before."""
    eval_name: ShortText | None = None
    """evalName of the Qwen3Eval behind it."""
    message: Message = ""
    """message says why."""


class EvaluationStatus(StatusModel):
    """Evaluation of the candidate."""

    eval_name: DnsLabel
    """evalName of the Qwen3Eval."""
    revision: ShortText
    """revision that was evaluated."""
    verdict: ShortText | None = None
    """verdict: Passed, Failed, Inconclusive, Completed (no gates) or Error; unset while it runs."""
    score: ShortText | None = None
    """score of the first suite's first metric."""
    baseline_score: ShortText | None = None
    """baselineScore: the same metric for the base model."""
    incumbent_score: ShortText | None = None
    """incumbentScore: the same metric for the revision in service."""
    leaked_questions: int | None = None
    """leakedQuestions: number of questions in the training data; unset before the comparison."""
    message: Message = ""
    """message names the gates that didn't pass."""
    report_uri: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="reportURI"
    )
    """reportURI of the report in the bucket."""
