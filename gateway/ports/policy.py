"""The policy, as the application sees it: a call's facts in, the rules it lives by out, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gateway.domain.rules import Rules
from gateway.policy.authority import Authority
from gateway.policy.jurisdiction import Resolution
from gateway.policy.model import JurisdictionTable


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of a call when it arrives. Numbers are personal: they decide, but never appear in reasons."""

    caller: str = field(repr=False)
    called: str = field(repr=False)
    at: datetime
    """When the call arrived, with a time zone."""
    line: str = ""
    """What was called, as a PBX calls it: a queue, a department. Without a name the called number is the line."""
    trunk: str = ""
    """The name of what the call came by: the peer's address, or what a PBX calls it."""
    place: str = ""
    """Where the person outside is, ISO 3166, as a header named it: `X-Consent-Jurisdiction`."""
    place_trusted: bool = False
    """Whether `place` is a fact: its sender knows where his callers are."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """The rules for one call and why they apply."""

    rules: Rules
    reasons: tuple[str, ...]
    jurisdiction: Resolution | None = None
    """Whose law the call is under, where the policy looks at that."""
    authority: Authority = field(default_factory=Authority)
    """Who may do what with the call's recording."""
    jurisdiction_table: JurisdictionTable | None = field(default=None, repr=False)
    """What the policy says of places, for who joins later: the policy may be another by then."""


class PolicyBook(Protocol):
    """All policies in force."""

    def resolve(self, facts: CallFacts) -> Decision:
        """Return the rules for a call. Total: what no policy covers is asked by the strictest rules."""
        ...

    def resolve_joining(self, facts: CallFacts, joined: Decision) -> Decision:
        """Return the rules for somebody who joins a call that was decided by *joined*. Never looser than what that
        call's rules have for who joins."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class PolicyVersion:
    """A policy in force: its name, its version, and the SHA-256 of the bytes it was read from."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came into force: all policies, the names of those that are new, gone or not the same, and the warnings."""

    policies: tuple[PolicyVersion, ...]
    changed: tuple[str, ...]
    warnings: tuple[str, ...]


class PolicyShelf(Protocol):
    """Where the policies in force are kept."""

    def in_force(self) -> tuple[PolicyVersion, ...]:
        """Return the policies that new calls live by, by name."""
        ...

    def authority(self, policy: str) -> Authority:
        """Return who may do what with what is kept of the calls of *policy*: by its present version, since who may
        listen today is no affair of the day of the call. Of a policy that is gone: the defaults."""
        ...

    async def reload(self) -> Reloaded:
        """Let what is on disk come into force for calls that arrive from now on; calls keep what they began with.
        Raises `gateway.policy.errors.PolicyError` when anything is wrong with it: then nothing changes."""
        ...
