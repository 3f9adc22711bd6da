"""Scores by classes of `weave.scorers`, from a process of its own that has no key and no way out.

An evaluation without them never starts it, so it never imports Weave.
"""

from qwen3_api.job.evaluate import EvalSample, EvalSuite
from qwen3_api.metrics import OF_WEAVE
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.weave_wire import REPLY, Refused, Score, Scored
from qwen3_evaluator.worker import Worker

SCORE_SECONDS = 180
"""For one answer and, before the first, the import of Weave."""
_SILENT = {
    # No op is traced, no client is made.
    "WEAVE_DISABLED": "true",
    "WEAVE_IMPLICITLY_PATCH_INTEGRATIONS": "false",
    # Sentry is set up by the import.
    "WANDB_ERROR_REPORTING": "false",
    "OTEL_SDK_DISABLED": "true",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
}


class WeaveScorers(Worker[Scored | Refused]):
    """Scorers in their process."""

    def __init__(self) -> None:
        super().__init__("Weave scorers'", "qwen3_evaluator.weave_process", REPLY, _SILENT)

    async def score(self, suite: EvalSuite, sample: EvalSample) -> EvalSample:
        """The sample with the scores of the suite's scorers; as it is if the suite has none.

        Raises FailureError: a scorer failed on the answer; the process ended.
        """
        scorers = [name for name in OF_WEAVE if name in suite.metrics]
        if not scorers:
            return sample
        request = Score(
            scorers=scorers,
            fields=suite.pydantic_fields,
            answer=sample.answer or "",
            expected=sample.expected,
        )
        reply = await self.ask(request, SCORE_SECONDS)
        if isinstance(reply, Refused):
            raise FailureError(
                Reason.EVALUATOR_FAILED,
                f"suite {suite.name}, line {sample.line}, model {sample.model}: "
                f"{reply.scorer} of weave.scorers failed: {reply.complaint}",
                hint=f"Leave {reply.scorer} out of questions.weave.scorers in another evaluation; "
                "the metrics JSONValid and RegexMatch count whatever they can't read as wrong.",
            )
        return sample.model_copy(update={"scores": {**sample.scores, **reply.scores}})
