"""The diagrams in docs/ are those of the code."""

from pathlib import Path

from gateway.domain.diagram import document

STATES = Path(__file__).resolve().parents[3] / "docs" / "states.md"


def test_the_state_diagrams_are_current() -> None:
    assert STATES.read_text() == document(), "run `make docs`"
