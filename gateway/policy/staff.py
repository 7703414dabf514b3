"""Whose people use the telephones: the agents, what kind of colleague each is, and who is not to be recorded."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from gateway.policy.errors import PolicyError, Problem
from gateway.policy.law import Text
from gateway.policy.lines import key_lines, line_of
from gateway.policy.tables import Table, clash, read_table


class Kind(StrEnum):
    """Whose employee somebody is."""

    EMPLOYEE = "employee"
    CONTRACTOR = "contractor"
    OUTSOURCER = "outsourcer"
    """Of a company that answers calls for the organisation."""


AgentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+_.*#-]{1,64}$")]
StaffRole = Literal["agent", "supervisor", "officer", "viewer"]


class Person(Table):
    """One `[[person]]`: a colleague, by the name that telephones and API keys know him by, and by no other.

    *agent*: the user part of his SIP address, or his endpoint in the PBX without its technology. *recorded* false: he
    has declined to be recorded, *since* when.
    """

    agent: AgentName
    kind: Annotated[Kind, Field(strict=False)]
    role: StaffRole = "agent"
    organisation: Text | None = None
    recorded: bool = True
    since: datetime.date | None = None

    @model_validator(mode="after")
    def _coherent(self) -> "Person":
        if self.kind is not Kind.EMPLOYEE and self.organisation is None:
            raise clash(f'whose {self.kind} is he? Name the organisation, such as "Helpdesk Ltd"', "kind")
        if self.recorded is not (self.since is None):
            if self.recorded:
                raise clash("since is the day on which he declined to be recorded: leave it out", "since")
            raise clash("recorded = false needs since: the day on which he said so", "recorded")
        return self


class _StaffFile(Table):
    person: tuple[Person, ...] = Field(strict=False)

    @field_validator("person", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("write [[person]], in double brackets, above each person")
        if not value:
            raise ValueError("there is no [[person]] in the file: write one, or take the file away")
        return value


@dataclass(frozen=True, slots=True)
class StaffList:
    """One file of persons, with the line each stands in."""

    persons: tuple[Person, ...]
    source: str
    lines: tuple[int, ...]


def parse_staff(data: bytes, source: str) -> StaffList:
    """Read one file. Raises `PolicyError` with file, line and remedy for everything that is wrong."""
    persons = read_table(_StaffFile, data, source).person
    lines = key_lines(data.decode())
    return StaffList(persons, source, tuple(line_of(lines, ("person", n)) for n in range(len(persons))))


@dataclass(frozen=True, slots=True)
class Colleague:
    """Who uses a telephone, as far as a call needs to know. *kind*: None where nobody said. *declined*: he is not to be
    recorded."""

    kind: Kind | None = None
    declined: bool = False

    def facts(self) -> dict[str, object]:
        """Return what the evidence of a call says of him. Whoever is not listed is taken for an employee."""
        return {"kind": str(self.kind or Kind.EMPLOYEE), **({"declined": True} if self.declined else {})}


@dataclass(frozen=True, slots=True)
class Directory:
    """All colleagues that are known, by the names of their telephones."""

    by_agent: Mapping[str, Person] = field(default_factory=dict)

    def colleague(self, agent: str) -> Colleague:
        """Return who uses the telephone *agent*. Somebody who is not listed is nobody in particular."""
        person = self.by_agent.get(agent)
        return Colleague() if person is None else Colleague(person.kind, declined=not person.recorded)


def make_directory(files: Iterable[StaffList]) -> Directory:
    """Put files together. Raises `PolicyError` for two persons of one name."""
    by_agent: dict[str, Person] = {}
    places: dict[str, str] = {}
    problems = []
    for file in files:
        for person, line in zip(file.persons, file.lines, strict=True):
            if person.agent in by_agent:
                message = f'agent "{person.agent}" is in {places[person.agent]} already: keep one of the two'
                problems.append(Problem(file.source, line, message))
            by_agent[person.agent] = person
            places.setdefault(person.agent, f"{file.source}:{line}")
    if problems:
        raise PolicyError(problems)
    return Directory(by_agent)
