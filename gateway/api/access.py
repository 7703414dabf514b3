"""Who asks: an API key in `Authorization: Bearer` (or `X-API-Key`), never in a URL."""

from typing import Annotated

from fastapi import Depends, Header, Request

from gateway.api.problems import Problem
from gateway.ports.registry import ApiKey, ApiKeys

ROLES = ("admin", "supervisor", "officer", "agent", "viewer", "sink")
"""admin: everything. supervisor: every live call, evidence. officer (for data protection): looks, and what is kept of
calls. agent: the calls of his own name. viewer: looks only. sink (a machine): looks, and asks for purposes. What each
may do to a call, its policy says."""


async def identify(
    request: Request,
    authorization: Annotated[str | None, Header()] = None,
    x_api_key: Annotated[str | None, Header()] = None,
) -> ApiKey:
    """Return whom the request's key stands for. Raises a 401 problem."""
    scheme, _, token = (authorization or "").partition(" ")
    clear = token.strip() if scheme.lower() == "bearer" else x_api_key or ""
    keys: ApiKeys = request.app.state.api_keys
    key = await keys.check(clear) if clear else None
    if key is None or key.role not in ROLES:
        raise Problem(401, "unauthenticated", "An API key is needed: Authorization: Bearer cgk_...")
    return key


Caller = Annotated[ApiKey, Depends(identify)]


def require_role(key: ApiKey, *roles: str) -> None:
    """Raise a 403 problem unless *key* has one of *roles*; admin always may."""
    if key.role not in ("admin", *roles):
        raise Problem(403, "forbidden", "This key's role may not do that", role=key.role)


def require_agent(key: ApiKey, agent: str) -> None:
    """Raise a 403 problem unless *key* may act for *agent*."""
    if key.role == "agent" and key.agent != agent:
        raise Problem(403, "other_agents_call", "An agent's key acts on the agent's own calls only")
    require_role(key, "supervisor", "officer", "agent")
