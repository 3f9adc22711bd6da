"""`gpu/check.sh`: runs the scenarios, prints the table, exits 1 if anything was off."""

import argparse
import importlib.metadata
import json
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from gpu_check.base_model import SHAPES
from gpu_check.machine import CPU_SIZE, Machine, gpu_size
from gpu_check.scenarios import SCENARIOS, Line
from support.trainer_runs import running_store

LOG_LINES = 40
_VERSIONS = ("torch", "transformers", "unsloth", "trl", "peft", "bitsandbytes", "datasets")


def main() -> int:
    """Returns the exit status."""
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="gpu-check-", dir=arguments.work))
    size = CPU_SIZE if arguments.cpu else gpu_size(arguments.base)
    # Told to stop, it still ends the S3 server, keeps the logs and frees the disk.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print("\n".join(describe(size.base, arguments.cpu)), flush=True)
    try:
        with running_store(folder) as store:
            machine = Machine(folder, store, size, arguments.cpu)
            machine.prepare()
            lines, failures = _run(machine, arguments.scenarios)
    finally:
        if arguments.logs:
            arguments.logs.mkdir(parents=True, exist_ok=True)
            for log in folder.glob("*/log"):
                shutil.copyfile(log, arguments.logs / f"{log.parent.name}.log")
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.logs:
        document = json.dumps([asdict(line) for line in lines], indent=1)
        (arguments.logs / "table.json").write_text(document)
    print(f"\n{table(lines)}")
    print("\n".join(failures) if failures else "\nall as it should be")
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu/check.sh")
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO")
    parser.add_argument("--base", choices=[s for s in SHAPES if s != "tiny"], default="0.6B")
    parser.add_argument("--cpu", action="store_true", help="a tiny model on the CPU")
    parser.add_argument("--work", type=Path, help="folder for temporary files (default: /tmp)")
    parser.add_argument("--logs", type=Path, help="folder for logs and table.json")
    arguments = parser.parse_args()
    arguments.scenarios = arguments.scenarios or list(SCENARIOS)
    return arguments


def describe(base: str, on_cpu: bool) -> list[str]:
    """Date, machine and library versions."""
    card = "CPU"
    if not on_cpu:
        query = [
            "nvidia-smi",
            "--query-gpu=name,memory.total,driver_version",
            "--format=csv,noheader",
        ]
        card = subprocess.run(query, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _VERSIONS)
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {card}, Python {platform.python_version()}",
        f"{versions}; shape {base}",
    ]


def _run(machine: Machine, names: list[str]) -> tuple[list[Line], list[str]]:
    lines: list[Line] = []
    failures = []
    for name in names:
        started = time.monotonic()
        try:
            new = SCENARIOS[name](machine)
            lines += new
            verdict = "ok"
            print("\n".join(_row(line) for line in new), flush=True)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            verdict = f"FAILED: {error}"
            failures.append(f"{name} {verdict}")
            print(_log_tails(machine.folder, since=started), flush=True)
        print(f"{name}: {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
    return lines, failures


def _log_tails(folder: Path, since: float) -> str:
    """The last lines of the logs written since a moment (monotonic seconds)."""
    begun = time.time() - (time.monotonic() - since)
    parts = []
    for log in sorted(folder.glob("*/log")):
        if log.stat().st_mtime >= begun:
            tail = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            parts.append("\n".join([f"--- {log.parent.name}", *tail]))
    return "\n".join(parts)


def table(lines: list[Line]) -> str:
    """The lines as a Markdown table, then their notes."""
    head = (
        "| run | exit | s | train s | steps | tokens | tok/s | steady tok/s | peak GiB train / all "
        "| loss mean / final |"
    )
    rule = "|---" * 10 + "|"
    rows = [_row(line) for line in lines]
    notes = [f"- {line.name}: {line.note}" for line in lines]
    return "\n".join([head, rule, *rows, "", *notes])


def _row(line: Line) -> str:
    return (
        f"| {line.name} | {line.exit_code} | {line.seconds:.0f} | {_number(line.train_seconds, 1)} "
        f"| {_number(line.steps)} | {_number(line.tokens)} | {_number(line.tokens_per_second)} "
        f"| {_number(line.steady)} | {_number(line.peak_train, 1)} / {_number(line.peak_all, 1)} "
        f"| {_number(line.mean_loss, 3)} / {_number(line.final_loss, 3)} |"
    )


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
