"""Header values read from callers and written for agents."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.sip import headers
from gateway.adapters.sip.headers import (
    MAX_NUMBER,
    MAX_PASSED_ON,
    Party,
    Refused,
    called_number,
    header_fields,
    header_name,
    moved_to,
    name_addr,
    party,
    passed_on,
    refuse_control,
    request_uri,
    via_source,
)
from gateway.wire.address import NameAddress, SipUri


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(headers).failed == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<sip:+49@h>;tag=1", Party("", "+49")),
        ("Ann Berg <sip:1@h>", Party("Ann Berg", "1")),
        ('"Ann, <x>" <sips:1@h:5061;transport=tls>', Party("Ann, <x>", "1")),
        ("tel:+4930;phone-context=x", Party("", "+4930")),
        ("<tel:+4930>", Party("", "+4930")),
        ("<sip:a%20b@h>", Party("", "a b")),
        ("<sip:user:secret@h>", Party("", "user")),
        ("<sip:+49;phone-context=x;ext=1@h;user=phone>", Party("", "+49")),
        ("<sip:a%3Bb%3Ac@h>", Party("", "a;b:c")),
        ("<sip:%0d%0aX@h>", Party("", "X")),
        ("<sip:h>", Party("", "")),
        ("", Party("", "")),
        ("garbage", Party("", "")),
    ],
)
def test_parties(value: str, expected: Party) -> None:
    assert party(value) == expected


@given(st.text(max_size=300))
def test_no_value_breaks_the_parser_or_lets_a_control_character_through(value: str) -> None:
    name, number = party(value)
    assert len(number) <= MAX_NUMBER
    assert not any(ord(character) < 32 or ord(character) == 127 for character in name + number)


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"]), max_size=60), st.text("0123456789+*# ab", max_size=20))
def test_what_is_written_is_what_is_read(name: str, number: str) -> None:
    assert party(name_addr(name, number, "192.0.2.1:5060")) == Party(name, number or "anonymous")


@pytest.mark.parametrize("bad", ["a\r\nX: 1", "a\nb", "\x00", "a\x7fb", "x" * 2000])
def test_values_that_would_break_out_are_refused_and_not_quoted(bad: str) -> None:
    for act in (
        lambda: refuse_control(bad, 1024),
        lambda: name_addr(bad, "1", "h"),
        lambda: name_addr("n", bad, "h"),
        lambda: header_name(bad),
    ):
        with pytest.raises(Refused) as refusal:
            act()
        assert bad not in str(refusal.value)


@pytest.mark.parametrize("bad", ["", "X A", "X:", "Xä", "X\n"])
def test_a_header_name_is_a_token(bad: str) -> None:
    with pytest.raises(Refused):
        header_name(bad)
    assert header_name("X-Consent-Call-ID") == "X-Consent-Call-ID"


MESSAGE = (
    "INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:5060;branch=z9\r\n"
    "Via: SIP/2.0/UDP 198.51.100.7;rport=4001;received=203.0.113.9\r\n"
    "f: <sip:1@h>\r\nSubject: folded\r\n  line\r\nX-Consent-Call-ID: 01J\r\nAuthorization: secret\r\n\r\nX-Body: no\r\n"
)


def test_fields_are_read_with_compact_names_and_folded_lines() -> None:
    fields = dict(header_fields(MESSAGE))
    assert fields["from"] == "<sip:1@h>"
    assert fields["subject"] == "folded line"
    assert "x-body" not in fields


def test_only_extensions_are_passed_on_and_never_more_than_fits() -> None:
    assert passed_on(header_fields(MESSAGE)) == (("x-consent-call-id", "01J"),)
    many = [("x-a", "v" * 500)] * 100
    assert sum(len(name) + len(value) for name, value in passed_on(many)) <= MAX_PASSED_ON


def test_the_source_behind_the_front_is_the_second_via() -> None:
    assert via_source(header_fields(MESSAGE), "127.0.0.1:5060") == "203.0.113.9:4001"
    assert via_source([("via", "SIP/2.0/UDP h")], "192.0.2.9:5062") == "192.0.2.9:5062"
    assert via_source([("via", "a, SIP/2.0/UDP h:7")], "x:1") == "h:7"
    assert via_source([("via", "a"), ("via", "")], "x:1")


def test_a_display_name_in_an_old_character_set_is_still_text() -> None:
    message = b'INVITE sip:a@b SIP/2.0\r\nFrom: "J\xf6rg \xc3\xb6" <sip:+4930@b>;tag=1\r\n\r\n'.decode(
        errors="surrogateescape"
    )
    ((_, value),) = header_fields(message)
    assert value == '"J\ufffdrg ö" <sip:+4930@b>;tag=1'
    assert party(value).name == "J\ufffdrg ö"
    value.encode()


def test_what_is_no_text_at_all_gives_text() -> None:
    assert header_fields("INVITE x\r\nSubject: \ud800\r\n\r\n") == [("subject", "\ufffd")]


TO = '"Reception" <sip:reception@pbx.example>'


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("sip:+4930@192.0.2.1", "+4930"),
        ("sip:+49%2030@192.0.2.1:5070;transport=udp", "+49 30"),
        ("sips:%2B4930@[2001:db8::1]", "+4930"),
        ("SIP:4930;phone-context=+49;cpc=payphone@h;user=phone", "4930"),
        ("sip:4930:secret@h", "4930"),
        ("sip:a%3Bb@h", "a;b"),
        ("tel:+49-30-1;phone-context=x", "+49-30-1"),
        ("sip:192.0.2.1:5070", "reception"),
        ("sip:h;x=1", "reception"),
        ("urn:service:sos", "reception"),
        ("", "reception"),
    ],
)
def test_the_number_called_is_the_request_uris_and_only_without_one_the_tos(uri: str, number: str) -> None:
    assert called_number(request_uri(f"INVITE {uri} SIP/2.0\r\nTo: {TO}\r\n\r\n"), TO) == number


@given(st.text(max_size=200))
def test_any_request_line_gives_text_without_a_control_character(line: str) -> None:
    number = called_number(request_uri(line), "")
    contact = moved_to(request_uri(line), "192.0.2.1:5060")
    assert len(number) <= MAX_NUMBER
    assert not any(ord(character) < 32 or ord(character) == 127 for character in number + contact)
    number.encode()
    SipUri.parse(NameAddress.parse(contact).uri)


@pytest.mark.parametrize(
    "uri",
    ["sip:+4930@h", "sip:+49%2030%40x@h", "sip:4930;phone-context=+49@h;user=phone", "tel:+4930;ext=7", "sip:h"],
)
def test_a_redirected_caller_dials_the_same_number_again(uri: str) -> None:
    contact = NameAddress.parse(moved_to(uri, "192.0.2.1:5060"))
    assert contact.parameters == ()
    moved = SipUri.parse(contact.uri)
    assert (moved.host, moved.port) == ("192.0.2.1", 5060)
    assert called_number(contact.uri, "") == called_number(uri, "")
