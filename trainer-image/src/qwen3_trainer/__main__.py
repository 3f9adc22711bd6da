"""`python -m qwen3_trainer [job file]`: the program of the training pod."""

import os
import sys

from qwen3_trainer.environment import Paths, prepare_process


def _main() -> int:
    # Before the imports below: the libraries read their variables when they are imported.
    prepare_process(Paths.from_environment(os.environ).work)
    from qwen3_trainer.run import main  # noqa: PLC0415

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_main())
