"""What a client gets of an output, by vLLM's own composition of reasoning and tool parser."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qwen3_api
import qwen3_server

pytestmark = pytest.mark.integration

SUPPORT = Path(__file__).parent.parent / "support"
SOURCES = [str(Path(module.__path__[0]).parent) for module in (qwen3_api, qwen3_server)]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
)
INSTRUCT = CHATML + "{% endif %}"
"""Qwen3-Instruct-2507: never thinks, and knows no tags."""
THINKING = CHATML + "<think>\n{% endif %}"
"""Qwen3-Thinking-2507: always thinks, the prompt opens the block."""
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
ROME = [["weather", '{"city": "Rome"}']]

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an empty block": (
        {"output": "<think>\n\n</think>\n\nParis."},
        {"content": "Paris."},
    ),
    "a thought": (
        {"output": "<think>\nFrance's\n\ncapital.\n</think>\n\nParis.\n\nBye."},
        {"reasoning": "France's\n\ncapital.", "content": "Paris.\n\nBye."},
    ),
    "a thought that was cut": (
        {"output": "<think>\nFrance"},
        {"reasoning": "France"},
    ),
    "no thought although it may": (
        {"output": "Paris."},
        {"content": "Paris."},
    ),
    "thinking off": (
        {"enable_thinking": False, "output": "Paris."},
        {"content": "Paris."},
    ),
    "thinking on by name": (
        {"enable_thinking": True, "output": "<think>\nhm\n</think>\n\nParis."},
        {"reasoning": "hm", "content": "Paris."},
    ),
    "an instruct model": (
        {"template": INSTRUCT, "output": "Paris."},
        {"content": "Paris."},
    ),
    "a thinking model": (
        {"template": THINKING, "output": "hm\n</think>\n\nParis."},
        {"reasoning": "hm", "content": "Paris."},
    ),
    "a thinking model that was cut": (
        {"template": THINKING, "output": "hm"},
        {"reasoning": "hm"},
    ),
    "a tool call": (
        {"tools": True, "enable_thinking": False, "output": CALL},
        {"calls": ROME},
    ),
    "a tool call behind a thought": (
        {"tools": True, "output": f"<think>\nhm\n</think>\n\n{CALL}"},
        {"reasoning": "hm", "calls": ROME},
    ),
    "a tool call behind an empty block": (
        {"tools": True, "output": f"<think>\n\n</think>\n\n{CALL}"},
        {"calls": ROME},
    ),
    "a tool call of an instruct model": (
        {"tools": True, "template": INSTRUCT, "output": CALL},
        {"calls": ROME},
    ),
    "two tool calls": (
        {"tools": True, "output": f"<think>\n\n</think>\n\n{CALL}\n{CALL}"},
        {"calls": ROME * 2},
    ),
    "tools offered, an answer": (
        {"tools": True, "output": "<think>\n\n</think>\n\nParis."},
        {"content": "Paris."},
    ),
    "the tag as text": (
        {"enable_thinking": False, "output": "Write <think> and </think>."},
        {"content": "Write <think> and </think>."},
    ),
}
NOTHING: dict[str, Any] = {"reasoning": None, "content": None, "calls": []}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All cases in one process: vLLM takes many seconds to import."""
    base = tmp_path_factory.mktemp("tiny-base")
    defaults = {"template": "", "enable_thinking": None, "tools": False}
    lines = [json.dumps({**defaults, **case}) for case, _ in CASES.values()]
    environment = os.environ | {"PYTHONPATH": ":".join(SOURCES), "VLLM_NO_USAGE_STATS": "1"}
    python = os.environ["QWEN3_VLLM_PYTHON"]
    subprocess.run([python, SUPPORT / "tiny_base.py", base, "qwen3"], check=True)
    done = subprocess.run(
        [python, SUPPORT / "parser_probe.py", base],
        input="\n".join(lines),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"whole"')]
    return dict(zip(CASES, found, strict=True))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["whole", "stream"])
def test_a_client_gets(results: dict[str, dict[str, Any]], name: str, way: str) -> None:
    found = {key: results[name][way][key] for key in NOTHING}
    # Layout between two calls is no answer.
    found["content"] = (found["content"] or "").rstrip("\n") or None
    assert found == {**NOTHING, **CASES[name][1]}


COUNTS: dict[str, Callable[[int], bool]] = {
    "a thought": lambda n: n > 10,
    "an empty block": lambda n: n <= 2,
    "thinking off": lambda n: n == 0,
    "an instruct model": lambda n: n == 0,
    "a thinking model that was cut": lambda n: n == 2,
}


@pytest.mark.parametrize("name", COUNTS)
def test_usage_counts_the_tokens_of_a_thought(
    results: dict[str, dict[str, Any]], name: str
) -> None:
    assert COUNTS[name](results[name]["whole"]["reasoning_tokens"])
