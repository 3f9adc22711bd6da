"""The card of a base model is a file of others: whatever it holds, nothing is raised."""

import logging
from pathlib import Path

import pytest

from qwen3_trainer.front_matter import (
    LICENSE_LIMIT,
    NOT_STATED,
    READ_BYTES,
    find_license,
    parse_front_matter,
    read_license,
)

NO_YAML = "its front matter is not valid YAML"
NO_NAME = "its card states something that is no name of a license"
TOO_LONG = "its front matter doesn't end within 64 KiB"
TOO_DEEP = "its front matter is nested too deeply"


@pytest.mark.parametrize(
    ("front", "name", "problem"),
    [
        ("license: apache-2.0", "apache-2.0", ""),
        ("license: 'cc-by-nc-sa-4.0'\ntags:\n- a", "cc-by-nc-sa-4.0", ""),
        # Nothing is constructed: what is no date or no number costs nothing.
        ("date: 2026-13-45\nlicense: mit", "mit", ""),
        (f"size: {'9' * 5000}\nlicense: mit", "mit", ""),
        (f"x: 1_{'0' * 5000}.5\nlicense: mit", "mit", ""),
        ("x: !!python/object/apply:os.system [exit]\nlicense: mit", "mit", ""),
        ("license: [a]", None, NOT_STATED),
        ("license:", None, NOT_STATED),
        ("license: null", None, NOT_STATED),
        ("license: 2", None, NOT_STATED),
        ("license: 2026-13-45", None, NOT_STATED),
        ("", None, NOT_STATED),
        ("- a", None, "its front matter is no mapping"),
        (": : :", None, NO_YAML),
        ("license: mit\n---x", None, NO_YAML),
        ('license: "\\UFFFFFFFF"', None, NO_YAML),  # an OverflowError of PyYAML
        ('license: "\\U00110000"', None, NO_YAML),  # a ValueError of PyYAML
        (f"%YAML 1.{'9' * 5000}\n---\na: b", None, NO_YAML),
        ('license: "\\uD800"', None, NO_NAME),  # which UTF-8 can't write
        ('license: "a\\n| b |"', None, NO_NAME),
        (f"license: {'x' * (LICENSE_LIMIT + 1)}", None, NO_NAME),
        ("[" * 3000, None, TOO_DEEP),
        ("- " * 3000, None, TOO_DEEP),
        ("a: b\n" * 2_000_000, None, TOO_LONG),
    ],
)
def test_a_license_is_known_or_its_absence_explained(
    front: str, name: str | None, problem: str
) -> None:
    head = f"---\n{front}\n---\n# Qwen3\n".encode()[:READ_BYTES]
    found = find_license(parse_front_matter(head))
    assert (found.name, found.problem) == (name, problem)


@pytest.mark.parametrize(
    ("card", "name", "problem"),
    [
        (b"---\nlicense: \xff\n---\n", None, "its front matter is not UTF-8"),
        (b"---\nlicense: mit\n---\nlatin \xe9", "mit", ""),
        (b"---\r\nlicense: mit\r\n---\r\n# Qwen3\r\n", "mit", ""),
        (b"---\nlicense: mit\n---\n" + b"x" * 10_000_000, "mit", ""),
        (b"# no front matter\n---\nlicense: mit\n---\n", None, NOT_STATED),
        (b"", None, NOT_STATED),
        (None, None, NOT_STATED),
    ],
)
def test_the_card_in_a_folder(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    card: bytes | None,
    name: str | None,
    problem: str,
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_bytes(card)
    with caplog.at_level(logging.WARNING):
        found = read_license("Qwen/Qwen3-8B", tmp_path)
    assert (found.name, found.problem) == (name, problem)
    warnings = [] if name else [f"the license of Qwen/Qwen3-8B is unknown: {problem}"]
    assert [r.getMessage() for r in caplog.records] == warnings


def test_a_card_that_can_t_be_opened_is_none(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    assert "can't be read" in read_license("m", tmp_path).problem
