"""One complete real call on loopback: a scripted caller, the gateway with its production code, a scripted agent; on the
`asterisk` path a real Asterisk between them."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.adapters.asterisk.local import AsteriskMissing
from gateway.adapters.config.settings import ROOT, Policies, Settings, Storage
from gateway.adapters.prompts.library import load_prompts
from gateway.adapters.softphone import CallFailed, Softphone
from gateway.app.latency import LatencyTap
from gateway.bootstrap import Gateway, configure_logging, start_gateway
from gateway.cli import demo_asterisk, demo_inline
from gateway.cli.demo_people import NotAnAnswer, People, Script
from gateway.cli.demo_summary import summarise
from gateway.cli.demo_transcript import Transcript
from gateway.cli.output import OUT_OF_REACH, complain
from gateway.ports.evidence import EvidenceUnavailable
from gateway.ports.registry import RegistryUnavailable

CALLER_NAME = "Demo Caller"
LEFT = ("recording.wav", "recording.wav.age", "evidence.json", "log.pub", "asterisk.log")


def run(script: Script, out: Path, *, path: str, as_json: bool) -> int:
    """Play the script; return the exit code: 0 only when everything was as the script demands. *path*: "inline", or
    "asterisk"."""
    prompts, _ = load_prompts(ROOT / "ivr_prompts")
    if script.language not in prompts.languages():
        complain(f'no prompts in language "{script.language}"; there are: {", ".join(prompts.languages()) or "none"}')
        return 2
    if script.answer_wav is not None and not script.speaks:
        complain("--answer-wav is what the caller says: it goes with --answer say-yes or --answer say-no")
        return 2
    if script.speaks and script.answer_wav is None and script.language != "en":
        complain(
            f"the demonstration's own caller answers in English only: with --language {script.language}, say it "
            "yourself with --answer-wav FILE"
        )
        return 2
    if (out / "var").exists():
        shutil.rmtree(out / "var")
    out.mkdir(parents=True, exist_ok=True)
    for old in LEFT:
        (out / old).unlink(missing_ok=True)
    configure_logging()
    try:
        return asyncio.run(_demonstrate(script, out, path, as_json))
    except asyncio.CancelledError:
        complain("the demonstration was told to end")
        return 128 + signal.SIGTERM
    except OSError as error:
        complain(f"the demonstration cannot run here: {type(error).__name__}: {error.strerror or error}")
    except NotAnAnswer as error:
        complain(str(error))
        return 2
    except (AsteriskMissing, CallFailed, EvidenceUnavailable, RegistryUnavailable, RuntimeError) as error:
        complain(f"the demonstration cannot run here: {error}")
    return OUT_OF_REACH


async def _demonstrate(script: Script, out: Path, path: str, as_json: bool) -> int:
    _listen_to_signals()
    policies = out / "var" / "policy.d"
    policies.mkdir(parents=True)
    (policies / "demo.toml").write_bytes(script.policy)
    common = Settings(storage=Storage(folder=out / "var"), policy=Policies(folder=policies))
    transcript = Transcript(quiet=as_json)
    async with (
        await Softphone.open(user="agent") as agent,
        await Softphone.open(user="caller", display_name=CALLER_NAME) as caller,
    ):
        people = People(script, caller, agent, transcript)
        play = _through_asterisk if path == "asterisk" else _inline
        return await play(people, common, out)


async def _inline(people: People, common: Settings, out: Path) -> int:
    async with _gateway(demo_inline.settings(common, people.agent), people) as (gateway, latency):
        played = await people.play(gateway, f"sip:support@{gateway.front.address}")
        exact = await demo_inline.examine(gateway, people.transcript, played, out)
        return await summarise(people, gateway, latency, exact, played, out)


async def _through_asterisk(people: People, common: Settings, out: Path) -> int:
    people.loudness = demo_asterisk.LOUDNESS
    async with (
        demo_asterisk.started(people.caller, people.agent, out) as (switch, address),
        _gateway(demo_asterisk.settings(common, switch, address), people) as (gateway, latency),
    ):
        await demo_asterisk.ready(switch, gateway, quiet=people.transcript.quiet)
        played = await people.play(gateway, switch.sip)
        exact = await demo_asterisk.examine(switch, people.transcript, played, out)
        return await summarise(people, gateway, latency, exact, played, out)


@contextlib.asynccontextmanager
async def _gateway(settings: Settings, people: People) -> AsyncIterator[tuple[Gateway, LatencyTap]]:
    """A started gateway whose call is told as it happens, and measured."""
    latency = LatencyTap()
    gateway = await start_gateway(settings)
    gateway.services.taps += [people.transcript, latency]
    try:
        yield gateway, latency
    finally:
        await gateway.stop()


def _listen_to_signals() -> None:
    """Let SIGTERM, and a terminal that is closed, end the demonstration as Ctrl-C does: nothing is left running."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
