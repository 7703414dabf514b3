"""RTP and telephone events: any bytes in, values or the one error out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.errors import RtpError
from gateway.wire.rtp import DIGITS, RtpPacket, TelephoneEvent, event_code

packets = st.builds(
    RtpPacket,
    st.integers(0, 127),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=200),
    st.booleans(),
)


@given(packets)
def test_a_packet_survives_the_wire(packet: RtpPacket) -> None:
    assert RtpPacket.decode(packet.encode()) == packet


@given(st.binary(max_size=80))
def test_any_bytes_decode_or_raise_the_one_error(data: bytes) -> None:
    for act in (RtpPacket.decode, TelephoneEvent.decode):
        try:
            act(data)
        except RtpError:
            continue


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.booleans(), st.integers(0, 63))
def test_an_event_survives_the_wire(event: int, duration: int, end: bool, volume: int) -> None:
    value = TelephoneEvent(event, duration, end, volume)
    assert TelephoneEvent.decode(value.encode() + b"more") == value


def test_csrc_extension_and_padding_are_skipped() -> None:
    head = bytes([0x80 | 0x20 | 0x10 | 2, 0x80, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3])
    packet = RtpPacket.decode(head + bytes(8) + b"\xbe\xde\x00\x01" + b"ext!" + b"audio" + b"\x00\x00\x03")
    assert packet == RtpPacket(0, 1, 2, 3, b"audio", True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(12),
        bytes([0x8F]) + bytes(11),
        bytes([0x90]) + bytes(12),
        bytes([0x90]) + bytes(13) + b"\xff\xff",
        bytes([0xA0]) + bytes(12),
        bytes([0xA0]) + bytes(11) + b"\xff",
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(RtpError):
        RtpPacket.decode(data)


@pytest.mark.parametrize(
    "packet", [RtpPacket(128, 0, 0, 0, b""), RtpPacket(0, 65536, 0, 0, b""), RtpPacket(0, 0, -1, 0, b"")]
)
def test_numbers_out_of_range(packet: RtpPacket) -> None:
    with pytest.raises(RtpError):
        packet.encode()
    with pytest.raises(RtpError):
        TelephoneEvent(256, 0).encode()


def test_keys() -> None:
    assert [event_code(digit) for digit in DIGITS] == list(range(16))
    assert [TelephoneEvent(event_code(digit), 0).digit for digit in DIGITS] == list(DIGITS)
    assert event_code("d") == 15
    assert TelephoneEvent(16, 0).digit == ""
    for digit in ("", "12", "x"):
        with pytest.raises(RtpError, match=r"^telephone event: not a key$"):
            event_code(digit)
