"""Figures that the tests measured on the real PBX, printed at the end. They judge nothing."""

import pytest

from tests.pbx.scene import FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("measured on Asterisk, s")
        for name, values in sorted(FIGURES.items()):
            terminalreporter.write_line(f"{name:<64} {' '.join(f'{value:.2f}' for value in values)}")
