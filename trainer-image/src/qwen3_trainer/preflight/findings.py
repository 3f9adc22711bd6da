"""The facts so far, and preflight.json made of them, however it ended."""

import time
from dataclasses import dataclass, field
from typing import Any

from qwen3_api.job.base import Failure
from qwen3_api.job.preflight import ModelShape, Preflight, RenderedSample
from qwen3_trainer.base_model import Description
from qwen3_trainer.data.thinking import Thinking
from qwen3_trainer.preflight.lengths import Lengths
from qwen3_trainer.preflight.scan import Scan
from qwen3_trainer.progress import now
from qwen3_trainer.worker.rendering import TrainingTemplate


@dataclass
class Findings:
    """What the steps found; each writes its own fields."""

    base: Description | None = None
    template: TrainingTemplate | None = None
    train: Scan = field(default_factory=Scan)
    validation: Scan = field(default_factory=Scan)
    duplicate_rows: int = 0
    leaked_lines: list[int] | None = None
    """None until validation rows were compared, or there are none."""
    lengths: Lengths | None = None
    sample: RenderedSample | None = None
    thinking: Thinking | None = None
    """The policy of the order."""
    warnings: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def to_document(self, spec_hash: str, failure: Failure | None) -> Preflight:
        """preflight.json."""
        return Preflight(
            spec_hash=spec_hash,
            failure=failure,
            rows=self.train.rows,
            duplicate_rows=self.duplicate_rows,
            validation_rows=self.validation.rows,
            leaked_rows=None if self.leaked_lines is None else len(self.leaked_lines),
            thinking=self.thinking,
            reasoning_rows=self.train.reasoning_rows,
            stripped_rows=self.train.stripped_rows,
            warnings=self.warnings,
            dataset_sha256=self.train.sha256,
            chat_template_sha256=self.template.base_sha256 if self.template else None,
            base_commit=self.base.commit if self.base else None,
            shape=self._shape(),
            sample=self.sample,
            seconds=round(time.monotonic() - self.begun, 3),
            finished=now(),
            **self._counted(),
        )

    def _shape(self) -> ModelShape | None:
        return self.base.shape if self.base else None

    def _counted(self) -> dict[str, Any]:
        if self.lengths is None or not self.lengths.counts:
            return {}
        return {
            "lengths": self.lengths.histogram(),
            "tokens": self.lengths.epoch_tokens(self.train.rows),
            "truncated_percent": round(self.lengths.truncated_percent, 4),
            "dropped_percent": round(self.lengths.dropped_percent, 4),
        }
