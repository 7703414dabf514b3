"""One asked person's channel in one Asterisk: its recorder, its keys, and who is connected to it.

What is wanted of the recorder stands in `_wanted` and is brought about by one task at a time, so that a pause that
comes before the recorder's start, or in the middle of a resume, is never lost. The effect is looked for: a success of
MixMonitorMute says nothing (Asterisk 22 answers it with nothing to mute, too), so the recorder is named by its id, and
looked for afterwards.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import structlog

from gateway.adapters.asterisk.growing import LOOK_EVERY_S, PausedFile
from gateway.adapters.asterisk.spool import file_facts, spool_file
from gateway.adapters.asterisk.starter import RecorderStarter
from gateway.adapters.asterisk.usher import Usher, Way
from gateway.app.tasks import spawn
from gateway.ports.manager import ActionRefused, ManagerClient, ManagerError, ManagerResponse
from gateway.ports.pbx import (
    Abandoned,
    AgentWants,
    Askable,
    ChannelEnded,
    Disturbed,
    ForeignRecorder,
    Joined,
    KeyPressed,
    Left,
    PbxEvent,
    PbxRefused,
    PbxSink,
    PbxUnavailable,
    RecorderGone,
    RecorderRuns,
    Sight,
    TakenBack,
    WantsAgain,
    Withdrew,
)

_log = structlog.get_logger(__name__)

UNMUTE_AFTER_S: Final = 0.08
"""Mute is applied when the recorder reads: up to 60 ms queued while muted would be written after an unmute."""

SAME_KEY_NS: Final = 60_000_000
"""Asterisk reports the last key of a feature code twice, 50 ms apart; nobody presses one so fast."""

SETTLE_S: Final = 0.3
"""Whoever is moved from one bridge to another is for a moment in neither, or alone with somebody."""

MOST_FOREIGN: Final = 16
"""More recorders than anybody runs on one channel: Asterisk says "none left" long before."""

Guard = Literal["stop", "alarm", "ignore"]
"""What becomes of a recorder on a gated channel that nobody here allowed."""

RECORDING_VERDICTS: Final = ("granted", "not_required")
"""The verdicts on which the dialplan starts a recorder."""

Wanted = Literal["none", "on", "paused", "closed"]
LAMP: Final = {"on": "INUSE", "paused": "RINGING", "off": "NOT_INUSE"}


@dataclass(frozen=True, slots=True)
class Other:
    """Somebody beside the asked person. *line*: his endpoint; *agent*, *covered* as in `Joined`; *way*: to the gate."""

    line: str
    agent: bool
    covered: bool
    way: Way = field(default="", compare=False)


class AsteriskChannel:
    """A `PbxChannel`. Made by `Switch.watch`."""

    def __init__(
        self,
        client: ManagerClient,
        channel: str,
        linkedid: str,
        sink: PbxSink,
        *,
        gateway: str,
        spool: Path | None,
        guard: Guard,
        starter: RecorderStarter | None,
        is_bridged: Callable[[], bool],
        on_forget: Callable[["AsteriskChannel"], None],
        on_change: Callable[[], None],
        on_aside: Callable[[str, bool], bool],
    ) -> None:
        self.channel = channel
        self.linkedid = linkedid
        self.covered = False
        """Whether the person asked may be recorded, as things are."""
        self.himself: set[str] = set()
        """Of a gate that ran on a Local channel: who was behind it while it asked. It is he who was asked."""
        self._client = client
        self._sink = sink
        self._gateway = gateway
        self._spool = spool
        self._guard = guard
        self._starter = starter
        self._to_start = ""
        self._is_bridged = is_bridged
        self._on_forget = on_forget
        self._on_change = on_change
        self._on_aside = on_aside
        self._generation = client.state.generation
        self._wanted: Wanted = "none"
        self._recorder = ""
        self._file = ""
        self._pauses = 0
        self._end_told = False
        self._abandoned = False
        self._lamp_name: str | None = None
        self._others: dict[str, Other] = {}
        self._ways: dict[str, Way] = {}
        self._aside: set[str] = set()
        """Who was taken out of the conversation, and is not back."""
        self._last_key = ("", "", 0)
        self._usher = Usher(channel, self._act)
        self._turn = asyncio.Lock()
        self._finding = asyncio.Lock()

    @property
    def server(self) -> str:
        return self._client.server

    @property
    def file(self) -> str:
        return self._file

    def covers(self, covered: bool) -> None:
        if covered is not self.covered:
            self.covered = covered
            self._on_change()

    # --- what is asked of it ----------------------------------------------------------------------------------------

    async def begin_recorder(self, call_id: str) -> None:
        if self._starter is not None:
            self._to_start = call_id
            self.moved(bridged=self._is_bridged())

    async def tell(self, variables: Mapping[str, str]) -> None:
        for name, value in variables.items():
            if name == "CONSENT_VERDICT" and value in RECORDING_VERDICTS and self._wanted == "closed":
                raise PbxRefused("the recorder was closed before the verdict could be told")
            await self._act("Setvar", Variable=name, Value=value)

    async def expect_recorder(self, call_id: str) -> None:
        self._wanted, self._recorder, self._file, self._end_told = "on", "", "", False
        starts = {} if self._starter is None else {"CONSENT_RECORDER": "gateway"}
        await self.tell({"CONSENT_GATEWAY": self._gateway} | starts)

    async def mute(self) -> None:
        self._wanted = "paused"
        await self._bring_about()

    async def unmute(self) -> None:
        self._wanted = "on"
        await asyncio.sleep(UNMUTE_AFTER_S)
        await self._bring_about()

    async def close(self) -> None:
        self._wanted = "closed"
        await self._bring_about()

    async def ask_again(self) -> None:
        others = list(self._others)
        if len(others) != 1:
            raise PbxRefused("he is not in a conversation of two, so nobody can be told to wait")
        await self._usher.take_asked(others[0])

    async def ask_party(self, party: str, call_id: str) -> None:
        way = self._ways.get(party, "")
        if not way:
            raise PbxRefused("he cannot be taken out of the conversation any more")
        if way == "both":
            await self._usher.take_party(party, way, call_id)
            return
        if not self._on_aside(party, True):
            return  # another call of ours asks him, and his answer counts for this one too
        self._aside.add(party)
        try:
            await self._usher.take_party(party, way, call_id)
        except PbxRefused:
            self._aside.discard(party)
            self._on_aside(party, False)
            if not self._aside:
                await self._stay_no_more(hang_up=False)
            self._ways = {}  # told anew, should he or another still be askable
            self._on_change()
            raise

    async def lamp(self, state: Literal["on", "paused", "off"]) -> None:
        try:
            if self._lamp_name is None:
                self._lamp_name = await self._variable("CONSENT_LAMP")
            if self._lamp_name:
                name = f"DEVICE_STATE(Custom:consent-{self._lamp_name})"
                await self._client.action("Setvar", {"Variable": name, "Value": LAMP[state]})
        except (ManagerError, PbxUnavailable, PbxRefused) as error:
            _log.warning("a lamp was not set", server=self.server, error=type(error).__name__)

    async def hang_up(self) -> None:
        await self._act("Hangup", Cause="21")

    async def kept(self, path: str, *, purge: bool) -> dict[str, object]:
        return await asyncio.to_thread(file_facts, self._spool, path, purge=purge)

    async def give_up(self) -> None:
        if self._aside:
            self._aside.clear()
            await self._stay_no_more(hang_up=False)

    def forget(self) -> None:
        self._on_forget(self)

    # --- what is heard of it ----------------------------------------------------------------------------------------

    def ended(self) -> None:
        """The channel hung up: a recorder on it ended with it."""
        self._gone()
        self._tell(ChannelEnded(time.monotonic_ns()))
        self.forget()

    def replaced(self) -> None:
        """Somebody else watches the channel from now on: for whoever watched it before, it has ended."""
        self._gone()
        self._tell(ChannelEnded(time.monotonic_ns(), seen=False))
        self.forget()

    def moved(self, *, bridged: bool) -> None:
        """The channel came into a bridge, or left one. A recorder that is to be started here waits until the leg to us,
        which is a bridge like any other to it, has ended."""
        if self._to_start and not bridged and self._starter is not None:
            call_id, self._to_start = self._to_start, ""
            spawn(self._start(self._starter, call_id), name="start recorder")

    async def _start(self, starter: RecorderStarter, call_id: str) -> None:
        if self._wanted not in ("on", "paused"):
            return
        try:
            await starter.start_recorder(self.channel, call_id)
        except (PbxUnavailable, PbxRefused) as error:
            _log.error("a recorder was not started", server=self.server, error=str(error))

    def key(self, by: str, digit: str, *, by_asked: bool) -> None:
        """A key came through."""
        now = time.monotonic_ns()
        if self._last_key[:2] == (by, digit) and now - self._last_key[2] < SAME_KEY_NS:
            return
        self._last_key = by, digit, now
        self._tell(KeyPressed(now, by_asked, digit))

    def abandoned(self) -> None:
        """The channel that the call began with is gone, and it was not this one."""
        if not self._abandoned:
            self._abandoned = True
            self._tell(Abandoned(time.monotonic_ns()))

    def taken_back(self) -> None:
        """The dialplan's gate found its recorder running: it stops it, and asks again."""
        self._tell(TakenBack(time.monotonic_ns()))

    def withdrew(self) -> None:
        """The dialplan's withdrawal ran."""
        self._tell(Withdrew(time.monotonic_ns()))

    def agent_wants(self, *, pause: bool) -> None:
        """An agent who is connected used the dialplan's key, or his phone's."""
        self._tell(AgentWants(time.monotonic_ns(), pause))

    def wants_again(self) -> None:
        """The dialplan's key to be asked again was pressed."""
        self._tell(WantsAgain(time.monotonic_ns()))

    def others(self, present: Mapping[str, Other]) -> None:
        """These are connected, or about to be, by unique id."""
        for party in [p for p, known in self._others.items() if present.get(p) != known]:
            del self._others[party]
            self._tell(Left(time.monotonic_ns(), party))
        for party, other in present.items():
            if party not in self._others:
                self._others[party] = other
                self._tell(Joined(time.monotonic_ns(), party, other.line, other.covered, other.agent))
        ways: dict[str, Way] = {party: other.way for party, other in present.items() if other.way}
        if ways != self._ways:
            self._ways = ways
            spawn(self._tell_ways(ways), name="who can be asked")

    async def _tell_ways(self, ways: dict[str, Way]) -> None:
        """Tell who can be taken out of the conversation, once it has settled."""
        await asyncio.sleep(SETTLE_S if ways else 0)
        if self._ways is ways:
            self._tell(Askable(time.monotonic_ns(), frozenset(ways)))

    def aside_over(self, party: str, *, back: bool) -> None:
        """Who was taken aside is *back*, or gone. Whoever waits for him then, left by all others, waits for nobody."""
        self._aside.discard(party)
        if not self._aside:
            spawn(self._stay_no_more(hang_up=not back), name="stay no more")

    async def _stay_no_more(self, *, hang_up: bool) -> None:
        try:
            await self._usher.stay_no_more()
            if hang_up and not self._is_bridged() and await self._usher.waits():
                await self._act("Hangup", Cause="16")
        except (PbxUnavailable, PbxRefused) as error:
            _log.warning("somebody who may wait was not told to go on", server=self.server, error=str(error))

    def bring_back(self, party: str, *, waits: bool) -> None:
        """Who was taken aside has been asked: back into the asked person's bridge, or to where he *waits*."""
        spawn(self._bring_back(party, waits), name="bring back")

    async def _bring_back(self, party: str, waits: bool) -> None:
        try:
            await self._usher.bring_back(party, waits=waits)
            return
        except PbxRefused as error:
            _log.warning("somebody who was asked was not brought back", server=self.server, error=str(error))
        except PbxUnavailable as error:
            _log.error("somebody who was asked was not brought back", server=self.server, error=str(error))
            return
        with suppress(PbxUnavailable, PbxRefused):
            await self._usher.let_go(party)

    def disturbed(self) -> None:
        """Somebody else is in the bridge of the question."""
        self._tell(Disturbed(time.monotonic_ns()))

    def recorder_started(self) -> None:
        """Some recorder started on the channel."""
        spawn(self._find_recorder(started=True), name="recorder started")

    def recorder_stopped(self) -> None:
        """Some recorder stopped on the channel."""
        spawn(self._check_recorder(), name="recorder stopped")

    def out_of_sight(self) -> None:
        """The server cannot be seen any more."""
        self._tell(Sight(time.monotonic_ns(), clear=False))

    async def back_in_sight(self, *, there: bool) -> None:
        """The server can be seen again: what was is compared with what is."""
        self._generation = self._client.state.generation
        if not there:
            self.replaced()
            return
        if not self._aside:
            await self._stay_no_more(hang_up=False)
        await self._withdrawn_unseen()
        self._tell(Sight(time.monotonic_ns(), clear=True))
        if self._wanted != "none":
            await self._find_recorder()

    async def _withdrawn_unseen(self) -> None:
        """The dialplan's withdrawal needs no gateway: while nobody looked, it may have run."""
        try:
            if await self._variable("CONSENT_VERDICT") == "withdrawn":
                self.withdrew()
        except (PbxUnavailable, PbxRefused) as error:
            _log.error("a verdict could not be looked at", server=self.server, error=str(error))

    # --- the recorder -----------------------------------------------------------------------------------------------

    async def _find_recorder(self, *, started: bool = False) -> None:
        """A recorder *started*, or may have while nobody looked: is it the one that was allowed?"""
        async with self._finding:
            await self._find(started)

    async def _find(self, started: bool) -> None:
        try:
            recorder = await self._variable("CONSENT_MIXMONITOR_ID")
            file = await self._variable(f"MIXMONITOR({recorder},filename)") if recorder else ""
            if file and recorder == self._recorder and not started:
                await self._bring_about()
            elif file and not self._recorder and self._wanted != "none":
                self._recorder, self._file = recorder, file
                if self._wanted == "on":
                    self._tell(RecorderRuns(time.monotonic_ns(), "on", "started, and the recorder is there"))
                else:
                    await self._bring_about()
            elif started:
                await self._foreign()
            else:
                self._gone()
        except (PbxUnavailable, PbxRefused) as error:
            _log.error("a recorder started and could not be looked at", server=self.server, error=str(error))

    async def _foreign(self) -> None:
        """A recorder started that is not ours."""
        stopped = self._guard == "stop" and await self._stop_newest()
        if self._guard != "ignore":
            self._tell(ForeignRecorder(time.monotonic_ns(), stopped))
        await self._check_recorder()

    async def look_for_foreign(self) -> None:
        """Nothing may record somebody who is still being asked: stop what does."""
        try:
            for _ in range(MOST_FOREIGN):
                if self._guard != "stop" or self._wanted != "none" or not await self._stop_newest():
                    return
                self._tell(ForeignRecorder(time.monotonic_ns(), stopped=True))
        except PbxUnavailable as error:
            _log.error("foreign recorders could not be looked for", server=self.server, error=str(error))

    async def stop_room(self, conference: str, here: Sequence["AsteriskChannel"]) -> None:
        """The conference that *here* take part in is being recorded, and nobody here allowed that."""
        if self._guard == "ignore":
            return
        stopped = False
        if self._guard == "stop":
            try:
                if self._starter is not None:
                    await self._starter.stop_conference(conference)
                else:
                    await self._client.action("ConfbridgeStopRecord", {"Conference": conference}, deadline_s=2.0)
                stopped = True
            except (ManagerError, PbxRefused, PbxUnavailable) as error:
                _log.error("a conference's recorder was not stopped", server=self.server, error=str(error))
        for channel in here:
            channel._tell(ForeignRecorder(time.monotonic_ns(), stopped))

    async def _stop_newest(self) -> bool:
        """Stop the recorder that started last, by the channel: nobody tells the id of somebody else's."""
        try:
            await self._act("StopMixMonitor")
        except PbxRefused:
            return False
        return True

    async def _check_recorder(self) -> None:
        if not self._recorder:
            return
        try:
            if not await self._listed():
                self._gone()
        except (PbxUnavailable, PbxRefused) as error:
            _log.warning("a recorder's end could not be looked at", server=self.server, error=str(error))

    async def _bring_about(self) -> None:
        """Bring the recorder to what is wanted. The last wish counts, whatever came in between."""
        async with self._turn:
            if self._wanted == "closed":
                await self._stop()
            elif self._recorder and self._wanted in ("on", "paused"):
                await self._mute(self._wanted)

    async def _mute(self, wanted: Literal["on", "paused"]) -> None:
        state = "1" if wanted == "paused" else "0"
        try:
            await self._act("MixMonitorMute", Direction="both", State=state, MixMonitorID=self._recorder)
        except PbxRefused:
            if not await self._listed():
                self._gone()
                return
            raise
        if not await self._listed():
            self._gone()
        elif self._wanted == wanted:
            self._tell(RecorderRuns(time.monotonic_ns(), wanted, "acknowledged, and the recorder is there"))
            if wanted == "paused" and self._spool is not None:
                self._pauses += 1
                spawn(
                    self._watch_pause(PausedFile(spool_file(self._spool, self._file)), self._pauses), name="pause seen"
                )

    async def _watch_pause(self, file: PausedFile, pause: int) -> None:
        """Look, while the pause lasts, whether the file keeps silent: an acknowledgement is a word, the file is not."""
        told = False
        while (found := await file.look()) != "gone":
            if self._wanted != "paused" or self._pauses != pause or not self._recorder:
                return
            if found == "sound":
                self._tell(RecorderRuns(time.monotonic_ns(), "on", "the growing file has sound in the pause"))
                return
            if found == "silent" and not told:
                told = True
                self._tell(RecorderRuns(time.monotonic_ns(), "paused", "the growing file is silent"))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _stop(self) -> None:
        if self._recorder:
            try:
                await self._act("StopMixMonitor", MixMonitorID=self._recorder)
            except PbxRefused:
                if await self._listed():
                    raise
        elif not self._end_told:
            self._tell_end("")
            return
        self._gone()

    async def _listed(self) -> bool:
        """Whether Asterisk knows the recorder by its id."""
        try:
            return bool(await self._variable(f"MIXMONITOR({self._recorder},filename)"))
        except PbxRefused:
            return False  # no such channel any more

    def _gone(self) -> None:
        """The recorder has ended, if there was one."""
        if self._recorder:
            file, self._recorder, self._file = self._file, "", ""
            self._tell_end(file)

    def _tell_end(self, file: str) -> None:
        self._end_told = True
        self._tell(RecorderGone(time.monotonic_ns(), file))

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _tell(self, event: PbxEvent) -> None:
        self._sink(event)

    async def _variable(self, name: str) -> str:
        return await self._client_variable(self.channel, name)

    async def _client_variable(self, channel: str, name: str) -> str:
        return (await self._act("Getvar", Channel=channel, Variable=name)).get("Value")

    async def _act(self, action: str, **fields: str) -> ManagerResponse:
        try:
            return await self._client.action(
                action, {"Channel": self.channel, **fields}, generation=self._generation, deadline_s=2.0
            )
        except ActionRefused as error:
            raise (PbxUnavailable if error.is_shutdown else PbxRefused)(str(error)) from None
        except ManagerError as error:
            raise PbxUnavailable(str(error)) from None
