"""A bundle convinces a stranger, and every way to tamper with it is named."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.evidence.bundle import build_bundle, verify_bundle
from gateway.evidence.checkpoint import Checkpoint, Signer, sign_checkpoint
from gateway.evidence.errors import BundleInvalid, KeyInvalid
from tests.unit.evidence.stories import CALL, KEY, ORIGIN, SIGNER, arrived, bundle_of, edited, ended, whole_call

BUNDLE = bundle_of()
ENTRIES = len(whole_call())

Edit = Callable[[dict[str, Any]], Any]


def refused(data: bytes, says: str | None = None) -> str:
    with pytest.raises(BundleInvalid, match=says) as caught:
        verify_bundle(data, KEY)
    return str(caught.value)


def test_a_whole_call_is_proven_and_the_report_says_what_is_not() -> None:
    report = verify_bundle(BUNDLE, KEY)
    assert (report.call, report.origin, report.entries) == (CALL, ORIGIN, ENTRIES)
    assert report.tree_size == ENTRIES * 6
    assert any("2 of 2 personal values" in line for line in report.proven)
    assert any("ended with entry 15" in line for line in report.proven)
    assert any("earlier entry holds the verdict" in line for line in report.proven)
    unproven = " / ".join(report.not_proven)
    assert "compare the file's SHA-256 with " + "cd" * 32 in unproven
    assert "own clock" in unproven
    assert "still open" not in unproven
    assert str(report).startswith("proven: the bundle is as the holder of")


def test_the_file_is_canonical_json_and_a_newline() -> None:
    spelled = json.dumps(json.loads(BUNDLE), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert spelled.encode() + b"\n" == BUNDLE


def test_an_open_call_is_said_to_be_open() -> None:
    report = verify_bundle(bundle_of(whole_call()[:7]), KEY)
    assert "the call is still open: later entries are not covered" in report.not_proven


def test_destroyed_values_leave_every_proof_intact() -> None:
    report = verify_bundle(bundle_of(opened=["sip_call_id"]), KEY)
    assert any("1 of 2 personal values" in line for line in report.proven)
    assert any("values of 1 commitments" in line and "destroyed" in line for line in report.not_proven)


def test_kinds_of_a_newer_gateway_are_carried_and_named() -> None:
    steps = [arrived(), ("something.new", {"x": 1}), ("something.new", {"x": 2}), ended(4)]
    assert any("something.new (2)" in line for line in verify_bundle(bundle_of(steps), KEY).not_proven)


def test_a_witness_line_is_reported_not_trusted() -> None:
    witness = "\N{EM DASH} witness.example/w " + base64.b64encode(bytes(76)).decode() + "\n"
    report = verify_bundle(bundle_of(note=lambda note: note + witness), KEY)
    assert any("1 further signature lines" in line for line in report.not_proven)


# --- one byte -------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(BUNDLE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_detected(place: int, change: int) -> None:
    changed = bytearray(BUNDLE)
    changed[place] ^= change
    refused(bytes(changed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(BUNDLE)), st.binary(min_size=1, max_size=3))
def test_any_inserted_byte_is_detected(place: int, more: bytes) -> None:
    refused(BUNDLE[:place] + more + BUNDLE[place:])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(BUNDLE) - 1))
def test_any_cut_is_detected(place: int) -> None:
    refused(BUNDLE[:place])
    refused(BUNDLE[:place] + BUNDLE[place + 1 :])


def test_a_changed_fact_names_its_entry() -> None:
    for seq, name in ((3, "verdict"), (ENTRIES - 1, "cause")):
        changed = edited(
            BUNDLE, lambda body, seq=seq, name=name: body["entries"][seq]["entry"]["facts"].update({name: "x"})
        )
        assert f"entry {seq} (" in refused(changed, "changed after it was logged")


def test_a_byte_that_breaks_the_spelling_is_said_to_be_that() -> None:
    refused(BUNDLE.replace(b'"call":', b'"call": ', 1), "not the canonical spelling .* from byte")
    refused(BUNDLE[:-1], "end was cut off")
    refused(BUNDLE.replace(b'"version":1', b'"version":01'), "not JSON at character")


# --- entries --------------------------------------------------------------------------------------------


@given(st.integers(0, ENTRIES - 1))
@settings(max_examples=ENTRIES, deadline=None)
def test_any_removed_entry_is_missed(place: int) -> None:
    def remove(body: dict[str, Any]) -> None:
        del body["entries"][place]

    says = refused(edited(BUNDLE, remove))
    assert f"entry {place} is missing" in says if place < ENTRIES - 1 else "the last was removed" in says


def test_a_removed_last_entry_is_missed_even_when_the_count_is_adapted() -> None:
    def remove(body: dict[str, Any]) -> None:
        del body["entries"][-1]
        body["count"] -= 1

    refused(edited(BUNDLE, remove), "signature does not fit.*removed")


@given(st.integers(0, ENTRIES - 1), st.integers(0, ENTRIES - 1))
@settings(max_examples=60, deadline=None)
def test_any_two_swapped_entries_are_noticed(one: int, other: int) -> None:
    if one == other:
        return

    def swap(body: dict[str, Any]) -> None:
        items = body["entries"]
        items[one], items[other] = items[other], items[one]

    says = refused(edited(BUNDLE, swap))
    assert "entries were swapped" in says
    assert f"where entry {min(one, other)} belongs" in says


def test_swapped_entries_renumbered_to_hide_it_are_noticed() -> None:
    def swap(body: dict[str, Any]) -> None:
        first, second = (body["entries"][place]["entry"] for place in (3, 4))
        for part in ("kind", "facts", "at"):
            first[part], second[part] = second[part], first[part]

    refused(edited(BUNDLE, swap), r"entry 3 \(verdict\) was changed after it was logged")


def test_a_doubled_entry_is_noticed() -> None:
    refused(edited(BUNDLE, lambda body: body["entries"].insert(2, body["entries"][2])), "doubled")


def test_an_entry_of_another_call_is_noticed() -> None:
    refused(edited(BUNDLE, lambda body: body.update(call="01JOTHER")), "is of another call")
    refused(
        edited(BUNDLE, lambda body: body["entries"][2]["entry"].update(call="01JOTHER")), r"entry 2 \(answer.digit\)"
    )


# --- the tree -------------------------------------------------------------------------------------------


def test_a_truncated_tree_is_noticed() -> None:
    def shrink(to: int) -> Edit:
        return lambda body: body.update(checkpoint=body["checkpoint"].replace(f"\n{ENTRIES * 6}\n", f"\n{to}\n"))

    assert "truncated" in refused(edited(BUNDLE, shrink(40)))
    assert "truncated" in refused(edited(BUNDLE, shrink(ENTRIES * 6 - 1)), "not what the log signed")


def test_a_genuine_but_older_checkpoint_does_not_pass() -> None:
    older = sign_checkpoint(Checkpoint(ORIGIN, 10, bytes(32)), SIGNER)
    refused(edited(BUNDLE, lambda body: body.update(checkpoint=older)))
    says = refused(bundle_of(note=lambda _: older))
    assert "does not lead to the root" in says or "needs" in says or "truncated" in says


def test_a_shortened_proof_is_noticed() -> None:
    refused(edited(BUNDLE, lambda body: body["entries"][5]["proof"].pop()), r"entry 5 .*needs 7")
    refused(edited(BUNDLE, lambda body: body["entries"][5]["proof"].append("x")), r"entry 5 .*malformed")


def test_a_moved_index_is_noticed() -> None:
    refused(edited(BUNDLE, lambda body: body["entries"][5].update(index=34)), r"entry 5 .*checkpoint is genuine")
    refused(edited(BUNDLE, lambda body: body["entries"][5].update(index=2)), "lies in the log before entry 4")


def test_a_checkpoint_of_another_key_is_refused() -> None:
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())

    def resign(body: dict[str, Any]) -> None:
        text = body["checkpoint"].split("\n\n")[0].split("\n")
        body["checkpoint"] = sign_checkpoint(Checkpoint(text[0], int(text[1]), base64.b64decode(text[2])), other)

    refused(edited(BUNDLE, resign), "is not signed by")


# --- the rest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda body: body.update(entries=[]), "no entries"),
        (lambda body: body.update(parties=[]), "names no parties"),
        (lambda body: body.pop("signature"), "not signed"),
        (lambda body: body.pop("checkpoint"), "'checkpoint' is missing"),
        (lambda body: body.update(extra=1), "do not belong"),
        (lambda body: body.update(format="other"), "no bundle"),
        (lambda body: body.update(version=2), "version is not 1"),
        (lambda body: body.update(version=True), "version is not 1"),
        (lambda body: body.update(origin="other.example/log"), "another log"),
        (lambda body: body.update(count=3), "counts otherwise"),
        (lambda body: body.update(call=7), "wrong type"),
        (lambda body: body["parties"].pop(), "parties are not those"),
        (lambda body: body["recordings"].pop(), "recordings are not those"),
        (lambda body: body["recordings"][0].update(frames=1), "recordings are not those"),
        (lambda body: body["signature"].update(key="x+00000000"), "another key"),
        (lambda body: body["signature"].update(algorithm="none"), "algorithm"),
        (lambda body: body["signature"].update(value="x"), "not base64"),
        (lambda body: body["signature"].update(value="AAAA"), "does not fit"),
        (lambda body: body["openings"].pop(), "signature does not fit.*an opening"),
        (lambda body: body["openings"][0].update(value="someone else"), r"entry 0 \(call.arrived\).*'caller_number'"),
        (lambda body: body["openings"][0].update(salt="00"), "16 bytes"),
        (lambda body: body["openings"][0].update(entry=1), "belongs to no commitment"),
        (lambda body: body["openings"].append(body["openings"][0]), "opened twice"),
        (lambda body: body["entries"][0].pop("proof"), "'proof' is missing"),
        (lambda body: body["entries"][0].update(entry=None), "item 0 .*no entry"),
        (lambda body: body["entries"].append(3), "not an object"),
    ],
)
def test_each_lie_is_named(edit: Edit, says: str) -> None:
    refused(edited(BUNDLE, edit), says)


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b"0\n", b"\xff\n", b"[" * 99_999 + b"\n"])
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    refused(data)


def test_an_empty_bundle_is_refused_even_with_a_true_signature() -> None:
    note = sign_checkpoint(Checkpoint(ORIGIN, 0, bytes(32)), SIGNER)
    refused(build_bundle(CALL, [], note, [], SIGNER), "no entries")
    refused(bundle_of([arrived(parties=[]), ended(2)]), "no parties")
    refused(bundle_of([("leg.answered", {"leg": "caller"}), ended(2)]), "no parties")


def test_another_logs_key_is_refused_and_a_malformed_one_too() -> None:
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    with pytest.raises(BundleInvalid, match="another key"):
        verify_bundle(BUNDLE, str(other.verifier))
    with pytest.raises(KeyInvalid):
        verify_bundle(BUNDLE, "no key")


def test_no_message_quotes_a_personal_value() -> None:
    says = refused(edited(BUNDLE, lambda body: body["openings"][0].update(value="+4915112345678")))
    assert "4915112345678" not in says
