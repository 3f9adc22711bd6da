"""What the upload of checkpoints costs the training beside it: `python -m benchmarks.checkpoints`.

One training. The steps between two checkpoints are a window; in one window of each pair, chosen by
chance, the checkpoint is uploaded as always, in the other it is thrown away. So both kinds meet the
same machine, minute by minute, and what is compared is the upload alone.
"""
