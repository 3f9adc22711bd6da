"""What a fine-tune costs the API server, counted; how fast it goes is the benchmark's to tell."""

from pathlib import Path

from benchmarks.control_plane import run_burst

MOST_WRITES = 10
FINE_TUNES = 20


def test_a_fine_tune_costs_few_api_writes(tmp_path: Path) -> None:
    """From the CR to Ready: ConfigMap, Job, TTL, statuses, events."""
    figures = run_burst(FINE_TUNES, tmp_path)
    assert figures.writes / FINE_TUNES <= MOST_WRITES, figures.writes_by_kind
    assert figures.writes_by_kind['kind="Job",verb="apply"'] <= 3.0
