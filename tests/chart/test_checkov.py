"""checkov over the rendered chart, against a list of findings with reasons."""

import json
import subprocess
from pathlib import Path

import uv
import yaml
from chart.rendering import VALUES, render_case

SKIPS = yaml.safe_load((Path(__file__).parent / "checkov-skips.yaml").read_text())

# In an environment of its own: its ninety dependencies would fight with ours.
CHECKOV = (uv.find_uv_bin(), "tool", "run", "--from", "checkov==3.3.30", "checkov")


def find_problems(folder: Path) -> set[tuple[str, str]]:
    """Pairs of check and case that fail."""
    for case in VALUES:
        (folder / f"{case}.yaml").write_text(yaml.safe_dump_all(render_case(case)))
    done = subprocess.run(
        [*CHECKOV, "--directory", str(folder), "--framework", "kubernetes", "--output", "json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 0
    assert report["summary"]["parsing_errors"] == 0
    return {
        (found["check_id"], Path(found["file_path"]).stem)
        for found in report["results"]["failed_checks"]
    }


def test_findings_are_exactly_those_with_a_reason(tmp_path: Path) -> None:
    accepted = {(check, case) for check, skip in SKIPS.items() for case in skip["cases"]}
    assert find_problems(tmp_path) == accepted
    assert all(skip["reason"].strip() for skip in SKIPS.values())
