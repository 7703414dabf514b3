"""The SDP codec: hostile descriptions are refused, good ones survive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.errors import SdpError
from gateway.wire.sdp import AudioSession, Codec, build, mirrored, parse

OFFER = (
    b"v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
)


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    for body in (data, OFFER + data, OFFER.replace(b"audio", data[:8])):
        try:
            parse(body)
        except SdpError:
            continue


@given(st.data())
def test_any_damage_parses_or_raises_the_one_error(data: st.DataObject) -> None:
    at, length = data.draw(st.integers(0, len(OFFER))), data.draw(st.integers(0, 20))
    new = data.draw(st.sampled_from([b"", b"9999999999999999999999", b"\r\n", b"m=", b"\x00", b"\xff", b" ", b"/"]))
    try:
        build(parse(OFFER[:at] + new + OFFER[at + length :]))
    except SdpError:
        return


@given(
    port=st.integers(0, 65535),
    types=st.lists(st.tuples(st.integers(0, 127), st.sampled_from(["PCMU", "PCMA", "OPUS"])), min_size=1, max_size=9),
    direction=st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"]),
    numbers=st.tuples(st.integers(0, 2**63), st.integers(0, 2**63)),
    ptime=st.integers(1, 999),
    others=st.lists(st.sampled_from(["video 1 RTP/AVP 31", "image 2 udptl t38"]), max_size=3),
    data=st.data(),
)
def test_a_session_survives_the_wire(port, types, direction, numbers, ptime, others, data) -> None:
    unique = {payload_type: Codec(payload_type, name) for payload_type, name in types}
    index = data.draw(st.integers(0, len(others)))
    session = AudioSession(
        "192.0.2.1", port, tuple(unique.values()), direction, *numbers, ptime_ms=ptime, index=index,
        other_streams=tuple(others),
    )  # fmt: skip
    again = parse(build(session))
    refused = tuple(" ".join([item.split()[0], "0", *item.split()[2:]]) for item in others)
    assert again.other_streams == refused
    assert (again.address, again.port, again.codecs, again.direction, again.index) == (
        session.address,
        port,
        session.codecs,
        direction,
        index,
    )
    assert (again.session_id, again.version, again.ptime_ms) == (*numbers, ptime)


def test_static_types_events_and_levels() -> None:
    session = parse(OFFER)
    assert [codec.name for codec in session.codecs] == ["PCMU", "PCMA", "TELEPHONE-EVENT"]
    assert session.codec("telephone-event") == Codec(101, "TELEPHONE-EVENT")
    assert session.codec("OPUS") is None
    own = parse(OFFER + b"c=IN IP4 192.0.2.9/127\r\na=sendonly\r\n")
    assert (own.address, own.direction, own.on_hold) == ("192.0.2.9", "sendonly", True)
    assert parse(OFFER.replace(b"t=0 0\r\n", b"t=0 0\r\na=inactive\r\n")).on_hold
    assert parse(OFFER.replace(b"c=IN IP4 192.0.2.1", b"c=IN IP4 0.0.0.0")).on_hold
    assert not parse(OFFER.replace(b"\r\n", b"\n")).on_hold


def test_the_audio_stream_keeps_its_place() -> None:
    session = parse(OFFER.replace(b"m=audio", b"m=video 9 RTP/AVP 31\r\na=sendonly\r\nm=audio"))
    assert (session.index, session.other_streams, session.direction) == (1, ("video 9 RTP/AVP 31",), "sendrecv")
    assert build(session).index(b"m=video 0 RTP/AVP 31") < build(session).index(b"m=audio")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"v=1\r\n",
        OFFER.replace(b"m=audio", b"m=video"),
        OFFER.replace(b"RTP/AVP", b"RTP/SAVP"),
        OFFER.replace(b"4000", b"70000"),
        OFFER.replace(b"4000", b"x"),
        OFFER.replace(b" 0 8 101", b""),
        OFFER.replace(b" 0 8 101", b" 200"),
        OFFER.replace(b"c=IN IP4 192.0.2.1\r\n", b""),
        OFFER.replace(b"c=IN IP4 192.0.2.1", b"c=IN IP4 <script>"),
        OFFER.replace(b"rtpmap:101 telephone-event/8000", b"rtpmap:101"),
        OFFER + b"no equals sign\r\n",
        OFFER + b"a=\x00\r\n",
        OFFER + b"a=x\r\n" * 1001,
    ],
)
def test_malformed(body: bytes) -> None:
    with pytest.raises(SdpError):
        parse(body)


def test_what_cannot_be_written_is_refused() -> None:
    for session in (
        AudioSession("192.0.2.1\r\na=x", 1, (Codec(0, "PCMU"),)),
        AudioSession("192.0.2.1", 1, ()),
        AudioSession("192.0.2.1", 70000, (Codec(0, "PCMU"),)),
        AudioSession("192.0.2.1", 1, (Codec(0, "PC\r\nMU"),)),
        AudioSession("192.0.2.1", 1, (Codec(0, "PCMU"),), other_streams=("video",)),
        AudioSession("192.0.2.1", 1, (Codec(0, "PCMU"),), other_streams=("video 1 RTP/AVP \x07",)),
    ):
        with pytest.raises(SdpError):
            build(session)


def test_directions_are_seen_from_the_other_side() -> None:
    assert [mirrored(item) for item in ("sendrecv", "sendonly", "recvonly", "inactive")] == [
        "sendrecv",
        "recvonly",
        "sendonly",
        "inactive",
    ]
