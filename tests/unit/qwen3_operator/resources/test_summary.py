"""The four conditions that sum an object up are written together."""

from dataclasses import replace

import pytest

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_operator.resources.conditions import Conditions, find
from qwen3_operator.resources.summary import (
    Explanation,
    Progress,
    Summary,
    recall_degraded,
    write_summary,
)
from support.operator_world import NOW

OLDER = Explanation(Reason.OLDER_REVISION, "revision a serves")


def written(*summaries: Summary) -> dict[str, tuple[str, str, str]]:
    """Status, reason and message by type, after the summaries were written one over the other."""
    conditions = Conditions((), 1, NOW)
    for summary in summaries:
        write_summary(conditions, summary)
    return {c.type: (c.status, c.reason, c.message) for c in conditions.to_list()}


@pytest.mark.parametrize(
    ("progress", "other"),
    [(Progress.NONE, None), (Progress.RECONCILING, "Reconciling"), (Progress.STALLED, "Stalled")],
)
@pytest.mark.parametrize("before", list(Progress))
def test_a_summary_replaces_the_one_before(
    progress: Progress, other: str | None, before: Progress
) -> None:
    last = Summary(False, Reason.TRAINING, "step 1", progress)
    found = written(Summary(False, "Other", "x", before, degraded=OLDER), last)
    told = ("False", "Training", "step 1")
    assert found == {"Ready": told} | ({other: ("True", *told[1:])} if other else {})


def test_what_holds_it_up_may_have_a_reason_of_its_own() -> None:
    summary = Summary(
        False, Reason.DELETING, "x", Progress.STALLED, Explanation("AccessDenied", "y"), OLDER
    )
    assert written(summary) == {
        "Ready": ("False", "Deleting", "x"),
        "Stalled": ("True", "AccessDenied", "y"),
        "Degraded": ("True", "OlderRevision", "revision a serves"),
    }
    assert summary.stage == "Deleting"
    assert replace(summary, headline="StorageUnavailable").stage == "StorageUnavailable"


def test_degraded_is_recalled_from_what_was_written() -> None:
    conditions = Conditions((), 1, NOW)
    assert recall_degraded(conditions.to_list()) is None
    write_summary(conditions, Summary(True, Reason.SERVED, "x", degraded=OLDER))
    assert find(conditions.to_list(), ConditionType.DEGRADED) is not None
    assert recall_degraded(conditions.to_list()) == OLDER
