"""Asks a server what stands in the way of a consented recording, as the shipped user may, and changes nothing there."""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.adapters.asterisk.ami.handshake import greet, log_in
from gateway.adapters.asterisk.ami.session import Session
from gateway.adapters.asterisk.ami.settings import ManagerServer
from gateway.adapters.asterisk.ami.transport import open_stream
from gateway.ports.manager import (
    DEADLINE_S,
    ActionForbidden,
    ActionRefused,
    ActionTimedOut,
    ManagerError,
    ManagerEvent,
    ManagerResponse,
)

CONNECT_S: Final = 5.0
DIALPLAN_S: Final = 30.0
CLOSE_S: Final = 1.0
MAX_ENDPOINTS: Final = 2_000
"""Most endpoints that are asked about, one action each (half a millisecond)."""

_SAFE: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_DIALLED: Final = re.compile(r"PJSIP/([A-Za-z0-9_.-]+)(?![\w.@$-])")
_VIA: Final = re.compile(r"@([A-Za-z0-9_.-]+)")


@dataclass(frozen=True, slots=True)
class Step:
    """One priority of the dialplan. *data* may have numbers in it: no text quotes it."""

    context: str
    priority: str
    application: str
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a server told. None, and a name that is not there: it does not say so to this user.

    *actions*: what the user may send, in lower case. *reads_system*: it has read class `system`. *read*: the read
    classes that manager.conf gives it, which only the module func_config shows. *automixmon*: the key that
    begins a recording, "" without one. *dangerous*: whether functions that reach into the machine are carried out (an
    empty answer alone says nothing: the module func_env may be missing). *one_touch*: endpoint to its
    `one_touch_recording`. *queues*: queue to its `monitor-format`. *state*: that of our endpoint as a
    device, "INVALID" when there is none. *contacts*: its SIP addresses. *spool*: ASTSPOOLDIR. *ahead_s*: by how much
    the server's clock is ahead of ours. *version*: Asterisk's.
    """

    actions: frozenset[str] = frozenset()
    booted: bool = True
    reads_system: bool = False
    read: frozenset[str] | None = None
    dangerous: bool | None = None
    automixmon: str | None = None
    dialplan: tuple[Step, ...] | None = None
    one_touch: Mapping[str, bool] = field(default_factory=dict)
    queues: Mapping[str, str | None] = field(default_factory=dict)
    state: str | None = None
    contacts: tuple[str, ...] = ()
    spool: str | None = None
    ahead_s: float | None = None
    version: str | None = None


async def survey(
    server: ManagerServer,
    endpoint: str,
    agents: Iterable[str],
    *,
    now: Callable[[], float],
    connect_s: float = CONNECT_S,
) -> Survey:
    """Log in, ask, and log off. *endpoint*: the gateway's name there (`PJSIP/consent-gateway`); *agents*: patterns of
    endpoints, of which those without a wildcard are asked about; *now*: our time of day in seconds.

    Nothing is changed there. The server's log gets a line of level ERROR for each function that it refuses (STAT, as it
    should) or has not loaded. Raises `LoginRefused` and `Unreachable`.
    """
    session = Session(
        server.label,
        1,
        secrets.token_hex(6),
        allow_system=False,
        on_event=lambda _session, _event: None,
        on_lost=lambda _session, _problem: None,
    )
    try:
        await greet(session, server, open_stream, connect_s)
        await log_in(session, server, connect_s)
        found = await _Questions(session, server.user, endpoint, tuple(agents), now).all()
    except ManagerError as error:
        problem = session.problem or error
        session.lose(problem)
        raise problem from None
    except BaseException:
        session.lose_because("the survey was stopped")
        raise
    await session.close(CLOSE_S)
    return found


@dataclass(slots=True)
class _Questions:
    session: Session
    user: str
    endpoint: str
    agents: tuple[str, ...]
    now: Callable[[], float]

    async def all(self) -> Survey:
        read = await self._classes("read")
        if read is None and await self._classes("write"):
            read = frozenset()
        name = self.endpoint.partition("/")[2]
        contacts = await self._value(f"PJSIP_DIAL_CONTACTS({name})")
        dialplan = await self._dialplan()
        listed = await self._try("QueueStatus")
        queues = [event.get("Queue") for event in (listed.events if listed else ()) if event.name == "QueueParams"]
        members = [event.get("Location") for event in (listed.events if listed else ())]
        others = self._endpoints(dialplan or (), members)
        state = await self._value(f"DEVICE_STATE({self.endpoint})")
        version = await self._value("ENV(AST_VERSION)") or None
        return Survey(
            actions=self.session.permitted,
            booted=self.session.booted.is_set() or not (read or frozenset()) & {"system", "all"},
            reads_system=self.session.booted.is_set(),
            read=read,
            dangerous=True if await self._value("STAT(e,/)") else False if version else None,
            automixmon=await self._value("FEATUREMAP(automixmon)"),
            dialplan=dialplan,
            one_touch=await self._one_touch([name, *others] if state != "INVALID" else others),
            queues={queue: await self._monitor_format(queue) if read is not None else None for queue in queues},
            state=state,
            contacts=tuple(contact for contact in (contacts or "").split("&") if contact),
            spool=await self._value("ASTSPOOLDIR"),
            ahead_s=await self._ahead_s(),
            version=version,
        )

    async def _try(
        self, name: str, fields: Mapping[str, str] | None = None, deadline_s: float = DEADLINE_S
    ) -> ManagerResponse | None:
        """Ask; None when the server will not say, or not in time. Raises `ManagerError` when the connection is lost."""
        try:
            return await self.session.ask(name, fields or {}, deadline_s=deadline_s)
        except (ActionRefused, ActionForbidden, ActionTimedOut):
            return None

    async def _value(self, variable: str) -> str | None:
        answer = await self._try("Getvar", {"Variable": variable})
        return None if answer is None else answer.get("Value")

    async def _classes(self, which: str) -> frozenset[str] | None:
        if not _SAFE.fullmatch(self.user):
            return None
        value = await self._value(f"AST_CONFIG(manager.conf,{self.user},{which},-1)")
        return class_names(value) if value else None

    async def _dialplan(self) -> tuple[Step, ...] | None:
        listed = await self._try("ShowDialPlan", deadline_s=DIALPLAN_S)
        return tuple(map(_step, listed.events)) if listed else None

    def _endpoints(self, dialplan: Iterable[Step], members: Iterable[str]) -> list[str]:
        names = [agent.partition("/")[2] for agent in (*self.agents, *members) if agent.startswith("PJSIP/")]
        for step in dialplan:
            if "PJSIP/" in step.data:
                names += [*_DIALLED.findall(step.data), *_VIA.findall(step.data)]
        return names[:MAX_ENDPOINTS]

    async def _one_touch(self, names: Iterable[str]) -> dict[str, bool]:
        found = {}
        for name in dict.fromkeys(name for name in names if _SAFE.fullmatch(name)):
            value = await self._value(f"PJSIP_ENDPOINT({name},one_touch_recording)")
            if value:
                found[name] = value in ("true", "yes")
            elif not found:
                break  # the first is ours and was there: without func_pjsip_endpoint each is an ERROR in its log
        return found

    async def _monitor_format(self, queue: str) -> str | None:
        if not _SAFE.fullmatch(queue):
            return None
        return await self._value(f"AST_CONFIG(queues.conf,{queue},monitor-format,-1)")

    async def _ahead_s(self) -> float | None:
        begun = self.now()
        answer = await self.session.ask("Ping")
        ours = (begun + self.now()) / 2
        try:
            return float(answer.get("Timestamp")) - ours
        except ValueError:
            return None


def class_names(value: str) -> frozenset[str]:
    """Return the classes of a line of manager.conf.

    >>> sorted(class_names("call, Reporting"))
    ['call', 'reporting']
    """
    return frozenset(part.strip().lower() for part in value.split(",") if part.strip())


def _step(event: ManagerEvent) -> Step:
    return Step(event.get("Context"), event.get("Priority"), event.get("Application"), event.get("AppData"))
