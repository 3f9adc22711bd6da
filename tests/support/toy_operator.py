"""The operator's runtime around a toy reconcile: one ConfigMap and one Job per Qwen3FineTune.

Run as a program by the runtime's integration tests: everything but the decisions is the product's.
`python toy_operator.py --port N --namespace NS [--identity NAME] [--beat S] [--lease S]`
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from qwen3_operator.resources.kinds import KINDS

if __name__ == "__main__":
    # As in the operator's image, which lacks this package: kopf imports it whole if it is there.
    sys.modules["kubernetes"] = None  # type: ignore[assignment]

from qwen3_operator.app import Application, RuntimeConfig, Wake
from qwen3_operator.controller import election
from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.client import Client
from qwen3_operator.controller.connection import connect
from qwen3_operator.controller.intake import plain_keys
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.kind import Manifest
from qwen3_operator.controller.logs import configure_logging
from qwen3_operator.controller.reconciler import Result
from qwen3_operator.controller.watcher import watch
from qwen3_operator.resources.kinds import CONFIG_MAP, FINE_TUNE

LEASE = "toy"


class Toy:
    """Applies a ConfigMap and a Job, then says so in status."""

    def __init__(self, client: Client, cache: Cache, identity: str, beat: float | None) -> None:
        self._client = client
        self._cache = cache
        self._identity = identity
        self._beat = beat
        self._beats = 0

    def keys_for(self, obj: Manifest) -> Iterable[Key]:
        return plain_keys(KINDS, obj)

    async def reconcile(self, key: Key) -> Result:
        obj = self._cache.get(FINE_TUNE, key.namespace, key.name)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return Result()
        if self._beat is not None:
            return await self._write_beat(key)
        await self._client.apply(build_config_map(obj))
        await self._client.apply(build_job(obj))
        if (obj.get("status") or {}).get("observedGeneration") != obj["metadata"]["generation"]:
            await self._client.apply_status(build_status(obj))
        return Result()

    async def _write_beat(self, key: Key) -> Result:
        """A steady stream of writes that says who wrote."""
        self._beats += 1
        await self._client.apply(
            {
                "apiVersion": CONFIG_MAP.api_version,
                "kind": CONFIG_MAP.name,
                "metadata": {
                    "namespace": key.namespace,
                    "name": f"beat-{key.name}",
                    "labels": {"qwen3.dev/managed": "true"},
                },
                "data": {"writer": self._identity, "beat": str(self._beats)},
            }
        )
        return Result(requeue_after=self._beat)


def build_metadata(obj: Manifest) -> Manifest:
    metadata = obj["metadata"]
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "labels": {"qwen3.dev/managed": "true", "qwen3.dev/fine-tune": metadata["name"]},
        "ownerReferences": [
            {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "controller": True,
            }
        ],
    }


def build_config_map(obj: Manifest) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": build_metadata(obj),
        "data": {"job.json": str(obj["spec"])},
    }


def build_job(obj: Manifest) -> Manifest:
    metadata = build_metadata(obj)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "suspend": True,
            "backoffLimit": 3,
            "template": {
                "metadata": {"labels": metadata["labels"]},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "trainer", "image": "trainer"}],
                },
            },
        },
    }


def build_status(obj: Manifest) -> Manifest:
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": {key: metadata[key] for key in ("name", "namespace", "uid")},
        "status": {"observedGeneration": metadata["generation"]},
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--identity", default="toy")
    parser.add_argument("--namespace", action="append", required=True)
    parser.add_argument("--beat", type=float, help="write all the time, every so many seconds")
    parser.add_argument("--lease", type=int, help="duration: longer, to outlive an API server")
    options = parser.parse_args()
    configure_logging()
    if options.lease is not None:
        election.LEASE_SECONDS = options.lease
        election.RENEW_DEADLINE_SECONDS = options.lease * 0.9

    @asynccontextmanager
    async def build(client: Client, cache: Cache, _: Wake) -> AsyncIterator[Toy]:
        yield Toy(client, cache, options.identity, options.beat)

    config = RuntimeConfig(
        namespaces=tuple(options.namespace),
        operator_namespace=options.namespace[0],
        lease_name=LEASE,
        identity=options.identity,
        workers=8,
        resync_seconds=120.0,
        metrics_port=options.port,
    )

    async def run() -> int:
        return await Application(config, connect(), build, watch).run()

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
