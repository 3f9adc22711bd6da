"""Asking, against a server on loopback that answers from a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from qwen3_api.data_sources import FileData
from qwen3_api.job.evaluate import EvalEndpoint, EvalSample, EvalSuite
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.endpoint.chat import open_session
from qwen3_evaluator.endpoint.client import EndpointClient, RetryPolicy
from qwen3_evaluator.metrics import Scorer
from qwen3_evaluator.questions import Question
from support.chat_server import serve_chat
from support.web_server import serve_app

PATIENT = RetryPolicy(first_pause=0.01, longest_pause=0.05)
# For servers that stay away: with it a stall of this process ends an attempt just the same.
QUICK = RetryPolicy(endpoint_away=0.5, model_unknown=0.2, first_pause=0.01, longest_pause=0.05)
QUESTION = Question(7, "2+2?", "4", category="sums", system="Be brief.")


def completion(content: str | None, **extra: Any) -> web.Response:
    """What vLLM answers; the reasoning beside the content is never to be taken for it."""
    message = {"role": "assistant", "content": content, "reasoning": "4"}
    body = {"choices": [{"index": 0, "message": message}], "prompt_token_ids": [1, 2], **extra}
    return web.json_response(body)


def scored() -> web.Response:
    return completion(
        "!",
        prompt_token_ids=[1, 2, 3, 4],
        prompt_logprobs=[None, *({str(i): {"logprob": -i, "rank": 1}} for i in (2, 3, 4))],
    )


def error(status: int, message: str = "m", **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


@dataclass
class Server:
    """Answers by the next item of the script; the last one goes on for ever."""

    script: list[Callable[[], web.StreamResponse]]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization"))
        self.bodies.append(await request.json())
        return self.script[min(len(self.bodies), len(self.script)) - 1]()


@asynccontextmanager
async def serve(*script: Callable[[], web.StreamResponse]) -> AsyncIterator[Server]:
    server = Server(list(script))
    async with serve_chat(server.answer) as server.url:
        yield server


@asynccontextmanager
async def asker(
    url: str, retry_policy: RetryPolicy = PATIENT, key_env: str | None = None
) -> AsyncIterator[EndpointClient]:
    endpoint = EvalEndpoint(name="target", base_url=url, model="a.b.12345678", api_key_env=key_env)
    async with open_session(2) as http:
        yield EndpointClient(endpoint, http, retry_policy)


async def ask(
    url: str,
    *metrics: str,
    retry_policy: RetryPolicy = PATIENT,
    key_env: str | None = None,
    sample: int = 0,
    **fields: Any,
) -> EvalSample:
    async with asker(url, retry_policy, key_env) as one:
        suite = build_suite(*metrics, **fields)
        return await one.ask(suite, QUESTION, sample, Scorer(suite))


def build_suite(*metrics: str, **fields: Any) -> EvalSuite:
    return EvalSuite.model_validate(
        {
            "name": "one",
            "data": FileData(path="/q", source="q"),
            "metrics": metrics,
            "limit": None,
            "max_tokens": 8,
            "temperature": 0.5,
            "thinking": False,
            "seed": 11,
        }
        | fields
    )


async def test_both_metrics_cost_two_requests() -> None:
    async with serve(lambda: completion("<think>\n\n</think>\n\n 4\n"), scored) as server:
        sample = await ask(server.url, "ExactMatch", "AssistantLoss")
    answer, loss = server.bodies
    prompt = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2?"},
    ]
    assert answer == {
        "model": "a.b.12345678",
        "messages": prompt,
        "temperature": 0.5,
        "max_tokens": 8,
        "seed": 11,
        "chat_template_kwargs": {"enable_thinking": False},
        "return_token_ids": True,
    }
    assert loss["messages"] == [*prompt, {"role": "assistant", "content": "4"}]
    assert (loss["add_generation_prompt"], loss["prompt_logprobs"], loss["max_tokens"]) == (
        False,
        0,
        1,
    )
    assert sample.model_dump() == {
        "suite": "one",
        "model": "target",
        "line": 7,
        "category": "sums",
        "question": "2+2?",
        "expected": "4",
        "sample": 0,
        "answer": "4\n",
        "reasoning": "4",
        "scores": {"ExactMatch": 1.0},
        "loss": 7.0,
        "answer_tokens": 2,
        "opinions": [],
        "prompt_tokens": None,
        "completion_tokens": None,
    }


async def test_a_thinking_prompt_is_not_the_one_that_the_loss_counts_from() -> None:
    async with serve(
        lambda: completion("4", prompt_token_ids=[9, 9, 9]), lambda: completion("x"), scored
    ) as server:
        sample = await ask(server.url, "ExactMatch", "AssistantLoss", thinking=True)
    assert [b["chat_template_kwargs"]["enable_thinking"] for b in server.bodies] == [
        True,
        False,
        False,
    ]
    assert (sample.scores, sample.loss) == ({"ExactMatch": 1}, 7.0)


async def test_reasoning_without_content_is_no_answer() -> None:
    async with serve(lambda: completion(None)) as server:
        sample = await ask(server.url, "ExactMatch", thinking=True)
    assert (sample.answer, sample.reasoning, sample.scores) == ("", "4", {"ExactMatch": 0})


async def test_a_failing_server_is_asked_again() -> None:
    async with serve(
        lambda: error(429, **{"Retry-After": "1"}),
        lambda: error(503),
        lambda: web.Response(status=502, text="<html>bad gateway</html>"),
        lambda: error(404),
        lambda: completion("4"),
    ) as server:
        sample = await ask(server.url, "ExactMatch")
    assert sample.scores == {"ExactMatch": 1}
    assert len(server.bodies) == 5


async def test_a_server_that_comes_up_late_is_waited_for() -> None:
    async with serve(lambda: completion("4")) as server:
        url = server.url
    asking = asyncio.create_task(ask(url, "ExactMatch"))
    port = int(url.split(":")[2].split("/")[0])
    app = web.Application()
    app.router.add_post("/v1/chat/completions", Server([lambda: completion("4")]).answer)
    await asyncio.wait([asking], timeout=0.1)
    assert not asking.done()
    async with serve_app(app, port=port):
        assert (await asking).scores == {"ExactMatch": 1}


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (lambda: error(500, "engine dead"), 1, "no answer for .*500: engine dead"),
        (lambda: error(400, "8000 tokens"), 42, "line 7, .*refused the request with 400: 8000"),
        (lambda: web.Response(status=307, headers={"Location": "/v1/x"}), 42, "307"),
        (lambda: web.json_response({"data": []}), 42, "choices: Field required"),
        (lambda: completion("4", choices=[]), 42, "no choices"),
        (lambda: web.Response(text="hello"), 42, "no chat completion"),
    ],
)
async def test_what_ends_an_evaluation(
    reply: Callable[[], web.Response], code: int, words: str
) -> None:
    retry_policy = QUICK if code == 1 else PATIENT
    async with serve(reply) as server:
        with pytest.raises(FailureError, match=words) as caught:
            await ask(server.url, "ExactMatch", retry_policy=retry_policy)
    assert caught.value.failure.reason == "EvaluatorFailed"
    assert caught.value.exit_code == code


async def test_an_unknown_model_is_not_waited_for_as_long_as_a_restart() -> None:
    retry_policy = RetryPolicy(endpoint_away=3600, model_unknown=0.2, first_pause=0.01)
    async with serve(lambda: error(404, "The model `x` does not exist.")) as server:
        with pytest.raises(FailureError, match=r"doesn't know the model .*`x`") as caught:
            await asyncio.wait_for(ask(server.url, "ExactMatch", retry_policy=retry_policy), 30)
    assert caught.value.exit_code == 42
    assert len(server.bodies) > 1


async def test_nobody_at_the_address_is_retriable(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(scored) as server:
        url = server.url
    with pytest.raises(FailureError, match="no answer for ") as caught:
        await ask(url, "ExactMatch", retry_policy=QUICK)
    assert caught.value.exit_code == 1
    # In every try but the last, if just that one met a stall.
    assert "ClientConnectorError" in caplog.text + str(caught.value)


async def test_a_prompt_that_is_no_prefix_ends_the_evaluation_loudly() -> None:
    async with serve(lambda: completion("x", prompt_token_ids=[1, 8]), scored) as server:
        with pytest.raises(FailureError, match=r"line 7, .*AssistantLoss .* token 1 of 2"):
            await ask(server.url, "AssistantLoss")


async def test_an_answer_without_a_loss_asks_for_nothing_that_only_vllm_knows() -> None:
    plain = {"choices": [{"message": {"role": "assistant", "content": "4"}}]}
    async with serve(lambda: web.json_response(plain)) as server:
        sample = await ask(server.url, "ExactMatch", "F1")
    (body,) = server.bodies
    assert set(body) == {
        *("model", "messages", "temperature", "max_tokens", "seed", "chat_template_kwargs")
    }
    assert sample.scores == {"ExactMatch": 1, "F1": 1}
    assert sample.reasoning is None


async def test_later_samples_have_other_seeds_and_no_loss() -> None:
    async with serve(lambda: completion("4")) as server:
        sample = await ask(server.url, "ExactMatch", "AssistantLoss", sample=2, samples=3)
    (body,) = server.bodies
    assert body["seed"] == 13
    assert "return_token_ids" not in body
    assert (sample.sample, sample.loss, sample.answer_tokens) == (2, None, None)
    assert sample.scores == {"ExactMatch": 1}


def reasoned(**message: str) -> Callable[[], web.Response]:
    return lambda: web.json_response({"choices": [{"message": {"role": "assistant"} | message}]})


@pytest.mark.parametrize(
    ("reply", "thought"),
    [
        (reasoned(content="4", reasoning="\n2 and 2\n"), "2 and 2"),
        (reasoned(content="4", reasoning_content="2 and 2"), "2 and 2"),
        (reasoned(content="<think>\n2 and 2\n</think>\n\n4"), "2 and 2"),
        (reasoned(content="<think>\n\n</think>\n\n4"), None),
        (reasoned(content="4", reasoning="\n\n"), None),
    ],
)
async def test_thinking_is_kept_apart(
    reply: Callable[[], web.Response], thought: str | None
) -> None:
    async with serve(reply) as server:
        sample = await ask(server.url, "ExactMatch", thinking=True)
    assert (sample.answer, sample.reasoning, sample.scores) == ("4", thought, {"ExactMatch": 1})


@pytest.mark.parametrize("status", [400, 422])
async def test_a_server_that_refuses_the_template_field_is_asked_once_without(status: int) -> None:
    async with (
        serve(
            lambda: error(status, "unknown field chat_template_kwargs"), lambda: completion("4")
        ) as server,
        asker(server.url) as one,
    ):
        suite = build_suite("ExactMatch")
        for _ in range(2):
            assert (await one.ask(suite, QUESTION, 0, Scorer(suite))).answer == "4"
    # And it is remembered.
    assert ["chat_template_kwargs" in b for b in server.bodies] == [True, False, False]
    without = {k: v for k, v in server.bodies[0].items() if k != "chat_template_kwargs"}
    assert server.bodies[1:] == [without, without]


async def test_a_server_that_refuses_everything_is_asked_twice() -> None:
    async with serve(lambda: error(400, "the first"), lambda: error(400, "too long")) as server:
        with pytest.raises(FailureError, match="refused the request with 400: too long"):
            await ask(server.url, "ExactMatch")
    assert len(server.bodies) == 2


async def test_the_loss_is_never_asked_for_without_the_template_field() -> None:
    # With thinking on the tokens behind the prompt would be others.
    async with serve(lambda: error(400, "unknown field")) as server:
        with pytest.raises(FailureError, match="unknown field"):
            await ask(server.url, "AssistantLoss")
    assert ["chat_template_kwargs" in b for b in server.bodies] == [True]


async def test_a_loss_needs_token_ids() -> None:
    async with serve(lambda: completion("x", prompt_token_ids=None)) as server:
        with pytest.raises(FailureError, match=r"AssistantLoss .* no prompt_token_ids") as caught:
            await ask(server.url, "AssistantLoss")
    assert caught.value.exit_code == 42


async def test_a_key_is_sent_and_never_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QWEN3_KEY_TARGET", "sk-secret\n")
    async with serve(
        lambda: error(503, "wait, sk-secret"), lambda: error(401, "no such key: sk-secret")
    ) as server:
        with pytest.raises(FailureError, match="401: no such key: …") as caught:
            await ask(server.url, "ExactMatch", key_env="QWEN3_KEY_TARGET")
    assert server.keys == ["Bearer sk-secret", "Bearer sk-secret"]
    assert "secretRef" in caught.value.failure.hint
    assert "wait, …" in caplog.text
    assert "sk-secret" not in caplog.text + str(caught.value.failure)


async def test_no_key_is_sent_where_none_is_named() -> None:
    async with serve(lambda: completion("4")) as server:
        await ask(server.url, "ExactMatch")
    assert server.keys == [None]


@pytest.mark.parametrize(
    ("value", "words"), [(None, "missing or empty"), (" ", "missing"), ("a\nb", "no HTTP header")]
)
async def test_a_key_that_cant_be_sent_is_named_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, value: str | None, words: str
) -> None:
    if value is not None:
        monkeypatch.setenv("QWEN3_KEY_TARGET", value)
    with pytest.raises(FailureError, match=f"API key of target .*{words}") as caught:
        await ask("http://127.0.0.1:1/v1", "ExactMatch", key_env="QWEN3_KEY_TARGET")
    assert caught.value.failure.reason == "CredentialsNotFound"
    assert caught.value.exit_code == 42
