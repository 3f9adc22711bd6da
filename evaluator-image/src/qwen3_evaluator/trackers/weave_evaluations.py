"""The evaluations at Weave: of each suite one for the target and one for each baseline, over the
same dataset, so that they stand side by side."""

import importlib
import logging
import re
import sys
from pathlib import Path
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalWeave, TrackedModel
from qwen3_evaluator.trackers.messages import Channel, Logged, Lost, Results, Sent
from qwen3_evaluator.trackers.views import EvaluatedSuite, build_evaluated


class Complaints(logging.Handler):
    """The errors that the library logs: it sends from threads and raises nothing there."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first."""
        self.first = self.first or record.getMessage().strip()


def main(folder: Path) -> None:
    """Send what the folder holds; the variables WANDB_* and WF_* say where to."""
    channel = Channel()
    results = Results.read(folder)
    project = results.job.tracking.weave
    if project is None:
        raise LookupError("the order asks for no Weave")
    # After standard output is our own; it takes seconds.
    weave: Any = importlib.import_module("weave")
    # `init` would ask pypi.org for a newer version; no setting turns that off.
    init_message: Any = importlib.import_module("weave.trace.init_message")
    init_message.check_available = lambda *_: None
    complaints = Complaints()
    logging.getLogger("weave").addHandler(complaints)
    try:
        client = weave.init(_project_path(project))
        if client.project != project.project:
            # Weave's own way of saying no: it goes on with a client that sends nothing.
            raise RuntimeError(complaints.first or "server and client don't fit together")
        for asked in build_evaluated(results.job, results.report, results.samples):
            url = _log(weave, results, asked)
            where = TrackedModel(suite=asked.suite, model=asked.model, url=url)
            channel.tell(Logged(evaluation=where))
        client.finish(use_progress_bar=False)
    except Exception as error:  # whatever the library raises costs the tracking only
        channel.tell(Lost(message=f"{type(error).__name__}: {error}"))
        raise SystemExit(1) from error
    if complaints.first is not None:
        channel.tell(Lost(message=complaints.first))
        raise SystemExit(1)
    channel.tell(Sent())


def _project_path(weave: EvalWeave) -> str:
    return weave.project if weave.entity is None else f"{weave.entity}/{weave.project}"


def _log(weave: Any, results: Results, asked: EvaluatedSuite) -> str:
    """One evaluation; returns its address. Equal questions are the same version of a dataset."""
    job = results.job
    attributes = {
        "evaluation": f"{job.namespace}/{job.name}",
        "uid": job.uid,
        "suite": asked.suite,
        "role": asked.model,
        "model": asked.model_id,
        "report": job.output.join(layout.REPORT_HTML).uri,
        "answers_left_out": asked.left_out,
    }
    logger = weave.EvaluationLogger(
        name=f"{job.name} {asked.suite} {asked.model}",
        model={"name": object_name(asked.model_id), "model": asked.model_id},
        dataset=weave.Dataset(name=asked.suite, rows=asked.rows),
        eval_attributes=attributes,
        # A score by itself would cost one more call for each answer and metric.
        trace_scores=False,
    )
    for answer in asked.answers:
        logger.log_example(asked.rows[answer.row], answer.output, answer.scores)
    logger.log_summary({"report": asked.summary})
    return str(logger.ui_url)


def object_name(model_id: str) -> str:
    """A name that Weave takes for an object, and Python for a class."""
    return "model_" + re.sub(r"[^A-Za-z0-9]+", "_", model_id).strip("_")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
