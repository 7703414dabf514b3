"""What the colleagues know of the policy as it is now."""

import pytest

from gateway.app.colleagues import Colleagues, Learner, TextChanged
from gateway.policy.plain import PolicyText
from gateway.policy.staff import Directory, make_directory, parse_staff
from gateway.ports.education import FakeAcknowledgements

STAFF = b"""
[[person]]
agent = "201"
kind = "employee"
[[person]]
agent = "wall"
kind = "employee"
role = "viewer"
[[person]]
agent = "chief"
kind = "employee"
role = "supervisor"
"""


class Texts:
    """A text for every role, of a version."""

    version = 1

    def __call__(self, role: str) -> PolicyText:
        return PolicyText(role, f"{role} {self.version}")


def directory() -> Directory:
    return make_directory([parse_staff(STAFF, "s.toml")])


async def test_who_acknowledged_the_present_text_knows_it_until_it_changes() -> None:
    texts = Texts()
    known = Colleagues(directory, texts)
    assert not known.has_acknowledged("201", "agent")
    made = await known.acknowledge("201", "agent", texts("agent").sha256, by="agent:x")
    assert known.has_acknowledged("201", "agent")
    assert not known.has_acknowledged("201", "supervisor") and not known.has_acknowledged("202", "agent")
    assert known.learners() == [Learner("201", "agent", made.at, None), Learner("chief", "supervisor", None, None)]
    texts.version = 2
    assert not known.has_acknowledged("201", "agent")
    assert known.learners()[0] == Learner("201", "agent", None, made.at)
    texts.version = 1
    assert known.has_acknowledged("201", "agent"), "what was taken back comes into force again"


async def test_only_the_present_text_can_be_acknowledged() -> None:
    known = Colleagues(directory, Texts())
    with pytest.raises(TextChanged, match="read it again"):
        await known.acknowledge("201", "agent", Texts()("supervisor").sha256, by="agent:x")
    assert known.learners()[0].at is None


async def test_what_the_store_has_is_known_after_a_restart() -> None:
    store = FakeAcknowledgements()
    await Colleagues(directory, Texts(), store).acknowledge("9", "agent", Texts()("agent").sha256, by="agent:x")
    again = Colleagues(directory, Texts(), store)
    assert not again.has_acknowledged("9", "agent")
    await again.load()
    assert again.has_acknowledged("9", "agent")
    assert "9" in [one.agent for one in again.learners()], "whoever acknowledged anything is shown"
