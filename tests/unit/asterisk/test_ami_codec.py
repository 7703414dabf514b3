"""The manager interface on the wire: any splitting of the stream, hostile values, bounded sizes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.asterisk.ami.codec import (
    MAX_LINE_BYTES,
    MAX_MESSAGE_BYTES,
    Decoder,
    Message,
    encode_action,
    encode_own_action,
)
from gateway.wire.errors import AmiError

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,15}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40)
MESSAGES = st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=6).map(lambda pairs: [("Event", "Some"), *pairs])


def decode(*pieces: bytes) -> list[Message]:
    decoder = Decoder()
    return [message for piece in pieces for message in decoder.feed(piece)]


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(MESSAGES, max_size=4), st.lists(st.integers(min_value=0)), st.sampled_from(["\r\n", "\n"]))
def test_any_splitting_gives_the_same_messages(
    messages: list[list[tuple[str, str]]], cuts: list[int], end: str
) -> None:
    text = f"Asterisk Call Manager/11.0.0{end}" + "".join(
        "".join(f"{key}: {value}{end}" for key, value in pairs) + end for pairs in messages
    )
    found = decode(*split(text.encode(), cuts))
    assert found[0] == Message("greeting", "11.0.0")
    assert found[1:] == [Message("event", "Some", tuple(pairs[1:])) for pairs in messages]


@given(st.binary(max_size=200))
def test_rubbish_is_read_or_refused_but_never_worse(rubbish: bytes) -> None:
    for data in (rubbish, GREETING + rubbish):
        try:
            decode(*split(data, [3, 50, 99]))
        except AmiError as error:
            assert error.where == "greeting"


def test_every_byte_alone() -> None:
    data = GREETING + b"Response: Success\r\nActionID: 1\r\nOutput: a\r\nOutput: b: c\r\n\r\nEvent: X\r\n\r\n"
    found = decode(*(bytes([byte]) for byte in data))
    assert found == decode(data)
    assert found[1] == Message("response", "Success", (("ActionID", "1"), ("Output", "a"), ("Output", "b: c")))
    assert (found[1].get("actionid"), found[1].get("nothing")) == ("1", "")
    assert found[2] == Message("event", "X")


def test_a_line_feed_within_a_value_ends_no_line() -> None:
    [_, event] = decode(GREETING, b"Event: VarSet\r\nValue: a\n\nEvent: Hangup\nUniqueid: 1\r\nUniqueid: 2\r\n\r\n")
    assert (event.name, event.get("Uniqueid")) == ("VarSet", "2")
    assert event.get("Value") == "a\n\nEvent: Hangup\nUniqueid: 1"


def test_the_first_line_decides_what_it_is() -> None:
    [_, event] = decode(GREETING, b"Event: UserEvent\r\nResponse: Success\r\nEvent: Hangup\r\n\r\n")
    assert (event.kind, event.name, event.get("Event")) == ("event", "UserEvent", "Hangup")
    [_, other] = decode(GREETING, b"Uniqueid: 1\r\nEvent: Hangup\r\n\r\n")
    assert other.kind == "other"


def test_odd_lines_are_kept() -> None:
    [_, message] = decode(GREETING, b"\r\n\r\nResponse:Success\r\nno colon\r\nOutput:   deep\r\nEmpty:\r\n: x\r\n\r\n")
    assert message.name == "Success"
    assert message.fields == (("", "no colon"), ("Output", "  deep"), ("Empty", ""), ("", "x"))


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    [_, event] = decode(GREETING, b"Event: X\r\nCallerIDName: J\xfcrgen\r\n\r\n")
    assert event.get("CallerIDName") == "J\N{REPLACEMENT CHARACTER}rgen"


@pytest.mark.parametrize("line", [b"SIP/2.0 200 OK\r\n", b"\r\n", b"Asterisk Call Manager/\r\n", b"\x16\x03\x01\n"])
def test_what_is_no_manager_is_refused(line: bytes) -> None:
    with pytest.raises(AmiError, match="no Asterisk manager"):
        decode(line)


def test_a_line_is_bounded_before_it_ends() -> None:
    decode(GREETING, b"x" * MAX_LINE_BYTES, b"\r\n\r\n")
    for line in ((b"x" * (MAX_LINE_BYTES + 1),), (b"x" * MAX_LINE_BYTES, b"xx\r\n")):
        with pytest.raises(AmiError, match="line: longer than 65536 bytes"):
            decode(GREETING, *line)
    with pytest.raises(AmiError, match="line: longer"):
        decode(b"Asterisk" * MAX_LINE_BYTES)


def test_a_message_is_bounded() -> None:
    line = b"Output: " + b"x" * 1014 + b"\r\n"
    whole = line * (MAX_MESSAGE_BYTES // len(line))
    decode(GREETING, whole, b"\r\n", whole, b"\r\n")
    with pytest.raises(AmiError, match="message: longer than 1048576 bytes"):
        decode(GREETING, whole, line)


@given(KEYS, st.text(), st.text())
def test_an_action_is_one_message_or_refused(key: str, value: str, variable: str) -> None:
    try:
        data = encode_action("Setvar", {key: value}, variables={"NAME": variable}, action_id="7-1")
    except AmiError:
        return
    assert data.count(b"\r\n\r\n") == 1
    lines = data.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert lines == ["Action: Setvar", "ActionID: 7-1", f"{key}: {value}", f"Variable: NAME={variable}"]


def test_the_encoder_refuses_what_the_rules_refuse() -> None:
    with pytest.raises(AmiError, match="allow_system"):
        encode_action("Originate", action_id="1")
    assert encode_action("Originate", action_id="1", allow_system=True).startswith(b"Action: Originate\r\n")
    with pytest.raises(AmiError, match="control character"):
        encode_own_action("Login", {"Username": "gateway\r\nAction: x"}, action_id="1")
