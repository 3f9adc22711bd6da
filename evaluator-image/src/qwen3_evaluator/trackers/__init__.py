"""Processes of their own that send the results of an evaluation to a tracker.

    python -m qwen3_evaluator.trackers.<name> FOLDER

FOLDER holds job.json, report.json, samples.jsonl and report.html. What becomes known is told line
by line on standard output (`messages`), so that nothing of it is lost when the process is killed.
The tracker's library is imported here and nowhere else.
"""
