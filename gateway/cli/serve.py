"""`consent-gateway serve`: the gateway and its HTTP interface in one process, until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path

import uvicorn

from gateway.adapters.config.settings import Settings, SettingsError
from gateway.adapters.prompts.library import load_prompts
from gateway.api.app import make_app
from gateway.app.tasks import spawn
from gateway.bootstrap import Folders, Gateway, configure_logging, node, start_gateway
from gateway.cli.output import OK, OUT_OF_REACH, complain, say, say_json, settings_or_exit
from gateway.policy.errors import PolicyError
from gateway.ports.evidence import EvidenceUnavailable
from gateway.ports.keys import KeyStoreUnusable
from gateway.ports.registry import RegistryUnavailable

FIRST_KEY = "cli.key"


def run(config: Path | None, role: str, *, as_json: bool) -> int:
    """Serve; return the exit code."""
    if role != "all":
        complain(f'role "{role}" is not available: this version runs everything in one place, --role all')
        return 2
    settings = settings_or_exit(config)
    configure_logging()
    try:
        return asyncio.run(_serve(settings, as_json))
    except PolicyError as error:
        for finding in load_prompts(settings.prompts.folder)[1]:
            complain(str(finding))
        complain(f"the gateway cannot start: {error}")
        return 2
    except SettingsError as error:
        complain(f"the gateway cannot start: {error}")
        return 2
    except (EvidenceUnavailable, RegistryUnavailable, KeyStoreUnusable, RuntimeError) as error:
        complain(f"the gateway cannot start: {error}")
    except OSError as error:
        what = f"{error.strerror} ({error.filename or settings.sip.bind})" if error.strerror else str(error)
        complain(f"the gateway cannot start: {what}")
    return OUT_OF_REACH


async def _serve(settings: Settings, as_json: bool) -> int:
    told = _listen_to_signals()
    http_socket = _bind(settings.http.bind)
    gateway = await start_gateway(settings)
    try:
        key_file = await _first_key(gateway)
        app = make_app(
            gateway.switchboard,
            gateway.api_keys,
            gateway.policies,
            is_ready=gateway.not_ready,
            anchoring=gateway.anchoring,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, timeout_graceful_shutdown=2, lifespan="off", server_header=False
            )
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, gateway)
        _announce(settings, gateway, http_socket, key_file, as_json)
        await _until_told(server, http_socket, told)
    finally:
        await gateway.stop()
    if not as_json:
        say("stopped: every call has its last entry")
    return OK


def _bind(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host.strip("[]"), int(port)))
    except OSError as error:
        made.close()
        raise OSError(error.errno, error.strerror, address) from None
    return made


def _listen_to_signals() -> asyncio.Event:
    """Return the event that SIGTERM and SIGINT set, from now on: a signal during the start ends what was started."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return told


def _reload(gateway: Gateway) -> None:
    """SIGHUP: the policies on disk come into force, or are refused, and the log says which."""

    async def reload() -> None:
        with contextlib.suppress(PolicyError):
            await gateway.policies.reload()

    spawn(reload(), name="reload policies")


async def _until_told(server: uvicorn.Server, http_socket: socket.socket, told: asyncio.Event) -> None:
    """Serve HTTP until *told*; uvicorn's own signal handlers would end the process before the calls."""

    async def stop() -> None:
        await told.wait()
        server.should_exit = True

    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    stopping = spawn(stop(), name="stop")
    _notify("READY=1")
    await spawn(server.serve(sockets=[http_socket]), name="http")
    stopping.cancel()
    _notify("STOPPING=1")


def _notify(state: str) -> None:
    """Tell systemd (`Type=notify`), when it started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, contextlib.suppress(OSError):
            notify.sendto(state.encode(), address.replace("@", "\0", 1))


async def _first_key(gateway: Gateway) -> Path:
    """Make the first API key when there is none: an admin key in a file only its owner can read. Gateways that share
    the keys have one each."""
    path = Folders(gateway.settings.storage.folder.resolve()).keys / FIRST_KEY
    here = node(gateway.settings)
    known = await gateway.api_keys.all()
    name = f"first login of {here}" if here else "first login"
    if not known or (here and all(key.name != name for key in known)):
        _, clear = await gateway.api_keys.create(name, "admin")
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{clear}\n")
    return path


def _announce(settings: Settings, gateway: Gateway, http_socket: socket.socket, key_file: Path, as_json: bool) -> None:
    host, port = http_socket.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    if as_json:
        say_json(
            {
                "sip": f"sip:{gateway.front.address}",
                "calls": gateway.pool.max_calls,
                "http": f"http://{host}:{port}/",
                "agents": settings.sip.agent,
                "log_key": gateway.evidence.verifier_key(),
                "key_file": str(key_file),
            }
        )
        return
    say(f"SIP        sip:{gateway.front.address} (UDP), {gateway.pool.max_calls} calls at once")
    say(f"HTTP       http://{host}:{port}/  (description: /openapi.json)")
    say(f"Agents     {settings.sip.agent}")
    say(f"Log key    {gateway.evidence.verifier_key()}")
    say(f"First login  the API key in {key_file} (Authorization: Bearer ...)")
    say("Stop with Ctrl-C.")
