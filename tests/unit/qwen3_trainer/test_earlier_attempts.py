"""What a new attempt takes over from those before it."""

import itertools
from pathlib import Path

from qwen3_api.job import layout
from qwen3_api.job.report import Progress
from qwen3_trainer.attempt import Attempt
from qwen3_trainer.earlier_attempts import EarlierAttempts, summed
from qwen3_trainer.environment import Paths
from qwen3_trainer.ladder import rungs, sizing_of
from qwen3_trainer.run import begin
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.store import Buckets
from support.memory_bucket import OneBucket
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


def attempt_of(uid: str, buckets: Buckets, folder: Path) -> Attempt:
    paths = Paths(folder, folder / "termination-log")
    job = train_job(**{"hyperparameters.micro_batch_size": 8})
    return Attempt(job, uid, paths, Shutdown(), {}, buckets=buckets)


def test_the_first_word_of_an_attempt_tells_what_those_before_it_changed(tmp_path: Path) -> None:
    """Whoever reads it in between would take the changes for undone."""
    buckets = OneBucket()
    attempt = attempt_of("pod-2", buckets, tmp_path)
    (rung,) = itertools.islice(rungs(attempt.sizing, allow_quantization=False), 1)
    before = FIRST.model_copy(update={"sizing": rung.sizing, "adaptations": ["smaller"]})
    earlier = layout.attempt_prefix(attempt.revision, "pod-1")
    buckets.bucket.put(f"{earlier}/{layout.PROGRESS}", before.to_json())

    assert begin(attempt) is not None

    written = buckets.bucket.get(f"{attempt.prefix}/{layout.PROGRESS}")
    told = Progress.model_validate_json(written)
    assert (told.phase, told.sizing, told.adaptations) == ("Starting", rung.sizing, ["smaller"])


def test_an_attempt_after_a_commit_begins_nothing(tmp_path: Path) -> None:
    buckets = OneBucket()
    attempt = attempt_of("pod-2", buckets, tmp_path)
    buckets.bucket.put(f"{attempt.revision}/{layout.COMMIT}", b"{}")

    assert begin(attempt) is None
    assert list(buckets.bucket.objects) == [f"{attempt.revision}/{layout.COMMIT}"]
