"""Sessions of calls that stay in a PBX: what the switchboard and the handlers make of what it reports."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from gateway.app.pbx_session import PbxSession
from gateway.app.session import CallSession, Outcome
from gateway.app.tasks import spawn
from gateway.domain import events as ev
from gateway.domain.rules import Rules
from gateway.policy.authority import Authority, Grant
from gateway.ports import media, pbx
from gateway.ports.registry import FakeCallRegistry, RecordingRecord
from tests.unit.app.desk import CALL, CALLER, Desk, Policies

CHANNEL = "1.1"


class Line:
    """A channel that does as it is told, and remembers it."""

    server, channel, linkedid = "pbx1", CHANNEL, "1.0"
    file = ""

    def __init__(self, sink: pbx.PbxSink) -> None:
        self.sink = sink
        self.did: list[tuple[str, Any]] = []
        self.fail: pbx.PbxError | None = None
        self.covered = False
        self.removed: list[tuple[str, bool]] = []
        self.on_expect: Callable[[], None] = lambda: None

    def _note(self, what: str, with_: Any = None) -> None:
        self.did.append((what, with_))
        if self.fail is not None:
            raise self.fail

    async def tell(self, variables: Mapping[str, str]) -> None:
        self._note("tell", dict(variables))

    async def expect_recorder(self, call_id: str) -> None:
        self.on_expect()
        self._note("expect", call_id)

    def covers(self, covered: bool) -> None:
        if covered is not self.covered:
            self.covered = covered
            self.did.append(("covers", covered))

    async def begin_recorder(self, call_id: str) -> None:
        self._note("begin", call_id)

    async def mute(self) -> None:
        self._note("mute")

    async def unmute(self) -> None:
        self._note("unmute")

    async def close(self) -> None:
        self._note("close")

    async def give_up(self) -> None:
        self.did.append(("give_up", None))

    async def ask_again(self) -> None:
        self._note("ask again")

    async def ask_party(self, party: str, call_id: str) -> None:
        self._note("ask party", (party, call_id))

    async def lamp(self, state: Literal["on", "paused", "off"]) -> None:
        self.did.append(("lamp", state))

    async def hang_up(self) -> None:
        self._note("hang up")

    async def kept(self, path: str, *, purge: bool) -> dict[str, object]:
        self.removed.append((path, purge))
        if not path:
            return dict(pbx.NO_FILE)
        facts: dict[str, object] = (
            {"purged": True} if purge else {"sha256": "cd" if "another" in path else "ab", "size": 364, "frames": 1}
        )
        return dict(pbx.NO_FILE) | facts | {"checked": "test"}

    def forget(self) -> None:
        self.did.append(("forget", None))


class Switch:
    """A PBX that knows every channel, or none."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.away = False

    def sends(self, incoming: media.Incoming) -> bool:
        return any(name == "X-Consent-Channel" for name, _ in incoming.headers)

    def server_of(self, incoming: media.Incoming) -> str:
        return "pbx1" if incoming.source == "192.0.2.7:5060" else "pbx2"

    def find(self, incoming: media.Incoming, sink: pbx.PbxSink) -> Line:
        if self.away:
            raise pbx.PbxUnavailable("Asterisk pbx1: not connected")
        self.lines.append(Line(sink))
        return self.lines[-1]

    async def left_behind(self, server: str, call_id: str, path: str, *, others: Collection[str]) -> pbx.LeftBehind:
        raise AssertionError("nothing is recovered here")


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    made = await Desk(tmp_path, Rules(minimum_heard_ms=1_000, answer_timeout_ms=200)).open()
    made.services.pbx = Switch()
    return made


def line(desk: Desk) -> Line:
    switch = desk.services.pbx
    assert isinstance(switch, Switch)
    return switch.lines[-1]


def sent(
    desk: Desk, leg: str = CALLER, channel: str = CHANNEL, joins: str = "", source: str = "192.0.2.7:5060"
) -> None:
    headers = [("X-Consent-Channel", channel), ("X-Consent-Linkedid", "1.0"), ("X-Consent-Called", "100")]
    headers += [("X-Consent-Joins", joins)] if joins else []
    desk.report(media.Incoming, leg, f"sip-{leg}", "+4915550100", "", "consent", source, tuple(headers))


async def answers(desk: Desk, key: str, told: str, leg: str = CALLER, count: int = 1) -> None:
    """Be asked, answer, and hear what was decided."""
    await desk.sends(media.Answer, count)
    desk.report(media.LegAnswered, leg, "sip", "PCMU")
    await desk.hears("ask", count)
    desk.press(key, leg)
    await desk.hears(told, 1 if told != "granted" or count == 1 else 2)


async def recorded(desk: Desk) -> PbxSession:
    sent(desk)
    await answers(desk, "1", "granted")
    await desk.until(lambda: ("tell", None) not in line(desk).did and line(desk).did[-1:] and desk.sent(media.HangUp))
    session = desk.board.session(CALL)
    assert isinstance(session, PbxSession)
    desk.report(media.LegEnded, CALLER, 603, "local")
    line(desk).sink(pbx.RecorderRuns(desk.clock.ns, "on", "test"))
    await desk.until(lambda: session.call.recorder.observed == "on")
    return session


async def test_the_verdict_is_told_last_and_then_the_leg_ends(desk: Desk) -> None:
    session = await recorded(desk)
    (expected, told) = [did for did in line(desk).did if did[0] in ("expect", "tell")]
    assert expected == ("expect", CALL)
    assert list(told[1])[-1] == "CONSENT_VERDICT" and told[1]["CONSENT_VERDICT"] == "granted"
    assert told[1]["CONSENT_CALL_ID"] == CALL
    assert not desk.sent(media.Dial) and not desk.sent(media.RecordOpen)
    facts = desk.facts("call.arrived")[0]
    assert (facts["path"], facts["server"], facts["channel"], facts["linkedid"]) == ("asterisk", "pbx1", CHANNEL, "1.0")
    assert session.facts.called == "100"


async def test_a_pbx_that_is_away_gets_its_call_back_at_once(desk: Desk) -> None:
    assert isinstance(desk.services.pbx, Switch)
    desk.services.pbx.away = True
    sent(desk)
    refused = await desk.sends(media.Reject)
    assert refused.code == 503 and not desk.board.sessions


async def test_a_pbx_that_does_not_take_the_verdict_records_nothing(desk: Desk) -> None:
    sent(desk)
    await desk.sends(media.Answer)
    line(desk).fail = pbx.PbxUnavailable("no answer")
    await answers(desk, "1", "granted")
    await desk.sends(media.HangUp)
    await desk.until(lambda: desk.facts("recording.closed"))
    assert desk.facts("recording.closed")[0]["failed"] == "the PBX did not take the verdict"


async def test_a_second_invite_for_a_channel_is_the_same_call(desk: Desk) -> None:
    session = await recorded(desk)
    line(desk).sink(pbx.TakenBack(desk.clock.ns))
    await desk.until(lambda: ("close", None) in line(desk).did)
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, "/spool/one.wav"))
    await desk.until(lambda: session.call.recorder.stage == "idle")
    sent(desk, "in-2")
    assert len(desk.board.sessions) == 1
    await answers(desk, "1", "granted", "in-2", 2)
    await desk.until(lambda: [what for what, _ in line(desk).did].count("expect") == 2)
    desk.report(media.LegEnded, "in-2", 603, "local")
    line(desk).sink(pbx.ChannelEnded(desk.clock.ns))
    await desk.until(lambda: ("close", None) in line(desk).did[-4:])
    line(desk).sink(pbx.RecorderGone(desk.clock.ns))
    await desk.until(lambda: not desk.board.sessions)
    assert not desk.board._legs


async def with_a_stranger(desk: Desk) -> PbxSession:
    """A recorded caller who is alone with somebody whom nobody asked."""
    session = await recorded(desk)
    line(desk).sink(pbx.Joined(desk.clock.ns, "1.3", "PJSIP/trunk", covered=False, agent=False))
    line(desk).sink(pbx.Askable(desk.clock.ns, frozenset({"1.3"})))
    await desk.until(lambda: ("mute", None) in line(desk).did)
    line(desk).sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    await desk.until(lambda: ("ask party", ("1.3", CALL)) in line(desk).did)
    return session


async def test_who_joins_is_asked_in_a_call_of_his_own_by_the_policy_of_the_one_he_joined(desk: Desk) -> None:
    session = await with_a_stranger(desk)
    assert session.agent == "", "a stranger is nobody's agent"
    desk.services.policy.rules = Rules(language="fr")  # type: ignore[attr-defined]
    sent(desk, "in-2", "1.3", joins=CALL)
    await desk.sends(media.Answer, 2)
    theirs = list(desk.board.sessions.values())[-1]
    assert isinstance(theirs, PbxSession) and theirs is not session
    assert theirs.joins == CALL and theirs.call.rules == session.call.rules.for_who_joins()
    arrived = desk.facts("call.arrived", theirs.call_id)[0]
    assert arrived["joins"] == CALL and [party["role"] for party in arrived["parties"]] == ["caller"]
    assert arrived["reasons"][0] == f"joined call {CALL}"


async def test_who_joined_and_said_yes_is_covered_and_has_no_recorder_of_his_own(desk: Desk) -> None:
    await with_a_stranger(desk)
    sent(desk, "in-2", "1.3", joins=CALL)
    await answers(desk, "1", "granted", "in-2", 2)
    await desk.until(lambda: ("covers", True) in line(desk).did)
    told = [what for what in line(desk).did if what[0] in ("expect", "tell")]
    assert [variables["CONSENT_VERDICT"] for _, variables in told] == ["joined"]
    line(desk).sink(pbx.Withdrew(desk.clock.ns))
    await desk.until(lambda: ("covers", False) in line(desk).did)
    theirs = list(desk.board.sessions.values())[-1]
    assert [entry["party"] for entry in desk.facts("verdict", theirs.call_id)] == ["caller", "caller"]
    refused = await desk.board.pause(theirs.call_id, actor="agent:anna")
    assert (refused.accepted, refused.code) == (False, "not_recording")


async def test_a_caller_is_covered_from_his_return_until_he_withdraws(desk: Desk) -> None:
    session = await recorded(desk)
    await desk.until(lambda: ("covers", True) in line(desk).did)
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, "/spool/one.wav"))
    await desk.until(lambda: session.call.recorder.stage == "failed")
    line(desk).sink(pbx.Withdrew(desk.clock.ns))
    await desk.until(lambda: ("covers", False) in line(desk).did)


@pytest.mark.parametrize("source", ["192.0.2.7:5061", "198.51.100.1:5060"])
async def test_two_pbxes_may_have_a_channel_of_one_name(desk: Desk, source: str) -> None:
    session = await recorded(desk)
    sent(desk, "in-2", source=source)
    await desk.sends(media.Answer, 2)
    assert len(desk.board.sessions) == 2
    assert session.call.phase == "talking" and session.legs["caller"] == CALLER
    assert not desk.sent(media.Reject)


@pytest.mark.parametrize(("joins", "source"), [("NOBODY", "192.0.2.7:5060"), (CALL, "192.0.2.7:5061")])
async def test_a_call_that_nobody_has_is_joined_by_nobody(desk: Desk, joins: str, source: str) -> None:
    await with_a_stranger(desk)
    sent(desk, "in-2", "1.3", joins=joins, source=source)
    await desk.sends(media.Answer, 2)
    theirs = list(desk.board.sessions.values())[-1]
    assert isinstance(theirs, PbxSession) and theirs.joins == ""
    assert "joins" not in desk.facts("call.arrived", theirs.call_id)[0]


async def test_a_second_invite_while_the_first_is_served_is_refused(desk: Desk) -> None:
    sent(desk)
    await desk.sends(media.Answer)
    sent(desk, "in-2")
    assert (await desk.sends(media.Reject)).leg == "in-2"
    assert len(desk.board.sessions) == 1


async def test_a_purge_removes_the_recording_it_is_about_and_no_later_one(desk: Desk) -> None:
    desk.services.policy.rules = Rules(minimum_heard_ms=1_000, purge_on_withdrawal=True)  # type: ignore[attr-defined]
    session = await recorded(desk)
    line(desk).sink(pbx.Withdrew(desk.clock.ns))
    await desk.until(lambda: ("close", None) in line(desk).did)
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, "/spool/one.wav"))
    await desk.until(lambda: "recording.destroyed" in desk.log.kinds(CALL))
    sent(desk, "in-2")
    await answers(desk, "1", "granted", "in-2", 2)
    await desk.until(lambda: [what for what, _ in line(desk).did].count("expect") == 2)
    line(desk).sink(pbx.RecorderRuns(desk.clock.ns, "on", "test"))
    await desk.until(lambda: session.call.recorder.observed == "on")
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, "/spool/two.wav"))
    line(desk).sink(pbx.ChannelEnded(desk.clock.ns))
    await desk.until(lambda: len(line(desk).removed) == 2)
    assert line(desk).removed == [("/spool/one.wav", True), ("/spool/two.wav", False)]


async def in_one_conversation(desk: Desk, second: str = "1.2") -> tuple[PbxSession, PbxSession, Line, Line]:
    """Two recorded callers with an agent; *second*: his channel, as the second caller's conversation has it."""
    first, near = await recorded(desk), line(desk)
    desk.server.sent.clear()
    sent(desk, "in-2", channel="2.1")
    other = desk.board.session("CALL2")
    assert isinstance(other, PbxSession)
    await answers(desk, "1", "granted", "in-2")
    far = line(desk)
    await desk.until(lambda: "expect" in [what for what, _ in far.did] and desk.sent(media.HangUp))
    desk.report(media.LegEnded, "in-2", 603, "local")
    for here, party in ((near, "1.2"), (far, second)):
        here.sink(pbx.RecorderRuns(desk.clock.ns, "on", "test"))
        here.sink(pbx.Joined(desk.clock.ns, party, "PJSIP/anna", covered=True, agent=True))
    await desk.until(lambda: first.agent == other.agent == "anna" and other.call.recorder.observed == "on")
    return first, other, near, far


async def asks_for_anna(desk: Desk, *, resume: bool = False) -> asyncio.Task[tuple[CallSession, Outcome]]:
    ask = desk.board.resume_session if resume else desk.board.pause_session
    asking = desk.board.for_agent("anna", lambda one: ask(one, actor="agent:1", reason="agent_key"), pauses=not resume)
    return spawn(asking, name="ask")


async def test_an_agents_request_reaches_every_recorder_of_his_conversation(desk: Desk) -> None:
    first, other, near, far = await in_one_conversation(desk)
    asked = await asks_for_anna(desk)
    await desk.until(lambda: all(("mute", None) in here.did for here in (near, far)))
    far.sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    await desk.until(lambda: other.call.recorder.observed == "paused")
    assert not asked.done(), "one of two is no pause"
    near.sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    assert (await asked)[1].observed
    asked = await asks_for_anna(desk, resume=True)
    await desk.until(lambda: all(("unmute", None) in here.did for here in (near, far)))
    far.sink(pbx.RecorderRuns(desk.clock.ns, "on", "test"))
    near.sink(pbx.RecorderGone(desk.clock.ns, ""))
    session, outcome = await asked
    assert session is first and outcome.accepted and not outcome.observed, "what was not seen counts"


async def test_an_agents_request_counts_where_there_is_something_to_pause(desk: Desk) -> None:
    first, other, near, far = await in_one_conversation(desk)
    far.sink(pbx.Withdrew(desk.clock.ns))
    await desk.until(lambda: ("close", None) in far.did)
    far.sink(pbx.RecorderGone(desk.clock.ns, ""))
    await desk.until(lambda: other.call.recorder.observed == "off")
    asked = await asks_for_anna(desk)
    await desk.until(lambda: ("mute", None) in near.did)
    near.sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    session, outcome = await asked
    assert session is first and outcome.observed


async def test_a_recorder_that_still_runs_is_no_pause_though_its_call_has_none_to_pause(desk: Desk) -> None:
    _, other, near, far = await in_one_conversation(desk)
    far.sink(pbx.Withdrew(desk.clock.ns))
    await desk.until(lambda: ("close", None) in far.did)
    asked = await asks_for_anna(desk)
    await desk.until(lambda: ("mute", None) in near.did)
    near.sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    session, outcome = await asked
    assert session is other and not outcome.observed and other.call.recorder.observed == "on"


async def test_an_agent_is_on_a_call_whoever_joined_after_him(desk: Desk) -> None:
    """His held call is older: what he pauses is where he talks."""
    _, talking, _, far = await in_one_conversation(desk, second="2.2")
    far.sink(pbx.Joined(desk.clock.ns, "9.9", "PJSIP/bob", covered=True, agent=True))
    await desk.until(lambda: talking.agent == "bob")
    asked = await asks_for_anna(desk)
    await desk.until(lambda: ("mute", None) in far.did)
    far.sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    session, outcome = await asked
    assert session is talking and outcome.observed


async def test_who_comes_into_a_conversation_that_its_agent_has_paused_is_paused(desk: Desk) -> None:
    first, other, _, far = await in_one_conversation(desk, second="2.2")
    first.post(ev.PauseRequested(at_ns=desk.clock.ns, reason="agent_key", actor="agent:1"))
    await desk.until(lambda: "agent_key" in first.call.holds)
    far.sink(pbx.Joined(desk.clock.ns, "9.9", "PJSIP/bob", covered=True, agent=True))
    await desk.until(lambda: "9.9" in other.call.others)
    assert not other.call.holds, "another agent, in another conversation"
    far.sink(pbx.Joined(desk.clock.ns, "1.2", "PJSIP/anna", covered=True, agent=True))
    await desk.until(lambda: ("mute", None) in far.did)
    assert list(other.call.holds) == ["agent_key"]


async def test_a_pause_of_a_call_that_records_no_more_pauses_nobody(desk: Desk) -> None:
    first, other, near, far = await in_one_conversation(desk, second="2.2")
    first.post(ev.PauseRequested(at_ns=desk.clock.ns, reason="agent_key", actor="agent:1"))
    await desk.until(lambda: "agent_key" in first.call.holds)
    near.sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    near.sink(pbx.Withdrew(desk.clock.ns))
    await desk.until(lambda: first.call.verdict == "withdrawn")
    far.sink(pbx.Joined(desk.clock.ns, "1.2", "PJSIP/anna", covered=True, agent=True))
    await desk.until(lambda: "1.2" in other.call.others)
    await asyncio.sleep(0.02)
    assert not other.call.holds


async def test_an_agents_request_leaves_his_other_call_alone(desk: Desk) -> None:
    """It is on hold, and its pause is another."""
    _, _, near, far = await in_one_conversation(desk, second="2.2")
    asked = await asks_for_anna(desk)
    await desk.until(lambda: ("mute", None) in far.did)
    far.sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    assert (await asked)[1].observed and ("mute", None) not in near.did


async def test_what_the_pbx_reports_is_what_the_call_hears(desk: Desk) -> None:
    session = await recorded(desk)
    line(desk).sink(pbx.Joined(desk.clock.ns, "1.2", "PJSIP/anna", covered=True, agent=True))
    line(desk).sink(pbx.AgentWants(desk.clock.ns, True))
    await desk.until(lambda: ("mute", None) in line(desk).did)
    assert session.agent == "anna" and desk.board.agents_call("anna") is session
    line(desk).sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    await desk.until(lambda: ("lamp", "paused") in line(desk).did)
    line(desk).sink(pbx.AgentWants(desk.clock.ns, False))
    await desk.until(lambda: ("unmute", None) in line(desk).did)
    line(desk).sink(pbx.RecorderRuns(desk.clock.ns, "on", "test"))
    line(desk).sink(pbx.ForeignRecorder(desk.clock.ns, True))
    await desk.until(lambda: "recorder.unexpected" in desk.log.kinds(CALL))
    assert ("close", None) not in line(desk).did, "a foreign recorder is not ours to close here"
    line(desk).sink(pbx.Sight(desk.clock.ns, False))
    await desk.until(lambda: not session.call.confirmed)
    assert desk.board.view(session)["recorder"]["confirmed"] is False
    unseen = await desk.board.resume(CALL, actor="agent:anna")
    assert (unseen.code, unseen.observed, unseen.because[:22]) == ("not_paused", False, "the PBX cannot be seen")
    line(desk).sink(pbx.Sight(desk.clock.ns, True))
    await desk.until(lambda: session.call.confirmed)
    line(desk).sink(pbx.Left(desk.clock.ns, "1.2"))
    await desk.until(lambda: "nobody_covered" in session.call.holds)
    assert session.agent == ""


# --- the registry ----------------------------------------------------------------------------------------------------

FILE = "/var/spool/asterisk/monitor/consent/CALL1-20261127T120000000.wav"


class SlowRegistry(FakeCallRegistry):
    """A registry that takes a recording only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()

    async def recording_opened(self, recording: str, **about: Any) -> None:
        await self.let.wait()
        await FakeCallRegistry.recording_opened(self, recording, **about)


def row(desk: Desk, ordinal: int = 1) -> RecordingRecord:
    return desk.registry.all_recordings[f"{CALL}-{ordinal}"]


def state(desk: Desk) -> str:
    """The state of the first recording's row, "" while there is none."""
    return row(desk).state if desk.registry.all_recordings else ""


async def test_a_recording_is_in_the_registry_before_the_pbx_may_record(desk: Desk) -> None:
    known: list[str] = []
    sent(desk)
    line(desk).on_expect = lambda: known.extend(desk.registry.all_recordings)
    await answers(desk, "1", "granted")
    await desk.until(lambda: known)
    assert known == [f"{CALL}-1"]
    assert (row(desk).path, row(desk).wrapped, row(desk).recipient, row(desk).state) == (
        "asterisk:pbx1:",
        b"",
        "",
        "open",
    )


async def test_the_registry_learns_the_file_when_the_recorder_is_seen_and_its_facts_when_it_is_gone(desk: Desk) -> None:
    await recorded(desk)
    line(desk).file = FILE
    line(desk).sink(pbx.RecorderRuns(desk.clock.ns, "on", "test"))
    await desk.until(lambda: row(desk).path == f"asterisk:pbx1:{FILE}")
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, FILE))
    await desk.until(lambda: state(desk) == "closed")
    assert (row(desk).sha256, row(desk).size, row(desk).frames) == ("ab", 364, 1)
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, "/spool/another.wav"))
    await desk.until(lambda: len(line(desk).removed) == 2)
    await desk.rest()
    assert (row(desk).path, row(desk).sha256) == (f"asterisk:pbx1:{FILE}", "ab"), "what ended now is not that recording"


@pytest.mark.parametrize(
    ("file", "named"),
    [
        (FILE, "CALL1-20261127T120000000.wav"),
        ("/spool/monitor/+4915112345678.wav", ""),
        ("/spool/monitor/consent/CALL1-Erika.wav", ""),
        ("/spool/monitor/consent/CALL2-20261127T120000000.wav", ""),
        ("", ""),
    ],
)
async def test_the_evidence_names_the_file_when_nobodys_number_can_be_in_it(desk: Desk, file: str, named: str) -> None:
    await recorded(desk)
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, file))
    await desk.until(lambda: desk.facts("recording.closed"))
    assert desk.facts("recording.closed")[0]["file"] == named


@pytest.mark.parametrize("sight", [True, False])
async def test_that_there_is_no_file_is_said_only_of_a_pbx_that_could_be_seen(desk: Desk, sight: bool) -> None:
    await recorded(desk)
    line(desk).sink(pbx.Sight(desk.clock.ns, sight))
    line(desk).sink(pbx.RecorderGone(desk.clock.ns))
    await desk.until(lambda: desk.facts("recording.closed"))
    checked = desk.facts("recording.closed")[0]["checked"]
    assert (checked == "no file") is sight and ("not known" in checked) is not sight


async def test_a_file_that_was_removed_is_a_destroyed_recording(desk: Desk) -> None:
    desk.services.policy.rules = Rules(minimum_heard_ms=1_000, purge_on_withdrawal=True)  # type: ignore[attr-defined]
    await recorded(desk)
    line(desk).sink(pbx.Withdrew(desk.clock.ns))
    await desk.until(lambda: ("close", None) in line(desk).did)
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, FILE))
    await desk.until(lambda: state(desk) == "destroyed")


async def test_a_recorder_that_never_ran_is_closed_without_a_file_until_there_is_one(desk: Desk) -> None:
    await recorded(desk)
    line(desk).sink(pbx.RecorderGone(desk.clock.ns))
    await desk.until(lambda: state(desk) == "closed")
    assert (row(desk).path, row(desk).sha256) == ("asterisk:pbx1:", "")
    line(desk).sink(pbx.RecorderGone(desk.clock.ns, FILE))
    await desk.until(lambda: row(desk).path == f"asterisk:pbx1:{FILE}")
    await desk.until(lambda: row(desk).sha256 == "ab")


async def test_a_registry_that_does_not_take_the_recording_leaves_the_call_unrecorded(desk: Desk) -> None:
    sent(desk)
    await desk.sends(media.Answer)
    desk.report(media.LegAnswered, CALLER, "sip", "PCMU")
    await desk.hears("ask")
    desk.press("1")
    desk.registry.fail_next()
    await desk.hears("granted")
    await desk.sends(media.HangUp)
    assert [did[1]["CONSENT_VERDICT"] for did in line(desk).did if did[0] == "tell"] == ["unknown"]
    assert ("expect", CALL) not in line(desk).did
    await desk.until(lambda: desk.facts("recording.closed"))
    assert desk.facts("recording.closed")[0]["failed"] == "the registry did not take the recording"


async def test_a_call_the_registry_did_not_take_is_never_recorded(desk: Desk) -> None:
    desk.registry.fail_next()
    sent(desk)
    await answers(desk, "1", "granted")
    await desk.sends(media.HangUp)
    assert ("expect", CALL) not in line(desk).did and not desk.registry.all_recordings


@pytest.fixture
async def slow(tmp_path: Path) -> Desk:
    rules = Rules(minimum_heard_ms=1_000, answer_timeout_ms=200, observe_timeout_ms=50)
    made = await Desk(tmp_path, rules, registry=SlowRegistry()).open()
    made.services.pbx = Switch()
    return made


async def test_a_registry_that_is_slow_keeps_a_caller_no_longer_than_a_recorder_may_be_unseen(slow: Desk) -> None:
    assert isinstance(slow.registry, SlowRegistry)
    sent(slow)
    await answers(slow, "1", "granted")
    await slow.until(lambda: slow.facts("recorder.command"))
    assert not slow.sent(media.HangUp)
    await slow.sends(media.HangUp)
    slow.registry.let.set()
    await slow.until(lambda: state(slow) == "closed")
    assert ("expect", CALL) not in line(slow).did, "a recorder that is not wanted any more is never allowed"
    assert [did[1]["CONSENT_VERDICT"] for did in line(slow).did if did[0] == "tell"] == ["unknown"]
    assert slow.facts("recording.closed")[0]["checked"] == "no file"


async def test_a_caller_who_leaves_while_the_registry_is_waited_for_is_not_recorded(slow: Desk) -> None:
    assert isinstance(slow.registry, SlowRegistry)
    sent(slow)
    await answers(slow, "1", "granted")
    await slow.until(lambda: slow.facts("recorder.command"))
    line(slow).sink(pbx.ChannelEnded(slow.clock.ns))
    await slow.until(lambda: slow.facts("recording.closed"))
    slow.registry.let.set()
    await slow.until(lambda: state(slow) == "closed")
    assert not [did for did in line(slow).did if did[0] in ("expect", "tell")]


async def test_a_pbx_that_does_not_take_the_verdict_leaves_a_closed_row(desk: Desk) -> None:
    sent(desk)
    await desk.sends(media.Answer)
    line(desk).fail = pbx.PbxUnavailable("no answer")
    await answers(desk, "1", "granted")
    await desk.until(lambda: state(desk) == "closed")
    assert row(desk).sha256 == ""


# --- who the agents are ----------------------------------------------------------------------------------------------

STAFF = """
[[person]]
agent = "anna"
kind = "employee"
[[person]]
agent = "bob"
kind = "contractor"
organisation = "Helpdesk Ltd"
[[person]]
agent = "carol"
kind = "employee"
recorded = false
since = 2026-10-01
"""


def pressed(desk: Desk, keys: str) -> None:
    for digit in keys:
        line(desk).sink(pbx.KeyPressed(desk.clock.ns, False, digit))


def comes(desk: Desk, party: str, user: str, *, agent: bool = True) -> None:
    line(desk).sink(pbx.Joined(desk.clock.ns, party, f"PJSIP/{user}", covered=agent, agent=agent))


async def test_an_agent_who_declined_is_an_uncovered_party_while_he_is_there(desk: Desk) -> None:
    desk.staff = STAFF
    session = await recorded(desk)
    comes(desk, "1.2", "anna")
    comes(desk, "1.3", "carol")
    await desk.until(lambda: ("mute", None) in line(desk).did)
    assert list(session.call.holds) == ["uncovered_party:1.3"]
    await desk.until(lambda: len(desk.facts("party.joined")) == 2)
    assert desk.facts("party.joined") == [
        {"party": "1.2", "covered": True, "kind": "employee"},
        {"party": "1.3", "covered": False, "kind": "employee", "declined": True},
    ]
    line(desk).sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    line(desk).sink(pbx.Left(desk.clock.ns, "1.3"))
    await desk.until(lambda: ("unmute", None) in line(desk).did)


async def test_an_agent_who_declined_is_never_asked_for_his_consent(desk: Desk) -> None:
    desk.staff = STAFF
    await recorded(desk)
    comes(desk, "1.2", "anna")
    comes(desk, "1.3", "carol")
    line(desk).sink(pbx.Askable(desk.clock.ns, frozenset()))
    await desk.until(lambda: ("mute", None) in line(desk).did)
    await asyncio.sleep(0.02)
    assert not [did for did in line(desk).did if did[0] == "ask party"]


async def test_who_shares_the_keys_with_somebody_who_may_not_may_not_either(desk: Desk) -> None:
    desk.staff = STAFF
    assert isinstance(desk.services.policy, Policies)
    desk.services.policy.who_may = Authority((Grant.model_validate({"may": ["pause"], "kinds": ["employee"]}),))
    session = await recorded(desk)
    comes(desk, "1.2", "anna")
    comes(desk, "1.3", "bob")
    pressed(desk, "*71")
    await desk.until(lambda: desk.facts("control.refused"))
    assert "an agent (contractor) pause" in desk.facts("control.refused")[0]["because"]
    line(desk).sink(pbx.Left(desk.clock.ns, "1.3"))
    pressed(desk, "*71")
    await desk.until(lambda: ("mute", None) in line(desk).did)
    assert list(session.call.holds) == ["agent_key"]


async def test_a_record_key_of_a_desk_phone_is_a_key_too(desk: Desk) -> None:
    assert isinstance(desk.services.policy, Policies)
    desk.services.policy.who_may = Authority((Grant.model_validate({"may": ["pause"]}),))
    await recorded(desk)
    comes(desk, "1.2", "anna")
    line(desk).sink(pbx.AgentWants(desk.clock.ns, pause=True))
    await desk.until(lambda: ("mute", None) in line(desk).did)
    line(desk).sink(pbx.RecorderRuns(desk.clock.ns, "paused", "test"))
    line(desk).sink(pbx.AgentWants(desk.clock.ns, pause=False))
    await desk.until(lambda: desk.facts("control.refused"))
    assert ("unmute", None) not in line(desk).did
