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
from gateway.adapters.config.staff import read_staff
from gateway.policy.authority import Authority
from gateway.policy.errors import PolicyError, Problem
from gateway.policy.plain import ROLES, PolicyText, plain_text
from gateway.policy.staff import Directory
from gateway.ports.policy import CallFacts, Decision, PolicyVersion, Reloaded
from gateway.ports.prompts import PromptLibrary

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class FilePolicies:
    """`ports.policy.PolicyBook` and `PolicyShelf` on a folder of policies, one of law, the prompts that are loaded, and
    a folder with the colleagues whose calls these are.

    Make it with `open_policies`. A call keeps what it was decided by.
    """

    folder: Path | None
    law: Path | None
    prompts: PromptLibrary
    current: FilePolicyBook
    staff: Path | None = None
    listed: Directory = field(default_factory=Directory)
    _texts: dict[str, PolicyText] = field(default_factory=dict)
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

    def authority(self, policy: str) -> Authority:
        found = [known.file.who_may for known in self.current.book.policies if known.file.name == policy]
        return found[0] if found else Authority()

    def directory(self) -> Directory:
        """Return the colleagues."""
        return self.listed

    def text(self, role: str) -> PolicyText:
        """Return what *role* has to know of the policies in force; of a role that has no text, an empty one."""
        if role not in ROLES:
            return PolicyText(role)
        if role not in self._texts:
            self._texts[role] = plain_text(self.current.book, role)
        return self._texts[role]

    async def reload(self) -> Reloaded:
        async with self._one_at_a_time:
            try:
                book, found, staff = await asyncio.to_thread(_read, self.folder, self.law, self.prompts, self.staff)
            except PolicyError as error:
                _log.error("the policies on disk are not usable: those in force stay", findings=len(error.problems))
                raise
            before = set(self.in_force())
            self.current, self.listed, self._texts = book, staff, {}
        after = set(self.in_force())
        changed = tuple(sorted({version.name for version in before ^ after}))
        _log.info("policies reloaded", changed=list(changed), warnings=len(found))
        return Reloaded(self.in_force(), changed, tuple(str(problem) for problem in found))


def open_policies(
    folder: Path | None, law: Path | None, prompts: PromptLibrary, staff: Path | None = None
) -> FilePolicies:
    """Read everything. Raises `PolicyError` with all that is wrong."""
    book, _, listed = _read(folder, law, prompts, staff)
    return FilePolicies(folder, law, prompts, book, staff, listed)


def _read(
    folder: Path | None, law: Path | None, prompts: PromptLibrary, staff: Path | None
) -> tuple[FilePolicyBook, list[Problem], Directory]:
    """Return the policies and the colleagues as they are on disk, and what deserves a second look."""
    book, places, listed = load_book(folder), load_places(law), read_staff(staff)
    if problems := prompt_problems(book, prompts):
        raise PolicyError(problems)
    return FilePolicyBook(book, prompt_minima(prompts), places), second_looks(book, places, law), listed
