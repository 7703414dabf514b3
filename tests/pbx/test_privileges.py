"""What the shipped AMI user may do, and what it may not: whoever has its secret has no shell."""

import pytest

from tests.pbx.scene import scene
from tests.support.ami import AmiError, logged_in

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("action", "headers"),
    [
        ("Command", {"Command": "core show version"}),
        ("Originate", {"Channel": "PJSIP/agent", "Application": "System", "Data": "touch {mark}"}),
        ("Originate", {"Channel": "PJSIP/agent", "Context": "consent-gate", "Exten": "s", "Priority": "1"}),
        ("MixMonitor", {"Channel": "PJSIP/agent", "File": "x.wav", "Command": "touch {mark}"}),
        ("GetConfig", {"Filename": "manager.conf"}),
        ("UpdateConfig", {"SrcFilename": "extensions.conf", "DstFilename": "extensions.conf", "Reload": "yes"}),
        ("DialplanExtensionAdd", {"Context": "x", "Extension": "s", "Priority": "1", "Application": "System"}),
        ("ModuleLoad", {"LoadType": "reload"}),
        ("Setvar", {"Variable": "SHELL(touch {mark})", "Value": "x"}),
        ("Setvar", {"Variable": "FILE({mark})", "Value": "x"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_the_gateways_user_is_refused(action: str, headers: dict[str, str]) -> None:
    async with scene() as s:
        mark = s.switch.folder / "mark"
        answer = await s.ami.ask(action, **{key: value.format(mark=mark) for key, value in headers.items()})
        assert answer["Response"] == "Error", answer
        await s.ami.action("Ping")
        assert not mark.exists()
