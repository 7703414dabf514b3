"""Asterisk servers as a `Pbx`: finds whose call an INVITE is about, and brings each server's events to its calls."""

import asyncio
import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from gateway.adapters.asterisk.channel import AsteriskChannel, Guard, Other
from gateway.adapters.asterisk.spool import left_behind
from gateway.adapters.asterisk.starter import RecorderStarter
from gateway.adapters.asterisk.usher import AFTER_BRIDGE, WAIT, Way
from gateway.app.tasks import spawn
from gateway.ports.manager import (
    ActionRefused,
    ManagerClient,
    ManagerError,
    ManagerEvent,
    ManagerSnapshot,
    ManagerState,
)
from gateway.ports.media import Incoming
from gateway.ports.pbx import LeftBehind, PbxChannel, PbxSink, PbxUnavailable, not_configured

_log = structlog.get_logger(__name__)

CHANNEL_HEADER: Final = "x-consent-channel"
LINKEDID_HEADER: Final = "x-consent-linkedid"
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,150}")
_CHANNEL_NAME: Final = re.compile(r"(?P<line>[A-Za-z0-9]+/.+)-[0-9a-f]{8}(?P<half>;[12])?")
_NOBODY: Final = ("CBAnn", "Announcer", "Surrogate", "Recorder", "ConfBridgeRecorder", "Message", "Bridge")
"""Kinds of channels behind which nobody speaks."""

AWAY_S: Final = 60.0
"""How long a server may be away before recordings of an earlier gateway are closed without having been looked at."""


@dataclass(frozen=True, slots=True)
class AsteriskServer:
    """One server. *source*: the address its INVITEs come from, `host` or `host:port`. *endpoint*: its name for us.
    *agents*: patterns of the endpoints (`PJSIP/1*`) whose users are covered without being asked.
    *spool*: where its monitor folder can be read, None: not from here. *guard*: what becomes of foreign recorders.
    *starter*: starts recorders in the dialplan's place."""

    client: ManagerClient = field(repr=False)
    source: str
    agents: tuple[str, ...]
    endpoint: str = "PJSIP/consent-gateway"
    spool: Path | None = None
    guard: Guard = "stop"
    starter: RecorderStarter | None = None

    def is_from_here(self, source: str) -> bool:
        """Whether *source* (`host:port`) is this server's."""
        return source == self.source or source.rpartition(":")[0] == self.source

    @property
    def is_connected(self) -> bool:
        """Whether everything that a recorded call needs is connected."""
        return self.client.state.connected and (self.starter is None or self.starter.is_connected)

    def covers(self, line: str) -> bool:
        """Whether who uses *line* need not be asked."""
        return any(fnmatch.fnmatchcase(line, pattern) for pattern in self.agents)


class AsteriskPbx:
    """All servers. *gateway* names this gateway to them: it puts that on every channel it decides about."""

    def __init__(self, servers: Sequence[AsteriskServer], gateway: str = "") -> None:
        self._switches = [Switch(server, gateway) for server in servers]

    async def start(self) -> None:
        """Begin to connect to every server. Does not wait."""
        for switch in self._switches:
            await switch.server.client.start(switch.on_event, switch.on_state)
            if switch.server.starter is not None:
                await switch.server.starter.start()

    async def stop(self) -> None:
        """Close every connection."""
        for switch in self._switches:
            await switch.server.client.stop()
            if switch.server.starter is not None:
                await switch.server.starter.stop()

    @property
    def servers(self) -> Mapping[str, bool]:
        """Every server's label, and whether it is connected."""
        return {s.server.client.server: s.server.is_connected for s in self._switches}

    def sends(self, incoming: Incoming) -> bool:
        return bool(_header(incoming, CHANNEL_HEADER))

    def server_of(self, incoming: Incoming) -> str:
        here = self._from(incoming.source)
        return here[0].server.client.server if len(here) == 1 else ""

    def find(self, incoming: Incoming, sink: PbxSink) -> PbxChannel:
        channel, linkedid = _header(incoming, CHANNEL_HEADER), _header(incoming, LINKEDID_HEADER)
        if not _ID.fullmatch(channel) or not _ID.fullmatch(linkedid):
            raise PbxUnavailable("an INVITE whose X-Consent-Channel or X-Consent-Linkedid is no id of Asterisk's")
        here = self._from(incoming.source)
        if len(here) != 1:
            what = "two [[asterisk]] sections have" if here else "no [[asterisk]] section has"
            raise PbxUnavailable(f"a consent gate's INVITE came from an address that {what} as `source`")
        return here[0].watch(channel, linkedid, sink)

    async def left_behind(self, server: str, call_id: str, path: str, *, others: Collection[str]) -> LeftBehind:
        for switch in self._switches:
            if switch.server.client.server == server:
                return await switch.left_behind(call_id, path, others)
        return not_configured(path)

    def _from(self, source: str) -> list["Switch"]:
        return [switch for switch in self._switches if switch.server.is_from_here(source)]


def _header(incoming: Incoming, name: str) -> str:
    return next((value for key, value in incoming.headers if key.lower() == name), "")


@dataclass(slots=True)
class _Aside:
    """Somebody who is taken out of a conversation to be asked: *asker*, the watched channel of whom he is taken from;
    *bridge*, the conversation; *left* it; *returns* to it; *lost*: that person talks elsewhere now."""

    asker: str
    bridge: str
    name: str
    left: bool = False
    returns: bool = False
    lost: bool = False


class Switch:
    """One server's calls: who is connected to whom, and which of them are ours."""

    def __init__(self, server: AsteriskServer, gateway: str) -> None:
        self.server = server
        self._gateway = gateway
        self._watched: dict[str, AsteriskChannel] = {}
        self._bridges: dict[str, dict[str, str]] = {}
        self._where: dict[str, str] = {}
        """The bridge each channel is in."""
        self._places: set[str] = set()
        """Bridges that are something of themselves: a conference, a parking lot. Who leaves one has left it."""
        self._named: dict[str, str] = {}
        """The channel of each name that is in a bridge."""
        self._rooms: dict[str, str] = {}
        """Conferences that are being recorded: bridge to the conference's name."""
        self._rooms_told: set[tuple[str, str]] = set()
        """Bridge and channel of those who were told of it."""
        self._expected: dict[str, tuple[str, str]] = {}
        """Channels of a watched call that nobody is connected to yet: unique id to (linked id, name)."""
        self._aside: dict[str, _Aside] = {}
        """Who was, or is about to be, taken out of a conversation to be asked, until he is with somebody or gone."""
        self._disturbed: set[str] = set()
        """Watched channels in a bridge with us, where they are being asked, and with somebody else."""
        self._swept = asyncio.Event()
        """Every recorder that an earlier gateway had left running when this connection was made was stopped."""

    def watch(self, channel: str, linkedid: str, sink: PbxSink) -> AsteriskChannel:
        """Begin to report a channel. Raises `PbxUnavailable`."""
        if not self.server.client.state.connected:
            problem = self.server.client.state.problem
            raise PbxUnavailable(str(problem or f"Asterisk {self.server.client.server}: not connected"))
        server = self.server
        if channel in self._watched:
            self._watched[channel].replaced()
        watched = AsteriskChannel(
            server.client,
            channel,
            linkedid,
            sink,
            gateway=self._gateway,
            spool=server.spool,
            guard=server.guard,
            starter=server.starter,
            is_bridged=lambda: channel in self._where,
            on_forget=self._forget,
            on_change=self._look_round,
            on_aside=lambda party, goes: self._claim(party, channel) if goes else self._release(party, channel),
        )
        self._watched[channel] = watched
        spawn(watched.look_for_foreign(), name="foreign recorders")
        return watched

    def _forget(self, channel: AsteriskChannel) -> None:
        if self._watched.get(channel.channel) is channel:
            del self._watched[channel.channel]
            self._look_round()

    # --- events -----------------------------------------------------------------------------------------------------

    def on_state(self, state: ManagerState) -> None:
        """The connection came or went."""
        self._swept.clear()
        if not state.connected:
            for channel in list(self._watched.values()):
                channel.out_of_sight()
            return
        snapshot = state.snapshot or ManagerSnapshot()
        names = {channel.uniqueid: channel.name for channel in snapshot.channels}
        self._bridges = {
            bridge.id: {member: names.get(member, "") for member in bridge.members} for bridge in snapshot.bridges
        }
        self._places = {bridge.id for bridge in snapshot.bridges if bridge.kind != "basic"}
        self._where = {member: bridge for bridge, members in self._bridges.items() for member in members}
        self._named = {name: member for members in self._bridges.values() for member, name in members.items()}
        self._expected.clear()
        self._rooms.clear()
        self._rooms_told.clear()
        for party in self._aside.keys() - names.keys():
            self._is_over(party, back=False)
        for party, aside in list(self._aside.items()):
            aside.left = self._where.get(party) != aside.bridge
            if aside.left:
                self._lose_if_elsewhere(party, aside)
            else:
                self._is_over(party, back=True)
        for channel in list(self._watched.values()):
            spawn(channel.back_in_sight(there=channel.channel in names), name="channel seen again")
        self._look_round()
        spawn(self._sweep(names.keys() - self._watched.keys(), state.generation), name="recorders without consent")

    async def _sweep(self, channels: Iterable[str], generation: int) -> None:
        stopped = await asyncio.gather(*(self._stop_unwatched(uniqueid) for uniqueid in channels))
        if all(stopped) and self.server.client.state.generation == generation:
            self._swept.set()

    async def left_behind(self, call_id: str, path: str, others: Collection[str]) -> LeftBehind:
        """As `Pbx.left_behind` promises."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._swept.wait(), AWAY_S)
        spool, stopped = self.server.spool, self._swept.is_set()
        found = await asyncio.to_thread(left_behind, spool, path, call_id, others=others, stopped=stopped)
        return LeftBehind(*found)

    async def _stop_unwatched(self, channel: str) -> bool:
        """A recorder of ours on a channel we do not watch: this gateway allowed it in an earlier life, and nobody can
        pause it or take the consent back any more. It stops; the call goes on. Another gateway's is its own affair.
        Says whether none of ours is left as far as the server told."""
        client = self.server.client
        try:
            answer = await client.action("Getvar", {"Channel": channel, "Variable": "CONSENT_MIXMONITOR_ID"})
            if not answer.get("Value") or channel in self._watched:
                return True
            owner = await client.action("Getvar", {"Channel": channel, "Variable": "CONSENT_GATEWAY"})
            if owner.get("Value") not in ("", self._gateway):
                return True
            await client.action("StopMixMonitor", {"Channel": channel, "MixMonitorID": answer.get("Value")})
            await client.action("Setvar", {"Channel": channel, "Variable": "CONSENT_VERDICT", "Value": "unknown"})
            after = await client.action("Getvar", {"Channel": channel, "Variable": AFTER_BRIDGE})
            if after.get("Value").startswith(WAIT):
                await client.action("Setvar", {"Channel": channel, "Variable": AFTER_BRIDGE, "Value": ""})
        except ActionRefused as error:
            return not error.is_shutdown  # else the channel or its recorder is gone already
        except ManagerError as error:
            _log.error("a recorder without a live consent was not stopped", server=client.server, error=str(error))
            return False
        _log.warning("a recorder without a live consent was stopped", server=client.server)
        return True

    def on_event(self, event: ManagerEvent) -> None:
        """Take one event."""
        handler = _EVENTS.get(event.name)
        if handler is not None:
            handler(self, event)

    def _entered(self, event: ManagerEvent) -> None:
        uniqueid, bridge, name = event.get("Uniqueid"), event.get("BridgeUniqueid"), event.get("Channel")
        self._expected.pop(uniqueid, None)
        self._leave(uniqueid)
        self._bridges.setdefault(bridge, {})[uniqueid] = name
        if event.get("BridgeType") != "basic":
            self._places.add(bridge)
        self._where[uniqueid], self._named[name] = bridge, uniqueid
        for party, aside in list(self._aside.items()):
            if aside.asker == uniqueid:
                self._lose_if_elsewhere(party, aside)
        self._look_round()
        self._guard_rooms()

    def _left(self, event: ManagerEvent) -> None:
        uniqueid, bridge = event.get("Uniqueid"), event.get("BridgeUniqueid")
        if self._where.get(uniqueid) == bridge:
            if uniqueid in self._aside and self._aside[uniqueid].bridge == bridge:
                self._aside[uniqueid].left = True
            self._leave(uniqueid)
            if uniqueid in self._watched:
                self._watched[uniqueid].moved(bridged=False)
        self._look_round()

    def _leave(self, uniqueid: str) -> None:
        """Take a channel out of its bridge, if it is in one."""
        bridge = self._where.pop(uniqueid, None)
        if bridge is None:
            return
        members = self._bridges[bridge]
        self._named.pop(members.pop(uniqueid), None)
        if not members:
            del self._bridges[bridge]
            self._places.discard(bridge)

    def _new(self, event: ManagerEvent) -> None:
        uniqueid, linkedid = event.get("Uniqueid"), event.get("Linkedid")
        if any(ours.linkedid == linkedid and uniqueid != ours.channel for ours in self._watched.values()):
            self._expected[uniqueid] = linkedid, event.get("Channel")
            self._look_round()

    def _hung_up(self, event: ManagerEvent) -> None:
        uniqueid = event.get("Uniqueid")
        self._expected.pop(uniqueid, None)
        self._leave(uniqueid)
        self._is_over(uniqueid, back=False)
        self._hanging_up(event)
        ended = self._watched.get(uniqueid)
        if ended is not None:
            ended.ended()
        self._look_round()

    def _hanging_up(self, event: ManagerEvent) -> None:
        """Asterisk tells so at once; the channel itself may have to wait for the end of what it waits for."""
        uniqueid = event.get("Uniqueid")
        for ours in list(self._watched.values()):
            if ours.linkedid == uniqueid != ours.channel:
                ours.abandoned()

    def _key(self, event: ManagerEvent) -> None:
        if event.get("Direction") != "Received":
            return
        uniqueid, digit = event.get("Uniqueid"), event.get("Digit")
        for ours in list(self._watched.values()):
            if ours.channel == uniqueid:
                ours.key(uniqueid, digit, by_asked=True)
            elif self.server.covers(self._others(ours).get(uniqueid, "")):
                ours.key(uniqueid, digit, by_asked=False)

    def _recorder_started(self, event: ManagerEvent) -> None:
        ours = self._watched.get(event.get("Uniqueid"))
        if ours is not None:
            ours.recorder_started()
        else:  # an earlier gateway's verdict may have come to effect only now
            spawn(self._stop_unwatched(event.get("Uniqueid")), name="recorder without consent")

    def _recorder_stopped(self, event: ManagerEvent) -> None:
        ours = self._watched.get(event.get("Uniqueid"))
        if ours is not None:
            ours.recorder_stopped()

    def _room_recorded(self, event: ManagerEvent) -> None:
        self._rooms[event.get("BridgeUniqueid")] = event.get("Conference")
        self._guard_rooms()

    def _room_not_recorded(self, event: ManagerEvent) -> None:
        bridge = event.get("BridgeUniqueid")
        self._rooms.pop(bridge, None)
        self._rooms_told = {pair for pair in self._rooms_told if pair[0] != bridge}

    def _guard_rooms(self) -> None:
        """A conference that records has a recorder on everybody in it."""
        for bridge, conference in self._rooms.items():
            inside = self._watched.keys() & self._bridges.get(bridge, {}).keys()
            new = [self._watched[channel] for channel in inside if (bridge, channel) not in self._rooms_told]
            if new:
                self._rooms_told |= {(bridge, watched.channel) for watched in new}
                spawn(new[0].stop_room(conference, new), name="conference recorded")

    def _user_event(self, event: ManagerEvent) -> None:
        uniqueid, name = event.get("Uniqueid"), event.get("UserEvent")
        if name == "ConsentBack":
            self._bring_back(uniqueid)
            return
        if name in ("ConsentPause", "ConsentResume"):
            for theirs in list(self._watched.values()):
                if self.server.covers(self._others(theirs).get(uniqueid, "")):
                    theirs.agent_wants(pause=name == "ConsentPause")
            return
        ours = self._watched.get(uniqueid)
        if ours is not None and name == "ConsentWithdrawn":
            ours.withdrew()
        elif ours is not None and name == "ConsentGate":
            ours.taken_back()
        elif ours is not None and name == "ConsentAgain":
            ours.wants_again()

    # --- who is connected to whom -----------------------------------------------------------------------------------

    def _look_round(self) -> None:
        for party in [party for party, aside in self._aside.items() if aside.left and self._is_with_somebody(party)]:
            self._is_over(party, back=True)
        for ours in list(self._watched.values()):
            expected = {u: name for u, (linkedid, name) in self._expected.items() if linkedid == ours.linkedid}
            aside = self._aside_of(ours)
            coming = {
                uniqueid: Other(line, agent=False, covered=self._is_covered(uniqueid, line))
                for uniqueid, name in (expected | aside).items()
                if (line := self._line(name)) and not self.server.covers(line)
            }
            beside = {uniqueid: line for uniqueid, line in self._others(ours).items() if line}
            present = {
                uniqueid: Other(
                    line,
                    self.server.covers(line),
                    self._is_covered(uniqueid, line),
                    self._way(ours, uniqueid, alone=len(beside) == 1 and not aside),
                )
                for uniqueid, line in beside.items()
            }
            ours.others(coming | present)
        self._look_for_disturbance()

    def _look_for_disturbance(self) -> None:
        """Nobody but us may be in the bridge in which somebody is asked: it may be his keys that we hear."""
        disturbed = {
            channel for channel in self._watched if self._is_with_us(channel) and self._is_with_somebody(channel)
        }
        for channel in disturbed - self._disturbed:
            self._watched[channel].disturbed()
        self._disturbed = disturbed

    def _is_with_us(self, uniqueid: str) -> bool:
        bridge = self._bridges.get(self._where.get(uniqueid, ""), {})
        return any(name.startswith(f"{self.server.endpoint}-") for name in bridge.values())

    def _is_with_somebody(self, uniqueid: str) -> bool:
        """Whether somebody can hear him, or could: nobody can who is in no bridge, or in one with us alone."""
        place = self._where.get(uniqueid, "")
        bridge = self._bridges.get(place, {})
        return place in self._places or any(self._line(name) for _, name in self._beyond(bridge, {uniqueid}))

    # --- who was taken aside to be asked ----------------------------------------------------------------------------

    def _aside_of(self, ours: AsteriskChannel) -> dict[str, str]:
        """Who counts as present, though he was taken aside: in the conversation he was taken out of, whoever took him,
        and with the person he was taken from."""
        here = self._where.get(ours.channel, "")
        return {
            party: aside.name
            for party, aside in self._aside.items()
            if aside.left
            and party != ours.channel
            and (here == aside.bridge or (aside.asker == ours.channel and not aside.lost))
        }

    def _claim(self, party: str, asker: str) -> bool:
        """*asker*'s call is about to take somebody aside. Says whether it may: nobody is taken by two."""
        bridge = self._where.get(party, "")
        if party in self._aside or not bridge:
            return False
        self._aside[party] = _Aside(asker, bridge, self._bridges[bridge][party])
        return True

    def _release(self, party: str, asker: str) -> bool:
        """He was not taken aside after all. Says whether he was *asker*'s to take."""
        mine = party in self._aside and self._aside[party].asker == asker
        if mine:
            del self._aside[party]
        return mine

    def _is_over(self, party: str, *, back: bool) -> None:
        """Somebody who was taken aside, if he was, is with somebody again, or gone."""
        aside = self._aside.pop(party, None)
        if aside is not None and aside.asker in self._watched:
            self._watched[aside.asker].aside_over(party, back=back or aside.lost)

    def _lose_if_elsewhere(self, party: str, aside: "_Aside") -> None:
        """The person he was taken from talks elsewhere now: there is no conversation to bring him back to."""
        here = self._where.get(aside.asker)
        if here in (None, aside.bridge) or aside.returns or aside.lost:
            return
        if any(other.returns and other.asker == aside.asker for other in self._aside.values()):
            aside.bridge = here  # he waited, and talks to another who is back: it is the same conversation
        else:
            aside.lost = True
            if aside.asker in self._watched:
                self._watched[aside.asker].aside_over(party, back=True)

    def _bring_back(self, party: str) -> None:
        """He has been asked, and waits to be brought back."""
        aside = self._aside.get(party)
        if aside is None:
            return  # another gateway's
        asker, here = self._watched.get(aside.asker), self._where.get(aside.asker)
        if asker is None or here != aside.bridge:  # another of ours may still be in that conversation
            asker = next((one for one in self._watched.values() if self._where.get(one.channel) == aside.bridge), asker)
            here = None if asker is None else self._where.get(asker.channel)
        aside.returns = asker is not None and (here == aside.bridge or (here is None and not aside.lost))
        if aside.returns and asker is not None:
            asker.bring_back(party, waits=here is None)
        else:
            spawn(self._let_go(party), name="let go")

    async def _let_go(self, party: str) -> None:
        try:
            await self.server.client.action("Hangup", {"Channel": party, "Cause": "16"})
        except ManagerError as error:
            _log.warning("somebody whose conversation is gone was not let go", error=type(error).__name__)

    def _way(self, ours: AsteriskChannel, other: str, *, alone: bool) -> Way:
        """How somebody who is connected can be taken to the gate: not at all, if he was asked in a call of his own.
        *alone*: nobody else is there, or will be back."""
        here, there = self._where[ours.channel], self._where[other]
        if other in self._watched or self.server.covers(self._line(self._bridges[there][other])):
            return ""
        if {here, there} & self._places:
            return "room" if here == there else ""
        if alone:
            return "both"
        return "aside" if here == there and len(self._bridges[here]) > 2 else ""

    def _is_covered(self, uniqueid: str, line: str) -> bool:
        """Whether who uses *line* need not be asked, or was asked in a call of his own and may be recorded."""
        own = self._watched.get(uniqueid)
        return self.server.covers(line) or (own is not None and own.covered)

    def _others(self, ours: AsteriskChannel) -> dict[str, str]:
        """Who else is connected to a watched channel, through Local channels too: unique id to line ("" for what is
        no person: our own leg, an announcement)."""
        bridge = self._bridges.get(self._where.get(ours.channel, ""), {})
        seen = {ours.channel}
        beyond = list(self._beyond(bridge, seen))
        half = self._other_half(bridge.get(ours.channel, ""))
        if half and half not in seen:  # the gate ran on a Local channel: who is behind it is heard through it
            seen.add(half)
            behind = list(self._beyond(self._bridges[self._where[half]], seen))
            if self._is_with_us(ours.channel):
                ours.himself |= {uniqueid for uniqueid, _ in behind}
            beyond += [(uniqueid, name) for uniqueid, name in behind if uniqueid not in ours.himself]
        return {uniqueid: self._line(name) for uniqueid, name in beyond}

    def _other_half(self, name: str) -> str:
        """The other half of a Local channel, if it is in a bridge: "" too for a channel of any other kind."""
        match = _CHANNEL_NAME.fullmatch(name)
        if match is None or match["half"] is None:
            return ""
        return self._named.get(name[:-1] + ("2" if name.endswith("1") else "1"), "")

    def _beyond(self, bridge: Mapping[str, str], seen: set[str]) -> Iterable[tuple[str, str]]:
        for uniqueid, name in bridge.items():
            if uniqueid in seen:
                continue
            seen.add(uniqueid)
            match = _CHANNEL_NAME.fullmatch(name)
            if match is None or match["half"] is None:
                yield uniqueid, name
                continue
            half = self._other_half(name)
            if half and half not in seen:
                seen.add(half)
                yield from self._beyond(self._bridges[self._where[half]], seen)

    def _line(self, name: str) -> str:
        """The endpoint a channel belongs to, "" when no person is behind it."""
        match = _CHANNEL_NAME.fullmatch(name)
        line = match["line"] if match else name
        nobody = line == self.server.endpoint or line.startswith("Local/") or name.partition("/")[0] in _NOBODY
        return "" if nobody else line


_EVENTS: Final = {
    "BridgeEnter": Switch._entered,
    "BridgeLeave": Switch._left,
    "Newchannel": Switch._new,
    "Hangup": Switch._hung_up,
    "HangupRequest": Switch._hanging_up,
    "DTMFEnd": Switch._key,
    "MixMonitorStart": Switch._recorder_started,
    "MixMonitorStop": Switch._recorder_stopped,
    "ConfbridgeRecord": Switch._room_recorded,
    "ConfbridgeStopRecord": Switch._room_not_recorded,
    "ConfbridgeEnd": Switch._room_not_recorded,
    "UserEvent": Switch._user_event,
}
