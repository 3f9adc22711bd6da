"""Rounds of the simulated world: everybody works, in a fixed order."""

from typing import Any

from qwen3_api.job.exit_codes import ExitCode
from support.operator_simulator import World
from support.operator_world import build_spec
from support.simulated_operator import Operator


def turn(world: World, operator: Operator, times: int = 1) -> None:
    """Everybody does a round of work."""
    for _ in range(times):
        world.api.collect_garbage()
        world.terminate_pods()
        world.control_jobs()
        world.control_deployments()
        for pod in world.job_pods():
            world.start_pod(pod)
            world.end_pod(pod, ExitCode.SUCCEEDED)
        world.step_servers()
        operator.deliver()
        operator.work()


def ready(world: World, name: str = "bot") -> dict[str, Any]:
    """The Ready condition."""
    body = world.finetune(name)
    assert body is not None
    return next(c for c in body["status"]["conditions"] if c["type"] == "Ready")


def uid(world: World, name: str) -> str:
    body = world.finetune(name)
    assert body is not None
    return str(body["metadata"]["uid"])


def serve(world: World, operator: Operator, *names: str, **changes: Any) -> None:
    """Fine-tunes, from nothing to Ready, by watch events alone."""
    for name in names:
        world.create(name, build_spec(**changes))
    for _ in range(12):
        turn(world, operator)
        operator.resync()
    assert all(ready(world, name)["status"] == "True" for name in names)
    operator.deliver()
    operator.work()
    operator.woken.clear()
