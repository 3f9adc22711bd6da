"""The chain of checks that sums a fine-tune up: what comes before what."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import ServingStatus
from qwen3_operator.finetune.actions import ExportPlan, ServingPlan, TrainingPlan
from qwen3_operator.finetune.assessment import Assessment, summarise
from qwen3_operator.finetune.recall import Recalled
from qwen3_operator.finetune.views import Observed
from qwen3_operator.resources.summary import Explanation, Progress
from support.operator_world import SETTINGS, build_finetune, storage_of

BLOCKED = FailureStatus.of(Reason.INVALID_SPEC, "blocked", "Correct it.")
REFUSED = FailureStatus.of(Reason.STORAGE_DENIED, "refused", "Allow it.")
WARNING = FailureStatus.of(Reason.UNSCHEDULABLE, "no node", "Wait.")
TRAINING = TrainingPlan(Reason.TRAINING, "step 1")
TRAINED = TrainingPlan(Reason.COMMITTED, "trained", committed=True)
PLANNED = TrainingPlan(Reason.PLANNED, "planned", planned=True)
EXPORTING = ExportPlan(Reason.EXPORTING, "exporting")
SERVED = ServingPlan(
    Reason.SERVED,
    "answers",
    ready=True,
    served=True,
    served_message="answers",
    status=ServingStatus(revision="r1", loaded_replicas=2, desired_replicas=2),
)
SCALING = replace(
    SERVED,
    reason=Reason.POOL_SCALING,
    message="1 of 2 pods",
    ready=False,
    status=SERVED.status.model_copy(update={"loaded_replicas": 1}),
)
UNVERIFIED, VERIFIED = Observed(), Observed(verified=True)
UNREAD = {
    "problem": REFUSED,
    "observed": Observed(storage_problem=REFUSED),
    "training": replace(TRAINING, reason=Reason.STORAGE_DENIED, problem=REFUSED),
}
DONE = Assessment(
    revision="r1",
    problem=None,
    storage=storage_of(build_finetune()),
    training=TRAINED,
    serving=SERVED,
    export=None,
    observed=VERIFIED,
    settings=SETTINGS,
    recalled=Recalled(current=True),
)
KNOWN = Recalled(current=True, committed=True, stored=True)
NONE, RECONCILING, STALLED = Progress.NONE, Progress.RECONCILING, Progress.STALLED


@pytest.mark.parametrize(
    ("change", "ready", "reason", "progress", "message"),
    [
        ({}, True, "Served", NONE, "answers"),
        ({"serving": SCALING}, False, "PoolScaling", RECONCILING, "1 of 2 pods"),
        (
            {"serving": replace(SCALING, reason=Reason.AWAITING_APPROVAL, by_person=True)},
            False, "AwaitingApproval", NONE, "1 of 2 pods",
        ),
        (
            {"serving": None},
            True, "Trained", NONE, "the adapter is stored; serving wasn't requested",
        ),
        # An export holds Ready back, unless pods do.
        ({"export": EXPORTING}, False, "Exporting", RECONCILING, "exporting"),
        (
            {"export": replace(EXPORTING, warning=WARNING)},
            False, "Exporting", RECONCILING, "no node. Wait.",
        ),
        ({"export": EXPORTING, "serving": None}, False, "Exporting", RECONCILING, "exporting"),
        (
            {"export": EXPORTING, "serving": SCALING},
            False, "PoolScaling", RECONCILING, "1 of 2 pods",
        ),
        ({"export": replace(EXPORTING, done=True)}, True, "Served", NONE, "answers"),
        # Files before what needs them, the commit before its files.
        (
            {"observed": UNVERIFIED, "export": EXPORTING},
            False, "Verifying", RECONCILING, "the committed files are being verified",
        ),
        ({"training": TRAINING, "observed": UNVERIFIED}, False, "Training", RECONCILING, "step 1"),
        (
            {"training": replace(TRAINING, warning=WARNING)},
            False, "Training", RECONCILING, "no node. Wait.",
        ),
        (
            {"training": replace(TRAINING, reason=Reason.SUSPENDED)},
            False, "Suspended", NONE, "step 1",
        ),
        # A plan has no commit and waits for none.
        ({"training": PLANNED, "observed": UNVERIFIED}, True, "Planned", NONE, "planned"),
        # A problem comes first, that of the earliest stage.
        (
            {"problem": BLOCKED, "training": replace(PLANNED, problem=WARNING)},
            False, "InvalidSpec", STALLED, "blocked. Correct it.",
        ),
        (
            {"training": replace(TRAINING, problem=BLOCKED), "export": EXPORTING},
            False, "InvalidSpec", STALLED, "blocked. Correct it.",
        ),
        (
            {"export": replace(EXPORTING, problem=BLOCKED)},
            False, "InvalidSpec", STALLED, "blocked. Correct it.",
        ),
        (
            {
                "serving": replace(SERVED, problem=BLOCKED),
                "export": replace(EXPORTING, problem=WARNING),
            },
            False, "InvalidSpec", STALLED, "blocked. Correct it.",
        ),
        (UNREAD, False, "StorageDenied", STALLED, "refused. Allow it."),
        # Except a store that refuses when nothing is left to be done.
        (UNREAD | {"recalled": KNOWN}, True, "Served", NONE, "answers; refused"),
        (
            UNREAD | {"recalled": replace(KNOWN, exported=False)},
            False, "StorageDenied", STALLED, "refused. Allow it.",
        ),
    ],
)  # fmt: skip
def test_the_first_check_that_finds_something_sums_up(
    change: dict[str, Any], ready: bool, reason: str, progress: Progress, message: str
) -> None:
    found = summarise(replace(DONE, **change))
    assert (found.ready, found.reason, found.progress) == (ready, reason, progress)
    assert found.message == message


OLDER = SCALING.status.model_copy(update={"revision": "r0"})


@pytest.mark.parametrize(
    ("change", "degraded"),
    [
        ({}, None),
        ({"serving": SCALING}, Explanation(Reason.POOL_SCALING, "1 of 2 pods serve it")),
        ({"serving": replace(SCALING, served=False)}, None),
        (
            {"serving": replace(SCALING, status=OLDER)},
            Explanation(Reason.OLDER_REVISION, "revision r0 is in service instead of r1"),
        ),
        (UNREAD, None),
        (UNREAD | {"recalled": KNOWN}, Explanation(Reason.STORAGE_DENIED, "refused. Allow it.")),
        # What else stops it doesn't hide that it serves less than asked.
        (
            {"problem": BLOCKED, "serving": SCALING},
            Explanation(Reason.POOL_SCALING, "1 of 2 pods serve it"),
        ),
    ],
)
def test_what_serves_less_than_asked_is_degraded(
    change: dict[str, Any], degraded: Explanation | None
) -> None:
    assert summarise(replace(DONE, **change)).degraded == degraded


def test_a_store_that_refuses_is_the_headline_of_what_serves() -> None:
    assert summarise(replace(DONE, **UNREAD, recalled=KNOWN)).stage == "StorageDenied"


def test_every_assessment_is_summed_up() -> None:
    for training, serving, export, observed, problem, recalled in product(
        (TRAINING, TRAINED, PLANNED),
        (None, SERVED, SCALING),
        (None, EXPORTING, replace(EXPORTING, done=True)),
        (UNVERIFIED, VERIFIED, Observed(storage_problem=REFUSED)),
        (None, BLOCKED, REFUSED),
        (Recalled(current=False), KNOWN),
    ):
        found = summarise(
            replace(
                DONE,
                training=training,
                serving=serving,
                export=export,
                observed=observed,
                problem=problem,
                recalled=recalled,
            )
        )
        assert not (found.ready and found.progress is not NONE)
