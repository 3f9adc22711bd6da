"""Weights from the hub. A process of its own, without torch: the hub's library downloads with
threads and native code that no signal interrupts, a process can be killed.
"""

import huggingface_hub

from qwen3_trainer import hub
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import Downloaded, DownloadPlan


def download(plan: DownloadPlan, channel: Channel) -> None:
    """Downloads, or finds in the cache. Raises FailureError as `hub.translated`."""
    source = plan.source
    with hub.translated(source):
        folder = huggingface_hub.snapshot_download(
            source.repo, revision=source.revision, allow_patterns=plan.patterns
        )
    channel.send(Downloaded(folder=folder))
