"""Reads what a switch does at this moment: what a client does after each connection, before it acts on anything."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gateway.adapters.asterisk.ami.session import Session
from gateway.ports.manager import (
    ActionForbidden,
    ActionRefused,
    ManagerBridge,
    ManagerChannel,
    ManagerEvent,
    ManagerSnapshot,
    MixMonitor,
)

AT_ONCE: Final = 16
"""Commands under way at a time: Asterisk carries them out one after the other, so more would only wait there."""

_NO_CHANNEL: Final = "No channel matching"
_TABLE_HEAD: Final = "MixMonitor ID"


async def read_snapshot(session: Session, deadline_s: float) -> ManagerSnapshot:
    """Read all channels and bridges and, where the user may, each channel's MixMonitors.

    The members of a bridge are the channels that say they are in it, so one list answers for both. Raises as
    `ManagerClient.action` does; `ActionRefused` when the user may read neither list of channels.
    """
    list_name = "Status" if "coreshowchannels" not in session.permitted else "CoreShowChannels"
    listed = await session.ask(list_name, deadline_s=deadline_s)
    channels = [_channel(event) for event in listed.events if event.get("Uniqueid")]
    bridges = await session.ask("BridgeList", deadline_s=deadline_s)
    if "command" in session.permitted:
        channels = await _with_mixmonitors(session, channels, deadline_s)
    return ManagerSnapshot(tuple(channels), _bridges(bridges.events, channels))


def _channel(event: ManagerEvent) -> ManagerChannel:
    return ManagerChannel(
        uniqueid=event.get("Uniqueid"),
        linkedid=event.get("Linkedid"),
        name=event.get("Channel"),
        state=event.get("ChannelStateDesc"),
        bridge=event.get("BridgeId"),
        mixmonitors=None,
    )


def _bridges(listed: Sequence[ManagerEvent], channels: Sequence[ManagerChannel]) -> tuple[ManagerBridge, ...]:
    members: defaultdict[str, list[str]] = defaultdict(list)
    for channel in channels:
        if channel.bridge:
            members[channel.bridge].append(channel.uniqueid)
    told = {event.get("BridgeUniqueid"): event for event in listed}
    return tuple(_bridge(id, told.get(id), members.get(id, ())) for id in dict.fromkeys([*told, *members]))


def _bridge(id: str, told: ManagerEvent | None, members: Sequence[str]) -> ManagerBridge:
    """A bridge that came up between the two lists is known by its members alone: it may be anything."""
    technology, kind = (told.get("BridgeTechnology"), told.get("BridgeType")) if told is not None else ("", "")
    return ManagerBridge(id, technology, tuple(members), kind)


async def _with_mixmonitors(
    session: Session, channels: Sequence[ManagerChannel], deadline_s: float
) -> list[ManagerChannel]:
    known: list[ManagerChannel] = []
    for start in range(0, len(channels), AT_ONCE):
        some = channels[start : start + AT_ONCE]
        found = await asyncio.gather(*(_mixmonitors(session, channel.name, deadline_s) for channel in some))
        known += [replace(channel, mixmonitors=seen) for channel, seen in zip(some, found, strict=True)]
    return known


async def _mixmonitors(session: Session, channel: str, deadline_s: float) -> tuple[MixMonitor, ...] | None:
    try:
        answer = await session.ask("Command", {"Command": f"mixmonitor list {channel}"}, deadline_s=deadline_s)
    except (ActionRefused, ActionForbidden):
        return None
    return parse_mixmonitors(answer.all("Output"))


def parse_mixmonitors(output: Sequence[str]) -> tuple[MixMonitor, ...] | None:
    """Read what `mixmonitor list` prints; None when it is not what we know.

    >>> parse_mixmonitors(["MixMonitor ID\\tFile\\tReceive File\\tTransmit File", "====", "0x7f01\\ta.wav\\t\\t"])
    (MixMonitor(id='0x7f01'),)
    >>> parse_mixmonitors(["No channel matching 'PJSIP/alice-00000001' found."])
    ()
    >>> parse_mixmonitors(["No such command 'mixmonitor list'"]) is None
    True
    """
    lines = [line for line in output if line.strip()]
    if lines and lines[0].startswith(_NO_CHANNEL):
        return ()
    if len(lines) < 2 or not lines[0].startswith(_TABLE_HEAD):
        return None
    rows = [line.split("\t") for line in lines[2:]]
    if any(not row[0].startswith("0x") for row in rows):
        return None
    return tuple(MixMonitor(row[0], tuple(name for name in row[1:] if name)) for row in rows)
