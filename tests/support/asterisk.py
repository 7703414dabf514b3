"""A real Asterisk for tests: the one of `make asterisk`, with our dialplan as shipped, loopback and free ports.

It runs with its own loader and libraries and needs neither chroot nor root: every path in it is a path of this machine.
"""

import asyncio
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.app.tasks import spawn
from tests.support.serving import free_port

PROJECT = Path(__file__).parents[2]
ROOT = PROJECT / ".cache" / "asterisk" / "root"
FRAGMENTS = PROJECT / "dialplan" / "asterisk"
BOOT_TIMEOUT_S = 60

MODULES = """
res_sorcery_config res_sorcery_memory res_sorcery_astdb res_timing_timerfd res_pjproject res_rtp_asterisk
res_pjsip res_pjsip_session res_pjsip_pubsub res_pjsip_sdp_rtp res_pjsip_caller_id res_pjsip_header_funcs
res_pjsip_rfc3326 res_pjsip_dtmf_info res_pjsip_dlg_options
res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_anonymous
chan_pjsip bridge_simple bridge_native_rtp bridge_softmix bridge_builtin_features
codec_ulaw codec_alaw codec_a_mu codec_gsm format_wav format_pcm format_gsm
app_dial app_stack app_softhangup app_bridgeaddchan app_mixmonitor app_verbose app_userevent app_playback
app_exec app_system
func_channel func_callerid func_strings func_logic func_devstate func_env func_shell pbx_config
"""


Edits = Mapping[str, Callable[[str], str]]


class AsteriskMissing(AssertionError):
    """There is no Asterisk to test with."""


@dataclass
class Asterisk:
    """A running Asterisk. Made by `running`."""

    folder: Path
    sip_port: int
    ami_port: int
    secrets: dict[str, str]
    """AMI user -> secret; the shipped `consent-gateway` and the opt-in `consent-gateway-recorder`."""
    command: tuple[str, ...]
    process: asyncio.subprocess.Process | None = None
    boot_s: float = 0.0

    @property
    def sip(self) -> str:
        """A number of the example's inbound route."""
        return f"sip:100@127.0.0.1:{self.sip_port}"

    @property
    def log(self) -> Path:
        return self.folder / "log" / "messages"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def recordings(self) -> list[Path]:
        """Every file below the folder that recordings go to."""
        return sorted(path for path in (self.spool / "monitor").rglob("*") if path.is_file())

    async def kill(self) -> None:
        """End it with SIGKILL: no goodbye, and files and database as they are. `start` begins it again."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        self.process = None

    async def start(self) -> None:
        """Begin it on the same folder and ports, and wait until it is fully booted. Raises `AssertionError` when it
        complains."""
        assert self.process is None, "it runs"
        await _start(self)

    @asynccontextmanager
    async def restarting(self, how: Literal["now", "gracefully", "when convenient"]) -> AsyncIterator[None]:
        """`core restart`: the process replaces itself, at the end of every call, which *how* makes now or waits for.
        Leaving waits until it is fully booted anew."""
        socket_file = self.folder / "run" / "asterisk.ctl"
        before = socket_file.stat().st_ctime_ns
        begun = time.monotonic()
        asking = spawn(self.cli(f"core restart {how}"), name="core restart")  # the console waits for it as we do
        yield
        await asking
        async with asyncio.timeout(BOOT_TIMEOUT_S):
            while not socket_file.exists() or socket_file.stat().st_ctime_ns == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await _booted(self, begun)

    async def cli(self, command: str) -> str:
        """Run a command of Asterisk's console and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            *self.command, "-rx", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        return output.decode(errors="replace").strip()

    async def cli_until(self, command: str, wanted: str, timeout_s: float = 20.0) -> str:
        """Repeat a command until its output has *wanted* in it, and return the output."""
        output = ""
        try:
            async with asyncio.timeout(timeout_s):
                while wanted not in (output := await self.cli(command)):  # noqa: ASYNC110 (Asterisk calls nobody back)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{command!r} never said {wanted!r}: {output}") from None
        return output


@asynccontextmanager
async def running(
    *, gateway: str, agent: str, trunk: str, edits: Edits | None = None, modules: str = ""
) -> AsyncIterator[Asterisk]:
    """Start an Asterisk whose gateway, agent and trunk are at these addresses (`host:port`), and stop it after.

    *edits*: for a test of a server that is set up wrongly, a configuration file's name (`pjsip`; a new one begins
    empty) to what makes another text of its text. *modules*: more than the rig's own, with spaces between them.

    A call from user `agent` takes the example's outbound route, any other call the inbound one. Raises
    `AsteriskMissing` when `make asterisk` was not run.
    """
    folder = Path(tempfile.mkdtemp(prefix="asterisk-"))  # short: the console's socket has room for 107 characters
    switch = Asterisk(
        folder,
        free_port(socket.SOCK_DGRAM),
        free_port(socket.SOCK_STREAM),
        {name: secrets.token_hex(24) for name in ("consent-gateway", "consent-gateway-recorder")},
        (str(folder / "asterisk"), "-C", str(folder / "etc" / "asterisk.conf")),
    )
    try:
        _program(folder / "asterisk")
        _configure(switch, gateway, agent, trunk, modules)
        _edit(switch, edits or {})
        await _start(switch)
        yield switch
    finally:
        await _stop(switch)
        shutil.rmtree(folder)


def _installed() -> tuple[Path, Path]:
    """The loader and the program of `make asterisk`."""
    loaders = sorted((ROOT / "usr" / "lib").glob("*/ld-linux*.so.*"))
    binary = ROOT / "usr" / "sbin" / "asterisk"
    if not loaders or not binary.exists():
        raise AsteriskMissing(f"there is no Asterisk in {ROOT}: run `make asterisk` once, as root")
    return loaders[0], binary


def _program(path: Path) -> None:
    """Make the program at *path*: Asterisk with its own loader and libraries, also when it restarts itself by the name
    that it was called by."""
    loader, binary = _installed()
    path.write_text(f'#!/bin/sh\nexec {loader} --argv0 "$0" --library-path {loader.parent} {binary} "$@"\n')
    path.chmod(0o700)


def _edit(switch: Asterisk, edits: Edits) -> None:
    for name, edit in edits.items():
        file = switch.folder / "etc" / f"{name}.conf"
        old = file.read_text() if file.exists() else ""
        new = edit(old)
        assert new != old, f"the edit of {name}.conf changes nothing"
        file.write_text(new)


def _configure(switch: Asterisk, gateway: str, agent: str, trunk: str, modules: str) -> None:
    for name in ("etc", "log", "spool", "run", "lib"):
        (switch.folder / name).mkdir()
    module_folder = next((ROOT / "usr" / "lib").glob("*/asterisk/modules"))
    for name, text in {
        "asterisk": f"""
            [directories]
            astetcdir = {switch.folder}/etc
            astmoddir = {module_folder}
            astvarlibdir = {switch.folder}/lib
            astdbdir = {switch.folder}/lib
            astkeydir = {switch.folder}/lib
            astdatadir = {_data(switch.folder / "data")}
            astspooldir = {switch.folder}/spool
            astrundir = {switch.folder}/run
            astlogdir = {switch.folder}/log
            [options]
            live_dangerously = no
            nocolor = yes
            """,
        "modules": "[modules]\nautoload = no\n"
        + "".join(f"load = {module}.so\n" for module in f"{MODULES} {modules}".split()),
        "logger": "[logfiles]\nmessages = notice,warning,error\n",
        "http": "[general]\nenabled = no\n",
        "cdr": "[general]\nenable = no\n",
        "cel": "[general]\nenable = no\n",
        "indications": "[general]\ncountry = us\n[us]\ndescription = any\nringcadence = 2000,4000\nring = 440\n",
        "acl": "[loopback]\npermit = 127.0.0.1/255.255.255.255\n",
        **dict.fromkeys(("ccss", "udptl", "pjproject"), "[general]"),
        "rtp": "[general]\nrtpstart = 20000\nrtpend = 29999\n",
        "manager": f"""
            [general]
            enabled = yes
            bindaddr = 127.0.0.1
            port = {switch.ami_port}
            #include "{FRAGMENTS}/manager_consent.conf"
            [consent-gateway](consent-gateway-user)
            secret = {switch.secrets["consent-gateway"]}
            {_opt_in_user(switch.secrets["consent-gateway-recorder"])}
            """,
        "pjsip": f"""
            [transport]
            type = transport
            protocol = udp
            bind = 127.0.0.1:{switch.sip_port}
            #include "{FRAGMENTS}/pjsip_consent.conf"
            [consent-gateway](consent-gateway-aor)
            contact = sip:consent@{gateway}
            [consent-gateway](+type=endpoint)
            transport = transport
            [phone](!)
            type = endpoint
            transport = transport
            disallow = all
            allow = ulaw
            direct_media = no
            [anonymous](phone)
            context = consent-example-inbound
            [agent](phone)
            context = consent-example-outbound
            aors = agent
            [agent]
            type = aor
            contact = sip:agent@{agent}
            [trunk](phone)
            aors = trunk
            [trunk]
            type = aor
            contact = sip:trunk@{trunk}
            """,
        "extensions": f"""
            #include "{FRAGMENTS}/extensions_consent.conf"
            #include "{FRAGMENTS}/extensions_consent_example.conf"
            #include "{FRAGMENTS}/hints_consent.conf"
            [of-the-site]
            exten = stranger,1,Dial(PJSIP/trunk)
            exten = colleague,1,Dial(PJSIP/agent)
            """,
        "features": f"""
            [applicationmap]
            of-the-site = *55,self,NoOp
            #include "{FRAGMENTS}/features_consent.conf"
            """,
    }.items():
        lines = (line.strip() for line in text.strip().splitlines())
        (switch.folder / "etc" / f"{name}.conf").write_text("\n".join(lines) + "\n")


def _data(folder: Path) -> Path:
    """Asterisk's shared data, with sounds where it looks for them: the installation's own links lead out of it. The
    sentence that begins a transfer is not in it, here it is a silence."""
    shared = ROOT / "usr" / "share" / "asterisk"
    (folder / "sounds" / "en").mkdir(parents=True)
    for path in shared.iterdir():
        if path.name != "sounds":
            (folder / path.name).symlink_to(path)
    for path in (shared / "sounds" / "en_US_f_Allison").iterdir():
        (folder / "sounds" / "en" / path.name).symlink_to(path.resolve())
    (folder / "sounds" / "en" / "pbx-transfer.ulaw").write_bytes(b"\xff" * 800)
    (folder / "sounds" / "en" / "bench-ask.ulaw").write_bytes(b"\x40\xc0" * 2_400)  # as long as the tests' question
    return folder


def _opt_in_user(secret: str) -> str:
    """The second AMI user that the fragment ships commented out, taken in by removing the semicolons."""
    shipped = (FRAGMENTS / "manager_consent.conf").read_text().splitlines()
    lines = [line[1:] for line in shipped if line[:1] == ";" and line[1:2] not in ("", " ")]
    assert lines[0] == "[consent-gateway-recorder]", lines
    return "\n".join(f"secret = {secret}" if line.startswith("secret") else line for line in lines)


async def _start(switch: Asterisk) -> None:
    begun = time.monotonic()
    output = (switch.folder / "log" / "output").open("ab")
    # setpriv: whoever kills the tests does not leave an Asterisk behind.
    switch.process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "--", *switch.command, "-f"), stdout=output, stderr=output
    )
    output.close()
    await _booted(switch, begun)


async def _booted(switch: Asterisk, begun: float) -> None:
    """Wait until a start is over, and judge what it logged."""
    assert switch.process is not None
    try:
        async with asyncio.timeout(BOOT_TIMEOUT_S):
            while "fully booted" not in (await switch.cli("core waitfullybooted")).lower():
                if switch.process.returncode is not None:
                    raise AssertionError(f"Asterisk ended while starting: {_last_words(switch)}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"Asterisk did not boot in {BOOT_TIMEOUT_S} s: {_last_words(switch)}") from None
    switch.boot_s = time.monotonic() - begun
    this_start = switch.log.read_text().rpartition(" built by ")[2]
    if " ERROR[" in this_start:
        raise AssertionError(f"Asterisk complained while starting: {_last_words(switch)}")


def _last_words(switch: Asterisk) -> str:
    texts = [
        path.read_text(errors="replace") for path in (switch.folder / "log" / "output", switch.log) if path.exists()
    ]
    return "\n".join(texts)[-3000:]


async def _stop(switch: Asterisk) -> None:
    process = switch.process
    if process is None:
        return
    if process.returncode is not None:
        raise AssertionError(f"Asterisk ended by itself with {process.returncode}: {_last_words(switch)}")
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()
