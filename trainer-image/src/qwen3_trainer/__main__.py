"""`python -m qwen3_trainer [job file]`: the program of the training pod.

`python -m qwen3_trainer preflight [job file]`: the program of the preflight pod.

`python -m qwen3_trainer export [job file]`: the program of the export pod.
"""

import os
import sys

from qwen3_trainer.environment import Paths, prepare_process


def _main(arguments: list[str]) -> int:
    # Before the imports below: the libraries read their variables when they are imported.
    prepare_process(Paths.from_environment(os.environ).work)
    if arguments[:1] == ["preflight"]:
        from qwen3_trainer.preflight.run import main as preflight  # noqa: PLC0415

        return preflight(arguments[1:])
    if arguments[:1] == ["export"]:
        from qwen3_trainer.export.run import main as export  # noqa: PLC0415

        return export(arguments[1:])
    from qwen3_trainer.run import main  # noqa: PLC0415

    return main(arguments)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
