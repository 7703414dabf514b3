"""The colleagues whose calls these are: what each is, and whether he has acknowledged the policy as it is now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.policy.authority import Actor
from gateway.policy.plain import PolicyText
from gateway.policy.staff import Colleague, Directory
from gateway.ports.education import Acknowledgement, Acknowledgements, FakeAcknowledgements


class TextChanged(ValueError):
    """What was to be acknowledged is not the present text."""


@dataclass(frozen=True, slots=True)
class Learner:
    """Somebody of whom the text of a role is wanted. *at*: when he acknowledged the present one, None: not yet.
    *former*: when he last acknowledged one that is no longer in force."""

    agent: str
    role: str
    at: datetime | None
    former: datetime | None


@dataclass(slots=True)
class Colleagues:
    """Answers from memory: nothing here waits but `acknowledge` and `load`. *directory* and *text* are as the policies
    in force have them."""

    directory: Callable[[], Directory] = Directory
    text: Callable[[str], PolicyText] = PolicyText
    store: Acknowledgements = field(default_factory=FakeAcknowledgements)
    _known: dict[tuple[str, str, str], Acknowledgement] = field(default_factory=dict)

    async def load(self) -> None:
        """Read what was acknowledged. Raises `RegistryUnavailable`."""
        self._known = {(one.agent, one.role, one.sha256): one for one in await self.store.all()}

    def colleague(self, agent: str) -> Colleague:
        """Return who uses the telephone *agent*."""
        return self.directory().colleague(agent)

    def has_acknowledged(self, agent: str, role: str) -> bool:
        """Whether *agent* has acknowledged the present text for *role*."""
        return (agent, role, self.text(role).sha256) in self._known

    def actor(self, role: str, agent: str) -> Actor:
        """Return who wants something, as a policy sees him: by his role, and the telephone he is known by."""
        return Actor(role, self.colleague(agent).kind, acknowledged=self.has_acknowledged(agent, role))

    async def acknowledge(self, agent: str, role: str, sha256: str, *, by: str) -> Acknowledgement:
        """Keep that *agent* knows the text for *role* with that SHA-256. Raises `TextChanged` when it is not the
        present one, `RegistryUnavailable`."""
        if sha256 != self.text(role).sha256:
            raise TextChanged("the text has changed: read it again")
        made = await self.store.acknowledge(agent, role, sha256, by=by)
        self._known[agent, role, sha256] = made
        return made

    def learners(self) -> list[Learner]:
        """Return everybody in the directory, and whoever acknowledged anything, by name."""
        wanted: Mapping[tuple[str, str], None] = dict.fromkeys(
            (person.agent, person.role) for person in self.directory().by_agent.values() if person.role != "viewer"
        )
        found = []
        for agent, role in sorted({*wanted, *((agent, role) for agent, role, _ in self._known)}):
            present = self._known.get((agent, role, self.text(role).sha256))
            all_of_his = [one.at for (who, what, _), one in self._known.items() if (who, what) == (agent, role)]
            former = max((at for at in all_of_his if present is None or at != present.at), default=None)
            found.append(Learner(agent, role, None if present is None else present.at, former))
        return found
