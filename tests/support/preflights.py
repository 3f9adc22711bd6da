"""Preflights that pass, where no kubelet runs their pods: the document that a real one would write.

The real one is run by tests/integration/test_trainer_preflight.py and by every e2e test.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import client

from qwen3_api.job import layout
from qwen3_api.job.preflight import PreflightJob
from qwen3_operator.resources.labels import ANNOTATION_ORDER
from support.operator_world import build_preflight_document

SELECTOR = "app.kubernetes.io/component=preflight"
PAUSE = 0.1


def write_preflights(batch: client.BatchV1Api, bucket: Any, done: set[str]) -> None:
    """preflight.json for each order in the cluster; `done` holds the uids of those answered."""
    for item in batch.list_job_for_all_namespaces(label_selector=SELECTOR).items:
        if item.metadata.uid in done:
            continue
        text = item.spec.template.metadata.annotations[ANNOTATION_ORDER]
        order = PreflightJob.model_validate_json(text)
        bucket.put_object(
            Bucket=order.output.bucket,
            Key=f"{order.output.prefix}/{layout.PREFLIGHT}",
            Body=build_preflight_document(order.spec_hash).to_json(),
        )
        done.add(item.metadata.uid)


@contextmanager
def passing_preflights(api: client.ApiClient, bucket: Any) -> Iterator[None]:
    """Answers every preflight order while the block runs. An error in it fails the block's end."""
    batch, stop, errors = client.BatchV1Api(api), threading.Event(), list[Exception]()

    def play() -> None:
        done: set[str] = set()
        try:
            while not stop.wait(PAUSE):
                write_preflights(batch, bucket, done)
        except Exception as error:  # noqa: BLE001  told to the test by the assertion below
            errors.append(error)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not errors, errors
