"""The switch that rewrites the expected files."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known when pytest is started on this folder."""
    parser.addoption(
        "--update-golden", action="store_true", help="write output/*.yaml instead of comparing"
    )
