"""Digests of what a running pod was made from, for one source tree.

Run as a program, it prints those of the tree that PYTHONPATH names: today's, or an older commit's.
"""

import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

Digests = dict[str, dict[str, str]]


def pod_source(manifest: Mapping[str, Any]) -> Any:
    """The part of a manifest whose change starts a pool's pods anew or is refused for a Job.

    None for kinds that no pod is made from.
    """
    match manifest["kind"]:
        case "Job":
            return manifest["spec"]["template"]
        case "Deployment":
            return [manifest["spec"]["selector"], manifest["spec"]["template"]]
        case "ConfigMap":
            return manifest["data"]
    return None


def digest_pods(manifests: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """A digest by kind and name: another name is another Job or pool."""
    return {
        f"{m['kind']}/{m['metadata']['name']}": hashlib.sha256(
            json.dumps(source, sort_keys=True).encode()
        ).hexdigest()[:16]
        for m in manifests
        if (source := pod_source(m)) is not None
    }


def digest_tree() -> Digests:
    """By golden case; pools, which no golden case applies, as cases of their own."""
    # Looked up by name: an older tree's are other modules.
    fine_tunes = importlib.import_module("golden.test_golden")
    evaluations = importlib.import_module("golden.test_evaluations")
    cases = {name: digest_pods(fine_tunes.plan_case(name).apply) for name in fine_tunes.CASES}
    cases |= {
        f"evaluations/{name}": digest_pods(evaluations.plan_case(name).apply)
        for name in evaluations.CASES
    }
    return {name: found for name, found in (cases | _pools()).items() if found}


def _pools() -> Digests:
    world = importlib.import_module("support.operator_world")
    pool = importlib.import_module("support.pool_specs").build_pool_spec()
    build = importlib.import_module(type(pool).__module__).build_pool_objects
    cpu = world.build_settings({"serving": {"gpus": 0, "args": ["--dtype=bfloat16"]}})
    return {
        "pools/plain": digest_pods(build(pool, world.SETTINGS)),
        "pools/token": digest_pods(build(replace(pool, hf_token_secret="hf"), world.SETTINGS)),
        "pools/cpu": digest_pods(build(pool, cpu)),
    }


if __name__ == "__main__":
    print(json.dumps(digest_tree()))
