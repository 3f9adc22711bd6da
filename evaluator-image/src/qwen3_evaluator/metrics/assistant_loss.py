"""AssistantLoss: from a server's log-probabilities to the loss of an expected answer. Pure."""

import math
from collections.abc import Mapping, Sequence

from qwen3_api.job.evaluate import EvalSample
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics.registry import reader


@reader(Metric.ASSISTANT_LOSS)
def read_loss(sample: EvalSample, _: str | None) -> float | None:
    """Nats per token of the expected answer."""
    if sample.loss is None or not sample.answer_tokens:
        return None
    return sample.loss / sample.answer_tokens


class UnscorableError(Exception):
    """The server's reply doesn't tell the answer's log-likelihood; the text says why."""


def compute_answer_loss(
    prompt_ids: Sequence[int],
    conversation_ids: Sequence[int],
    logprobs: Sequence[Mapping[str, Mapping[str, object]] | None],
) -> tuple[float, int]:
    """Sum of negative log-likelihoods of the answer's tokens in nats, and how many they are.

    prompt_ids: the prompt up to where the model would begin to answer.
    conversation_ids: the same with the answer, closed as the chat template closes a turn.
    logprobs: vLLM's `prompt_logprobs` of the conversation: an item per token, each a map from
      token id (as text) to `{"logprob": …}`; the first token has none.

    The answer is everything behind the prompt, so the closing `<|im_end|>` and newline count, as
    they do in training with assistant-only loss. Raises UnscorableError.
    """
    start = len(prompt_ids)
    if list(conversation_ids[:start]) != list(prompt_ids):
        at = next(
            (
                i
                for i, (a, b) in enumerate(zip(prompt_ids, conversation_ids, strict=False))
                if a != b
            ),
            len(conversation_ids),
        )
        raise UnscorableError(
            "the prompt is not a prefix of prompt and answer: they part at token "
            f"{at} of {start}, so the answer's tokens can't be separated from the prompt's"
        )
    if len(logprobs) != len(conversation_ids):
        raise UnscorableError(
            f"the server gave {len(logprobs)} log-probabilities for {len(conversation_ids)} tokens"
        )
    answer = list(zip(conversation_ids, logprobs, strict=True))[start:]
    if not answer:
        raise UnscorableError("the answer has no tokens")
    return -math.fsum(_logprob(token, position) for token, position in answer), len(answer)


def _logprob(token: int, position: Mapping[str, Mapping[str, object]] | None) -> float:
    entry = (position or {}).get(str(token), {}).get("logprob")
    if not isinstance(entry, int | float) or not math.isfinite(entry):
        raise UnscorableError(f"the server gave no finite log-probability for token {token}")
    return float(entry)
