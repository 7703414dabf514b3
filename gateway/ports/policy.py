"""The policy, as the application sees it: a call's facts in, the rules it lives by out, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gateway.domain.rules import Rules
from gateway.policy.jurisdiction import Resolution


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


class PolicyBook(Protocol):
    """All policies in force."""

    def resolve(self, facts: CallFacts) -> Decision:
        """Return the rules for a call. Total: what no policy covers is asked by the strictest rules."""
        ...

    def resolve_joining(self, facts: CallFacts, joined: Decision) -> Decision:
        """Return the rules for somebody who joins a call that was decided by *joined*. Never looser than what that
        call's rules have for who joins."""
        ...
