"""What leaves the gateway after calls through the switchboard: the forms fit what it really writes."""

import json
from datetime import UTC, datetime
from typing import Any

from gateway.evidence.account import tell
from gateway.evidence.consent_record import consent_records
from gateway.evidence.receipt import receipt
from gateway.evidence.vcon import build_vcon
from gateway.ports import media
from tests.unit.app.desk import AGENT, CALL, CALLER, NAME, NUMBER, Desk
from tests.unit.evidence.test_vcon import problems, read_by_others

MADE = datetime(2026, 11, 25, tzinfo=UTC)


async def forms(desk: Desk) -> tuple[dict[str, Any], list[str], str]:
    """The call's vCon, checked by others, the states in its caller's record, and his receipt."""
    data, key = await desk.log.export(CALL), desk.log.verifier_key()
    vcon = build_vcon(data, key, made_at=MADE)
    assert problems(vcon) == [] and read_by_others(vcon).is_valid() == (True, [])
    record = consent_records(tell(data, key), made_at=MADE)["@graph"][0]
    return vcon, [state["@type"] for state in record["dpv:hasConsentStatus"]], receipt(tell(data, key))


def history(vcon: dict[str, Any]) -> list[tuple[int, str]]:
    return [(item["party"], item.get("button", item["event"])) for item in vcon["dialog"][0]["party_history"]]


async def test_a_recorded_call(desk: Desk) -> None:
    await desk.records()
    await desk.ends()
    vcon, states, text = await forms(desk)
    assert [item["type"] for item in vcon["dialog"]] == ["recording", "text"]
    assert vcon["dialog"][0]["filename"] == f"{CALL}-1.wav.age" and vcon["dialog"][0]["duration"] == 1
    assert vcon["dialog"][1]["body"] == "text of ask" and vcon["dialog"][1]["parties"] == [2, 0]
    assert history(vcon) == [(0, "join"), (0, "1"), (1, "join"), (0, "drop"), (1, "drop")]
    assert vcon["parties"][0] == {"type": "person", "role": "customer", "tel": NUMBER, "name": NAME}
    basis = vcon["attachments"][0]["body"]
    assert basis["lawful_basis"] == "consent" and basis["purpose_grants"][0]["granted"]
    assert basis["proof_mechanisms"][0]["proof_data"]["key"] == "1"
    assert vcon["attachments"][1]["body"]["lawful_basis"] == "contract"
    assert states == ["dpv:ConsentRequested", "dpv:ConsentGiven"]
    assert "You agreed to the recording. (key 1)" in text and "1.0 seconds of sound" in text


async def test_a_refused_call(desk: Desk) -> None:
    await desk.dials("2")
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.sends(media.Bridge)
    await desk.ends()
    vcon, states, text = await forms(desk)
    assert {item["type"] for item in vcon["dialog"]} == {"text"}
    assert not vcon["attachments"][0]["body"]["purpose_grants"][0]["granted"]
    assert states[-1] == "dpv:ConsentRefused" and "Nothing was recorded." in text


async def test_a_withdrawn_call(desk: Desk) -> None:
    await desk.records()
    desk.press("*9")
    await desk.sends(media.RecordClose)
    desk.closed()
    await desk.rest()
    await desk.ends()
    vcon, states, text = await forms(desk)
    assert [button for party, button in history(vcon) if party == 0 and len(button) == 1] == ["1", "*", "9"]
    assert states[-2:] == ["dpv:ConsentGiven", "dpv:ConsentWithdrawn"]
    assert not vcon["attachments"][0]["body"]["purpose_grants"][0]["granted"]
    assert "You took back your consent" in text


async def test_a_call_that_is_held(desk: Desk) -> None:
    await desk.records()
    desk.report(media.LegHeld, CALLER, True)
    desk.report(media.LegHeld, CALLER, False)
    await desk.rest()
    await desk.ends()
    vcon, _, _ = await forms(desk)
    assert history(vcon)[3:5] == [(0, "hold"), (0, "unhold")]


async def test_a_caller_who_hangs_up_at_once(desk: Desk) -> None:
    desk.incoming()
    await desk.sends(media.Answer)
    await desk.ends()
    vcon, states, text = await forms(desk)
    (dialog,) = vcon["dialog"]
    assert (dialog["type"], dialog["disposition"]) == ("incomplete", "hung-up")
    assert "dpv:ConsentGiven" not in states and "Nothing was recorded." in text
    assert NUMBER in json.dumps(vcon)
