"""What `weave.scorers` has, and whether our way of asking a scorer goes through its op. Run by a
Python that has Weave.

Writes `{"all": [class, …], "traced": [by the op, by us]}` to
standard output.
"""

import json
import sys
from typing import Any

import weave.scorers
import weave.trace.op
from weave.scorers import ValidJSONScorer

from qwen3_evaluator.weave.process import Scorers
from qwen3_evaluator.weave.wire import Score, Scored


def count_ops() -> list[int]:
    """How often an op asked whether it is to be traced: when it was called, and by our scorers."""
    asked: list[None] = []
    ours = weave.trace.op.is_tracing_setting_disabled

    def ask() -> Any:
        asked.append(None)
        return ours()

    weave.trace.op.is_tracing_setting_disabled = ask
    ValidJSONScorer().score(output="{}")
    by_op = len(asked)
    request = Score(scorers=["ValidJSONScorer"], fields=[], answer="{}", expected="")
    assert Scorers().reply(request) == Scored(scores={"ValidJSONScorer": 1.0})
    return [by_op, len(asked) - by_op]


json.dump({"all": weave.scorers.__all__, "traced": count_ops()}, sys.stdout)
