"""A second opinion on benchmarks: EvalScope's own `run_task`. Run by the evaluator image's Python.

Reads `{"url", "models": […], "max_tokens", "seed", "suites": [{"dataset", "folder", "subset",
"few_shot", "thinking"}, …]}` from standard input; a folder has files named as EvalScope's loader
wants them. Writes, per suite, `{model: {"score": …, "samples": {prompt: {"answer", "score"}}}}`.
"""

import json
import os
import sys
import types
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
# EvalScope draws charts after a run; the image has no plotly, and nothing here looks at them.
for name in ("plotly", "plotly.express", "plotly.graph_objects"):
    sys.modules[name] = types.ModuleType(name)

from evalscope import TaskConfig, run_task  # noqa: E402
from evalscope.api.benchmark import DefaultDataAdapter  # noqa: E402
from evalscope.api.model import GenerateConfig, Model, ModelAPI, ModelOutput  # noqa: E402

# EvalScope's own reader of local JSONL, whatever the benchmark.
DefaultDataAdapter.load = lambda self: self.load_from_disk(use_local_loader=True)


class Served(ModelAPI):
    """A served model. (EvalScope's own client needs the package openai, which the image lacks.)"""

    def __init__(self, order: dict[str, Any], model: str, thinking: bool) -> None:
        super().__init__(model)
        self._order, self._thinking = order, thinking

    def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        body = {
            "model": self.model_name,
            "messages": [{"role": m.role, "content": m.text} for m in input],
            "temperature": 0,
            "max_tokens": self._order["max_tokens"],
            "seed": self._order["seed"],
            "chat_template_kwargs": {"enable_thinking": self._thinking},
        }
        request = urllib.request.Request(
            f"{self._order['url']}/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            message = json.load(reply)["choices"][0]["message"]
        return ModelOutput.from_content(self.model_name, message["content"] or "")


def ask(order: dict[str, Any], suite: dict[str, Any], model: str) -> dict[str, Any]:
    """EvalScope's report and reviews of one model on one benchmark."""
    arguments = {
        "dataset_id": suite["folder"],
        "few_shot_num": suite["few_shot"],
        "subset_list": [suite["subset"]],
    }
    with TemporaryDirectory() as work:
        reports = run_task(
            TaskConfig(
                model=Model(Served(order, model, suite["thinking"]), GenerateConfig()),
                model_id="m",
                eval_type="mock_llm",
                datasets=[suite["dataset"]],
                dataset_args={suite["dataset"]: arguments},
                judge={"strategy": "rule"},
                eval_batch_size=4,
                work_dir=work,
                no_timestamp=True,
                enable_progress_tracker=False,
            )
        )
        reviews = [
            json.loads(line)
            for path in sorted(Path(work, "reviews", "m").glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
    samples = {}
    for review in reviews:
        asked, said = review["messages"][-2:]
        scored = review["sample_score"]["score"]
        samples[asked["content"]] = {
            "answer": said["content"],
            "score": next(iter(scored["value"].values())),
        }
    return {"score": reports[suite["dataset"]].metrics[0].score, "samples": samples}


if __name__ == "__main__":
    # What EvalScope prints must not get among the results.
    results, sys.stdout = sys.stdout, sys.stderr
    asked = json.load(sys.stdin)
    found = [{m: ask(asked, s, m) for m in asked["models"]} for s in asked["suites"]]
    json.dump(found, results)
