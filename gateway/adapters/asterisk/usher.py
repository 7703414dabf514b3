"""Takes people out of a conversation to the dialplan's gate, and sees that they come back to it."""

import re
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from gateway.ports.manager import ManagerResponse
from gateway.ports.pbx import PbxRefused

Way = Literal["", "both", "aside", "room"]
"""How somebody can be taken to the gate and be brought back: not at all; with the asked person, who waits for him;
alone, out of a conversation that goes on; alone, out of a conference, to which he goes back by his own dialplan."""

AFTER_BRIDGE: Final = "CHANNEL(after_bridge_goto)"
WAIT: Final = "consent-wait"
PLACE: Final = re.compile(r"[A-Za-z0-9_*#+.-]{1,80}")
"""A context or an extension that can be named in a Goto without becoming something else."""

Act = Callable[..., Awaitable[ManagerResponse]]


class Usher:
    """Of one asked person's channel. *act* sends an action; every method raises what it raises, `PbxRefused` and
    `PbxUnavailable`."""

    def __init__(self, channel: str, act: Act) -> None:
        self._channel = channel
        self._act = act

    async def take_asked(self, other: str) -> None:
        """Send the asked person to the gate once more, and let *other*, whom he talks to, wait."""
        await self._tell(self._channel, CONSENT_PEER=await self._read(other, "CHANNEL(name)"))
        await self._redirect(self._channel, "consent-gate-again", waits=other)

    async def take_party(self, party: str, way: Literal["both", "aside", "room"], call_id: str) -> None:
        """Send *party* to the gate, as somebody who joins *call_id*. `PbxRefused` too when he could not come back."""
        place = await self._place(party) if way == "room" else ""
        peer = await self._read(self._channel, "CHANNEL(name)") if way == "both" else ""
        # His lamp is nobody's: the agent's, which he may have inherited, shows the call that the agent took part in.
        await self._tell(party, CONSENT_PEER=peer, CONSENT_PLACE=place, CONSENT_JOINS=call_id, CONSENT_LAMP="")
        if way == "both":
            await self._redirect(party, "consent-gate-again", waits=self._channel)
            return
        if way == "aside":
            await self._stay()
        await self._redirect(party, "consent-gate-aside")

    async def bring_back(self, party: str, *, waits: bool) -> None:
        """Send *party* back into the bridge that the asked person is in, or (*waits*) to him where he waits alone."""
        if waits and not await self.waits():
            raise PbxRefused("the asked person is elsewhere")
        await self._tell(party, CONSENT_PEER=await self._read(self._channel, "CHANNEL(name)"))
        await self._redirect(party, "consent-back-both" if waits else "consent-back")

    async def let_go(self, party: str) -> None:
        """Hang up on somebody whose conversation is gone."""
        await self._act("Hangup", Channel=party, Cause="16")

    async def _stay(self) -> None:
        """When everybody else leaves the asked person, let him wait for who was taken aside."""
        planned = await self._read(self._channel, AFTER_BRIDGE)
        if planned and not planned.startswith(WAIT):
            raise PbxRefused("the dialplan has plans for the asked person after this conversation")
        await self._tell(self._channel, **{AFTER_BRIDGE: f"{WAIT},s,1"})

    async def stay_no_more(self) -> None:
        """Nobody is aside any more."""
        if (await self._read(self._channel, AFTER_BRIDGE)).startswith(WAIT):
            await self._tell(self._channel, **{AFTER_BRIDGE: ""})

    async def waits(self) -> bool:
        """Whether the asked person waits, or last waited, for somebody."""
        return await self._read(self._channel, "CONTEXT") == WAIT

    async def _place(self, channel: str) -> str:
        """Where a channel is in its dialplan, for a Goto. `PbxRefused` when that is no conference."""
        application, *place = [
            await self._read(channel, name) for name in ("CHANNEL(appname)", "CONTEXT", "EXTEN", "PRIORITY")
        ]
        if application != "ConfBridge" or not all(PLACE.fullmatch(part) for part in place):
            raise PbxRefused("his dialplan does not bring him back into the conference")
        return ",".join(place)

    async def _redirect(self, channel: str, context: str, *, waits: str = "") -> None:
        extra = {"ExtraChannel": waits, "ExtraContext": "consent-wait", "ExtraExten": "s", "ExtraPriority": "1"}
        fields = {"Context": context, "Exten": "s", "Priority": "1"} | (extra if waits else {})
        await self._act("Redirect", Channel=channel, **fields)

    async def _tell(self, channel: str, **variables: str) -> None:
        for name, value in variables.items():
            await self._act("Setvar", Channel=channel, Variable=name, Value=value)

    async def _read(self, channel: str, name: str) -> str:
        return (await self._act("Getvar", Channel=channel, Variable=name)).get("Value")
