"""`python -m qwen3_trainer.worker <command> <plan file> <descriptor>`; the commands are `PLANS`."""

import logging
import sys
from pathlib import Path

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import classify
from qwen3_trainer.worker.channel import Channel, configure_logging
from qwen3_trainer.worker.messages import (
    ConvertPlan,
    DownloadPlan,
    Failed,
    MergePlan,
    QuantizePlan,
    TrainPlan,
    VerifyPlan,
)
from qwen3_trainer.worker.stop import StopFlag

log = logging.getLogger("qwen3_trainer.worker")

Plan = DownloadPlan | TrainPlan | VerifyPlan | MergePlan | ConvertPlan | QuantizePlan
PLANS: dict[str, type[Plan]] = {
    "download": DownloadPlan,
    "train": TrainPlan,
    "verify": VerifyPlan,
    "merge": MergePlan,
    "convert": ConvertPlan,
    "quantize": QuantizePlan,
}


def main(arguments: list[str]) -> int:
    """Runs one command. Returns the exit code."""
    command, plan_file, descriptor = arguments
    stop = StopFlag()
    stop.install()
    configure_logging()
    channel = Channel(int(descriptor))
    plan_json = Path(plan_file).read_bytes()
    plan = PLANS[command].model_validate_json(plan_json)
    try:
        _run(plan, channel, stop)
    except Exception as error:
        failure = classify(error, plan.job)
        if not isinstance(error, FailureError) or error.__cause__ is not None:
            log.exception("the %s process failed", command)
        channel.send(_failed(failure, plan))
        return int(failure.exit_code)
    return 0


def _failed(failure: FailureError, plan: Plan) -> Failed:
    if failure.reason != Reason.OUT_OF_MEMORY or not isinstance(plan, TrainPlan | VerifyPlan):
        return Failed(failure=failure.failure)
    from qwen3_trainer.worker.memory import gpu_peak_mib, gpu_total_mib  # noqa: PLC0415

    return Failed(
        failure=failure.failure,
        gpu_peak_mib=gpu_peak_mib(),
        gpu_total_mib=gpu_total_mib(),
    )


def _run(plan: Plan, channel: Channel, stop: StopFlag) -> None:
    # Imported here so that each command pays for its own libraries only, and so that unsloth, which
    # `load` imports, comes before the transformers and trl of `training`.
    if isinstance(plan, TrainPlan):
        from qwen3_trainer.worker.model import load  # noqa: PLC0415

        loaded = load(plan)
        from qwen3_trainer.worker.training import train  # noqa: PLC0415

        train(plan, loaded, channel, stop)
        from qwen3_trainer.worker.ranks import leave  # noqa: PLC0415

        leave()
    elif isinstance(plan, VerifyPlan):
        from qwen3_trainer.worker.verification import verify  # noqa: PLC0415

        verify(plan, channel)
    elif isinstance(plan, DownloadPlan):
        from qwen3_trainer.worker.download import download  # noqa: PLC0415

        download(plan, channel)
    else:
        _export(plan, channel)


def _export(plan: MergePlan | ConvertPlan | QuantizePlan, channel: Channel) -> None:
    if isinstance(plan, MergePlan):
        from qwen3_trainer.worker.merging import merge  # noqa: PLC0415

        merge(plan, channel)
        return
    from qwen3_trainer.worker.gguf import convert, quantize  # noqa: PLC0415

    if isinstance(plan, ConvertPlan):
        convert(plan, channel)
    else:
        quantize(plan, channel)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
