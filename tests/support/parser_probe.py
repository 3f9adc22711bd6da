"""What clients get of given outputs: vLLM's own parser, composed as its API server composes it.

    python parser_probe.py BASE_FOLDER < cases > results

Runs in vLLM's environment. Each line of the input is a case: `template` ("" for the base's own),
`enable_thinking` (null: not specified), `output` and `tools`. Each line of the result has the
answer as a whole and as a stream of single tokens: reasoning, content, and names and arguments of
tool calls.
"""

import json
import sys
from typing import Any

from transformers import AutoTokenizer
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser.parser_manager import ParserManager
from vllm.reasoning import ReasoningParserManager

from qwen3_api.serving.config import REASONING_PARSER, REASONING_PARSER_MODULE, TOOL_PARSER

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def main(folder: str) -> None:
    """One result for each case."""
    ReasoningParserManager.import_reasoning_parser(REASONING_PARSER_MODULE)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    own = tokenizer.chat_template
    parser = ParserManager.get_parser(TOOL_PARSER, REASONING_PARSER, enable_auto_tools=True)
    assert parser is not None
    for line in sys.stdin:
        case = json.loads(line)
        tokenizer.chat_template = case["template"] or own
        print(json.dumps(probe(tokenizer, parser, case)))


def probe(tokenizer: Any, parser: Any, case: dict[str, Any]) -> dict[str, Any]:
    """The whole and the stream of one output."""
    said = case["enable_thinking"]
    arguments = {} if said is None else {"enable_thinking": said}
    chat = [{"role": "user", "content": "hello"}]
    request = ChatCompletionRequest(
        messages=chat,
        chat_template_kwargs=arguments,
        **({"tools": [TOOL], "tool_choice": "auto"} if case["tools"] else {}),
    )
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=False, **arguments
    )
    ids = tokenizer.encode(case["output"], add_special_tokens=False)

    def make() -> Any:
        return parser(tokenizer, request.tools, chat_template_kwargs=arguments)

    reasoning, content, calls = make().parse(case["output"], request, enable_auto_tools=True)
    whole = {
        "reasoning": reasoning,
        "content": content,
        "calls": [[call.name, call.arguments] for call in calls or ()],
        "reasoning_tokens": make().count_reasoning_tokens(ids),
    }
    return {"whole": whole, "stream": stream(tokenizer, make(), request, prompt, ids)}


def stream(
    tokenizer: Any, parser: Any, request: Any, prompt: list[int], ids: list[int]
) -> dict[str, Any]:
    """What the pieces of a stream add up to."""
    reasoning = content = ""
    calls: list[list[str]] = []
    for place, token in enumerate(ids):
        delta = parser.parse_delta(
            tokenizer.decode([token]),
            [token],
            request,
            prompt_token_ids=prompt,
            finished=place == len(ids) - 1,
        )
        if delta is None:
            continue
        reasoning += delta.reasoning or ""
        content += delta.content or ""
        for call in delta.tool_calls or ():
            if call.function.name:
                calls.append([call.function.name, ""])
            calls[-1][1] += call.function.arguments or ""
    return {"reasoning": reasoning or None, "content": content or None, "calls": calls}


if __name__ == "__main__":
    main(sys.argv[1])
