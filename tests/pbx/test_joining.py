"""A stranger who joins a recorded caller is asked, or told: alone with him, of three, in a conference. Only then is he
recorded; and he comes back to that conversation or to none."""

import asyncio
from pathlib import Path

import pytest

from gateway.adapters.softphone import Call
from gateway.app.pbx_session import PbxSession
from tests.pbx.scene import hears, hears_only, silent, speaking
from tests.pbx.test_gateway import agents_channel, kept, press, recorded
from tests.pbx.test_parties import (
    calls_in,
    given_to_a_stranger,
    in_a_room,
    name_of,
    paused_for_a_stranger,
    recorded_again,
    second_in_the_room,
    strangers,
    two_in_a_room,
)
from tests.pbx.whole import Whole, whole
from tests.support.mixed import AGENT, PERSON, STRANGER, Voice

pytestmark = pytest.mark.slow
COVERED = AGENT
"""The voice of a stranger who may be recorded: the judge of the files lets no stranger's be in them."""


async def transferred(w: Whole) -> tuple[Call, PbxSession, Call]:
    """A recorded caller whom the agent has given to a stranger, who answers as soon as the recorder waits."""
    caller, _, session = await recorded(w)
    stranger = await given_to_a_stranger(w, session)
    return caller, session, stranger


async def call_of_the_stranger(w: Whole, session: PbxSession) -> PbxSession:
    """The call in which the stranger is asked or told, once it is."""
    await w.until(lambda: len(w.gateway.switchboard.sessions) == 2)
    theirs = await w.session()
    assert theirs is not session and theirs.joins == session.call_id
    return theirs


async def together(caller: Call, stranger: Call, voice: Voice = STRANGER) -> None:
    await caller.until(lambda: hears_only(caller, voice) and hears_only(stranger, PERSON), 15)


async def test_a_stranger_who_says_yes_is_recorded_from_then_on(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session, stranger = await transferred(w)
        theirs = await call_of_the_stranger(w, session)
        await w.asked(theirs)
        assert session.call.recorder.observed == "paused"
        await stranger.send_digit("1", 80)
        speaking(stranger, COVERED)
        await caller.until(lambda: hears_only(caller, COVERED) and hears_only(stranger, PERSON), 15)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert not session.call.holds and await w.variable(theirs, "CONSENT_VERDICT") == "joined"
        await asyncio.sleep(1)
        await caller.hang_up()
        mine, his = await w.over(session), await w.over(theirs)
        assert mine["ask.joined"] and his["call.arrived"][0]["joins"] == session.call_id
        assert {COVERED, PERSON} in await kept(w), "one file, of the call that he joined"
        assert "recorder.command" not in his


async def joined(w: Whole) -> tuple[Call, PbxSession, Call, PbxSession]:
    """A recorded caller and a stranger who said yes, together."""
    caller, session, stranger = await transferred(w)
    theirs = await call_of_the_stranger(w, session)
    await w.asked(theirs)
    await stranger.send_digit("1", 80)
    speaking(stranger, COVERED)
    await caller.until(lambda: hears_only(caller, COVERED) and hears_only(stranger, PERSON), 15)
    assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
    return caller, session, stranger, theirs


@pytest.mark.parametrize("keys", ["*9", "*90"], ids=["gateway's key", "dialplan's key"])
async def test_who_joined_and_withdraws_pauses_the_recorder(tmp_path: Path, keys: str) -> None:
    async with whole(tmp_path) as w:
        caller, session, stranger, theirs = await joined(w)
        await press(stranger, keys)
        assert await theirs.wait_for(lambda: theirs.call.verdict == "withdrawn", 5_000)
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await asyncio.sleep(0.5)
        assert session.call.recorder.observed == "paused"
        await caller.hang_up()
        await w.over(session)


async def test_a_caller_who_withdraws_is_recorded_by_nobody(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session, _, theirs = await joined(w)
        await press(caller, "*9")
        assert await session.wait_for(lambda: session.call.verdict == "withdrawn", 5_000)
        await w.until(lambda: w.records(session))
        assert await w.recorders(theirs) == []
        await caller.hang_up()
        await w.over(session)
        assert (await w.over(theirs)).keys() & {"ask.joined", "recorder.command"} == set()


async def test_a_caller_who_withdraws_while_he_waits_is_not_asked_again(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session, stranger = await transferred(w)
        theirs = await call_of_the_stranger(w, session)
        await w.asked(theirs)
        await w.gateway.switchboard.withdraw(session.call_id, actor="agent:x")
        await stranger.send_digit("1", 80)
        await together(caller, stranger)
        await asyncio.sleep(1)
        assert session.call.phase == theirs.call.phase == "talking"
        await caller.hang_up()
        await w.over(session)
        assert "ask.joined" not in await w.over(theirs)


async def test_a_pause_outlives_the_strangers_yes(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session, stranger = await transferred(w)
        theirs = await call_of_the_stranger(w, session)
        await w.asked(theirs)
        await w.gateway.switchboard.pause(session.call_id, actor="supervisor:1", reason="supervisor")
        await stranger.send_digit("1", 80)
        await together(caller, stranger)
        await w.until(lambda: list(session.call.holds) == ["supervisor:1"])
        assert session.call.recorder.observed == "paused" and await w.recorders(theirs) == []
        await asyncio.sleep(0.5)
        await caller.hang_up()
        await w.over(session)


async def test_a_withdrawal_that_nobody_saw_counts_from_the_moment_it_is_seen(tmp_path: Path) -> None:
    """Both keys of the dialplan work while the manager connection is away; the stranger has no recorder to stop."""
    async with whole(tmp_path) as w:
        caller, session, stranger, theirs = await joined(w)
        w.wire.cut()
        await w.until(lambda: not theirs.call.confirmed)
        await press(stranger, "*90")
        await asyncio.sleep(0.5)
        w.wire.mend()
        assert await theirs.wait_for(lambda: theirs.call.verdict == "withdrawn", 10_000)
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 10_000)
        await caller.hang_up()
        await w.over(session)


@pytest.mark.parametrize(("key", "verdict"), [("2", "refused"), ("", "unanswered")])
async def test_a_stranger_who_does_not_say_yes_is_joined_again_and_never_recorded(
    tmp_path: Path, key: str, verdict: str
) -> None:
    async with whole(tmp_path) as w:
        caller, session, stranger = await transferred(w)
        theirs = await call_of_the_stranger(w, session)
        await w.asked(theirs)
        if key:
            await stranger.send_digit(key, 80)
        await together(caller, stranger)
        assert theirs.call.verdict == verdict and theirs.call.recorder.observed == "off"
        assert session.call.recorder.observed == "paused"
        await asyncio.sleep(1)
        await stranger.hang_up()
        await w.over(session)


async def test_a_stranger_who_hangs_up_while_being_asked_lets_the_caller_go(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session, stranger = await transferred(w)
        theirs = await call_of_the_stranger(w, session)
        await w.asked(theirs)
        await stranger.hang_up()
        assert await caller.ended(10)
        await w.over(session)
        assert (await w.over(theirs))["verdict"][0]["verdict"] == "unanswered"


async def test_a_caller_who_hangs_up_while_a_stranger_is_asked_ends_the_question(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session, stranger = await transferred(w)
        theirs = await call_of_the_stranger(w, session)
        await w.asked(theirs)
        await caller.hang_up()
        assert await stranger.ended(10)
        await w.over(session)
        assert (await w.over(theirs))["verdict"][0]["verdict"] == "unanswered"


async def test_a_stranger_is_told_where_the_policy_says_so(tmp_path: Path) -> None:
    announce = {"joining": 'what = "announce"\nbasis = "legitimate_interests"\njustification = "LIA 7 of 2026"'}
    async with whole(tmp_path, **announce) as w:
        caller, session, stranger = await transferred(w)
        theirs = await call_of_the_stranger(w, session)
        assert await theirs.wait_for(lambda: theirs.call.phase == "asking", 10_000)
        assert session.call.recorder.observed == "paused"
        assert await theirs.wait_for(lambda: theirs.call.verdict == "not_required", 10_000)
        speaking(stranger, COVERED)
        await caller.until(lambda: hears_only(caller, COVERED) and hears_only(stranger, PERSON), 15)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await press(stranger, "*9")
        assert await theirs.wait_for(lambda: theirs.call.verdict == "withdrawn", 5_000)
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await caller.hang_up()
        await w.over(session)
        entries = await w.over(theirs)
        (played,) = entries["prompt.played"]
        assert played["prompt"] == "announced_may_object" and played["completed"]
        assert [(e["verdict"], e["basis"]) for e in entries["verdict"] if e["party"] == "caller"] == [
            ("not_required", "legitimate_interests"),
            ("withdrawn", "legitimate_interests"),
        ]


async def test_a_stranger_is_left_alone_where_the_policy_says_so(tmp_path: Path) -> None:
    async with whole(tmp_path, joining='what = "keep_out"') as w:
        caller, session, stranger = await transferred(w)
        await together(caller, stranger)
        await asyncio.sleep(1)
        assert len(w.gateway.switchboard.sessions) == 1 and session.call.recorder.observed == "paused"
        await caller.hang_up()
        await w.over(session)


async def test_who_was_called_outside_and_given_to_a_stranger_is_recorded_when_he_says_yes_too(tmp_path: Path) -> None:
    """Here it is the asked person's channel that has no dialplan of its own."""
    async with whole(tmp_path) as w:
        calling = await w.agent.call(f"sip:4915550100@127.0.0.1:{w.switch.sip_port}", from_number="agent")
        person = speaking(await w.outside.incoming(15), PERSON)
        await person.accept()
        session = await w.session()
        await w.asked(session)
        await person.send_digit("1", 80)
        speaking(calling, AGENT)
        await w.connected(person, calling)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        stranger = await given_to_a_stranger(w, session)
        theirs = await call_of_the_stranger(w, session)
        await w.asked(theirs)
        await stranger.send_digit("1", 80)
        speaking(stranger, COVERED)
        await person.until(lambda: hears_only(person, COVERED) and hears_only(stranger, PERSON), 15)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await person.hang_up()
        mine = await w.over(session)
        await w.over(theirs)
        assert len(mine["recording.closed"]) == 1, "one recorder, from beginning to end"


# --- of several, one is asked, and the others talk on ---


async def three_way(w: Whole) -> tuple[Call, Call, Call, PbxSession, PbxSession]:
    """Caller, agent and a stranger in one conversation, out of which the stranger was taken and is being asked."""
    caller, agent, session = await recorded(w, f"sip:7600@127.0.0.1:{w.switch.sip_port}")
    await press(agent, "*2")
    await asyncio.sleep(0.5)
    await press(agent, "75")
    stranger = speaking(await w.outside.incoming(15), STRANGER)
    await paused_for_a_stranger(session)
    await stranger.accept()
    await agent.until(lambda: hears(agent, STRANGER), 10)
    await press(agent, "*3")
    theirs = await call_of_the_stranger(w, session)
    await w.asked(theirs)
    return caller, agent, stranger, session, theirs


async def test_of_three_the_stranger_is_asked_and_the_two_talk_on(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, _ = await three_way(w)
        await w.connected(caller, agent)
        assert session.call.recorder.observed == "paused"
        silent(agent)
        await stranger.send_digit("1", 80)
        assert await session.wait_for(lambda: not session.call.holds, 10_000)
        speaking(stranger, COVERED)
        await together(caller, stranger, COVERED)
        await recorded_again(session)
        await asyncio.sleep(1)
        await caller.hang_up()
        await w.over(session)


async def test_of_three_the_stranger_who_says_no_is_back_and_nothing_is_recorded_until_he_leaves(
    tmp_path: Path,
) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, theirs = await three_way(w)
        silent(agent)
        await stranger.send_digit("2", 80)
        await together(caller, stranger)
        assert theirs.call.verdict == "refused" and session.call.recorder.observed == "paused"
        await asyncio.sleep(1)
        assert strangers(session) and session.call.recorder.observed == "paused"
        await stranger.hang_up()
        await recorded_again(session)
        speaking(agent, AGENT)
        await w.connected(caller, agent)
        await asyncio.sleep(0.5)
        await agent.hang_up()
        assert await caller.ended(5), "he waits for nobody any more"
        assert len((await w.over(session))["ask.joined"]) == 1, "nobody is asked twice"


async def test_of_three_the_stranger_who_hangs_up_while_being_asked_leaves_the_two(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, _ = await three_way(w)
        await stranger.hang_up()
        await recorded_again(session)
        await w.connected(caller, agent)
        await asyncio.sleep(0.5)
        await caller.hang_up()
        await w.over(session)


async def test_of_three_the_stranger_comes_back_to_a_caller_whom_the_agent_has_left(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, theirs = await three_way(w)
        await agent.hang_up()
        await asyncio.sleep(0.5)
        assert theirs.call.phase == "asking" and session.call.phase == "talking"
        await stranger.send_digit("1", 80)
        speaking(stranger, COVERED)
        await together(caller, stranger, COVERED)
        await recorded_again(session)
        await asyncio.sleep(0.5)
        await caller.hang_up()
        assert await stranger.ended(10)
        await w.over(session)


async def test_of_three_nobody_waits_for_a_stranger_who_has_hung_up(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, _ = await three_way(w)
        await agent.hang_up()
        await asyncio.sleep(0.5)
        assert session.call.phase == "talking"
        await stranger.hang_up()
        assert await caller.ended(5)
        await w.over(session)


async def test_of_three_the_caller_may_leave_while_the_stranger_is_asked(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, theirs = await three_way(w)
        await caller.hang_up()
        assert await agent.ended(10) and await stranger.ended(10)
        await w.over(session)
        assert (await w.over(theirs))["verdict"][0]["verdict"] == "unanswered"


async def asked_in_a_room(w: Whole) -> tuple[Call, Call, Call, PbxSession, PbxSession]:
    """Caller, agent and a stranger in a conference, out of which the stranger was taken to be asked."""
    caller, agent, session = await in_a_room(w)
    stranger = await calls_in(w, "7200")
    await paused_for_a_stranger(session)
    theirs = await call_of_the_stranger(w, session)
    await w.asked(theirs)
    silent(agent)
    return caller, agent, stranger, session, theirs


async def test_in_a_conference_a_stranger_is_asked_and_comes_back_to_it(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, theirs = await asked_in_a_room(w)
        await stranger.send_digit("1", 80)
        speaking(stranger, COVERED)
        await together(caller, stranger, COVERED)
        await recorded_again(session)
        assert len((await w.switch.cli("confbridge list room")).splitlines()) == 5, "a header of two lines, and three"
        await asyncio.sleep(1)
        await press(stranger, "*9")
        assert await theirs.wait_for(lambda: theirs.call.verdict == "withdrawn", 5_000)
        await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await stranger.hang_up()
        await recorded_again(session)
        await caller.hang_up()
        await agent.hang_up()
        await w.over(session)
        await w.over(theirs)


async def test_in_a_conference_two_strangers_are_asked_one_after_the_other(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, first, session, theirs = await asked_in_a_room(w)
        second = await calls_in(w, "7200")
        await w.until(lambda: len(w.gateway.switchboard.sessions) == 3)
        other = await w.session()
        assert other.joins == session.call_id
        await w.asked(other)
        await first.send_digit("1", 80)
        assert await theirs.wait_for(lambda: theirs.call.verdict == "granted", 5_000)
        silent(second)
        assert session.call.recorder.observed == "paused"
        await second.send_digit("1", 80)
        speaking(first, COVERED)
        await together(caller, first, COVERED)
        await recorded_again(session)
        await asyncio.sleep(0.5)
        for call in (first, second, caller, agent):
            await call.hang_up()
        await w.over(session)


# --- what becomes of the conversation while a stranger is asked ---


async def transferred_to(w: Whole, session: PbxSession, context: str, exten: str) -> None:
    """The agent gives the caller away while the stranger is being asked."""
    name = await name_of(w, agents_channel(session))
    await w.observer.action("BlindTransfer", Channel=name, Context=context, Exten=exten)


async def refuses(stranger: Call, theirs: PbxSession) -> None:
    await stranger.send_digit("2", 80)
    assert await theirs.wait_for(lambda: theirs.call.verdict == "refused", 5_000)


async def test_a_stranger_is_not_put_where_the_caller_is_being_asked(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, _, stranger, session, theirs = await three_way(w)
        await transferred_to(w, session, "consent-example-inbound", "7600")
        await w.asked(session)
        await refuses(stranger, theirs)
        assert await stranger.ended(10) and not hears(caller, STRANGER)
        assert session.call.verdict == "pending", "nobody answered for him"
        await caller.send_digit("1", 80)
        again = await w.agent_answers()
        await w.connected(caller, again)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await asyncio.sleep(0.5)
        await caller.hang_up()
        await w.over(session)


async def test_whoever_gets_into_the_bridge_of_a_question_answers_nothing(tmp_path: Path) -> None:
    """Whatever brought him there: a BridgeAdd of the site's own."""
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await w.asked(session)
        stranger = await calls_in(w, "7400")
        await stranger.answered(10)
        channels = await w.switch.cli_until("core show channels concise", "!Wait!")
        waiting = next(line.split("!")[0] for line in channels.splitlines() if "!Wait!" in line)
        await w.observer.set_variable(waiting, "CONSENT_PEER", await name_of(w, session.channel.channel))
        await w.observer.action("Redirect", Channel=waiting, Context="consent-back", Exten="s", Priority="1")
        assert await session.wait_for(lambda: session.call.verdict == "unanswered", 5_000)
        await stranger.send_digit("1", 80)
        await asyncio.sleep(0.5)
        assert session.call.verdict == "unanswered"
        await stranger.hang_up()
        await caller.hang_up()
        await w.over(session)


@pytest.mark.parametrize("answers", [True, False], ids=["talking", "ringing"])
async def test_a_stranger_is_not_put_into_the_callers_next_conversation(tmp_path: Path, answers: bool) -> None:
    async with whole(tmp_path) as w:
        caller, _, stranger, session, theirs = await three_way(w)
        await transferred_to(w, session, "of-the-site", "colleague")
        colleague = speaking(await w.agent.incoming(15), AGENT)
        if answers:
            await colleague.accept()
            await w.connected(caller, colleague)
        await refuses(stranger, theirs)
        assert await stranger.ended(10)
        if not answers:
            await colleague.accept()
            await w.connected(caller, colleague)
        assert not hears(colleague, STRANGER) and not hears(caller, STRANGER)
        await recorded_again(session)
        await asyncio.sleep(0.5)
        await colleague.hang_up()
        assert await caller.ended(5), "he waits for nobody"
        await w.over(session)


async def test_a_reconnection_does_not_forget_a_stranger_who_is_being_asked(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, theirs = await three_way(w)
        w.wire.cut()
        await w.until(lambda: not session.call.confirmed)
        w.wire.mend()
        await w.until(lambda: session.call.confirmed)
        await asyncio.sleep(0.3)
        assert strangers(session) and session.call.recorder.observed == "paused"
        silent(agent)
        await refuses(stranger, theirs)
        await together(caller, stranger)
        await asyncio.sleep(0.5)
        await stranger.hang_up()
        await recorded_again(session)
        await agent.hang_up()
        assert await caller.ended(5), "he waits for nobody"
        await w.over(session)


async def test_a_gateway_that_stops_leaves_nobody_waiting_for_a_stranger(tmp_path: Path) -> None:
    async with whole(tmp_path, judged=False) as w:
        caller, agent, stranger, *_ = await three_way(w)
        await w.gateways.aclose()
        await stranger.hang_up()
        await agent.hang_up()
        assert await caller.ended(5)


async def test_a_second_caller_of_ours_in_the_conference_waits_for_the_stranger_too(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, stranger, session, theirs = await asked_in_a_room(w)
        second, other = await second_in_the_room(w)
        await second.send_digit("1", 80)
        await w.until(lambda: bool(strangers(other)))
        assert strangers(session)
        await refuses(stranger, theirs)
        await together(caller, stranger)
        assert other.call.recorder.observed in ("off", "paused") and session.call.recorder.observed == "paused"
        silent(caller)
        await stranger.hang_up()
        await recorded_again(session)
        assert await other.wait_for(lambda: other.call.recorder.observed == "on", 5_000)
        for call in (caller, second, agent):
            await call.hang_up()
        await w.over(session)


async def test_a_stranger_in_a_conference_of_two_asked_callers_is_asked_once(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, second, agent, session, other = await two_in_a_room(w)
        stranger = await calls_in(w, "7200")
        await w.until(lambda: len(w.gateway.switchboard.sessions) == 3)
        theirs = await w.session()
        await w.asked(theirs)
        await stranger.send_digit("1", 80)
        silent(stranger)
        speaking(caller, PERSON)
        await w.until(lambda: hears_only(stranger, PERSON))
        await recorded_again(session)
        await recorded_again(other)
        await asyncio.sleep(0.5)
        for call in (stranger, caller, second, agent):
            await call.hang_up()
        await w.over(session)
        await w.over(other)


async def test_who_refused_is_not_recorded_by_the_agents_own_yes(tmp_path: Path) -> None:
    """The agent consults a gated number, and is asked there in his own name on a Local channel; then he gives the
    caller, who refused, to it."""
    async with whole(tmp_path) as w:
        caller, session = await w.call(f"sip:7600@127.0.0.1:{w.switch.sip_port}")
        caller.stream._sequence = 30_000  # a late one would be dropped by Debian's translator, and prove nothing
        await w.asked(session)
        await caller.send_digit("2", 80)
        agent = speaking(await w.agent.incoming(15), AGENT)
        agent.stream._sequence = 0
        await agent.accept()
        await w.connected(caller, agent)
        channel = await name_of(w, agents_channel(session))
        await w.observer.action("Atxfer", Channel=channel, Context="consent-example-inbound", Exten="7600")
        await w.until(lambda: len(w.gateway.switchboard.sessions) == 2)
        consulted = await w.session()
        await w.asked(consulted)
        silent(agent)
        await press(agent, "1")
        colleague = await w.agent.incoming(15)
        silent(colleague)
        await colleague.accept()
        await consulted.wait_for(lambda: consulted.call.recorder.observed == "on", 5_000)
        silent(caller)
        await agent.hang_up()
        await w.until(lambda: bool(strangers(consulted)))
        assert await consulted.wait_for(lambda: consulted.call.recorder.observed == "paused", 5_000)
        speaking(caller, STRANGER)
        await colleague.until(lambda: hears(colleague, STRANGER), 10)
        await asyncio.sleep(1)
        assert session.call.verdict == "refused" and consulted.call.recorder.observed == "paused"
        await caller.hang_up()
        await w.over(consulted)
