"""The policy, as the application sees it: a call's facts in, the rules it lives by out, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.domain.rules import Rules


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of a call when it arrives. Numbers are personal: they decide, but never appear in reasons."""

    caller: str = field(repr=False)
    called: str = field(repr=False)
    line: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """The rules for one call and why they apply."""

    rules: Rules
    reasons: tuple[str, ...]


class PolicyBook(Protocol):
    """All policies in force."""

    def resolve(self, facts: CallFacts) -> Decision:
        """Return the rules for a call. Total: what no policy covers is asked by the strictest rules."""
        ...
