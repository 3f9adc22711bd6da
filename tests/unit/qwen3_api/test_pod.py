"""What the programs of pods share."""

import json
import logging
import sys
from pathlib import Path

import pytest

from qwen3_api.job.base import Failure
from qwen3_api.pod import termination
from qwen3_api.pod.logs import JsonFormatter
from qwen3_api.pod.termination import TERMINATION_BYTES, render_termination, write_termination
from qwen3_api.pod.text import cut

LONE = "a\ud800b"


@pytest.mark.parametrize("text", ["ok", "x" * 1024, "错" * 1024, "\x01" * 1024, '"\\' * 512])
def test_a_termination_message_is_json_within_what_the_kubelet_keeps(text: str) -> None:
    failure = Failure(reason="DatasetInvalid", message=text, hint=text, step=7)
    rendered = render_termination(failure)
    assert len(rendered) <= TERMINATION_BYTES
    found = Failure.model_validate_json(rendered)
    assert (found.reason, found.step) == ("DatasetInvalid", 7)
    assert found.message[:1] == text[:1]
    if len(text) < 10:
        assert found == failure


def test_nothing_is_cut_that_fits() -> None:
    failure = Failure(reason="DatasetInvalid", message="x" * 1024, hint="y" * 1024)
    assert Failure.model_validate_json(render_termination(failure)) == failure


def test_a_termination_message_is_left(tmp_path: Path) -> None:
    failure = Failure(reason="DatasetEmpty", message="m")
    write_termination(tmp_path / "log", failure)
    assert Failure.model_validate_json((tmp_path / "log").read_bytes()) == failure


def test_what_cannot_be_left_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_termination(tmp_path / "none" / "log", Failure(reason="DatasetEmpty", message="m"))
    assert "no termination message" in caplog.text


def test_outside_of_a_pod_the_kubelets_file_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubelets = tmp_path / "termination-log"
    monkeypatch.setattr(termination, "TERMINATION_LOG", str(kubelets))
    write_termination(kubelets, Failure(reason="DatasetEmpty", message="m"))
    assert not kubelets.exists()
    kubelets.touch()
    write_termination(kubelets, Failure(reason="DatasetEmpty", message="m"))
    assert kubelets.read_bytes()


def test_a_text_fits_and_can_be_encoded() -> None:
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
    assert cut(LONE, 10) == "a?b"


def test_a_log_line_is_one_json_object() -> None:
    formatter = JsonFormatter({"revision": "r1"})
    try:
        raise ValueError(LONE)
    except ValueError:
        record = logging.LogRecord(
            "q.x", logging.WARNING, __file__, 1, "%s\nü", (LONE,), sys.exc_info()
        )
    record.created = 1_700_000_000.5
    line = formatter.format(record)
    assert "\n" not in line
    line.encode()
    entry = json.loads(line)
    assert entry.pop("traceback").endswith("ValueError: a?b")
    assert entry == {
        "time": "2023-11-14T22:13:20.500+00:00",
        "level": "warning",
        "logger": "q.x",
        "message": "a?b\nü",
        "revision": "r1",
    }
