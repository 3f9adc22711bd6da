"""Makes the scripts of local/tiny-model importable: they are no installed package."""

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPTS = REPOSITORY / "local" / "tiny-model"
sys.path.insert(0, str(SCRIPTS))


@pytest.fixture
def scripts() -> Path:
    return SCRIPTS


@pytest.fixture
def examples() -> Path:
    return REPOSITORY / "examples"
