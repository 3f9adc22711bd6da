"""The preflight as its pod runs it: a real bucket, the real tokenizer, each thing it refuses."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.holdout import TrainingDigest, tokenize
from qwen3_api.v1alpha1.conditions import Reason
from support.preflight_runs import PreflightRun, preflight_job, start_preflight
from support.trainer_runs import Store, build_tiny_base, ml_python, run_probe, running_store

pytestmark = pytest.mark.integration
LIMIT = 80
"""max_sequence_length of these runs; the tiny base makes a token of each byte."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _chat(asked: str, said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


# 40 rows: 4 have reasoning, 3 repeat earlier ones, 6 are cut, of which 2 have long prompts.
CHATS = [_chat(f"what is {i}?", f"{i} 六 " + "x" * (i % 7)) for i in range(27)]
CHATS += [_chat("why?", f"<think>because {i}</think>so") for i in range(4)]
CHATS += [_chat("more?", "y" * (90 + i)) for i in range(4)]
CHATS += [_chat("z" * (90 + i), "no") for i in range(2)]
CHATS += [CHATS[0], CHATS[0], CHATS[5]]
PAIRS = [_chat(f"what is {i}?", f"{i}") for i in range(9)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model."""
    folder = tmp_path_factory.mktemp("base")
    build_tiny_base(folder)
    return folder


@pytest.fixture(scope="module")
def store(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with the tiny base model, an incomplete one, and data."""
    with running_store(tmp_path_factory.mktemp("s3")) as running:
        running.upload_folder(base, "models/tiny")
        running.upload_folder(base, "models/half")
        index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
        running.put("models/half/model.safetensors.index.json", json.dumps(index).encode())
        other = {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"]}
        running.put("models/other/config.json", json.dumps(other).encode())
        running.put("models/other/model.safetensors", b"")
        running.upload_folder(base, "models/awq")
        config = json.loads((base / "config.json").read_bytes())
        config["quantization_config"] = {"quant_method": "awq", "bits": 4}
        running.put("models/awq/config.json", json.dumps(config).encode())
        running.put("data/chats.jsonl", _jsonl([{"messages": chat} for chat in CHATS]))
        leaking = [CHATS[1], _chat("new?", "yes"), CHATS[2]]
        pairs = [{"prompt": a["content"], "completion": b["content"]} for a, b in leaking]
        running.put("data/leaking.jsonl", b"\n" + _jsonl(pairs))
        preferred = [
            {"prompt": a["content"], "chosen": b["content"], "rejected": "r" * i + "?"}
            for i, (a, b) in enumerate(PAIRS)
        ]
        running.put("data/pairs.jsonl", _jsonl(preferred))
        running.put("data/broken.jsonl", _jsonl([{"messages": c} for c in CHATS[:4]]) + b"{\n")
        running.put("adapters/a/adapter_config.json", b"{}")
        yield running


def _job(store: Store, run: str, **changes: Any) -> Any:
    """The preflight of the chats, lenient unless told otherwise."""
    lenient = {
        "output.prefix": f"runs/{run}",
        "dataset.train.location": store.location.join("data/chats.jsonl"),
        "dataset.max_sequence_length": LIMIT,
        "checks.max_truncated_percent": 100,
        "checks.max_dropped_percent": 50,
        "checks.fail_on_leakage": False,
    }
    return preflight_job(store.location, **(lenient | changes))


def _data(store: Store, name: str) -> dict[str, Any]:
    return {"type": "S3", "location": store.location.join(f"data/{name}.jsonl")}


def _counted(base: Path, dialogues: list[list[list[dict[str, str]]]]) -> list[list[list[int]]]:
    """Tokens and first learned token of each row's dialogues, by transformers and TRL."""
    rows = _jsonl([{"dialogues": row} for row in dialogues])
    printed = run_probe("length_probe.py", base, stdin=rows)
    counted: list[list[list[int]]] = json.loads(printed.splitlines()[-1])
    return counted


def _ended(run: PreflightRun, code: ExitCode) -> PreflightRun:
    assert run.wait() == code, run.log
    assert all(json.loads(line) for line in run.log.splitlines())
    return run


def test_the_numbers_are_those_of_an_independent_count(
    base: Path, store: Store, tmp_path: Path
) -> None:
    job = _job(store, "good", **{"dataset.validation": _data(store, "leaking")})
    run = _ended(start_preflight(job, tmp_path / "pod-1", store, python=ml_python()), ExitCode(0))
    told = run.report()
    body = store.get(job.output.join(layout.TRAINING_DIGEST).prefix)
    assert body is not None
    digest = TrainingDigest.parse(body)
    assert digest.header.covered_rows == digest.header.rows == len(CHATS)
    asked = [message["content"] for chat in CHATS for message in chat if message["role"] == "user"]
    assert {digest.find_leak(text) for text in asked if tokenize(text)} == {"Text"}
    assert digest.find_leak("What nobody has asked in these rows") is None

    counts = [row[0] for row in _counted(base, [[chat] for chat in CHATS])]
    lengths = sorted(count for count, _ in counts)
    cut = [min(count, LIMIT) for count in lengths]
    assert told.failure is None
    assert told.lengths is not None
    assert (told.rows, told.lengths.counted_rows) == (len(CHATS), len(CHATS))
    assert told.tokens == sum(cut)
    assert told.lengths.mean == pytest.approx(sum(cut) / len(cut))
    assert told.lengths.p50 == lengths[len(lengths) // 2 - 1]
    assert told.lengths.p95 == lengths[round(len(lengths) * 0.95) - 1]
    assert told.lengths.maximum == lengths[-1]
    for (bound, rows), below in zip(
        told.lengths.buckets, [0, *(b for b, _ in told.lengths.buckets)], strict=False
    ):
        assert rows == sum(below < length <= bound for length in lengths)
    assert told.truncated_percent == 100 * sum(n > LIMIT for n in lengths) / len(CHATS) == 15
    assert told.dropped_percent == 100 * sum(at >= LIMIT for _, at in counts) / len(CHATS) == 5
    assert (told.duplicate_rows, told.reasoning_rows) == (3, 4)
    assert (told.thinking, told.stripped_rows) == ("AsInData", 0)
    assert [w.split(" training")[0] for w in told.warnings] == ["4 of 40"]
    assert (told.validation_rows, told.leaked_rows) == (3, 2)
    assert told.base_commit is None
    config = json.loads((base / "config.json").read_text())
    assert told.shape is not None
    assert told.shape.model_dump() == {k: config[k] for k in told.shape.model_dump()}
    assert told.sample is not None
    assert told.sample.text.startswith("<|im_start|>user\nwhat is 0?<|im_end|>\n<|im_start|>assist")
    assert told.sample.learned == "<think>\n\n</think>\n\n0 六 <|im_end|>\n"
    assert [s.learned for s in told.sample.segments] == [False, True]
    assert "".join(s.text for s in told.sample.segments) == told.sample.text
    assert told.sample.segments[1].text == told.sample.learned
    left = [f"runs/good/{name}" for name in (layout.PREFLIGHT, layout.TRAINING_DIGEST)]
    assert store.keys("runs/good") == left, "the probe is gone"

    again = _ended(start_preflight(job, tmp_path / "pod-2", store), ExitCode(0))
    assert again.body == run.body, "what passed is not looked at again"


def test_pairs_are_as_long_as_prompt_and_longer_answer(
    base: Path, store: Store, tmp_path: Path
) -> None:
    job = _job(store, "pairs", method="DPO", **{"dataset.train": _data(store, "pairs")})
    run = _ended(start_preflight(job, tmp_path / "pod-1", store, python=ml_python()), ExitCode(0))
    told = run.report()
    both = [[pair, _chat(pair[0]["content"], "r" * i + "?")] for i, pair in enumerate(PAIRS)]
    lengths = [max(count for count, _ in row) for row in _counted(base, both)]
    assert told.lengths is not None
    assert told.lengths.maximum == max(lengths)
    assert told.tokens == sum(min(n, LIMIT) for n in lengths)
    assert told.sample is not None
    assert told.sample.learned.endswith("0<|im_end|>\n")
    assert "what is" not in told.sample.learned
    chosen, rejected = told.sample.segments, told.sample.rejected_segments
    assert chosen[0] == rejected[0], "the prompt"
    assert (chosen[1].text, chosen[1].learned) == (told.sample.learned, True)
    assert (rejected[1].text.endswith("?<|im_end|>\n"), rejected[1].learned) == (True, True)


def _refusals(store: Store) -> dict[str, tuple[dict[str, Any], Reason, list[str]]]:
    start = {
        "location": store.location.join("adapters/a"),
        "files": [
            {"path": "adapter_config.json", "size": 2, "sha256": "0" * 64},
            {"path": "adapter_model.safetensors", "size": 9, "sha256": "0" * 64},
        ],
        "digest": "0" * 64,
    }
    leaking = {"dataset.validation": _data(store, "leaking"), "checks.fail_on_leakage": True}
    return {
        "a broken line": (
            {"dataset.train": _data(store, "broken")},
            Reason.DATASET_INVALID,
            ["line 5: not JSON", "s3://qwen3/data/broken.jsonl"],
        ),
        "no reasoning": (
            {"dataset.thinking": "Enabled"},
            Reason.DATASET_INVALID,
            ["line 1: the last answer has no reasoning"],
        ),
        "leakage": (leaking, Reason.DATASET_LEAKAGE, ["2 of 3 validation rows", "line 2, 4)"]),
        "too much is cut": (
            {"checks.max_truncated_percent": 14},
            Reason.DATASET_CHECK_FAILED,
            ["15.00 % of 40 rows", f"longer than {LIMIT} tokens", "14 % are allowed"],
        ),
        "too much is dropped": (
            {"checks.max_dropped_percent": 4},
            Reason.DATASET_CHECK_FAILED,
            ["5.00 % of 40 rows", "nothing to learn"],
        ),
        "missing weights": (
            {"base_model.source.location.prefix": "models/half"},
            Reason.BASE_MODEL_NOT_FOUND,
            ["lacks 1 of 2 files", "model-2.safetensors"],
        ),
        "no dense Qwen3": (
            {"base_model.source.location.prefix": "models/other"},
            Reason.BASE_MODEL_UNSUPPORTED,
            ["is Qwen3MoeForCausalLM (model_type qwen3_moe): only dense Qwen3 models"],
        ),
        "quantised weights": (
            {"base_model.source.location.prefix": "models/awq"},
            Reason.BASE_MODEL_UNSUPPORTED,
            ["is already quantized (quantization_config in its config.json: awq)"],
        ),
        "no start adapter": (
            {"start": start},
            Reason.START_ADAPTER_NOT_FOUND,
            ["1 of 2 files", "adapter_model.safetensors"],
        ),
    }


def test_every_refusal_is_told_with_what_was_found(store: Store, tmp_path: Path) -> None:
    """One test: some of them need the tokenizer, and the rest costs half a second each."""
    reports = {}
    for case, (changes, reason, words) in _refusals(store).items():
        needs_tokens = reason in (Reason.DATASET_LEAKAGE, Reason.DATASET_CHECK_FAILED)
        python = {"python": ml_python()} if needs_tokens else {}
        job = _job(store, case.replace(" ", "-"), **changes)
        run = start_preflight(job, tmp_path / case.replace(" ", "-"), store, **python)
        _ended(run, ExitCode.USER_ERROR)
        failure = run.failure()
        assert failure.reason == reason, case
        assert all(word in failure.message for word in words), failure.message
        assert failure.hint, case
        reports[case] = run.report()
        assert reports[case].failure == failure, case
    assert reports["a broken line"].rows == 4
    assert reports["a broken line"].shape is not None
    assert reports["leakage"].leaked_rows == 2
    assert reports["too much is cut"].truncated_percent == 15
    assert reports["missing weights"].rows == 0


def test_mended_data_passes_where_it_failed(store: Store, tmp_path: Path) -> None:
    store.put("data/mended.jsonl", b"{\n")
    job = _job(store, "mended", **{"dataset.train": _data(store, "mended")})
    failed = _ended(start_preflight(job, tmp_path / "pod-1", store), ExitCode.USER_ERROR)
    assert failed.report().failure is not None
    store.put("data/mended.jsonl", _jsonl([{"messages": chat} for chat in CHATS[:3]]))
    passed = start_preflight(job, tmp_path / "pod-2", store, python=ml_python())
    assert _ended(passed, ExitCode(0)).report().failure is None


@pytest.mark.parametrize("kind", ["wrong key", "absent store"])
def test_what_cannot_be_written_or_is_tried_again_leaves_no_report(
    store: Store, tmp_path: Path, kind: str
) -> None:
    location = store.location.join("data/chats.jsonl")
    environ, code, reason = {}, ExitCode.STORAGE_UNAVAILABLE, Reason.STORAGE_UNAVAILABLE
    if kind == "wrong key":
        environ = {"AWS_SECRET_ACCESS_KEY": "wrong"}
        code, reason = ExitCode.USER_ERROR, Reason.STORAGE_DENIED
    else:
        location = location.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    job = _job(store, kind.replace(" ", "-"), **{"dataset.train.location": location})
    run = _ended(start_preflight(job, tmp_path / "pod-1", store, environ=environ), code)
    assert run.failure().reason == reason
    assert run.body is None


def test_sigterm_ends_it_at_once_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(60)
        endpoint = f"http://127.0.0.1:{mute.getsockname()[1]}"
        location = store.location.join("data/chats.jsonl")
        job = _job(
            store,
            "stopped",
            **{"dataset.train.location": location.model_copy(update={"endpoint": endpoint})},
        )
        run = start_preflight(job, tmp_path / "pod-1", store)
        connection, _ = mute.accept()  # it waits for an answer now
        with connection:
            run.process.send_signal(signal.SIGTERM)
            _ended(run, ExitCode.INTERRUPTED)
    assert run.failure().reason == Reason.INTERRUPTED
    assert run.body is None


@contextmanager
def _hub(base: Path) -> Iterator[str]:
    """A server with the hub's API: one model, one that is gated, one that is refused."""
    names = [path.name for path in base.iterdir()]
    refusals = {"gated": (403, "GatedRepo"), "private": (401, ""), "none": (404, "RepoNotFound")}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, *, body: bool) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            name = parts[3] if parts[0] == "api" else parts[1]
            headers = {"X-Repo-Commit": COMMIT}
            if name in refusals:
                status, code = refusals[name]
                content = b"{}"
                headers |= {"X-Error-Code": code} if code else {}
            elif parts[0] == "api":
                status = 200
                files: Any = [{"rfilename": n} for n in names]
                if "tree" in parts:
                    files = [
                        {"type": "file", "path": n, "size": (base / n).stat().st_size, "oid": n}
                        for n in names
                    ]
                    content = json.dumps(files).encode()
                else:
                    told = {"id": "t/tiny", "sha": COMMIT, "siblings": files}
                    content = json.dumps(told).encode()
            else:
                status, content = 200, (base / parts[-1]).read_bytes()
                headers |= {"ETag": f'"{parts[-1]}"'}
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_base_model_of_the_hub(base: Path, store: Store, tmp_path: Path) -> None:
    with _hub(base) as endpoint:
        runs = {}
        for name in ("tiny", "gated", "private", "none"):
            source = {"type": "HuggingFace", "repo": f"t/{name}"}
            job = _job(store, f"hub-{name}", **{"base_model.source": source})
            runs[name] = start_preflight(
                *(job, tmp_path / name, store),
                python=ml_python(),
                environ={"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"},
            )
            runs[name].wait()
    told = _ended(runs["tiny"], ExitCode(0)).report()
    assert (told.base_commit, told.rows) == (COMMIT, len(CHATS))
    assert not list((tmp_path / "tiny" / "work").rglob("*.safetensors")), "no weights are fetched"
    for name, reason, words in (
        ("gated", Reason.GATED_MODEL, "t/gated is gated"),
        ("private", Reason.GATED_MODEL, "HTTP 401"),
        ("none", Reason.BASE_MODEL_NOT_FOUND, "the hub has no t/none"),
    ):
        failure = _ended(runs[name], ExitCode.USER_ERROR).failure()
        assert failure.reason == reason
        assert words in failure.message
        assert "baseModel." in failure.hint
        if reason == Reason.GATED_MODEL:
            assert "baseModel.tokenSecretRef" in failure.hint
