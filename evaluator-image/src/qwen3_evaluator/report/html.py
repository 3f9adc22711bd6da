"""`report.html`: one file that needs nothing else, works from file:// and runs no script.

Answers are untrusted. Jinja escapes all of them, and should that ever fail, the page's
Content-Security-Policy allows nothing but the one style sheet with the right hash: no script, no
picture, no frame, no request, not even an inline style.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qwen3_api.job.evaluate import EvalJob, EvalReport, EvalSample
from qwen3_evaluator.report.changes import Limits
from qwen3_evaluator.report.charts import format_number
from qwen3_evaluator.report.texts import say, say_phrase, say_plain
from qwen3_evaluator.report.views import build_page
from qwen3_evaluator.training import TrainingRecord

TEMPLATES = Path(__file__).parent / "templates"
MAX_BYTES = 5_000_000
_LIMITS = (
    Limits(),
    Limits(items=6, total=120, characters=800),
    Limits(items=3, total=60, characters=400),
    Limits(items=1, total=1, characters=200),
)
"""Tried in this order. The last one is small however hostile the texts are: at most 64 lists of one
question with at most 20 judges' reasons."""


def render_html(
    job: EvalJob,
    report: EvalReport,
    samples: Sequence[EvalSample],
    training: TrainingRecord | None = None,
) -> str:
    """The report as a page of at most MAX_BYTES in UTF-8.

    samples: the lines of samples.jsonl; none for a failed report. training: what the target came
    out of. If the questions shown would make
    the page larger than that, fewer and shorter ones are shown; how many were left out is said.
    """
    template = _environment().get_template("report.html.j2")
    for limits in _LIMITS[:-1]:
        html = template.render(page=build_page(job, report, samples, limits, training))
        if len(html.encode()) <= MAX_BYTES:
            return html
    return template.render(page=build_page(job, report, samples, _LIMITS[-1], training))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals.update(
        say=say,
        say_phrase=say_phrase,
        say_plain=say_plain,
        number=format_number,
        style=Markup(style),  # noqa: S704  # our own file
        style_hash=f"sha256-{digest}",
    )
    return environment
