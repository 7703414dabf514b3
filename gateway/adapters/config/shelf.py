"""The policies in force, and how new ones come into force while calls go on: all of them, or none."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.adapters.config.policies import (
    FilePolicyBook,
    load_book,
    load_places,
    prompt_minima,
    prompt_problems,
    second_looks,
)
from gateway.policy.errors import PolicyError, Problem
from gateway.ports.policy import CallFacts, Decision, PolicyVersion, Reloaded
from gateway.ports.prompts import PromptLibrary

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class FilePolicies:
    """`ports.policy.PolicyBook` and `PolicyShelf` on a folder of policies, one of law, and the prompts that are loaded.

    Make it with `open_policies`. A call keeps what it was decided by.
    """

    folder: Path | None
    law: Path | None
    prompts: PromptLibrary
    current: FilePolicyBook
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    def resolve(self, facts: CallFacts) -> Decision:
        return self.current.resolve(facts)

    def resolve_joining(self, facts: CallFacts, joined: Decision) -> Decision:
        return self.current.resolve_joining(facts, joined)

    def in_force(self) -> tuple[PolicyVersion, ...]:
        versions = [
            PolicyVersion(policy.file.name, policy.file.version, policy.sha256) for policy in self.current.book.policies
        ]
        return tuple(sorted(versions))

    async def reload(self) -> Reloaded:
        async with self._one_at_a_time:
            try:
                book, found = await asyncio.to_thread(_read, self.folder, self.law, self.prompts)
            except PolicyError as error:
                _log.error("the policies on disk are not usable: those in force stay", findings=len(error.problems))
                raise
            before = set(self.in_force())
            self.current = book
        after = set(self.in_force())
        changed = tuple(sorted({version.name for version in before ^ after}))
        _log.info("policies reloaded", changed=list(changed), warnings=len(found))
        return Reloaded(self.in_force(), changed, tuple(str(problem) for problem in found))


def open_policies(folder: Path | None, law: Path | None, prompts: PromptLibrary) -> FilePolicies:
    """Read everything. Raises `PolicyError` with all that is wrong."""
    book, _ = _read(folder, law, prompts)
    return FilePolicies(folder, law, prompts, book)


def _read(folder: Path | None, law: Path | None, prompts: PromptLibrary) -> tuple[FilePolicyBook, list[Problem]]:
    """Return the policies as they are on disk, and what deserves a second look."""
    book, places = load_book(folder), load_places(law)
    if problems := prompt_problems(book, prompts):
        raise PolicyError(problems)
    return FilePolicyBook(book, prompt_minima(prompts), places), second_looks(book, places, law)
