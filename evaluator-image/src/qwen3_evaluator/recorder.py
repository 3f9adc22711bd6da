"""The answers of an evaluation while it runs, and what of them is in the bucket."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalJob, EvalSample, JudgeOpinion, JudgeUsage
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.judge import Jury
from qwen3_evaluator.judging import Judgement, sum_usage, with_opinions
from qwen3_evaluator.report import (
    PARTIAL_START,
    USAGE_START,
    SampleKey,
    Unit,
    build_progress,
    compute_fingerprint,
    parse_samples,
    partial_name,
    render_samples,
    usage_name,
)
from qwen3_evaluator.store import Store

log = logging.getLogger(__name__)

JSON = "application/json"
JSONL = "application/jsonl"


def now() -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Recorder:
    """The answers and opinions so far; `flush` saves what is not in the bucket."""

    def __init__(
        self,
        job: EvalJob,
        store: Store,
        data_sha256: dict[str, str],
        units: Sequence[Unit],
        judgements: Sequence[Judgement],
        juries: Sequence[Jury],
    ) -> None:
        self.samples: dict[SampleKey, EvalSample] = {}
        self.suite = job.suites[0].name
        self._folder = job.output
        self._store = store
        self._fingerprint = compute_fingerprint(job, data_sha256)
        self._attempt = uuid.uuid4().hex[:8]
        self._wanted = {unit.key for unit in units}
        self._judgements = judgements
        self._juries = juries
        self._batch = 0
        self._unsaved: list[EvalSample] = []
        self._completed = 0
        self._asked = 0
        self._began = time.monotonic()
        self._flushing = asyncio.Lock()
        self._earlier_usage: list[JudgeUsage] = []
        self._saved_usage = JudgeUsage()

    @property
    def usage(self) -> JudgeUsage:
        """What the judges cost in this attempt and in earlier ones."""
        return sum_usage([*self._earlier_usage, self._usage])

    @property
    def _usage(self) -> JudgeUsage:
        return sum_usage([jury.usage for jury in self._juries])

    async def resume(self) -> None:
        """Take over what earlier attempts at the same got to know, and what they paid."""
        start = f"{PARTIAL_START}{self._fingerprint}-"
        for location in await self._store.list_keys(self._folder, start):
            content = await self._store.get(location)
            for sample in parse_samples(content or b""):
                key = SampleKey.of(sample)
                # A judged sample is saved again: the one with the most opinions is the latest.
                known = self.samples.get(key)
                if key in self._wanted and (
                    known is None or len(sample.opinions) > len(known.opinions)
                ):
                    self.samples[key] = sample
        for location in await self._store.list_keys(
            self._folder, f"{USAGE_START}{self._fingerprint}-"
        ):
            if (content := await self._store.get(location)) is not None:
                self._earlier_usage.append(JudgeUsage.model_validate_json(content))
        judged = sum(judgement.is_done(self.samples) for judgement in self._judgements)
        self._completed = len(self.samples) + judged

    def add(self, sample: EvalSample) -> None:
        """Keep an answer; the next flush saves it."""
        self.samples[SampleKey.of(sample)] = sample
        self._count(sample)

    def add_opinions(self, key: SampleKey, opinions: Sequence[JudgeOpinion]) -> None:
        """Keep what the judges said; the next flush saves it."""
        self.samples[key] = with_opinions(self.samples[key], opinions)
        self._count(self.samples[key])

    def _count(self, sample: EvalSample) -> None:
        self._unsaved.append(sample)
        self._asked += 1
        self._completed += 1

    async def flush(self) -> None:
        """Save what is only in memory. It stays there if that fails."""
        async with self._flushing:
            if (usage := self._usage) != self._saved_usage:
                name = usage_name(self._fingerprint, self._attempt)
                await self._store.put(self._folder.join(name), usage.to_json(), JSON)
                self._saved_usage = usage
            batch = list(self._unsaved)
            if not batch:
                return
            name = partial_name(self._fingerprint, self._attempt, self._batch)
            await self._store.put(self._folder.join(name), render_samples(batch), JSONL)
            self._batch += 1
            del self._unsaved[: len(batch)]

    async def write_progress(self) -> None:
        """Overwrite progress.json. A judgement counts as an answer does."""
        progress = build_progress(
            completed=self._completed,
            total=len(self._wanted) + len(self._judgements),
            asked=self._asked,
            seconds=time.monotonic() - self._began,
            suite=self.suite,
            now=now(),
        )
        await self._store.put(self._folder.join(layout.PROGRESS), progress.to_json(), JSON)
        log.info("%d of %d answers and judgements", progress.completed, progress.total)

    async def tick(self, seconds: float) -> None:
        """Save answers and progress now and every so many seconds, without end."""
        while True:
            await self.flush()
            await self.write_progress()
            await asyncio.sleep(seconds)

    async def delete_partials(self) -> None:
        """Remove what the samples file has replaced. The result doesn't depend on it."""
        for start in (PARTIAL_START, USAGE_START):
            for location in await self._store.list_keys(self._folder, start):
                with contextlib.suppress(FailureError):
                    await self._store.delete(location)
