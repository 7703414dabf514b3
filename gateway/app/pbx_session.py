"""The session of a call that stays in a PBX: what the PBX reports goes in beside what the media server reports."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from gateway.app.session import CallSession
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, AGENT_KEY, CALLER, POLICY, Phase
from gateway.domain.pbx_call import CHANNEL, PbxCall
from gateway.domain.recording import RecorderState
from gateway.ports import media, pbx
from gateway.ports.registry import PbxPlace

_log = structlog.get_logger(__name__)

UNSEEN = "the PBX could not be seen: whether it recorded is not known"
"""How a recording was checked whose file nobody told, when nobody could have told it."""


def _user(line: str) -> str:
    """The name of who uses an endpoint: `alice` of `PJSIP/alice`."""
    return line.partition("/")[2]


@dataclass(slots=True, eq=False, kw_only=True)
class PbxSession(CallSession):
    """Runs one `PbxCall`. *channel* is set before anything runs; what it reports comes to `pbx_event`."""

    channel: pbx.PbxChannel = field(init=False)
    lines: dict[str, str] = field(default_factory=dict, repr=False)
    """The agents who are connected, by the PBX's name of their channel: the endpoint each uses."""
    agent_paused: Callable[["PbxSession"], bool] = lambda session: False
    """Whether an agent of this call's conversation has paused another call's recorder in it."""
    joins: str = ""
    """The call that the asked person joined, "" when he began one of his own."""
    to_remove: set[str] = field(default_factory=set)
    """Recordings whose file is to go: the caller withdrew, and the policy says so."""
    rows: dict[str, str] = field(default_factory=dict, repr=False)
    """Recordings whose end the registry does not know yet, each with the file it knows ("": none yet)."""
    in_sight: bool = True
    """Whether the PBX can be seen, as it was told last: the call learns of it in its turn."""
    _ran_ns: int = 0

    @property
    def handlers(self) -> Mapping[type[do.Command], Callable[[Any, Any], Awaitable[None]]]:
        from gateway.app.pbx_handlers import PBX_HANDLERS

        return PBX_HANDLERS

    @property
    def agent(self) -> str:
        """The agent's name: the endpoint of who joined last and is still there."""
        return _user(next(reversed(self.lines.values()), ""))

    def is_with(self, agent: str) -> bool:
        return any(_user(line) == agent for line in self.lines.values())

    @property
    def agent_parties(self) -> frozenset[str]:
        """The agents' channels, each with its server's name: who is in two calls' conversations is there once."""
        return frozenset(f"{self.channel.server}:{party}" for party in self.lines if self.call.rules.records)

    def handled(self) -> None:
        """Let the others of his conversation know whether he may be recorded, the moment he may not first of all."""
        super(PbxSession, self).handled()
        assert isinstance(self.call, PbxCall)
        self.channel.covers(self.call.covers)

    def sent_again(self, incoming: media.Incoming) -> bool:
        """The PBX sends the caller once more: his new leg takes the old one's place. Says whether it does: not before
        he was given back."""
        if self.call.phase is not Phase.TALKING:
            return False
        self.legs[CALLER] = incoming.leg
        self.post(ev.CallSentAgain(at_ns=incoming.mono_ns))
        return True

    def pbx_event(self, event: pbx.PbxEvent) -> None:
        """Queue what the PBX reported."""
        at_ns = event.mono_ns
        match event:
            case pbx.ChannelEnded():
                self.post(ev.LegEnded(at_ns=at_ns, leg=CHANNEL, by="remote" if event.seen else "lost"))
            case pbx.RecorderRuns():
                self._recorder_runs(event)
            case pbx.RecorderGone():
                spawn(self._recorder_gone(event, self.call.recording), name="PBX recording")
            case pbx.KeyPressed():
                leg = CALLER if event.by_asked else AGENT
                self.post(ev.DigitPressed(at_ns=at_ns, leg=leg, value=event.digit, transport="ami"))
            case pbx.Joined():
                self._joined(event)
            case pbx.Left():
                if self.lines.pop(event.party, None) is not None:
                    self.know_agents()
                self.post(ev.PartyGone(at_ns=at_ns, party=event.party))
            case pbx.Askable():
                self.post(ev.PartiesAskable(at_ns=at_ns, parties=event.parties))
            case pbx.Abandoned() | pbx.Disturbed():
                self.post(ev.CallAbandoned(at_ns=at_ns))
            case pbx.TakenBack():
                self.post(ev.CallTakenBack(at_ns=at_ns))
            case pbx.Withdrew():
                self.post(ev.WithdrawRequested(at_ns=at_ns, party=CALLER, actor=CALLER))
            case pbx.AgentWants():
                kind = ev.PauseRequested if event.pause else ev.ResumeRequested
                self.post(kind(at_ns=at_ns, reason=AGENT_KEY, actor=AGENT))
            case pbx.WantsAgain():
                self.post(ev.ReconsentRequested(at_ns=at_ns, party=CALLER, actor=CALLER))
            case pbx.ForeignRecorder():
                self.post(ev.RecorderObserved(at_ns=at_ns, recording="foreign", state="on", at_frame=0))
            case pbx.Sight():
                self.in_sight = event.clear
                self.post(ev.SightChanged(at_ns=at_ns, clear=event.clear))

    def _joined(self, event: pbx.Joined) -> None:
        """Somebody is beside the asked person: an agent whom nobody has to ask, unless he declined to be recorded, or
        somebody else."""
        at_ns, covered = event.mono_ns, event.covered
        facts: dict[str, object] = {}
        if event.agent:
            self.lines[event.party] = event.line
            self.know_agents()
            colleague = self.services.staff.colleague(_user(event.line))
            covered, facts = covered and not colleague.declined, colleague.facts()
            if self.agent_paused(self):
                self.post(ev.PauseRequested(at_ns=at_ns, reason=AGENT_KEY, actor=POLICY))
        self.post(ev.PartyJoined(at_ns=at_ns, party=event.party, covered=covered, facts=facts))

    def know_agents(self) -> None:
        """Let the call know what its agents may do by a key: the PBX does not say whose key it was."""
        self.post(self._agents_known(_user(line) for line in self.lines.values()))

    def _recorder_runs(self, event: pbx.RecorderRuns) -> None:
        self._ran_ns = self._ran_ns or event.mono_ns
        frame = (event.mono_ns - self._ran_ns) // 20_000_000
        state, how = RecorderState(event.state), event.how
        recording = self.call.recording
        self.post(ev.RecorderObserved(at_ns=event.mono_ns, recording=recording, state=state, at_frame=frame, how=how))
        spawn(self._note_place(recording, self.channel.file), name="note PBX recording")
        spawn(self.channel.lamp(event.state), name="lamp")

    async def _recorder_gone(self, event: pbx.RecorderGone, recording: str) -> None:
        self._ran_ns = 0
        await self.channel.lamp("off")
        purge = recording in self.to_remove
        facts = await self.channel.kept(event.file, purge=purge)
        facts["file"] = pbx.evident_name(event.file, self.call_id)
        if not event.file and not self.in_sight:
            facts["checked"] = UNSEEN
        if purge and event.file and not facts["purged"]:
            _log.warning("alarm", alarm="recording_not_removed", call_id=self.call_id)
        self.post(ev.RecorderClosed(at_ns=event.mono_ns, recording=recording, facts=facts))
        await self._note_end(recording, event.file, facts)

    async def _note_place(self, recording: str, file: str) -> None:
        """Let the registry know where the PBX keeps a recording, once."""
        if file and self.rows.get(recording) == "":
            self.rows[recording] = file
            await self.services.note_placed(recording, str(PbxPlace(self.channel.server, file)))

    async def _note_end(self, recording: str, file: str, facts: Mapping[str, Any]) -> None:
        """Let the registry know a recording's end: its facts, or that there is no file as far as anybody knows."""
        if recording not in self.rows:
            return  # it knows: what ended now is not that recording
        await self._note_place(recording, file)
        if file:
            self.rows.pop(recording, None)
        await self.services.note_closed(recording, facts["sha256"], facts["size"], facts["frames"])
        if facts["purged"]:
            await self.services.note_destroyed(recording)

    def _arrival(self) -> dict[str, object]:
        return {
            **super(PbxSession, self)._arrival(),
            "path": "asterisk",
            "server": self.channel.server,
            "channel": self.channel.channel,
            "linkedid": self.channel.linkedid,
            **({"joins": self.joins, "parties": [{"role": CALLER, "kind": "other"}]} if self.joins else {}),
        }
