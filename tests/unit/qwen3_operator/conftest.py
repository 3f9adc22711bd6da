"""The simulated world, for tests of whole reconciles."""

import asyncio
from collections.abc import Iterator

import pytest

from support.operator_simulator import World
from support.simulated_operator import Operator


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def world(loop: asyncio.AbstractEventLoop) -> World:
    return World(loop)


@pytest.fixture
def operator(world: World) -> Operator:
    return Operator(world)
