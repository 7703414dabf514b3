"""From the greeting to a server that is logged in to, fully booted, and known by what it permits."""

import asyncio
import hashlib
from contextlib import suppress
from typing import Final

from gateway.adapters.asterisk.ami.session import Session
from gateway.adapters.asterisk.ami.settings import ManagerServer
from gateway.adapters.asterisk.ami.transport import OpenTransport
from gateway.ports.manager import ActionRefused, LoginRefused, ManagerResponse, Unreachable

BOOT_POLL_S: Final = 1.0
"""How often a server that may still be booting is asked again."""


async def greet(session: Session, server: ManagerServer, open_transport: OpenTransport, deadline_s: float) -> None:
    """Connect, and wait for the greeting. Raises `Unreachable`."""
    try:
        async with asyncio.timeout(deadline_s):
            session.attach(await open_transport(server, session.take, session.lose_because))
            await session.greeted.wait()
    except TimeoutError:
        raise Unreachable(server.label, f"no connection with a greeting within {deadline_s:g} s") from None
    except OSError as error:
        text = f"no connection ({type(error).__name__}); is it up, and does manager.conf bind this address?"
        raise Unreachable(server.label, text) from None


async def log_in(session: Session, server: ManagerServer, deadline_s: float) -> None:
    """Log in, and learn what the user may do. Raises `LoginRefused`, `OutcomeUnknown`, and `Unreachable` for a server
    that is ending."""
    if server.auth == "plain":
        if not session.private:
            text = "not logged in: a plain login would show the secret on the way; set auth to md5, or use TLS"
            raise LoginRefused(server.label, text)
        proof = {"Secret": server.secret}
    else:
        challenge = await _login_step(session, "Challenge", {"AuthType": "MD5"}, deadline_s)
        key = hashlib.md5(f"{challenge.get('Challenge')}{server.secret}".encode(), usedforsecurity=False).hexdigest()
        proof = {"AuthType": "MD5", "Key": key}
    await _login_step(session, "Login", {"Username": server.user, **proof}, deadline_s)
    await _learn_permitted(session, deadline_s)


async def _learn_permitted(session: Session, deadline_s: float) -> None:
    listed = await session.ask("ListCommands", deadline_s=deadline_s)
    session.permitted = frozenset(key.lower() for key, _ in listed.fields) - {"actionid"}


async def _login_step(session: Session, name: str, fields: dict[str, str], deadline_s: float) -> ManagerResponse:
    try:
        return await session.ask(name, fields, deadline_s=deadline_s, own=True)
    except ActionRefused as error:
        if error.is_shutdown:
            raise Unreachable(session.label, "it is shutting down, and takes no action any more") from None
        text = "the login was refused; check user, secret, permit and deny, and allowmultiplelogin in manager.conf"
        raise LoginRefused(server=session.label, what=text) from None


async def wait_booted(session: Session, deadline_s: float) -> None:
    """Wait until the server has loaded everything. Raises `Unreachable`, `OutcomeUnknown`, `ActionRefused`.

    `FullyBooted` says so, and Asterisk sends it only to users with read class `system`: right behind the login when the
    boot was over by then. To others nothing says it (Asterisk 22 tells the date of its start in `CoreStatus` before it
    loads the modules): for them a server has booted when the actions that it knows are those of a moment ago.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            while not session.booted.is_set():
                before = session.permitted
                await _wait_for_news(session)
                await _learn_permitted(session, deadline_s)
                if session.permitted == before and await _has_started(session):
                    return
            await _learn_permitted(session, deadline_s)  # what was listed before may have been listed too soon
            return
    text = "it is not fully booted, or does not tell: the user needs read class system or write class reporting"
    raise Unreachable(session.label, text)


async def _has_started(session: Session) -> bool:
    if "corestatus" not in session.permitted:
        return False
    status = await session.ask("CoreStatus")
    return status.get("CoreStartupDate")[:4] > "1970"


async def _wait_for_news(session: Session) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(BOOT_POLL_S):
            await session.booted.wait()
