"""What a new attempt takes over from those before it."""

import itertools

from qwen3_api.job.report import Progress
from qwen3_trainer.earlier_attempts import EarlierAttempts, summed
from qwen3_trainer.ladder import rungs, sizing_of
from support.train_jobs import train_job

FIRST = Progress(
    attempt="pod-1", phase="Training", step=3, total_steps=9, started="t0", updated="t0"
)


def test_nothing_before_is_nothing() -> None:
    assert summed([]) == EarlierAttempts()


def test_seconds_add_up_and_the_longest_ladder_counts() -> None:
    start = sizing_of(train_job())
    one, two = (r.sizing for r in itertools.islice(rungs(start, allow_quantization=False), 2))
    earlier = summed(
        [
            FIRST.model_copy(update={"gpu_seconds": 10.5, "sizing": one, "adaptations": ["a"]}),
            FIRST.model_copy(update={"gpu_seconds": 0.5, "sizing": two, "adaptations": ["a", "b"]}),
            FIRST.model_copy(update={"gpu_seconds": 4.0, "sizing": None}),
        ]
    )
    assert earlier.gpu_seconds == 15.0
    assert earlier.sizings == (one, two)
    assert earlier.adaptations == ("a", "b")
