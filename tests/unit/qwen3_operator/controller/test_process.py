"""Probes, logs, failpoints, and the fence of the election: what a process shows of itself."""

import asyncio
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from qwen3_operator.controller import election
from qwen3_operator.controller.activity import INACTIVITY_SECONDS
from qwen3_operator.controller.client import ApiServer
from qwen3_operator.controller.election import Elector, LeaseLostError, LeaseRef
from qwen3_operator.controller.errors import Conflict, Transient
from qwen3_operator.controller.kind import LEASE, Kind
from qwen3_operator.controller.logs import configure_logging, log_fields
from qwen3_operator.controller.probes import LoopLag, build_probe_app, serve
from qwen3_operator.controller.watcher import build_settings
from qwen3_operator.resources.kinds import KINDS


async def test_probes() -> None:
    trouble: list[str] = []
    app = build_probe_app(
        health={"watches": lambda: trouble[0] if trouble else None}, ready={"caches": lambda: None}
    )
    runner = await serve(app, 0)
    # With port 0, IPv4 and IPv6 get different ones.
    port = next(address[1] for address in runner.addresses if len(address) == 2)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def get(path: str) -> tuple[int, str]:
                async with session.get(path) as response:
                    return response.status, await response.text()

            assert await get("/healthz") == (200, "ok\n")
            trouble.append("stalled watches: jobs")
            assert await get("/healthz") == (503, "watches: stalled watches: jobs\n")
            assert await get("/readyz") == (200, "ok\n")
            status, text = await get("/metrics")
            assert status == 200
            assert "qwen3_operator_api_writes_total" in text
    finally:
        await runner.cleanup()


async def test_a_stalled_loop_is_told_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen3_operator.controller.probes.LAG_PERIOD_SECONDS", 0.01)
    monkeypatch.setattr("qwen3_operator.controller.probes.LAG_LIMIT_SECONDS", 0.3)
    lag = LoopLag()
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0.02)
    assert lag.check() is None
    time.sleep(0.5)  # noqa: ASYNC251  the stall
    await asyncio.sleep(0.02)
    assert "event loop lagged" in str(lag.check())
    task.cancel()


def test_log_lines_carry_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", out)
    try:
        configure_logging()
        with log_fields(namespace="team-a", name="bot"), log_fields(revision="12345678"):
            logging.getLogger("a.b").warning("hello", extra={"reason": "JobRunning"})
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
    line = json.loads(out.getvalue())
    assert line.pop("time")
    assert line == {
        "level": "WARNING",
        "logger": "a.b",
        "message": "hello",
        "reason": "JobRunning",
        "namespace": "team-a",
        "name": "bot",
        "revision": "12345678",
    }


@pytest.mark.parametrize(
    ("armed", "expected"), [("here", [-signal.SIGKILL, 0]), ("elsewhere", [0, 0]), (None, [0, 0])]
)
def test_a_failpoint_kills_once(tmp_path: Path, armed: str | None, expected: list[int]) -> None:
    program = "from qwen3_operator.controller.failpoints import failpoint; failpoint('here')"
    extra = (
        {} if armed is None else {"QWEN3_FAILPOINT": armed, "QWEN3_FAILPOINT_DIR": str(tmp_path)}
    )
    path = os.pathsep.join(sys.path)
    codes = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | extra | {"PYTHONPATH": path},
            check=False,
        ).returncode
        for _ in range(2)
    ]
    assert codes == expected


def test_kopf_writes_nothing_and_notices_silence() -> None:
    settings = build_settings(KINDS)
    assert not settings.posting.enabled
    assert settings.watching.inactivity_timeout == INACTIVITY_SECONDS
    assert settings.persistence.finalizer.startswith("qwen3.dev/")
    assert settings.scanning.disabled


class LeaseServer(ApiServer):
    """One Lease with the API server's rule: a PUT needs the current resourceVersion."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.away = False

    async def request(  # type: ignore[override]
        self, verb: str, kind: Kind, namespace: str, name: str | None = None, **options: Any
    ) -> dict[str, Any] | None:
        if self.away:
            raise Transient("ApiUnreachable")
        if verb == "get":
            return None if self.lease is None else json.loads(json.dumps(self.lease))
        body = options["body"]
        current = None if self.lease is None else str(self.version)
        if body["metadata"].get("resourceVersion") != current:
            raise Conflict("Conflict")
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.lease = json.loads(json.dumps(body))
        return body


class Candidate:
    def __init__(self, server: LeaseServer, identity: str) -> None:
        self.now = 1000.0
        self.elector = Elector(
            server, LeaseRef("system", "lease", identity), clock=lambda: self.now
        )

    async def attempt(self) -> bool:
        return await self.elector._attempt()


async def test_the_fence_closes_before_another_may_take_over() -> None:
    server = LeaseServer()
    one, two = Candidate(server, "one"), Candidate(server, "two")
    assert not one.elector.fence()
    assert await one.attempt()
    assert not await two.attempt()
    one.now += 9.9
    assert one.elector.fence()
    one.now += 0.2
    assert not one.elector.fence(), "10 s after the last renewal"
    two.now += 14.9
    assert not await two.attempt()
    two.now += 0.1
    assert await two.attempt(), "15 s after it saw the record unchanged"
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1


async def test_another_ones_clock_counts_only_from_when_it_looked() -> None:
    server = LeaseServer()
    one, two = Candidate(server, "one"), Candidate(server, "two")
    await one.attempt()
    two.now = 99_999.0
    assert not await two.attempt(), "its first look starts its own 15 s"
    await one.attempt()
    two.now += 20
    assert not await two.attempt(), "a renewal starts them again"


async def test_of_two_that_try_one_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LeaseServer()
    one, two = Candidate(server, "one"), Candidate(server, "two")
    reads = asyncio.Barrier(2)
    plain = server.request

    async def request(verb: str, *arguments: Any, **options: Any) -> Any:
        found = await plain(verb, *arguments, **options)
        if verb == "get":
            await reads.wait()
        return found

    monkeypatch.setattr(server, "request", request)
    assert sorted(await asyncio.gather(one.attempt(), two.attempt())) == [False, True]


async def test_release_hands_over_at_once_and_closes_the_fence() -> None:
    server = LeaseServer()
    one, two = Candidate(server, "one"), Candidate(server, "two")
    await one.attempt()
    await two.attempt()
    await one.elector.release()
    assert not one.elector.fence()
    assert await two.attempt()


async def test_a_renewal_under_way_cannot_undo_a_release() -> None:
    server = LeaseServer()
    one, two = Candidate(server, "one"), Candidate(server, "two")
    await one.attempt()
    lease = await server.request("get", LEASE, "system", "lease")
    assert lease is not None
    plain = server.request

    async def raced(verb: str, *arguments: Any, **options: Any) -> Any:
        """The cancelled renewal reaches the server between the release's read and write."""
        found = await plain(verb, *arguments, **options)
        if verb == "get":
            server.request = plain  # type: ignore[method-assign]
            await plain("update", LEASE, "system", "lease", body=lease)
        return found

    server.request = raced  # type: ignore[method-assign]
    await one.elector.release()
    assert await two.attempt()


async def test_a_lease_whose_answer_got_lost_is_given_back() -> None:
    server = LeaseServer()
    one, two = Candidate(server, "one"), Candidate(server, "two")
    plain = server.request

    async def lossy(verb: str, *arguments: Any, **options: Any) -> Any:
        found = await plain(verb, *arguments, **options)
        if verb == "create":
            raise Transient("ApiTimeout")
        return found

    server.request = lossy  # type: ignore[method-assign]
    assert not await one.attempt()
    server.request = plain  # type: ignore[method-assign]
    await one.elector.release()
    assert await two.attempt()


async def test_release_leaves_another_ones_lease_alone() -> None:
    server = LeaseServer()
    one, two = Candidate(server, "one"), Candidate(server, "two")
    await one.attempt()
    await two.attempt()
    two.now += 15
    assert await two.attempt()
    await one.elector.release()
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == "two"


@pytest.mark.parametrize("how", ["taken by another", "API away", "process frozen"])
async def test_a_holder_that_loses_stops(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(election, "RETRY_SECONDS", 0.0)
    server = LeaseServer()
    one, two = Candidate(server, "one"), Candidate(server, "two")
    await one.attempt()
    await two.attempt()
    match how:
        case "taken by another":
            two.now += 15
            assert await two.attempt()
        case "API away":
            server.away = True
            one.now += 11
        case "process frozen":
            one.now += 11
    with pytest.raises(LeaseLostError):
        await asyncio.wait_for(one.elector.hold(), 5)
    assert not one.elector.fence()
