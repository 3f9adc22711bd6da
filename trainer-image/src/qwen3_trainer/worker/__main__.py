"""`python -m qwen3_trainer.worker train|verify <plan file> <descriptor>`: see the package."""

import logging
import sys
from pathlib import Path

from qwen3_trainer.failures import TrainerError, classify
from qwen3_trainer.worker.channel import Channel, configure_logging
from qwen3_trainer.worker.messages import Failed, TrainPlan, VerifyPlan
from qwen3_trainer.worker.stop import StopFlag

log = logging.getLogger("qwen3_trainer.worker")


def main(arguments: list[str]) -> int:
    """Runs one command. Returns the exit code."""
    command, plan_file, descriptor = arguments
    stop = StopFlag()
    stop.install()
    configure_logging()
    channel = Channel(int(descriptor))
    plan_json = Path(plan_file).read_bytes()
    plan: TrainPlan | VerifyPlan
    if command == "train":
        plan = TrainPlan.model_validate_json(plan_json)
    else:
        plan = VerifyPlan.model_validate_json(plan_json)
    try:
        _run(plan, channel, stop)
    except Exception as error:
        failure = classify(error, plan.job)
        if not isinstance(error, TrainerError) or error.__cause__ is not None:
            log.exception("the %s process failed", command)
        channel.send(Failed(failure=failure.to_failure()))
        return int(failure.exit_code)
    return 0


def _run(plan: TrainPlan | VerifyPlan, channel: Channel, stop: StopFlag) -> None:
    # Imported here so that each command pays for its own libraries only, and so that unsloth, which
    # `load` imports, comes before the transformers and trl of `training`.
    if isinstance(plan, TrainPlan):
        from qwen3_trainer.worker.model import load  # noqa: PLC0415

        loaded = load(plan)
        from qwen3_trainer.worker.training import train  # noqa: PLC0415

        train(plan, loaded, channel, stop)
    else:
        from qwen3_trainer.worker.verification import verify  # noqa: PLC0415

        verify(plan, channel)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
