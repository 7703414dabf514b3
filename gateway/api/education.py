"""The policy in plain words, and who has acknowledged it."""

from typing import Annotated, Literal

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from gateway.api.access import Caller, require_role
from gateway.api.problems import Problem
from gateway.app.colleagues import Colleagues, TextChanged
from gateway.policy.plain import ROLES
from gateway.ports.registry import ApiKey, RegistryUnavailable

Role = Literal["agent", "supervisor", "officer"]
OptionalRole = Annotated[Role | None, Query(description="whose text; left out: that of the key's own role")]


class TextBody(BaseModel):
    """What a role has to know. *sha256* is the version to acknowledge."""

    role: str
    sha256: str
    text: str


class AcknowledgementWish(BaseModel):
    """*sha256*: of the text that was read. *agent*, *role*: left out, those of the key."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    agent: str = Field(default="", pattern=r"^[A-Za-z0-9+_.*#-]{0,64}$")
    role: Role | None = None


class LearnerBody(BaseModel):
    """Somebody who is to know the policy. *acknowledged*: when he acknowledged the present text; null: not yet.
    *former*: when he last acknowledged one that is no longer in force."""

    agent: str
    role: str
    acknowledged: str | None
    former: str | None


def add_education(app: FastAPI, colleagues: Colleagues) -> None:
    """Add the routes."""

    @app.get("/v1/education/text")
    async def text(key: Caller, role: OptionalRole = None) -> TextBody:
        found = colleagues.text(_role(key, role))
        return TextBody(role=found.role, sha256=found.sha256, text=found.text)

    @app.get("/v1/education")
    async def learners(key: Caller) -> list[LearnerBody]:
        """Everybody who is to know the policy, and whether he has acknowledged what it says now."""
        require_role(key, "supervisor", "officer")
        return [
            LearnerBody(
                agent=one.agent,
                role=one.role,
                acknowledged=None if one.at is None else one.at.isoformat(timespec="seconds"),
                former=None if one.former is None else one.former.isoformat(timespec="seconds"),
            )
            for one in colleagues.learners()
        ]

    @app.post("/v1/education/acknowledgements")
    async def acknowledge(key: Caller, wish: AcknowledgementWish) -> LearnerBody:
        """Say that the text was read and understood. For somebody else only who runs the gateway may say so: a
        signature on paper."""
        agent, role = wish.agent or key.agent, _role(key, wish.role)
        if not agent:
            raise Problem(409, "no_agent", "This key stands for nobody: name the agent")
        if (agent, role) != (key.agent, key.role):
            require_role(key)
        try:
            made = await colleagues.acknowledge(agent, role, wish.sha256, by=f"{key.role}:{key.key_id}")
        except TextChanged:
            raise Problem(409, "text_changed", "That is not the present text: read it again") from None
        except RegistryUnavailable:
            raise Problem(503, "registry_unavailable", "The registry cannot be written now") from None
        return LearnerBody(agent=agent, role=role, acknowledged=made.at.isoformat(timespec="seconds"), former=None)


def _role(key: ApiKey, named: Role | None) -> str:
    """Whose text is meant. Raises a 409 problem for a key whose role has none, and names none."""
    role = named or key.role
    if role not in ROLES:
        raise Problem(409, "no_text", "There is no text for this key's role: name one (agent, supervisor, officer)")
    return role
