"""`python -m qwen3_trainer preflight`: what a CPU pod finds out before any GPU is asked for.

    run.py            order of the steps            findings.py   facts so far, preflight.json
    scan.py           one pass over a data file     sample.py     rows kept for tokenising
    fingerprints.py   duplicates, leakage           lengths.py    token lengths to numbers
    heaviest.py       rows with the most tokens     segments.py   the first row and its loss
    tokenizer.py      the base's tokenizer          checks.py     thresholds to failures

Nothing here imports torch, transformers' models or TRL: a small data set is told within seconds.
"""
