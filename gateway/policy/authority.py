"""Who may do what with a call's recording, and under which circumstances: rows `[[authority]]` of a policy.

Without a row the defaults stand, and they are narrow: an agent has the keys of his own call, a supervisor and the
data-protection officer what their office needs. With rows only what a row grants is allowed. What protects a person is
never here: a caller's keys are his, and a refusal of the law is nobody's to grant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from gateway.domain.rules import Basis
from gateway.policy.patterns import matches
from gateway.policy.staff import Kind
from gateway.policy.tables import Table, clash
from gateway.policy.times import Times


class Act(StrEnum):
    """What may be allowed or not. The first five are about a live call, the others about what is kept of one."""

    PAUSE = "pause"
    RESUME = "resume"
    RECORD = "record"
    """On demand: to have the caller asked again in the call."""
    WITHDRAW = "withdraw"
    """On request of the caller, who said so instead of pressing his key."""
    PRIVATE = "private"
    """A call that is the agent's own affair."""
    LISTEN = "listen"
    EXPORT = "export"
    HOLD = "hold"
    """To set a legal hold, and to release it."""
    DESTROY = "destroy"


LIVE: Final = (Act.PAUSE, Act.RESUME, Act.RECORD, Act.WITHDRAW, Act.PRIVATE)
KEPT: Final = (Act.LISTEN, Act.EXPORT, Act.HOLD, Act.DESTROY)
TEACHABLE: Final = (Act.RESUME, Act.RECORD, Act.WITHDRAW, Act.LISTEN, Act.EXPORT, Act.DESTROY)
"""What somebody may be kept from until he knows the policy: never what makes a recording less, and no legal hold."""

Role = Literal["agent", "supervisor", "officer"]
"""Who may be allowed something. A viewer looks, and no more."""
ADMIN: Final = "admin"
"""Who runs the gateway: no policy binds him here, since he could change it."""

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=80)]

_AGENT: Final = frozenset({Act.PAUSE, Act.RESUME, Act.RECORD, Act.WITHDRAW})
_DEFAULTS: Final[Mapping[str, frozenset[Act]]] = {
    "agent": _AGENT,
    "supervisor": _AGENT | frozenset(KEPT),
    "officer": frozenset(KEPT) | {Act.WITHDRAW},
}
"""What each role may do where a policy has no row of authority; a private call beside it, where the policy has a key
for one, for agents."""


class Grant(Table):
    """One `[[authority]]`: whoever is all that it names may do what it lists. An empty list is everybody, every call.

    *lines*: patterns on the line's name, or the called number where nobody named it, as in `[match]`; a queue is
    a line. Of a call that is over the line is known where it had a name.
    """

    may: tuple[Annotated[Act, Field(strict=False)], ...] = Field(min_length=1, strict=False)
    roles: tuple[Role, ...] = Field(default=(), strict=False)
    kinds: tuple[Annotated[Kind, Field(strict=False)], ...] = Field(default=(), strict=False)
    lines: tuple[Pattern, ...] = Field(default=(), strict=False)
    bases: tuple[Annotated[Basis, Field(strict=False)], ...] = Field(default=(), strict=False)
    times: tuple[Times, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _of_ones_own_call(self) -> "Grant":
        kept = [act for act in self.may if act in KEPT]
        if kept and "agent" in self.roles:
            raise clash(
                f"{kept[0]} is about what is kept of a call, and an agent's key is for his present call only: give it "
                "to supervisors or officers",
                "may",
            )
        return self


class Education(Table):
    """`[education]`: what those may not do who have not acknowledged the present text of the policy."""

    until_acknowledged_not: tuple[Annotated[Act, Field(strict=False)], ...] = Field(default=(), strict=False)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who wants something: the role of his key, what kind of colleague he is where that is known, and whether he has
    acknowledged the present text of the policy for his role."""

    role: str
    kind: Kind | None = None
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of which call, and when. *at* has a time zone."""

    line: str
    basis: Basis
    at: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """What one policy says of who may do what."""

    grants: tuple[Grant, ...] = ()
    education: Education = field(default_factory=Education)
    private: bool = False
    """The policy has a key for private calls."""

    def why_not(self, act: Act, actor: Actor, call: Circumstances) -> str:
        """Return why *actor* may not, for people; empty when he may."""
        if actor.role == ADMIN:
            return ""
        if not self._granted(act, actor, call):
            return f"the policy does not let {_who(actor)} {act} on this call{self._closest(act, actor)}"
        if act in self.education.until_acknowledged_not and not actor.acknowledged:
            return "the present text of the policy has not been acknowledged: read it and acknowledge it first"
        return ""

    def barred(self, actor: Actor, call: Circumstances) -> dict[str, str]:
        """Return what *actor* may not do to a live call, each with why."""
        found = {str(act): self.why_not(act, actor, call) for act in LIVE}
        return {act: why for act, why in found.items() if why}

    def by_default(self, role: str) -> frozenset[Act]:
        """Return what *role* may do where the policy has no row of authority."""
        private = {Act.PRIVATE} if self.private and role == "agent" else set()
        return _DEFAULTS.get(role, frozenset()) | private

    def _granted(self, act: Act, actor: Actor, call: Circumstances) -> bool:
        if not self.grants:
            return act in self.by_default(actor.role)
        return any(_names(grant, actor, call) for grant in self.grants if act in grant.may)

    def _closest(self, act: Act, actor: Actor) -> str:
        """What would have to be different, where a row is about him."""
        mine = [grant for grant in self.grants if act in grant.may and (not grant.roles or actor.role in grant.roles)]
        named = [name for name in ("kinds", "lines", "bases", "times") if any(getattr(grant, name) for grant in mine)]
        return f" (a row grants it, but not for these {', '.join(named)})" if named else ""


def _names(grant: Grant, actor: Actor, call: Circumstances) -> bool:
    """Whether *grant* is about *actor* and *call*. A row with kinds says nothing of somebody whose kind is unknown."""
    return (
        (not grant.roles or actor.role in grant.roles)
        and (not grant.kinds or actor.kind in grant.kinds)
        and (not grant.lines or any(matches(pattern, call.line) for pattern in grant.lines))
        and (not grant.bases or call.basis in grant.bases)
        and (not grant.times or any(times.covers(call.at) for times in grant.times))
    )


def _who(actor: Actor) -> str:
    article = "an" if actor.role[:1] in "aeiou" else "a"
    return f"{article} {actor.role}" + (f" ({actor.kind})" if actor.kind else "")
