"""Figures that the tests measured on the real PBX, printed at the end. They judge nothing."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.pbx.figures import FIGURES
from tests.support import ami_tape
from tests.support.cast import CAST

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell that starts these tests in the background has SIGINT ignored, and every program they start would be, too."""

TAPES = os.environ.get("AMI_TAPES", "")
"""A folder: what passes over AMI in each test is recorded there (`tests/recordings/ami` has such tapes)."""


@pytest.fixture(autouse=True)
def nobody_has_spoken() -> None:
    """Every test has a cast of its own."""
    CAST.clear()


@pytest.fixture(autouse=True)
def taped(request: pytest.FixtureRequest) -> Iterator[None]:
    """Record the test's calls, when they are to be recorded."""
    if not TAPES or "tmp_path" not in request.fixturenames:
        yield
        return
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    with ami_tape.recording(Path(TAPES) / f"{name}.jsonl"):
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("measured on Asterisk, s")
        for name, values in sorted(FIGURES.items()):
            terminalreporter.write_line(f"{name:<76} {_shown(values)}")


def _shown(values: list[float]) -> str:
    """A few values as they are, of many the ends and the middle."""
    if len(values) <= 8:
        return " ".join(f"{value:.2f}" for value in values)
    low, middle, high = np.quantile(values, (0, 0.5, 1))
    return f"{low:.2f} to {high:.2f}, half below {middle:.2f} ({len(values)})"
