"""The demonstration's call through a real Asterisk: our dialplan sends its caller to the gateway, takes the verdict and
lets MixMonitor record; the gateway watches over AMI."""

import asyncio
import hashlib
import shutil
import socket
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from gateway.adapters.asterisk.local import Asterisk, Peers, find_asterisk, free_port, running
from gateway.adapters.config.settings import ROOT, Settings, Sip
from gateway.adapters.config.settings import Asterisk as Section
from gateway.adapters.softphone import Call, Softphone
from gateway.bootstrap import Gateway
from gateway.cli.demo_mixed import PACKET, Audio, Heard, Sent, heard
from gateway.cli.demo_people import Played, in_time
from gateway.cli.demo_summary import Exactness
from gateway.cli.demo_transcript import Transcript
from gateway.cli.output import say
from gateway.media import g711

LOUDNESS = 0.6
"""Both parties in one channel must not be cut off: each sample's sum tells who said it."""
READY_TIMEOUT_S = 20
RINGING_LIMIT = 3 * PACKET
"""What Asterisk has queued of the tone when the agent answers gets into the file. Measured: one packet."""


@asynccontextmanager
async def started(caller: Softphone, agent: Softphone, out: Path) -> AsyncIterator[tuple[Asterisk, str]]:
    """Start an Asterisk, and yield it with the address (`host:port`) where it looks for the gateway. Its log stays in
    *out*. Raises `AsteriskMissing` or `AsteriskFailed`."""
    gateway = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    peers = Peers(gateway, agent.address, caller.address)
    async with running(find_asterisk(ROOT), ROOT / "dialplan" / "asterisk", peers) as switch:
        try:
            yield switch, gateway
        finally:
            shutil.copyfile(switch.log, out / "asterisk.log")


def settings(common: Settings, switch: Asterisk, gateway: str) -> Settings:
    """Return the settings of a gateway at *gateway* that asks the callers of *switch*."""
    section = Section(
        ami=f"127.0.0.1:{switch.ami_port}",
        secret=switch.secrets["consent-gateway"],
        source=f"127.0.0.1:{switch.sip_port}",
        agents=("PJSIP/agent",),
        spool=switch.spool / "monitor",
    )
    return common.model_copy(update={"sip": Sip(bind=gateway, calls=1), "asterisk": (section,)})


async def ready(switch: Asterisk, gateway: Gateway, *, quiet: bool) -> None:
    """Wait until Asterisk and gateway see each other, and say what runs where. Raises `AsteriskFailed` or
    `RuntimeError`."""
    await switch.cli_until("pjsip show contacts", " Avail ", READY_TIMEOUT_S)
    await in_time(_until_ready(gateway), READY_TIMEOUT_S, "the gateway was not ready: Asterisk's AMI did not let it in")
    if not quiet:
        version = (await switch.cli("core show version")).partition(" built by ")[0]
        say(f"{version}, booted in {switch.boot_s:.1f} s, dialplan of {ROOT / 'dialplan' / 'asterisk'}")
        say(f"SIP 127.0.0.1:{switch.sip_port}, AMI 127.0.0.1:{switch.ami_port}; gateway: SIP {gateway.front.address}")
        say()


async def examine(switch: Asterisk, transcript: Transcript, played: Played, out: Path) -> Exactness:
    """Copy the call's recording into `out`, and say of each of its samples whose it is and when it was sent."""
    await switch.cli_until("core show channels count", "0 active channels")
    files = switch.recordings()
    if not files:
        return Exactness()
    of_evidence = [closed.facts.get("file") for closed in transcript.closed]
    original = next((file for file in files if file.name in of_evidence), files[0])
    copy = out / "recording.wav"
    shutil.copyfile(original, copy)
    samples = _read(copy)
    found = heard(samples, _sent(played.caller), _sent(played.agent), transcript.on_ns)
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    return Exactness(
        path=copy,
        seconds=len(samples) / 8000,
        channels="caller and agent in one channel, as Asterisk mixed them",
        before_verdict=found.samples(0, transcript.verdict_ns),
        while_paused=sum(found.samples(begin, end) for begin, end in transcript.pauses),
        lines=(
            f"Asterisk's own {original.name}, byte for byte; SHA-256 {digest}",
            f"in it: {len(found.caller_ns)} packets of the caller, {len(found.agent_ns)} of the agent; "
            f"samples of Asterisk's ringing tone: {found.ringing}, of anything else: {found.strange}",
        ),
        wrong=tuple(_wrong(files, digest, transcript, found)),
    )


async def _until_ready(gateway: Gateway) -> None:
    while gateway.not_ready():  # noqa: ASYNC110 (it calls nobody back)
        await asyncio.sleep(0.02)


def _wrong(files: list[Path], digest: str, transcript: Transcript, found: Heard) -> Iterator[str]:
    if len(files) > 1:
        yield f"Asterisk has {len(files)} files where one is allowed"
    if digest not in [closed.facts.get("sha256") for closed in transcript.closed]:
        yield "the evidence has another SHA-256 than Asterisk's file"
    if found.strange:
        yield f"{found.strange} recorded samples were sent by neither"
    if found.ringing > RINGING_LIMIT:
        yield "ringing was recorded"
    if not found.caller_ns or not found.agent_ns:
        yield "the recording does not have both parties in it"


def _read(path: Path) -> Audio:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.int16)


def _sent(call: Call | None) -> Sent:
    """What a phone sent, as Asterisk decodes it."""
    packets = sorted(call.sent) if call is not None else []
    source = call.audio_source if call is not None else None
    coded = b"".join(source(number) for number, _ in packets) if source is not None else b""
    samples = g711.decode("PCMU", coded).reshape(-1, PACKET)
    return Sent(samples, np.array([at_ns for _, at_ns in packets], dtype=np.int64))
