"""The Modelfile's TEMPLATE, rendered by Go as Ollama does, against Qwen3's own chat template."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest

from qwen3_local.layout import REPOSITORY
from qwen3_trainer.export.modelfile import Thinking, render_modelfile, render_template

pytestmark = pytest.mark.integration
QWEN3 = REPOSITORY / "local" / "tiny-model" / "tiny_qwen3" / "qwen3.jinja"
WEATHER = {"name": "weather", "parameters": {"type": "object"}}
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "What's the weather in 北京?"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "北京"}}}],
}
THOUGHT = {"role": "assistant", "content": "Warm.", "reasoning_content": "It says 30 degrees."}
CHATS: dict[str, list[dict[str, Any]]] = {
    "question": [USER],
    "system": [SYSTEM, USER],
    "dialogue": [SYSTEM, USER, {"role": "assistant", "content": "Warm."}, USER],
    "old thoughts are left out": [USER, THOUGHT, USER],
    "tool": [USER, CALL, {"role": "tool", "content": "30"}],
    "two tools": [USER, CALL, {"role": "tool", "content": "30"}, {"role": "tool", "content": "31"}],
    "tool and thoughts": [
        SYSTEM,
        USER,
        {**CALL, "content": "I look.", "reasoning_content": "I need a tool."},
        {"role": "tool", "content": "30"},
    ],
}


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("go") / "render"
    source = Path(__file__).parent.parent / "support" / "ollama_template.go"
    subprocess.run(["go", "build", "-o", program, source], check=True, timeout=240)
    return program


def by_ollama(
    renderer: Path,
    thinking: Thinking,
    chat: list[dict[str, Any]],
    think: bool | None,
    tools: list[dict[str, Any]],
) -> str:
    order = {
        "template": render_template(thinking),
        "system": "".join(m["content"] for m in chat if m["role"] == "system"),
        "messages": [
            {
                "role": m["role"],
                "content": m["content"],
                "thinking": m.get("reasoning_content", ""),
                "toolCalls": m.get("tool_calls", []),
            }
            for m in chat
        ],
        "think": think,
        "tools": [{"function": tool} for tool in tools],
    }
    ended = subprocess.run(
        [renderer], input=json.dumps(order), capture_output=True, text=True, check=True, timeout=60
    )
    return ended.stdout


def by_transformers(
    chat: list[dict[str, Any]], tools: list[dict[str, Any]], *, enable_thinking: bool
) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)  # noqa: S701  (no HTML)
    environment.filters["tojson"] = lambda value: json.dumps(
        value, ensure_ascii=False, separators=(", ", ": ")
    )
    return environment.from_string(QWEN3.read_text("utf-8")).render(
        messages=chat,
        tools=[{"type": "function", "function": tool} for tool in tools],
        add_generation_prompt=True,
        enable_thinking=enable_thinking,
    )


def spaced(text: str) -> str:
    """JSON of tools and arguments without the spaces in which Go and Python differ."""
    return text.replace('": ', '":').replace(', "', ',"')


@pytest.mark.parametrize("tools", [[], [WEATHER]], ids=["", "tools"])
@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
def test_ollama_renders_what_the_model_learnt(
    renderer: Path, chat: list[dict[str, Any]], tools: list[dict[str, Any]]
) -> None:
    for thinking, think, enabled in (
        ("AsInData", None, True),
        ("AsInData", True, True),
        ("Enabled", False, False),
        ("Disabled", None, False),
        ("Disabled", True, False),
    ):
        rendered = by_ollama(renderer, thinking, chat, think, tools)  # type: ignore[arg-type]
        assert spaced(rendered) == spaced(by_transformers(chat, tools, enable_thinking=enabled))


def test_the_modelfile_stops_and_samples_as_qwen3_should() -> None:
    text = render_modelfile("bot-q8_0.gguf", "Disabled")
    lines = text.splitlines()
    assert lines[0] == "FROM ./bot-q8_0.gguf"
    assert 'PARAMETER stop "<|im_end|>"' in lines
    assert "PARAMETER temperature 0.7" in lines
    assert "PARAMETER temperature 0.6" in render_modelfile("bot.gguf", "AsInData").splitlines()
    assert text.count('"""') == 2
