"""Trains with the trainer's own worker: `python -m benchmarks.train.product ORDERS.json`.

Imports unsloth at once, then waits for a line on standard input before it touches the GPU.
"""

import json
import logging
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import unsloth  # noqa: F401  (before whatever imports transformers)

from benchmarks.train.configurations import Configuration, train_job
from benchmarks.train.gpu_memory import Measurement
from benchmarks.train.results import Failure, Run, StepEnd, append
from benchmarks.train.rows import write_rows
from benchmarks.train.varlen import provide_varlen_attention
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import Message, Step, TrainPlan
from qwen3_trainer.worker.model import load
from qwen3_trainer.worker.stop import StopFlag
from qwen3_trainer.worker.training import train

log = logging.getLogger(__name__)

FIRST_SECONDS, NEXT_SECONDS = 45.0, 20.0
"""Least time left to begin a configuration: of a base not seen before (compilation), of others."""


class Recorder(Channel):
    """Keeps the worker's messages with the moment they came, instead of piping them."""

    def __init__(self) -> None:
        self.received: list[tuple[float, Message]] = []

    def send(self, message: Message) -> None:
        """Notes the message."""
        self.received.append((time.monotonic(), message))

    def steps(self) -> list[StepEnd]:
        """Every step."""
        return [
            StepEnd(at, m.loss, m.tokens)
            for at, m in self.received
            if isinstance(m, Step) and m.loss is not None
        ]


@dataclass(frozen=True)
class Orders:
    """What the parent wants."""

    results: Path
    work: Path
    bases: Path
    configurations: list[Configuration]
    until: float
    """When the last run has to end: time.monotonic(), the same clock for all processes."""
    gpus: int

    @classmethod
    def read(cls, path: Path) -> "Orders":
        """From JSON."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            results=Path(values["results"]),
            work=Path(values["work"]),
            bases=Path(values["bases"]),
            configurations=[Configuration(**c) for c in values["configurations"]],
            until=values["until"],
            gpus=values["gpus"],
        )


def main(orders: Orders) -> None:
    """Measures until the time is up. The first configuration is never left out."""
    logging.basicConfig(level=logging.INFO, force=True)
    log.info("libraries imported, %.0f s left", orders.until - time.monotonic())
    if orders.gpus and provide_varlen_attention():
        log.info("varlen attention: torch's kernel under the interface of the image's torch")
    sys.stdin.readline()
    seen: set[str] = set()
    for number, configuration in enumerate(orders.configurations):
        left = orders.until - time.monotonic()
        needed = NEXT_SECONDS if configuration.base in seen else FIRST_SECONDS
        if number > 0 and left < needed:
            log.info("left out, %.0f s left: %s", left, configuration.name)
            continue
        seen.add(configuration.base)
        try:
            append(orders.results, measure(configuration, orders))
        except Exception as error:
            # A configuration that fails is a result: the others are still worth their time.
            log.exception("failed: %s", configuration.name)
            append(orders.results, Failure("product", configuration, str(error)[:500]))


def measure(configuration: Configuration, orders: Orders) -> Run:
    """One training, by `load` and `train` of the worker."""
    output = orders.work / "product"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    rows = write_rows(configuration, output)
    plan = TrainPlan(
        job=train_job(configuration, rows, gpus=orders.gpus),
        base=str(orders.bases / configuration.base),
        train_rows=str(rows),
        validation_rows=None,
        output=str(output),
        resume_from=None,
        allow_cpu=orders.gpus == 0,
    )
    loading = Measurement()
    loaded = load(plan)
    loading_ended = loading.end()
    training = Measurement()
    recorder = Recorder()
    train(plan, loaded, recorder, StopFlag())
    run = Run.of(
        "product",
        configuration,
        loading=loading_ended,
        training=training.end(),
        steps=recorder.steps(),
        before=loading.before,
    )
    log.info(
        "%s: %.0f tokens/s, %.2f GiB, loaded in %.0f s, trained in %.0f s",
        *(configuration.name, run.tokens_per_second, run.reserved / (1 << 30)),
        *(run.load_seconds, run.train_seconds),
    )
    return run


if __name__ == "__main__":
    main(Orders.read(Path(sys.argv[1])))
