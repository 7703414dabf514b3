"""The values of the manager port."""

import pytest

from gateway.adapters.asterisk.ami.snapshot import parse_mixmonitors
from gateway.ports.manager import (
    ActionRefused,
    FakeManagerClient,
    ManagerEvent,
    ManagerResponse,
    MixMonitor,
    NotConnected,
    Unreachable,
    withhold,
)

HEAD = ["MixMonitor ID\tFile\tReceive File\tTransmit File", "=" * 73]


@pytest.mark.parametrize(
    ("message", "sent", "shown"),
    [
        ("Permission denied", ["on", ""], "Permission denied"),
        ("No such channel: PJSIP/alice-00000001", [], "No such channel: …"),
        ("Extension '4930123456' not found", [], "Extension … not found"),
        ('No mailbox "Jane Doe" here', [], "No mailbox … here"),
        ("Cannot move Jane Doe there", ["Jane Doe", "Jane"], "Cannot move … there"),
        ("cannot move JANE there", ["Jane"], "cannot move … there"),
        ("called sip:jane@example.com", [], "called …"),
        ("x " * 200, [], ("x " * 200)[:120]),
    ],
)
def test_what_could_be_a_name_or_number_is_withheld(message: str, sent: list[str], shown: str) -> None:
    assert withhold(message, sent) == shown
    assert shown in str(ActionRefused("pbx1", "Redirect", message, sent))


def test_a_missing_class_is_said() -> None:
    assert "give the user the class" in str(ActionRefused("pbx1", "Status", "Permission denied"))
    assert "class" not in str(ActionRefused("pbx1", "Status", "No such channel"))


def test_fields_are_found_in_any_case() -> None:
    event = ManagerEvent("Hangup", (("Uniqueid", "1.1"), ("UNIQUEID", "1.2")))
    assert (event.get("uniqueID"), event.all("UniqueId"), event.get("Linkedid", "-")) == ("1.1", ("1.1", "1.2"), "-")
    assert ManagerResponse().get("Message") == ""


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ([*HEAD, "0x7f01\ta.wav\tr.wav\tt.wav", ""], (MixMonitor("0x7f01", ("a.wav", "r.wav", "t.wav")),)),
        ([*HEAD, "0x7f01\t\tr.wav\tt.wav"], (MixMonitor("0x7f01", ("r.wav", "t.wav")),)),
        (HEAD, ()),
        (["No channel matching 'PJSIP/a-1' found."], ()),
        (["No such command 'mixmonitor list'"], None),
        ([*HEAD, "something new"], None),
        (HEAD[:1], None),
        ([], None),
    ],
)
def test_mixmonitors_are_read_or_unknown(output: list[str], found: tuple[MixMonitor, ...] | None) -> None:
    assert parse_mixmonitors(output) == found


async def test_the_fake_fails_as_a_test_asks() -> None:
    fake = FakeManagerClient(problem=Unreachable("fake", "down"))
    states: list[bool] = []
    await fake.start(lambda _: None, lambda state: states.append(state.connected))
    with pytest.raises(Unreachable, match="down"):
        await fake.connected(0.01)
    with pytest.raises(NotConnected):
        await fake.action("Ping")
    fake.connect()
    fake.answers["StopMixMonitor"] = ActionRefused("fake", "StopMixMonitor", "No such channel")
    with pytest.raises(ActionRefused, match="No such channel"):
        await fake.action("StopMixMonitor", {"Channel": "c"})
    assert [(action.name, action.generation) for action in fake.sent] == [("StopMixMonitor", 1)]
    assert states == [False, True]
