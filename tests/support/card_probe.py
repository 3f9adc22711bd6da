"""Prints what the hub's library reads in a model card. Runs in the ML environment:

python card_probe.py README.md
"""

import json
import sys
from pathlib import Path

from huggingface_hub import ModelCard

card = ModelCard(Path(sys.argv[1]).read_text(encoding="utf-8"))
results = card.data.eval_results or []
print(
    json.dumps(
        {
            "data": {k: v for k, v in card.data.to_dict().items() if k != "model-index"},
            "results": [[r.metric_type, r.metric_name, r.metric_value] for r in results],
            "text": card.text,
        }
    )
)
