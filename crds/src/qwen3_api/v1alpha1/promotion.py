"""How a fine-tune gets from a stored adapter to its public name: evaluation, gates, promotion."""

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
    """What a new revision is asked before it may serve. An edit of it never trains again."""

    suites: Suites
    """suites of questions."""
    gates: Gates = []
    """gates that must all pass. Baselines are `base` and `incumbent`, the revision that serves; a
    gate against the incumbent is left out while nothing serves."""
    holdout: HoldoutSpec | None = None
    """holdout: how the questions are kept apart from training."""
    runner: RunnerSpec = RunnerSpec()
    """runner: the Job that asks."""

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
    """Who lets a revision serve."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class OnFailure(StrEnum):
    """What becomes of a refused candidate. The incumbent serves on either way."""

    KEEP_INCUMBENT = "KeepIncumbent"
    HOLD = "Hold"


class ForceSpec(KubeModel):
    """A promotion against the verdict, on the record."""

    revision: RevisionId
    """revision to promote whatever its evaluation says."""
    reason: Annotated[str, Field(min_length=10, max_length=512)]
    """reason, for the history and the event."""


class PromotionSpec(KubeModel):
    """When a revision gets the public name. An edit of it never trains again."""

    strategy: Strategy = Strategy.AUTOMATIC
    """strategy: Automatic as soon as the gates pass, Manual when approvedRevision names it too."""
    on_failure: OnFailure = OnFailure.KEEP_INCUMBENT
    """onFailure: KeepIncumbent unloads a refused candidate, Hold keeps it loaded under its
    immutable id for people to ask."""
    approved_revision: RevisionId | None = None
    """approvedRevision with strategy Manual: the revision that may serve (a commit in Git)."""
    rollback_to: RevisionId | None = None
    """rollbackTo an earlier revision of status.revisions: it serves for as long as this is set, and
    no other is promoted."""
    force: ForceSpec | None = None
    """force a revision past its gates."""
    keep_previous_seconds: Annotated[int, Field(ge=0, le=604_800)] = 600
    """keepPreviousSeconds: how long the replaced revision stays loaded, ready for a rollback."""

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
    """What happened to a revision."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    FORCED = "Forced"
    REFUSED = "Refused"


class HistoryEntry(StatusModel):
    """One move of the public name, or a refusal to move it."""

    time: Timestamp
    """time of the move."""
    action: Move
    """action: Promoted, RolledBack, Forced or Refused."""
    revision: ShortText
    """revision that it is about."""
    previous_revision: ShortText | None = None
    """previousRevision that served before."""
    eval_name: ShortText | None = None
    """evalName of the Qwen3Eval behind it."""
    message: Message = ""
    """message says why."""


class EvaluationStatus(StatusModel):
    """How the candidate did."""

    eval_name: DnsLabel
    """evalName of the Qwen3Eval."""
    revision: ShortText
    """revision that was asked."""
    verdict: ShortText | None = None
    """verdict: Passed, Failed, Inconclusive, Completed (no gates) or Error; none while it runs."""
    score: ShortText | None = None
    """score of the first suite's first metric."""
    baseline_score: ShortText | None = None
    """baselineScore: the same of the base model."""
    incumbent_score: ShortText | None = None
    """incumbentScore: the same of the revision that serves."""
    leaked_questions: int | None = None
    """leakedQuestions: how many questions are in the training data; none until they were looked
    for."""
    message: Message = ""
    """message names the gates that did not pass."""
    report_uri: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="reportURI"
    )
    """reportURI of the report in the bucket."""
