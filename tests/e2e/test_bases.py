"""Calls under a basis other than consent: told, recorded only after that, with the way out that the basis has."""

import asyncio
from pathlib import Path

import pytest

from gateway.adapters.softphone import Call
from gateway.domain import commands as do
from gateway.domain.rules import MAY_OBJECT, Basis
from tests.e2e.test_calls import Scene, scene, talking
from tests.support import gateway as support
from tests.support import numbered

pytestmark = pytest.mark.slow

OTHERS = [basis for basis in Basis if basis is not Basis.CONSENT]


def under(basis: Basis, *more: str) -> dict[str, str]:
    """The keys of a policy under *basis*."""
    return {"top": "\n".join((f'basis = "{basis}"', 'justification = "file 7"', *more))}


def told(s: Scene, call_id: str) -> list[str]:
    prompts = [what for _, what in s.journal.of(call_id, do.PlayPrompt)]
    return [what.prompt for what in prompts if isinstance(what, do.PlayPrompt)]


async def objects(call: Call) -> None:
    for key in "*9":
        await call.send_digit(key, 80)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("basis", OTHERS)
async def test_who_is_not_asked_is_told_and_recorded_after_that(tmp_path: Path, basis: Basis) -> None:
    async with scene(tmp_path, lengths_ms={"announced": 900, "announced_may_object": 900}, **under(basis)) as s:
        call, session = await s.call()
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "announcing", 3_000)
        await call.send_digit("2", 60)
        assert s.files() == [], "nothing is recorded before he was told, and no key stands for an answer"
        agent = await s.agent_answers()
        await talking(session)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await call.hang_up()
        await agent.ended(5)
        assert await s.over(session) == "not_required"
        assert told(s, session.call_id) == ["announced_may_object" if basis in MAY_OBJECT else "announced"]
        entries = await s.gateway.services.evidence.entries(session.call_id)
        (verdict,) = [dict(e.facts) for e in entries if e.kind == "verdict" and e.facts["party"] == "caller"]
        assert (verdict["verdict"], verdict["basis"]) == ("not_required", basis)
        assert len(s.files()) == 1


@pytest.mark.parametrize("basis", [Basis.LEGITIMATE_INTERESTS, Basis.PUBLIC_TASK])
async def test_who_objects_while_he_is_told_is_connected_and_not_recorded(tmp_path: Path, basis: Basis) -> None:
    async with scene(tmp_path, lengths_ms={"announced_may_object": 1_500}, **under(basis)) as s:
        call, session = await s.call()
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "announcing", 3_000)
        await objects(call)
        agent = await s.agent_answers()
        await talking(session)
        await asyncio.sleep(0.3)
        await agent.hang_up()
        await call.ended(5)
        assert await s.over(session) == "withdrawn"
        assert s.files() == []


@pytest.mark.parametrize("basis", [Basis.LEGAL_OBLIGATION, Basis.CONTRACT, Basis.VITAL_INTERESTS])
async def test_where_there_is_no_right_to_object_the_code_stops_nothing(tmp_path: Path, basis: Basis) -> None:
    async with scene(tmp_path, lengths_ms={"announced": 1_500}, **under(basis)) as s:
        call, session = await s.call()
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "announcing", 3_000)
        await objects(call)
        agent = await s.agent_answers()
        await talking(session)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await agent.hang_up()
        await call.ended(5)
        assert await s.over(session) == "not_required"


async def test_who_hangs_up_while_he_is_told_is_never_recorded_and_rings_nobody(tmp_path: Path) -> None:
    async with scene(tmp_path, lengths_ms={"announced": 1_500}, **under(Basis.CONTRACT)) as s:
        call, session = await s.call()
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "announcing", 3_000)
        await call.hang_up()
        assert await s.over(session) == "unanswered"
        assert s.files() == [] and not s.journal.of(session.call_id, do.ConnectAgent)


async def test_a_policy_may_tell_nobody(tmp_path: Path) -> None:
    async with scene(tmp_path, **under(Basis.CONTRACT, "announce = false")) as s:
        call, session = await s.call()
        agent = await s.agent_answers()
        await talking(session)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert told(s, session.call_id) == []
        await call.hang_up()
        await agent.ended(5)
        assert await s.over(session) == "not_required"


async def test_a_duty_to_record_ends_a_call_that_cannot_be_recorded(tmp_path: Path) -> None:
    """The folder of recordings is no folder any more when the recorder is to open."""
    more = under(Basis.LEGAL_OBLIGATION, 'fail_mode = "refuse_call"')
    async with scene(tmp_path, **more) as s:
        call, session = await s.call()
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "announcing", 3_000)
        recordings = tmp_path / "var" / "recordings"
        assert s.files() == []
        if recordings.exists():
            recordings.rmdir()
        recordings.write_text("in the way")
        agent = await s.agent_answers()
        await call.ended(10)
        await agent.ended(10)
        await s.over(session)
        assert session.call.recorder.observed != "on" and session.call.cause
        assert recordings.read_text() == "in the way"


TEXAN = 'home = "US-TX"\narea_codes = "trust"'


@pytest.mark.parametrize(
    ("number", "asked"),
    [("+15125550100", False), ("+14155550100", True), ("anonymous", True)],
    ids=["Texas", "California", "nobody knows"],
)
async def test_whose_law_a_call_is_under_decides_whether_he_is_asked(tmp_path: Path, number: str, asked: bool) -> None:
    lengths = {"announced_may_object": 900}
    async with scene(tmp_path, lengths_ms=lengths, jurisdiction=TEXAN, **under(Basis.LEGITIMATE_INTERESTS)) as s:
        call = await s.caller.call(f"sip:sales@{s.gateway.front.address}", from_number=number, from_name="Ada")
        call.audio_source = numbered.source
        session = await support.session_of(s.gateway, number)
        await call.answered(10)
        state = "asking" if asked else "announcing"
        assert await session.wait_for(lambda: session.call.parties["caller"].state == state, 3_000)
        if asked:
            await asyncio.sleep(0.7)
            await call.send_digit("1")
        agent = await s.agent_answers()
        await talking(session)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await call.hang_up()
        await agent.ended(5)
        assert await s.over(session) == ("granted" if asked else "not_required")
        arrived, *_ = await s.gateway.services.evidence.entries(session.call_id)
        law = arrived.facts["jurisdiction"]
        assert law["requirement"] == ("all_party" if asked else "one_party")
        assert {table["source"] for table in law["tables"]} >= {"us.toml", "nanp.toml", "phonenumbers"}
        assert not any(digit in str(law["findings"]) for digit in ("5125550100", "4155550100"))


@pytest.mark.parametrize(("trusted", "asked"), [(True, False), (False, True)])
async def test_a_place_that_a_header_names_is_a_fact_only_where_it_is_trusted(
    tmp_path: Path, trusted: bool, asked: bool
) -> None:
    more = under(Basis.LEGITIMATE_INTERESTS)
    async with scene(tmp_path, jurisdiction=TEXAN, trust_jurisdiction=trusted, **more) as s:
        call = await s.caller.call(
            f"sip:sales@{s.gateway.front.address}",
            from_number="+14155550100",
            headers=(("X-Consent-Jurisdiction", "US-TX"),),
        )
        session = await support.session_of(s.gateway, "+14155550100")
        state = "asking" if asked else "announcing"
        assert await session.wait_for(lambda: session.call.parties["caller"].state == state, 3_000)
        await call.hang_up()
        await s.over(session)


async def test_on_the_inline_path_the_peers_address_is_the_trunk(tmp_path: Path) -> None:
    trunks = f'{TEXAN}\n[jurisdiction.trunks]\n"127.0.0.1" = "US-TX"'
    async with scene(tmp_path, jurisdiction=trunks, **under(Basis.LEGITIMATE_INTERESTS)) as s:
        call = await s.caller.call(f"sip:sales@{s.gateway.front.address}", from_number="anonymous")
        session = await support.session_of(s.gateway, "anonymous")
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "announcing", 3_000)
        await call.hang_up()
        await s.over(session)
