"""`python -m benchmarks.train`: runs the processes, then prints the tables; see the package."""

import argparse
import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from benchmarks.train.configurations import (
    BASES,
    COMPARED,
    DEFAULTS,
    MEASURED,
    TINY,
    TINY_COMPARED,
    TINY_DEFAULTS,
    Configuration,
    planned,
    train_job,
)
from benchmarks.train.results import Machine, append, read
from benchmarks.train.tables import render, together
from qwen3_sizing.plan import CARDS, Card
from qwen3_trainer.environment import prepare_process, training_environment

log = logging.getLogger("benchmarks.train")

VERSIONS = ("torch", "triton", "transformers", "unsloth", "trl", "peft", "bitsandbytes", "datasets")
CLOSING_SECONDS = 5.0
"""Left for the tables."""
PRODUCT_SECONDS = 150.0
"""Left for the product, however long the baseline would take."""


def main() -> int:
    """Returns the exit status: 1 if the comparison, or the list of defaults, is not complete."""
    arguments = _arguments()
    if arguments.command == "table":
        several = [read(file) for file in arguments.files]
        print("\n\n".join(map(render, several)))
        if len(several) > 1:
            print(f"\n{together(several)}")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)7.0f ms %(message)s")
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=arguments.work or memory_folder()))
    try:
        _measure(arguments, folder, started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = read(arguments.results)
    print(render(results))
    if arguments.defaults:
        return 0 if len(results.runs) == len(defaults_of(arguments)) else 1
    return 0 if {run.system for run in results.runs} == {"product", "TRL + PEFT"} else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train")
    parser.add_argument("--cpu", action="store_true", help="a tiny model on the CPU")
    parser.add_argument(
        "--defaults",
        action="store_true",
        help="run what the planner chooses by itself for every base; no TRL + PEFT",
    )
    parser.add_argument("--seconds", type=float, default=560.0, help="stop after so many")
    parser.add_argument(
        "--skip",
        type=int,
        default=0,
        metavar="N",
        help="leave out the list's first N, measured before",
    )
    parser.add_argument("--results", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--work", type=Path, help="folder for 30 GB of base models (in memory)")
    parser.add_argument("--commit", default="", help="of this checkout, for the record")
    parser.set_defaults(command="run")
    commands = parser.add_subparsers()
    table = commands.add_parser("table", help="the tables of result files")
    table.add_argument("files", type=Path, nargs="+", metavar="FILE")
    table.set_defaults(command="table")
    return parser.parse_args()


def memory_folder(needed: int = 34 << 30) -> Path | None:
    """In memory, if there is room for all base models; None: the default for temporary files."""
    shared = Path("/dev/shm")  # noqa: S108  (a folder of a random name is made in it)
    if shared.is_dir() and shutil.disk_usage(shared).free > needed:
        return shared
    return None


def defaults_of(arguments: argparse.Namespace) -> tuple[Configuration, ...]:
    """Those of the GPU, or of the CPU."""
    return TINY_DEFAULTS if arguments.cpu else DEFAULTS


def _measure(arguments: argparse.Namespace, folder: Path, started: float) -> None:
    machine = describe(arguments)
    append(arguments.results, machine)
    on_cpu = arguments.cpu
    compared = TINY_COMPARED if on_cpu else COMPARED
    listed = (TINY if on_cpu else MEASURED)[arguments.skip :]
    wanted = compared
    if arguments.defaults:
        wanted, compared, listed = defaults_of(arguments)[arguments.skip :], (), ()
    card = None if on_cpu else card_of(machine)
    best = [planned(c, card) for c in wanted]
    log.info("%s; planned: %s", machine.card, ", ".join(c.name for c in best))
    trained = {configuration.base for configuration in (*best, *listed, *compared)}
    until = started + arguments.seconds - CLOSING_SECONDS
    orders = folder / "orders.json"
    orders.write_text(
        json.dumps(
            {
                "results": str(arguments.results.resolve()),
                "work": str(folder),
                "bases": str(folder / "bases"),
                "configurations": [c.to_json() for c in (*best, *listed)],
                "compared": [c.to_json() for c in compared],
                "until": until,
                "gpus": 0 if on_cpu else 1,
            }
        ),
        encoding="utf-8",
    )
    processes = Processes(folder, orders, environment(best[0], folder, on_cpu=on_cpu))
    try:
        processes.run(
            sizes=("tiny",) if on_cpu else tuple(size for size in BASES if size in trained),
            until=until,
            compare=bool(compared),
        )
    finally:
        processes.end()


def environment(configuration: Configuration, folder: Path, *, on_cpu: bool) -> dict[str, str]:
    """Of the trainer's worker, with the module paths of this process."""
    environ = dict(os.environ)
    prepare_process(folder / "home", environ)
    job = train_job(configuration, folder, gpus=0 if on_cpu else 1)
    return training_environment(environ, job)


def describe(arguments: argparse.Namespace) -> Machine:
    """Date, card and versions."""
    card, memory, driver = "CPU", "0", ""
    if not arguments.cpu:
        query = "--query-gpu=name,memory.total,driver_version"
        command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        card, memory, driver = (part.strip() for part in text.splitlines()[0].split(","))
    return Machine(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        card=card,
        memory_mib=int(memory),
        driver=driver,
        python=platform.python_version(),
        commit=arguments.commit,
        defaults=arguments.defaults,
        versions={name: installed(name) for name in VERSIONS},
    )


def installed(name: str) -> str:
    """The version of a package; some have no triton."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def card_of(machine: Machine) -> Card:
    """The planner's card by its node label, with this machine's own memory."""
    known = CARDS.get(machine.product, Card(machine.product, 0, 0.0))
    return replace(known, memory_mib=machine.memory_mib)


class Processes:
    """The three processes. Two wait on their standard input for a line: the GPU is theirs."""

    def __init__(self, folder: Path, orders: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._orders = str(orders)
        self._started: list[subprocess.Popen[str]] = []

    def run(self, sizes: tuple[str, ...], until: float, *, compare: bool) -> None:
        """Bases, then TRL + PEFT, then the product until a moment (monotonic seconds)."""
        bases = self._start("bases", str(self._folder / "bases"), *sizes, stdout=subprocess.PIPE)
        baseline = self._start("baseline", self._orders) if compare else None
        product = self._start("product", self._orders)
        assert bases.stdout is not None  # noqa: S101  (a pipe)
        for line in bases.stdout:
            log.info("bases: %s", line.strip())
            if baseline is not None and line.startswith(f"done {sizes[0]}"):
                _let_go(baseline)
        bases.wait()
        log.info("bases ended with %d", bases.returncode)
        # Had it failed, the others would find no base and say so.
        if baseline is not None:
            _let_go(baseline)
            _wait(baseline, max(until - PRODUCT_SECONDS, time.monotonic()))
            log.info("baseline ended with %s", baseline.returncode)
        _let_go(product)
        _wait(product, until)
        log.info("product ended with %s", product.returncode)

    def end(self) -> None:
        """Ends whatever still runs."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def _start(
        self, module: str, *arguments: str, stdout: int | IO[str] | None = None
    ) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.train.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=stdout,
            text=True,
            env=self._environ,
        )
        self._started.append(process)
        return process


def _let_go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None  # noqa: S101  (a pipe)
    # One that has failed is reported by its exit code.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write("\n")
        process.stdin.flush()


def _wait(process: "subprocess.Popen[str]", until: float) -> None:
    """For its end; kills it when the time is up."""
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        log.info("time is up")
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
