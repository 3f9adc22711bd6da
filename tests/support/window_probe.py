"""Loads a base model by the trainer's worker. Runs in the ML environment:

    python window_probe.py PLAN

Prints the failure that it raises, and whether Unsloth was imported by then.
"""

import json
import sys
from pathlib import Path

from qwen3_api.pod.failure import FailureError
from qwen3_trainer.worker.messages import TrainPlan
from qwen3_trainer.worker.model import load

failure = None
try:
    load(TrainPlan.model_validate_json(Path(sys.argv[1]).read_bytes()))
except FailureError as error:
    failure = [str(error.reason), error.message, error.hint]
print(json.dumps({"failure": failure, "unsloth": "unsloth" in sys.modules}))
