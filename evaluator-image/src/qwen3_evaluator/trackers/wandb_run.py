"""The W&B run of an evaluation: summary, table of answers, the report as a file."""

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

from qwen3_api.job import layout
from qwen3_evaluator.trackers.messages import Channel, Lost, Results, Run, Sent
from qwen3_evaluator.trackers.views import build_summary, build_table

INIT_SECONDS = 30.0
"""How long a silent server is waited for. The parent bounds the whole."""


def main(folder: Path) -> None:
    """Send what the folder holds; the variables WANDB_* say where to."""
    channel = Channel()
    results = Results.read(folder)
    # After standard output is our own.
    wandb: Any = importlib.import_module("wandb")
    try:
        run = wandb.init(
            config=build_config(results),
            settings=wandb.Settings(
                init_timeout=INIT_SECONDS,
                # Of the pod: nothing that a reader of results looks for.
                x_disable_stats=True,
                x_disable_meta=True,
                x_save_requirements=False,
            ),
        )
        channel.tell(Run(url=run.url))
        run.summary.update(build_summary(results.report))
        columns, rows = build_table(results.job, results.samples)
        table = wandb.Table(columns=columns, data=rows, allow_mixed_types=True)
        # Bound first, the table is a file of the run. Else `log` makes an artifact of it too, which
        # an offline run keeps outside of its folder, where `wandb sync` doesn't find it again.
        table.bind_to_run(run, "samples", 0)
        run.log({"samples": table})
        # From within the folder of the run: elsewhere it would be a link there.
        html = shutil.copy(results.html, Path(run.dir) / layout.REPORT_HTML)
        run.save(str(html), base_path=run.dir, policy="now")
        run.finish()
    except Exception as error:  # whatever the library raises costs the tracking only
        channel.tell(Lost(message=f"{type(error).__name__}: {error}"))
        raise SystemExit(1) from error
    channel.tell(Sent())


def build_config(results: Results) -> dict[str, Any]:
    """What runs are filtered by."""
    job = results.job
    return {
        "evaluation": f"{job.namespace}/{job.name}",
        "target": job.target.model,
        "revision": job.training.revision if job.training else None,
        "baselines": {b.name: b.model for b in job.baselines},
        "suites": [s.name for s in job.suites],
        "report": job.output.join(layout.REPORT_HTML).uri,
        "data_sha256": results.report.data_sha256,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
