"""The lines between the pool and its workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.speech.models import Choice
from gateway.adapters.speech.wire import (
    MAX_LINE_BYTES,
    MAX_SAMPLES,
    Answer,
    Ready,
    Unusable,
    WireError,
    decode,
    decode_request,
    encode,
    encode_request,
)
from gateway.adapters.speech.worker import Setup
from gateway.domain.spoken import Hearing, Hypothesis
from gateway.ports.recogniser import Engine

ENGINE = Engine("whisper", "ctranslate2 4.8.5", "tiny.en", "ab" * 32, ("en", "de"), pinned=True)
HEARINGS = (Hearing(8_000, 0.125, (Hypothesis('Yes, "I" agree.\n', -0.25), Hypothesis("", -1.5))),)


@pytest.mark.parametrize(
    "message",
    [
        Ready((ENGINE, ENGINE)),
        Unusable("install it"),
        Answer(7, 1, True, 120, HEARINGS),
        Answer(7, 0, False, 9, HEARINGS),
        Answer(7, 0, False, 0, None),
    ],
)
def test_what_is_said_is_understood(message: Ready | Unusable | Answer) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode(line) == message


def test_a_request_is_a_line_and_the_sound_behind_it() -> None:
    line, sound = encode_request(3, "en", 2, b"\n\x00" * 10).split(b"\n", 1)
    assert decode_request(line) == (3, "en", 2, 20)
    assert sound == b"\n\x00" * 10


@pytest.mark.parametrize("size", [0, -2, 3, 2 * MAX_SAMPLES + 2])
def test_sound_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(WireError, match="size"):
        decode_request(f'{{"job": 1, "language": "en", "look": 1, "bytes": {size}}}'.encode())


@pytest.mark.parametrize("look", ["0", "3", "true", '"1"', "null"])
def test_another_look_than_two_is_refused(look: str) -> None:
    with pytest.raises(WireError, match="not a request"):
        decode_request(f'{{"job": 1, "language": "en", "look": {look}, "bytes": 20}}'.encode())


@given(st.binary(max_size=200) | st.sampled_from([b"[]", b"{}", b'{"Ready": 1}', b'{"Answer": {"job": "x"}}', b"1"]))
def test_whatever_else_comes_is_refused_without_being_quoted(line: bytes) -> None:
    for read in (decode, decode_request):
        with pytest.raises(WireError) as refused:
            read(line)
        assert refused.value.args[0] in ("not a line of a speech worker", "not a request")


def test_the_longest_answer_fits_a_line() -> None:
    """Two passes with five texts each of 32 tokens, each of ten characters that JSON spells out."""
    worst = Hearing(30_000, 0.123, tuple(Hypothesis("ü" * 320, -0.123) for _ in range(5)))
    assert len(encode(Answer(1, 0, True, 1, (worst, worst)))) < MAX_LINE_BYTES


def test_a_setup_survives_the_command_line() -> None:
    setup = Setup(7, 4711, 10, (Choice("tiny.en"), Choice("own", "/models/my own", ("nl",))))
    assert Setup.from_argument(setup.to_argument()) == setup
