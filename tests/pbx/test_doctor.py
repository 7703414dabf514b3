"""`consent-gateway doctor` on a real Asterisk: as it is shipped it finds nothing, and of each thing that is wrong that
very thing."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.asterisk.inspection.findings import Finding
from gateway.adapters.asterisk.inspection.machine import spool_findings
from gateway.adapters.config.settings import Asterisk as Section
from gateway.adapters.config.settings import Settings, Sip
from gateway.adapters.softphone import Softphone
from gateway.cli.doctor_asterisk import examine
from tests.support import asterisk
from tests.support.ami import logged_in
from tests.support.asterisk import FRAGMENTS

pytestmark = pytest.mark.slow

SHOWS_CONFIG = "func_config"
"""With this module, which an installation with `autoload = yes` has, much more can be seen over AMI."""

QUIET = {"musiconhold": lambda _: "[general]\n"}
QUEUES = {**QUIET, "queues": lambda _: "[general]\n[sales]\nmember => PJSIP/agent\n"}


def appended(text: str) -> Callable[[str], str]:
    return lambda old: old + text


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def user(*lines: str) -> dict[str, Callable[[str], str]]:
    """The shipped AMI user with lines of its own."""
    head = "[consent-gateway](consent-gateway-user)\n"
    return {"manager": replaced(head, head + "".join(f"{line}\n" for line in lines))}


@dataclass
class Practice:
    """A started Asterisk, a phone in the gateway's place, and a section about them."""

    switch: asterisk.Asterisk
    gateway: Softphone
    section: dict[str, Any]

    def settings(self, **changes: Any) -> Settings:
        section = {key: value for key, value in (self.section | changes).items() if value is not None}
        return Settings(sip=Sip(bind=self.gateway.address), asterisk=(Section(**section),))

    async def doctor(self, *, now: Callable[[], float] = time.time, **changes: Any) -> list[Finding]:
        """What the doctor finds, with changes of the section."""
        settings = self.settings(**changes)
        return [found for _, found in await asyncio.to_thread(lambda: list(examine(settings, None, now=now)))]


def wrong(findings: list[Finding], secret: str = "") -> list[tuple[str, str]]:
    """What is not as it should be, after a look that every text says something and no text the secret."""
    assert findings and all(found.what for found in findings)
    assert not secret or not any(secret in found.what for found in findings)
    return [(found.name, found.state) for found in findings if found.state != "ok" and found.name != "pbx-version"]


def texts(findings: list[Finding], name: str) -> str:
    return "\n".join(found.what for found in findings if found.name == name and found.state != "ok")


@asynccontextmanager
async def practice(
    folder: Path, edits: asterisk.Edits | None = None, modules: str = "", *, reachable: bool = True
) -> AsyncIterator[Practice]:
    async with (
        await Softphone.open(user="consent") as gateway,
        await Softphone.open(user="agent") as agent,
        await Softphone.open() as outside,
        asterisk.running(
            gateway=gateway.address, agent=agent.address, trunk=outside.address, edits=edits, modules=modules
        ) as switch,
    ):
        if reachable:
            await switch.cli_until("pjsip show contacts", " Avail ")
        (switch.spool / "monitor").mkdir(exist_ok=True)
        secret = folder / "ami.secret"
        secret.write_text(switch.secrets["consent-gateway"])
        secret.chmod(0o600)
        section = {
            "name": "pbx1",
            "ami": f"127.0.0.1:{switch.ami_port}",
            "secret_file": secret,
            "source": f"127.0.0.1:{switch.sip_port}",
            "agents": ("PJSIP/agent",),
            "spool": switch.spool / "monitor",
            "config_folder": switch.folder / "etc",
        }
        yield Practice(switch, gateway, section)


# --- the user who starts recorders ---


async def test_a_user_who_starts_recorders(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        secrets = p.switch.secrets
        found = await p.doctor(recorder={"secret": secrets["consent-gateway-recorder"]})
        assert wrong(found, secrets["consent-gateway-recorder"]) == [("pbx-recorder", "warning")]
        assert "has a shell on the PBX" in texts(found, "pbx-recorder")
        found = await p.doctor(recorder={"secret": "not-his"})
        assert wrong(found) == [("pbx-recorder", "error")] and "cannot log in" in texts(found, "pbx-recorder")
        found = await p.doctor(recorder={"user": "consent-gateway", "secret": secrets["consent-gateway"]})
        assert wrong(found) == [("pbx-recorder", "error")] and "write = system" in texts(found, "pbx-recorder")


# --- as shipped ---


async def test_of_an_asterisk_as_shipped_the_command_finds_nothing_and_ends_with_0(tmp_path: Path) -> None:
    async with practice(tmp_path, QUEUES, "app_queue res_musiconhold func_pjsip_endpoint") as p:
        assert wrong(await p.doctor(), p.switch.secrets["consent-gateway"]) == []
        file = tmp_path / "gateway.toml"
        rows = {key: str(value) for key, value in p.section.items() if key != "agents"}
        file.write_text(
            f'[sip]\nbind = "{p.gateway.address}"\n[http]\nbind = "127.0.0.1:0"\n[storage]\nfolder = "{tmp_path}/var"\n'
            '[[asterisk]]\nagents = ["PJSIP/agent"]\n' + "".join(f'{key} = "{value}"\n' for key, value in rows.items())
        )
        command = (sys.executable, "-m", "gateway.cli.main", "doctor", "--config", str(file))
        run = await asyncio.create_subprocess_exec(*command, "--json", stdout=asyncio.subprocess.PIPE)
        said = json.loads((await run.communicate())[0])
        about = {check["name"]: check for check in said["checks"] if check["name"].startswith("pbx-")}
        assert run.returncode == 0 and said["ok"] is True
        version = about.pop("pbx-version")
        assert version["state"] == "warning" and "2016_opus_plc.patch" in version["what"], "this one is Debian's"
        assert {check["state"] for check in about.values()} == {"ok"}
        assert all(check["what"].startswith("pbx1: ") for check in about.values())
        examined = ("secret", "login", "classes", "shell", "danger", "dialplan", "endpoint", "automixmon", "options")
        assert set(about) == {f"pbx-{name}" for name in (*examined, "one-touch", "queues", "clock", "spool")}
        errors = {
            line.partition("pbx_functions.c: ")[2] for line in p.switch.log.read_text().splitlines() if "ERROR[" in line
        }
        assert errors == {"Dangerous function STAT read blocked", "Function AST_CONFIG not registered"}


async def test_what_the_shipped_user_cannot_see_is_said_to_be_unknown(tmp_path: Path) -> None:
    """Over AMI alone, without the module func_config: three things, each with the command that shows it."""
    async with practice(tmp_path, QUEUES, "app_queue res_musiconhold") as p:
        found = await p.doctor(config_folder=None)
        assert wrong(found) == [("pbx-classes", "unknown"), ("pbx-one-touch", "unknown"), ("pbx-queues", "unknown")]
        assert "manager show user consent-gateway" in texts(found, "pbx-classes")
        assert "grep -n monitor- /etc/asterisk/queues.conf" in texts(found, "pbx-queues")
        assert "grep -r one_touch_recording" in texts(found, "pbx-one-touch")


async def test_every_file_is_readable_with_func_config_and_that_is_a_finding(tmp_path: Path) -> None:
    async with practice(tmp_path, QUEUES, f"app_queue res_musiconhold {SHOWS_CONFIG}") as p:
        found = await p.doctor(config_folder=None)
        assert wrong(found) == [("pbx-config", "warning"), ("pbx-one-touch", "unknown")]
        assert "noload = func_config.so" in texts(found, "pbx-config")
        secret = p.switch.secrets["consent-gateway"]
        async with logged_in(p.switch.ami_port, "consent-gateway", secret) as ami:
            told = await ami.action("Getvar", Variable="AST_CONFIG(manager.conf,consent-gateway,secret)")
            assert told["Value"] == secret


async def test_the_commands_that_its_texts_name_are_there(tmp_path: Path) -> None:
    async with practice(tmp_path, QUEUES, "app_queue res_musiconhold") as p:
        for command in (
            *("manager reload", "manager show user consent-gateway", "dialplan reload", "dialplan show consent-gate"),
            *("module reload res_pjsip.so", "pjsip show contacts", "module reload features", "features show"),
            "queue reload all",
        ):
            said = await p.switch.cli(command)
            assert not said.startswith(("No such command", "Usage")) and "not found" not in said, said


# --- the connection and the user ---


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        port = asterisk.free_port(socket.SOCK_STREAM)
        found = await p.doctor(ami=f"127.0.0.1:{port}")
        assert wrong(found) == [("pbx-reach", "error"), ("pbx-spool", "unknown")]
        assert f"127.0.0.1:{port} is out of reach" in texts(found, "pbx-reach")


async def test_a_wrong_secret(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        p.section["secret_file"].write_text("another")
        found = await p.doctor(spool=None)
        assert wrong(found, "another") == [("pbx-login", "error")]
        assert str(p.section["secret_file"]) in texts(found, "pbx-login")


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("read = dtmf,user,dialplan,reporting", "read class call"),
        ("read = call,user,dialplan,reporting", "read class dtmf"),
        ("read = call,dtmf,dialplan,reporting", "read class user"),
        ("read = call,dtmf,user,reporting", "read class dialplan"),
        ("read = call,dtmf,user,dialplan", "read class reporting"),
        ("write = reporting", "write class call"),
        ("write = call", "write class reporting"),
    ],
)
async def test_a_missing_class(tmp_path: Path, line: str, missing: str) -> None:
    async with practice(tmp_path, user(line), SHOWS_CONFIG) as p:
        for folder in (p.section["config_folder"], None):
            found = [f for f in await p.doctor(config_folder=folder) if f.name == "pbx-classes"]
            assert wrong(found) == [("pbx-classes", "error")]
            assert f"consent-gateway lacks {missing}: " in found[0].what
            assert f"`{line.split()[0]} = " in found[0].what


async def test_a_user_with_no_class_at_all(tmp_path: Path) -> None:
    async with practice(tmp_path, user("read = log", "write = log")) as p:
        found = await p.doctor()
        missing = [f.what for f in found if f.name == "pbx-classes"]
        assert len(missing) == 7 and all("lacks" in what for what in missing)


@pytest.mark.parametrize("name", ["system", "command", "originate", "config"])
async def test_a_class_too_many_is_a_warning(tmp_path: Path, name: str) -> None:
    async with practice(tmp_path, user(f"write = call,reporting,{name}")) as p:
        found = await p.doctor()
        assert wrong(found) == [("pbx-shell", "warning")]
        assert f"has write class {name}, " in texts(found, "pbx-shell")


async def test_all_classes_are_all_of_them(tmp_path: Path) -> None:
    async with practice(tmp_path, user("write = all", "read = all")) as p:
        assert wrong(await p.doctor()) == [("pbx-shell", "warning")] * 4


async def test_live_dangerously(tmp_path: Path) -> None:
    edits = {"asterisk": replaced("live_dangerously = no", "live_dangerously = yes")}
    async with practice(tmp_path, edits) as p:
        for folder in (p.section["config_folder"], tmp_path):  # tmp_path has no asterisk.conf: AMI shows it alone
            found = [f for f in await p.doctor(config_folder=folder) if f.name == "pbx-danger"]
            assert wrong(found) == [("pbx-danger", "error")]
            assert "`live_dangerously = no` below [options]" in found[0].what


# --- recordings that nobody was asked about ---


async def test_automixmon_with_a_key(tmp_path: Path) -> None:
    async with practice(tmp_path, {"features": appended("[featuremap]\nautomixmon = *3\n")}) as p:
        for folder in (p.section["config_folder"], None):
            found = [f for f in await p.doctor(config_folder=folder) if f.name not in ("pbx-classes", "pbx-one-touch")]
            assert wrong(found) == [("pbx-automixmon", "error")]


async def test_a_feature_code_that_records(tmp_path: Path) -> None:
    edits = {"features": replaced("of-the-site = *55,self,NoOp", "of-the-site = *55,self,MixMonitor(a.wav)")}
    async with practice(tmp_path, edits) as p:
        found = await p.doctor()
        assert wrong(found) == [("pbx-keys", "error")]
        assert "feature code of-the-site starts MixMonitor" in texts(found, "pbx-keys")


@pytest.mark.parametrize(
    "line", ["Dial(PJSIP/trunk,30,tx)", "Dial(PJSIP/trunk,,Xb(a^s^1))", "ExecIf(1?Dial(PJSIP/trunk,30,x))"]
)
async def test_an_option_that_lets_somebody_record(tmp_path: Path, line: str) -> None:
    async with practice(tmp_path, {"extensions": appended(f"exten = 4930123456,1,{line}\n")}) as p:
        found = await p.doctor()
        assert wrong(found) == [("pbx-options", "warning")]
        assert "in context of-the-site" in texts(found, "pbx-options")
        assert "4930123456" not in str(found)


async def test_a_queue_with_the_option_and_a_key_for_it(tmp_path: Path) -> None:
    edits = {
        **QUEUES,
        "extensions": appended("exten = q,1,Queue(sales,X)\n"),
        "features": appended("[featuremap]\nautomixmon = *3\n"),
    }
    async with practice(tmp_path, edits, "app_queue res_musiconhold") as p:
        assert wrong(await p.doctor()) == [("pbx-automixmon", "error"), ("pbx-options", "error")]


async def test_a_phone_with_a_record_button(tmp_path: Path) -> None:
    edits = {"pjsip": appended("[agent](+type=endpoint)\none_touch_recording = yes\n")}
    async with practice(tmp_path, edits, "func_pjsip_endpoint") as p:
        found = await p.doctor()
        assert wrong(found) == [("pbx-one-touch", "error")]
        assert "PJSIP endpoint agent has one_touch_recording" in texts(found, "pbx-one-touch")
        button = "record_on_feature = consent-resume\nrecord_off_feature = consent-pause\n"
        file = p.switch.folder / "etc" / "pjsip.conf"
        file.write_text(file.read_text() + button)
        assert wrong(await p.doctor()) == [], "a record button that is our pause is as it should be"
        alone = [f for f in await p.doctor(config_folder=None) if f.name == "pbx-one-touch"]
        assert wrong(alone) == [("pbx-one-touch", "error"), ("pbx-one-touch", "unknown")]


async def test_a_queue_that_records(tmp_path: Path) -> None:
    edits = {**QUEUES, "queues": lambda _: "[general]\n[sales]\nmonitor-format = wav\nmonitor-type = MixMonitor\n"}
    async with practice(tmp_path, edits, f"app_queue res_musiconhold {SHOWS_CONFIG}") as p:
        for folder in (p.section["config_folder"], None):
            found = [f for f in await p.doctor(config_folder=folder) if f.name == "pbx-queues"]
            assert wrong(found) == [("pbx-queues", "error")]
            assert "queue sales has a monitor-format" in found[0].what


async def test_a_route_that_records_by_itself(tmp_path: Path) -> None:
    async with practice(tmp_path, {"extensions": appended("exten = r,1,MixMonitor(all.wav)\n")}) as p:
        assert wrong(await p.doctor()) == [("pbx-recorders", "warning")]


# --- the gate ---


async def test_fragments_that_are_not_loaded(tmp_path: Path) -> None:
    edits = {"extensions": replaced(f'#include "{FRAGMENTS}/extensions_consent.conf"', "")}
    async with practice(tmp_path, edits) as p:
        found = await p.doctor()
        assert wrong(found) == [("pbx-dialplan", "error")] * 2
        for context in ("consent-gate", "consent-gate-return"):
            assert f"context {context} is not loaded" in texts(found, "pbx-dialplan")
        assert '`#include "consent/extensions_consent.conf"`' in texts(found, "pbx-dialplan")


async def test_no_route_goes_through_the_gate(tmp_path: Path) -> None:
    edits = {"extensions": replaced(f'#include "{FRAGMENTS}/extensions_consent_example.conf"', "")}
    async with practice(tmp_path, edits) as p:
        assert wrong(await p.doctor()) == [("pbx-route", "warning")]


def without_endpoint(text: str) -> str:
    """pjsip.conf without what the README's step 2 adds."""
    head, _, rest = text.partition(f'#include "{FRAGMENTS}/pjsip_consent.conf"')
    return head + rest[rest.index("[phone](!)") :]


async def test_an_endpoint_that_is_not_there(tmp_path: Path) -> None:
    async with practice(tmp_path, {"pjsip": without_endpoint}, reachable=False) as p:
        found = await p.doctor()
        assert wrong(found) == [("pbx-endpoint", "error")]
        assert "there is no endpoint PJSIP/consent-gateway: in pjsip.conf" in texts(found, "pbx-endpoint")


async def test_a_contact_that_does_not_answer(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        await p.gateway.close()
        await p.switch.cli_until("pjsip show contacts", " Unavail ")
        found = await p.doctor()
        assert wrong(found) == [("pbx-endpoint", "warning")]
        assert "the gateway is not running" in texts(found, "pbx-endpoint")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:  # as a gateway that does not take its INVITEs
            host, _, port = p.gateway.address.partition(":")
            deaf.bind((host, int(port)))
            found = await p.doctor()
            assert wrong(found) == [("pbx-endpoint", "error")]
            assert "allowed_sources" in texts(found, "pbx-endpoint")


async def test_a_contact_that_is_another_address(tmp_path: Path) -> None:
    async with await Softphone.open(user="other") as other, practice(tmp_path) as p:
        sip = Sip(bind=other.address)
        settings = p.settings().model_copy(update={"sip": sip})
        found = [found for _, found in await asyncio.to_thread(lambda: list(examine(settings, None)))]
        assert wrong(found) == [("pbx-contact", "error")]
        assert f"is {p.gateway.address}, and [sip] bind is {other.address}" in texts(found, "pbx-contact")


# --- spool, clock, secret, source ---


async def test_a_spool_that_is_another_folder(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        found = await p.doctor(spool=p.switch.spool)
        assert wrong(found) == [("pbx-spool", "error")]
        assert f'write `spool = "{p.switch.spool}/monitor"`' in texts(found, "pbx-spool")


async def test_a_spool_that_is_not_there(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        found = await p.doctor(spool=tmp_path / "nowhere")
        assert wrong(found) == [("pbx-spool", "error")]
        assert "is not there" in texts(found, "pbx-spool")


async def test_a_spool_that_cannot_be_read(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        monitor = p.switch.spool / "monitor"
        (monitor / "consent").mkdir()
        (monitor / "consent" / "x.wav").write_bytes(b"RIFF")
        monitor.chmod(0o000)
        root = os.geteuid() == 0
        told = await p.doctor(spool=None)
        assert wrong(told) == []
        try:
            if root:
                os.seteuid(65_534)
            found = list(spool_findings(monitor, str(p.switch.spool), same_machine=True))
        finally:
            if root:
                os.seteuid(0)
            monitor.chmod(0o755)
        assert wrong(found) == [("pbx-spool", "error")]
        assert "cannot be read (PermissionError)" in found[0].what


@pytest.mark.parametrize(("ours_is", "direction"), [(-2.5, "2.5 s ahead of"), (2.5, "2.5 s behind")])
async def test_a_clock_that_differs(tmp_path: Path, ours_is: float, direction: str) -> None:
    async with practice(tmp_path) as p:
        found = await p.doctor(now=lambda: time.time() + ours_is)
        assert wrong(found) == [("pbx-clock", "error")]
        assert f"{direction} ours" in texts(found, "pbx-clock")
        assert wrong(await p.doctor(now=lambda: time.time() + ours_is * 0.6)) == []


async def test_a_secret_that_others_read_and_one_that_is_not_there(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        p.section["secret_file"].chmod(0o640)
        found = await p.doctor()
        assert wrong(found, p.switch.secrets["consent-gateway"]) == [("pbx-secret", "error")]
        assert "chmod 600" in texts(found, "pbx-secret")
        p.section["secret_file"].unlink()
        assert wrong(await p.doctor(spool=None)) == [("pbx-secret", "error")]


async def test_two_sections_with_one_source(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        settings = p.settings()
        second = settings.asterisk[0].model_copy(update={"name": "pbx2"})
        both = settings.model_copy(update={"asterisk": (settings.asterisk[0], second)})
        found = await asyncio.to_thread(lambda: list(examine(both, None)))
        assert [(name, *pair) for name, f in found for pair in wrong([f])] == [("pbx2", "pbx-source", "error")]


async def test_a_live_gateways_connection_is_left_alone(tmp_path: Path) -> None:
    async with practice(tmp_path) as p:
        secret = p.switch.secrets["consent-gateway"]
        async with logged_in(p.switch.ami_port, "consent-gateway", secret) as gateways:
            await gateways.action("Ping")
            await p.doctor()
            await gateways.action("Ping")
            # what changes something there would have been heard by it
            assert [
                event["Event"] for event in gateways.events if event["Event"] not in ("TestEvent", "FullyBooted")
            ] == []
