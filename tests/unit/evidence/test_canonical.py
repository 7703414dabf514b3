"""Entries have one spelling, and anything else is refused with the place at fault."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence import canonical
from gateway.evidence.canonical import Entry, checked, commit, decode, encode, timestamp
from gateway.evidence.errors import EntryInvalid

ENTRY = Entry(
    origin="gateway.example/log",
    call="01JCALL",
    kind="call.arrived",
    seq=0,
    prev=None,
    at="2026-11-24T16:00:00.000Z",
    facts={"b": 1, "a": [True, None, "ü"]},
    commitments={"caller_number": "00" * 32},
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_the_bytes_are_those_of_rfc_8785() -> None:
    assert encode(ENTRY) == (
        b'{"at":"2026-11-24T16:00:00.000Z","call":"01JCALL","commitments":{"caller_number":"'
        + b"0" * 64
        + '"},"facts":{"a":[true,null,"ü"],"b":1},"kind":"call.arrived","origin":"gateway.example/log",'.encode()
        + b'"prev":null,"seq":0,"v":1}'
    )


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_what_is_encoded_is_decoded(facts: dict[str, Any]) -> None:
    entry = replace(ENTRY, facts=checked(facts))
    assert decode(encode(entry)) == entry


@given(json_values)
def test_canonical_bytes_have_no_second_spelling(value: Any) -> None:
    data = canonical.dump(value)
    assert canonical.load(data) == value
    for other in (b" " + data, data + b"\n", json.dumps(value, indent=1).encode() + b" "):
        with pytest.raises(EntryInvalid):
            canonical.load(other)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{"a":1.0}', "not an integer"),
        (b'{"a":1e3}', "not an integer"),
        (b'{"a":NaN}', "not an integer"),
        (b'{"a":1,"a":1}', "not the canonical spelling"),
        (b'{"b":1,"a":1}', "from byte 2"),
        (b'{"a":"\\u0041"}', "not the canonical spelling"),
        (b'"\\ud800"', "no canonical form"),
        (b'{"\\ud800":1}', "no canonical form"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5_000, "too many digits"),
        (b"9007199254740993", "no canonical form"),
    ],
)
def test_hostile_bytes_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(EntryInvalid, match=says):
        canonical.load(data)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"a": {"b": [0, 1.5]}}, r"facts\.a\.b\[1\] is a float"),
        ({"a": 2**53}, r"facts\.a is an integer beyond"),
        ({"a": b"bytes"}, r"facts\.a is a bytes"),
        ({"a": "\ud800"}, r"facts\.a is not valid Unicode"),
        ({"\ud800": 1}, "a key of facts is not valid Unicode"),
        ({1: 1}, "a key that is not text"),
        ({"a": {1, 2}}, r"facts\.a is a set"),
    ],
)
def test_facts_without_a_canonical_form_are_refused_by_name(facts: Any, says: str) -> None:
    with pytest.raises(EntryInvalid, match=says):
        checked(facts)


def test_facts_nested_too_deeply_are_refused() -> None:
    facts: Any = 1
    for _ in range(canonical.MAX_DEPTH + 1):
        facts = [facts]
    with pytest.raises(EntryInvalid, match="nested deeper than 16"):
        checked(facts)


def test_checked_facts_are_a_copy_of_plain_types() -> None:
    class Colour(StrEnum):
        RED = "red"

    spans = [("on", 1)]
    copy = checked({"colour": Colour.RED, "spans": spans, "yes": True})
    spans.append(("paused", 2))
    assert copy == {"colour": "red", "spans": [["on", 1]], "yes": True}
    assert type(copy["colour"]) is str  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"origin": "two words"}, "origin"),
        ({"origin": "a+b"}, "origin"),
        ({"call": ""}, "call"),
        ({"call": "a\nb"}, "call"),
        ({"kind": "Verdict"}, "kind"),
        ({"kind": "a" * 65}, "kind"),
        ({"seq": -1}, "seq"),
        ({"seq": True, "prev": "00" * 32}, "seq"),
        ({"seq": 1}, "prev is null"),
        ({"prev": "00" * 32}, "prev is null"),
        ({"seq": 1, "prev": "XY"}, "prev"),
        ({"at": "2026-11-24T16:00:00Z"}, "at"),
        ({"at": "2026-02-30T16:00:00.000Z"}, "calendar"),
        ({"at": "2026-11-24T16:00:00.000Z\n"}, "at"),
        ({"facts": []}, "facts"),
        ({"facts": {"a": 0.5}}, "float"),
        ({"commitments": {"caller number": "00" * 32}}, "commitment"),
        ({"commitments": {"caller_number": "00"}}, "commitments.caller_number"),
        ({"commitments": []}, "commitments"),
    ],
)
def test_a_malformed_entry_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(EntryInvalid, match=says):
        encode(replace(ENTRY, **change))


def test_an_entry_has_a_largest_size() -> None:
    overhead = len(encode(replace(ENTRY, facts={"a": ""})))
    largest = replace(ENTRY, facts={"a": "x" * (canonical.MAX_ENTRY_BYTES - overhead)})
    assert decode(encode(largest)) == largest
    with pytest.raises(EntryInvalid, match="65536 bytes, over 65535"):
        encode(replace(ENTRY, facts={"a": "x" * (canonical.MAX_ENTRY_BYTES - overhead + 1)}))
    with pytest.raises(EntryInvalid, match="over 65535"):
        decode(b" " * 65_536)


@pytest.mark.parametrize("value", [[], None, 1, {}, {"v": 1}])
def test_other_json_is_no_entry(value: Any) -> None:
    with pytest.raises(EntryInvalid):
        decode(canonical.dump(value))


@pytest.mark.parametrize("version", [0, 2, True, "1", None])
def test_another_version_is_refused(version: Any) -> None:
    spelled = {**canonical.to_object(ENTRY), "v": version}
    with pytest.raises(EntryInvalid, match="version is not 1"):
        decode(canonical.dump(spelled))


def test_times_are_utc_with_milliseconds_cut_not_rounded() -> None:
    summer = timezone(timedelta(hours=2))
    assert timestamp(datetime(2026, 7, 1, 1, 0, 0, 999_999, tzinfo=summer)) == "2026-06-30T23:00:00.999Z"
    assert timestamp(datetime(2026, 7, 1, tzinfo=UTC)) == "2026-07-01T00:00:00.000Z"
    with pytest.raises(EntryInvalid):
        timestamp(datetime(2026, 7, 1))  # noqa: DTZ001


def test_a_commitment_hides_its_value_behind_a_salt() -> None:
    assert commit(bytes(16), "x") != commit(b"1" * 16, "x") != commit(b"1" * 16, "y")
    with pytest.raises(EntryInvalid, match="16 bytes, not 15"):
        commit(bytes(15), "x")
    with pytest.raises(EntryInvalid) as refused:
        commit(bytes(16), "secret\ud800")
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__
