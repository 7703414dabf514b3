"""The SIP codec: any bytes in, a message or its own error out; what goes out cannot be split."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire.address import NameAddress, SipUri, Via, parse_parameters, split_outside_quotes
from gateway.wire.errors import SipMessageError
from gateway.wire.sip import MAX_HEADERS, MAX_MESSAGE_BYTES, Message, Request, Response, check_request, parse, respond

INVITE = (
    b"INVITE sip:consent@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bKa;rport\r\n"
    b'From: "A. Caller" <sip:+4512345678@example.com>;tag=1\r\n'
    b"To: <sip:consent@example.com>\r\n"
    b"Call-ID: x@y\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Max-Forwards: 70\r\n"
)

tokens = st.from_regex(r"[A-Za-z0-9\-.!%*_+`'~]{1,12}", fullmatch=True)
visible = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=30)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def request_of(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def look_everywhere(message: Message) -> None:
    """Ask for every structured value, as users do."""
    for ask in (
        lambda: message.from_address.number,
        lambda: message.to_address.tag,
        lambda: message.contact,
        lambda: [via.reply_to for via in message.vias],
        lambda: message.cseq,
        lambda: [message.listed(name) for name, _ in message.headers],
    ):
        try:
            ask()
        except SipMessageError:
            continue


@given(st.binary(max_size=600))
@example(b"")
@example(b"SIP/2.0 200")
@example(b"INVITE a SIP/2.0\r\n :x\r\n\r\n")
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    try:
        message = parse(data)
    except SipMessageError as error:
        assert error.request is None or isinstance(error.request, Request)
        return
    look_everywhere(message)


@given(st.data())
def test_any_damage_to_a_good_message_parses_or_raises_the_one_error(data: st.DataObject) -> None:
    message = bytearray(INVITE + b"Content-Length: 2\r\n\r\nab")
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(message) - 1))
        new = data.draw(st.sampled_from([b'"', b"<", b">", b";", b",", b"\r\n", b"\\", b"\x00", b"\xff", b"=", b""]))
        message[at : at + data.draw(st.integers(0, 3))] = new
        if not message:
            return
    try:
        parsed = parse(bytes(message))
        if isinstance(parsed, Request):
            check_request(parsed)
            respond(parsed, 200, to_tag="t").encode()
        look_everywhere(parsed)
    except SipMessageError:
        return


@given(
    method=tokens,
    headers=st.lists(st.tuples(tokens.filter(lambda name: name.lower() not in ("l", "content-length")), visible)),
    body=st.binary(max_size=50),
)
def test_a_request_survives_the_wire(method: str, headers: list[tuple[str, str]], body: bytes) -> None:
    stripped = tuple((name, value.strip(" ")) for name, value in headers)
    request = Request(method=method, uri="sip:a@b", headers=stripped, body=body)
    if method.upper() == "SIP":
        return
    again = request_of(request.encode())
    assert (again.method, again.uri, again.body) == (method, "sip:a@b", body)
    assert again.headers[:-1] == stripped


@given(status=st.integers(100, 699), reason=visible, body=st.binary(max_size=20))
def test_a_response_survives_the_wire(status: int, reason: str, body: bytes) -> None:
    again = parse(Response(status=status, reason=reason, body=body).encode())
    assert isinstance(again, Response)
    assert (again.status, again.reason, again.body) == (status, reason, body)


@given(name=anything, user=anything)
def test_a_display_name_comes_back_or_is_refused_and_never_adds_a_header(name: str, user: str) -> None:
    try:
        value = str(NameAddress(str(SipUri("example.com", 5062, user)), name, (("tag", "t"),)))
        encoded = Request(method="INVITE", uri="sip:a@b", headers=(("From", value),)).encode()
    except SipMessageError:
        assert re.search(r"[\x00-\x08\x0a-\x1f\x7f]", name + user)
        return
    again = request_of(encoded)
    assert [key for key, _ in again.headers] == ["From", "Content-Length"]
    address = again.from_address
    assert (address.display_name, address.number, address.tag) == (name, user, "t")


@pytest.mark.parametrize("evil", ["a\r\nX-Consent: yes", "a\nb", "a\rb", "a\x00b", "a\x7f"])
def test_control_characters_are_refused_on_the_way_out(evil: str) -> None:
    for act in (
        lambda: NameAddress("sip:a@b", evil).__str__(),
        lambda: str(NameAddress(f"sip:{evil}@b")),
        lambda: str(SipUri("b", user=evil)),
        lambda: str(Via("b", parameters=(("branch", evil),))),
        lambda: Request(method="INVITE", uri="sip:a@b", headers=(("Subject", evil),)).encode(),
        lambda: Request(method="INVITE", uri="sip:a@b", headers=((evil, "x"),)).encode(),
        lambda: Request(method="INVITE", uri=f"sip:{evil}", headers=()).encode(),
        lambda: Request(method=evil, uri="sip:a@b", headers=()).encode(),
        lambda: Response(status=200, reason=evil).encode(),
    ):
        with pytest.raises(SipMessageError) as caught:
            act()
        assert "Consent" not in str(caught.value)


def test_errors_never_quote_what_was_sent() -> None:
    for data in (
        INVITE.replace(b'"A. Caller"', b'"A. Caller') + b"\r\n",
        INVITE.replace(b"sip:+4512345678@example.com", b"sip:+4512345678@exa mple.com") + b"\r\n",
        INVITE.replace(b"CSeq: 7", b"CSeq: +4512345678") + b"\r\n",
        INVITE.replace(b"Call-ID", b"Call ID +4512345678") + b"\r\n",
        INVITE.replace(b"70", b"+4512345678") + b"\r\n",
    ):
        with pytest.raises(SipMessageError) as caught:
            check_request(request_of(data))
        assert "4512345678" not in str(caught.value)
        assert "Caller" not in str(caught.value)


def test_compact_names_folding_case_and_lists() -> None:
    request = request_of(
        b"INVITE sip:a@b SIP/2.0\r\nv: SIP  / 2.0 /UDP\r\n  192.0.2.2 ; branch = z9hG4bK1 ,SIP/2.0/TCP x:1\r\n"
        b'TO :\r\n sip:x@y ;   tag = 9\r\nf: "B \\\\ \\" , <" <sip:q@w;p>;tag=2\r\ni:c\r\n'
        b"CSEQ: 0009\r\n  INVITE\r\nM:\r\n\r\n"
    )
    assert [(via.transport, via.host, via.port, via.branch) for via in request.vias] == [
        ("UDP", "192.0.2.2", 0, "z9hG4bK1"),
        ("TCP", "x", 1, ""),
    ]
    assert (request.to_address.uri, request.to_address.tag) == ("sip:x@y", "9")
    assert (request.from_address.display_name, request.from_address.uri) == ('B \\ " , <', "sip:q@w;p")
    assert (request.call_id, request.cseq) == ("c", (9, "INVITE"))
    assert request.rows("contact") == ("",)


def test_content_length_decides_where_the_body_ends() -> None:
    assert request_of(INVITE + b"\r\nabc").body == b"abc"
    assert request_of(INVITE + b"l: 2\r\n\r\nabc").body == b"ab"
    assert request_of(INVITE + b"l: 2\r\nContent-Length: 2\r\n\r\nabc").body == b"ab"
    for length in (b"4", b"-1", b"x", b"1\r\nl: 2", b"99999999999"):
        with pytest.raises(SipMessageError, match="Content-Length") as caught:
            parse(INVITE + b"Content-Length: " + length + b"\r\n\r\nabc")
        assert caught.value.request is not None, "it can still be answered"


def test_caps() -> None:
    with pytest.raises(SipMessageError) as caught:
        parse(b"x" * (MAX_MESSAGE_BYTES + 1))
    assert caught.value.status == 513
    with pytest.raises(SipMessageError, match="more than"):
        parse(INVITE + b"X: y\r\n" * MAX_HEADERS + b"\r\n")
    with pytest.raises(SipMessageError, match="over"):
        Request(method="INVITE", uri="sip:a@b", body=b"x" * MAX_MESSAGE_BYTES).encode()


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia", 505),
        (b"INVITE sip:consent@example.com ", b"INVITE  sip:consent@example.com ", 400),
        (b"INVITE sip:consent@example.com ", b"INVITE <sip:consent@example.com> ", 400),
        (b"INVITE sip:consent@example.com ", b"INVITE sip:consent@example.com; lr ", 400),
        (b"INVITE sip:consent@example.com ", b"INVITE sip:consent@example.com?Route=%3C ", 400),
        (b"INVITE sip:consent@example.com ", b"INVITE soap.beep://example.com ", 416),
        (b"INVITE sip:consent@example.com ", b"INVITE sip:consent@example.com:99999 ", 400),
        (b"CSeq: 7 INVITE", b"CSeq: 7 OPTIONS", 400),
        (b"CSeq: 7 INVITE", b"CSeq: 2147483648 INVITE", 400),
        (b"Call-ID: x@y\r\n", b"", 400),
        (b"Call-ID: x@y\r\n", b"Call-ID: x@y\r\nCall-ID: z\r\n", 400),
        (b"Max-Forwards: 70", b"Max-Forwards: 300", 400),
        (b"Max-Forwards: 70", b"Max-Forwards: -1", 400),
        (b"Max-Forwards: 70", b"Contact: <sip:a@b>;;", 400),
        (b"\r\nTo: <", b"\r\nTo: A, B <", 400),
        (b"\r\nTo: <sip:consent@example.com>", b"\r\nTo: <sip:consent@example.com", 400),
        (b"Via: SIP/2.0/UDP", b"Via: HTTP/1.1", 400),
    ],
)
def test_what_every_element_must_refuse(old: bytes, new: bytes, status: int) -> None:
    data = (INVITE + b"\r\n").replace(old, new, 1)
    assert data != INVITE + b"\r\n"
    with pytest.raises(SipMessageError) as caught:
        check_request(request_of(data))
    assert caught.value.status == status
    assert caught.value.request is not None


def test_a_response_copies_what_the_rules_ask_and_adds_the_tag() -> None:
    request = request_of(INVITE + b"v: SIP/2.0/UDP second\r\n\r\n")
    response = respond(request, 503, to_tag="mine", headers=(("Retry-After", "4"),))
    assert response.reason == "Service Unavailable"
    assert [name for name, _ in response.headers] == ["Via", "Via", "From", "To", "Call-ID", "CSeq", "Retry-After"]
    assert response.to_address.tag == "mine"
    tagged = request.with_rows("To", ["<sip:a@b>;tag=theirs"])
    assert respond(tagged, 481, to_tag="mine").to_address.tag == "theirs"


def test_escaped_control_characters_are_not_echoed() -> None:
    request = request_of(INVITE.replace(b"To: <", b'To: "BEL:\\\x07 NUL:\\\x00" <') + b"\r\n")
    check_request(request)
    echoed = request_of(Request(method="X", uri="sip:a@b", headers=respond(request, 501, to_tag="t").headers).encode())
    assert echoed.to_address.display_name == "BEL: NUL:"


def test_rows_are_replaced_in_place() -> None:
    request = request_of(INVITE + b"\r\n")
    assert [name for name, _ in request.with_rows("to", ["<sip:z@z>"]).headers].index("to") == 2
    assert request.with_rows("Via", []).rows("via") == ()
    assert request.with_rows("Route", ["<sip:r>"]).headers[-1] == ("Route", "<sip:r>")
    two = request.with_first("Via", "SIP/2.0/UDP top")
    assert two.with_top_via(Via("new")).listed("via") == ("SIP/2.0/UDP new", request.rows("via")[0])


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:user;par=u%40example.net@example.com", "user;par=u@example.net", "example.com", 0),
        ("sip:sips%3Auser%40example.com@example.net:5061;lr", "sips:user@example.com", "example.net", 5061),
        ("sip:%C3%A9:secret@[2001:db8::1]:5060", "é", "[2001:db8::1]", 5060),
        ("SIPS:example.com", "", "example.com", 0),
        ("sip:null-%00-null@example.com", "null-\x00-null", "example.com", 0),
    ],
)
def test_uris(text: str, user: str, host: str, port: int) -> None:
    uri = SipUri.parse(text)
    assert (uri.user, uri.host, uri.port) == (user, host, port)


def test_uri_parameters_and_numbers() -> None:
    assert SipUri.parse("sip:a@b;transport=UDP;lr").parameter("transport") == "UDP"
    assert SipUri.parse("sip:a@b;lr").parameter("lr") == ""
    assert SipUri.parse("sip:a@b").parameter("lr") is None
    assert NameAddress.parse("<tel:+45-12;phone-context=x>").number == "+45-12"
    assert NameAddress.parse("<mailto:x@y>").number == ""


@given(st.lists(st.sampled_from(['"', "\\", "<", ">", ",", ";", "a", " ", "="]), max_size=20).map("".join))
def test_splitting_keeps_every_character_or_refuses(text: str) -> None:
    for separator in (",", ";"):
        try:
            parts = split_outside_quotes(text, separator, "x")
        except SipMessageError:
            continue
        assert "".join("".join(parts).split()) == "".join(
            char for at, char in enumerate(text) if not char.isspace() and not _splits(text, at, separator)
        )


def _splits(text: str, at: int, separator: str) -> bool:
    if text[at] != separator:
        return False
    quoted = angled = False
    position = 0
    while position < at:
        char = text[position]
        if quoted and char == "\\":
            position += 1
        elif char == '"' and not angled:
            quoted = not quoted
        elif not quoted and char in "<>":
            angled = char == "<"
        position += 1
    return not quoted and not angled


@pytest.mark.parametrize("text", [";=x", ";a=", ";;", "x;a", ';a="b', ";a=b c", "; a b"])
def test_malformed_parameters(text: str) -> None:
    with pytest.raises(SipMessageError):
        parse_parameters(text, "x")


def test_via_replies() -> None:
    via = Via.parse("SIP/2.0/UDP phone.example.com:5070;branch=b;received=203.0.113.9")
    assert via.reply_to == ("203.0.113.9", 5070)
    assert via.received_from("192.0.2.7", 40000).reply_to == ("192.0.2.7", 5070)
    asking = Via.parse("SIP/2.0/UDP 192.0.2.7;rport;received=203.0.113.9;rport=1")
    assert asking.received_from("192.0.2.7", 40000).reply_to == ("192.0.2.7", 40000)
    assert Via.parse("SIP/2.0/UDP 192.0.2.7").received_from("192.0.2.7", 40000).parameters == ()
    assert Via.parse("SIP/2.0/UDP [::1]:5060;rport").received_from("::1", 4).reply_to == ("::1", 4)
    with pytest.raises(SipMessageError, match="rport"):
        _ = Via.parse("SIP/2.0/UDP x;rport=70000").reply_to
