"""The HTTP interface. Routes translate; every decision is the call's."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from gateway.api import problems
from gateway.api.access import Caller, require_agent, require_role
from gateway.api.education import add_education
from gateway.api.kept import require_kept
from gateway.api.metrics import Metrics
from gateway.api.problems import Problem
from gateway.app.anchoring import Anchoring
from gateway.app.session import CallSession, Outcome
from gateway.app.switchboard import NoSuchCall, Switchboard
from gateway.domain.call import PRIVATE_CALL
from gateway.evidence.errors import BundleInvalid
from gateway.evidence.forms import Wishes, render
from gateway.evidence.receipt import LANGUAGES
from gateway.policy.authority import Act
from gateway.policy.errors import PolicyError
from gateway.policy.model import Purpose
from gateway.ports.evidence import EvidenceUnavailable
from gateway.ports.policy import PolicyShelf
from gateway.ports.registry import ApiKey, ApiKeys

HttpForm = Literal["bundle", "vcon", "consent-record", "receipt"]
CallId = Annotated[str, Path(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$", description="our call id, a ULID")]
AgentName = Annotated[str, Path(pattern=r"^[A-Za-z0-9+_.*#-]{1,64}$")]
Reason = Literal["agent_key", "card_entry", "private_call", "supervisor"]
OptionalReason = Annotated[
    Reason | None,
    Query(description="which hold; left out: the asker's own (agent_key of an agent, supervisor of anybody else)"),
]


class OutcomeBody(BaseModel):
    """What became of a request. *observed*: the new state was seen; otherwise *because* says why not."""

    call_id: str
    accepted: bool
    code: str
    observed: bool
    because: str
    recorder: str
    verdict: str


class HoldBody(BaseModel):
    """One reason to pause."""

    reason: str
    actor: str
    expires_in_ms: int | None


class RecorderBody(BaseModel):
    """The recorder's three facts; only *observed* is the truth, as it was seen last. *confirmed*: it was seen to do
    what it was told last, and can still be seen."""

    desired: str
    commanded: str
    observed: str
    confirmed: bool
    recording: str | None


class CallBody(BaseModel):
    """A live call. No number, no name. *purposes*: every purpose of the call, and whether something may be done for it
    at this moment: granted by all who can be heard, and not paused."""

    call_id: str
    phase: str
    verdict: str
    basis: str
    policy: str
    purposes: dict[str, bool]
    started: str
    recorder: RecorderBody
    holds: list[HoldBody]


class HealthBody(BaseModel):
    """Whether new calls can be served. *degraded*: what is not as it should be, and keeps no call from it."""

    ready: bool
    calls: int
    capacity: int
    because: list[str]
    degraded: list[str]


class PolicyBody(BaseModel):
    """A policy in force."""

    name: str
    version: str
    sha256: str


class ReloadedBody(BaseModel):
    """What new calls live by from now on. *changed*: names of policies that are new, gone or not the same."""

    policies: list[PolicyBody]
    changed: list[str]
    warnings: list[str]


def make_app(
    switchboard: Switchboard,
    api_keys: ApiKeys,
    policies: PolicyShelf,
    *,
    is_ready: Callable[[], list[str]],
    anchoring: Anchoring | None = None,
) -> FastAPI:
    """Build the application. *is_ready* returns what stands against taking calls, empty for ready."""
    app = FastAPI(
        title="Consent gateway",
        version="1",
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    problems.install(app)
    app.state.api_keys = api_keys
    app.state.switchboard = switchboard
    app.state.metrics = Metrics(switchboard, anchoring)
    _health(app, switchboard, is_ready, anchoring)
    _calls(app, switchboard)
    _sinks(app, switchboard)
    _agents(app, switchboard)
    _events(app, switchboard)
    _evidence(app, switchboard, policies)
    _policies(app, policies)
    add_education(app, switchboard.services.staff)
    return app


def _health(
    app: FastAPI, switchboard: Switchboard, is_ready: Callable[[], list[str]], anchoring: Anchoring | None
) -> None:
    @app.get("/livez", include_in_schema=True)
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", responses={503: {"model": HealthBody}})
    async def readyz(response: Response) -> HealthBody:
        because = is_ready()
        response.status_code = 503 if because else 200
        return HealthBody(
            ready=not because,
            calls=len(switchboard.sessions),
            capacity=switchboard.services.media.max_calls,
            because=because,
            degraded=[] if anchoring is None else anchoring.degraded(),
        )

    @app.get("/metrics")
    async def metrics(key: Caller) -> Response:
        require_role(key, "supervisor", "officer", "viewer")
        return Response(app.state.metrics.text(), media_type="text/plain; version=0.0.4")


def _policies(app: FastAPI, policies: PolicyShelf) -> None:
    @app.get("/v1/policies")
    async def in_force(key: Caller) -> list[PolicyBody]:
        require_role(key, "supervisor", "officer", "viewer")
        return [PolicyBody(name=p.name, version=p.version, sha256=p.sha256) for p in policies.in_force()]

    @app.post("/v1/policies/reload")
    async def reload(key: Caller) -> ReloadedBody:
        """What is on disk comes into force for calls that arrive from now on, if all of it is right."""
        require_role(key)
        try:
            done = await policies.reload()
        except PolicyError as error:
            found = [{"where": f"{p.source}:{p.line}", "what": p.message} for p in error.problems]
            title = "The policies on disk are not usable: those in force stay"
            raise Problem(422, "policies_not_usable", title, errors=found) from None
        return ReloadedBody(
            policies=[PolicyBody(name=p.name, version=p.version, sha256=p.sha256) for p in done.policies],
            changed=list(done.changed),
            warnings=list(done.warnings),
        )


def _may_see(key: ApiKey, session: CallSession) -> bool:
    return key.role != "agent" or key.agent == session.agent


def _find(switchboard: Switchboard, key: ApiKey, call_id: str) -> CallSession:
    try:
        session = switchboard.session(call_id)
    except NoSuchCall:
        raise Problem(404, "no_such_call", "No live call has that id") from None
    if not _may_see(key, session):
        raise Problem(404, "no_such_call", "No live call has that id")
    return session


_REFUSED = {
    "not_recording": (409, "Nothing is or can be recorded on this call"),
    "not_allowed": (409, "Recording may not go on: the caller has not consented, or the evidence is unavailable"),
    "withdrawal_not_offered": (409, "The lawful basis of this call offers no withdrawal"),
    "not_asked": (409, "The party has not been asked"),
    "nothing_to_ask": (409, "The party has consented or is being asked"),
    "not_connected": (409, "The parties are not connected"),
    "not_authorised": (403, "The policy of this call does not let you do that"),
    "purpose_not_granted": (403, "This purpose was not granted"),
    "too_many_sinks": (409, "The call has as many sinks as it may have"),
    "call_ended": (410, "The call is over"),
}


def _refusal(outcome: Outcome, **more: str) -> Problem:
    """The problem that tells of a refused request."""
    status, title = _REFUSED.get(outcome.code, (409, "Refused"))
    return Problem(status, outcome.code, title, **more)


def _answer(session: CallSession, outcome: Outcome) -> OutcomeBody:
    if not outcome.accepted:
        because = {"because": outcome.because} if outcome.because else {}
        raise _refusal(outcome, verdict=str(session.call.verdict), **because)
    return OutcomeBody(
        call_id=session.call_id,
        accepted=True,
        code=outcome.code,
        observed=outcome.observed,
        because=outcome.because,
        recorder=str(session.call.recorder.observed),
        verdict=str(session.call.verdict),
    )


def _actor(key: ApiKey) -> str:
    """Who acted, for the evidence: role and key id, never a name."""
    return f"{key.role}:{key.key_id}"


def _reason(key: ApiKey, named: Reason | None) -> Reason:
    """Which hold a request is about. Raises a 403 problem for an agent who names a supervisor's."""
    if key.role == "agent" and named == "supervisor":
        raise Problem(403, "supervisors_hold", "A supervisor's pause is not an agent's to set or to give up")
    return named or ("agent_key" if key.role == "agent" else "supervisor")


def _calls(app: FastAPI, switchboard: Switchboard) -> None:
    @app.get("/v1/calls")
    async def list_calls(key: Caller) -> list[CallBody]:
        live = [session for session in switchboard.sessions.values() if _may_see(key, session)]
        return [CallBody.model_validate(switchboard.view(session)) for session in live]

    @app.get("/v1/calls/{call_id}")
    async def show_call(key: Caller, call_id: CallId) -> CallBody:
        return CallBody.model_validate(switchboard.view(_find(switchboard, key, call_id)))

    async def act(key: ApiKey, call_id: str, what: Act, request: Callable[[str], Awaitable[Outcome]]) -> OutcomeBody:
        session = _find(switchboard, key, call_id)
        require_agent(key, session.agent)
        return _answer(session, await request(session.why_not(what, key.role, key.agent)))

    @app.post("/v1/calls/{call_id}/pause")
    async def pause(key: Caller, call_id: CallId, reason: OptionalReason = None) -> OutcomeBody:
        hold, actor = _reason(key, reason), _actor(key)
        what = _about(hold, Act.PAUSE)
        return await act(
            key, call_id, what, lambda why: switchboard.pause(call_id, actor=actor, reason=hold, barred=why)
        )

    @app.post("/v1/calls/{call_id}/resume")
    async def resume(key: Caller, call_id: CallId, reason: OptionalReason = None) -> OutcomeBody:
        hold, actor = _reason(key, reason), _actor(key)
        what = _about(hold, Act.RESUME)
        return await act(
            key, call_id, what, lambda why: switchboard.resume(call_id, actor=actor, reason=hold, barred=why)
        )

    @app.post("/v1/calls/{call_id}/withdraw")
    async def withdraw(key: Caller, call_id: CallId) -> OutcomeBody:
        actor = _actor(key)
        return await act(key, call_id, Act.WITHDRAW, lambda why: switchboard.withdraw(call_id, actor=actor, barred=why))

    @app.post("/v1/calls/{call_id}/reconsent")
    async def reconsent(key: Caller, call_id: CallId) -> OutcomeBody:
        actor = _actor(key)
        return await act(key, call_id, Act.RECORD, lambda why: switchboard.reconsent(call_id, actor=actor, barred=why))


class SinkWish(BaseModel):
    """What would do something with a call beside the recorder. *name* is for the evidence: a system, not a person."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    purpose: Purpose


class SinkBody(BaseModel):
    """The sink may work for its purpose until the call's view says otherwise. *now*: at this moment."""

    call_id: str
    name: str
    purpose: str
    now: bool


def _sinks(app: FastAPI, switchboard: Switchboard) -> None:
    @app.post("/v1/calls/{call_id}/sinks")
    async def ask(key: Caller, call_id: CallId, wish: SinkWish) -> SinkBody:
        """Ask before anything is done with a live call beside recording it: transcribed, analysed, passed on. Refused
        without the grant for that purpose. Watch `purposes` in the call's view or the events: a pause is for sinks too,
        and a purpose that was taken back ends them."""
        require_role(key, "supervisor", "sink")
        session = _find(switchboard, key, call_id)
        outcome = await switchboard.sink(call_id, sink=wish.name, purpose=wish.purpose, actor=_actor(key))
        if not outcome.accepted:
            raise _refusal(outcome, because=outcome.because)
        now = session.call.purposes[wish.purpose]
        return SinkBody(call_id=call_id, name=wish.name, purpose=wish.purpose, now=now)


def _about(hold: Reason, what: Act) -> Act:
    """What setting or giving up a *hold* is, to the policy."""
    return Act.PRIVATE if hold == PRIVATE_CALL else what


def _agents(app: FastAPI, switchboard: Switchboard) -> None:
    async def present_call(key: ApiKey, agent: str, what: Act) -> OutcomeBody:
        require_agent(key, agent)
        actor, hold = _actor(key), _reason(key, None)
        ask = switchboard.pause_session if what is Act.PAUSE else switchboard.resume_session

        async def act(session: CallSession) -> Outcome:
            return await ask(session, actor=actor, reason=hold, barred=session.why_not(what, key.role, key.agent))

        try:
            found = await switchboard.for_agent(agent, act, pauses=what is Act.PAUSE)
            return _answer(*found)
        except NoSuchCall:
            raise Problem(404, "no_present_call", "The agent is on no call") from None

    @app.post("/v1/agents/{agent}/pause")
    async def pause(key: Caller, agent: AgentName) -> OutcomeBody:
        return await present_call(key, agent, Act.PAUSE)

    @app.post("/v1/agents/{agent}/resume")
    async def resume(key: Caller, agent: AgentName) -> OutcomeBody:
        return await present_call(key, agent, Act.RESUME)

    def own_agent(key: ApiKey) -> str:
        if not key.agent:
            raise Problem(409, "no_agent", "This key stands for no agent: name a call or an agent")
        return key.agent

    @app.post("/v1/me/pause")
    async def pause_mine(key: Caller) -> OutcomeBody:
        """The present call of the agent the key stands for: a desktop hotkey needs to know nothing else."""
        return await pause(key, own_agent(key))

    @app.post("/v1/me/resume")
    async def resume_mine(key: Caller) -> OutcomeBody:
        return await resume(key, own_agent(key))


def _events(app: FastAPI, switchboard: Switchboard) -> None:
    @app.get("/v1/events", response_class=StreamingResponse)
    async def events(key: Caller, last_event_id: Annotated[str | None, Header()] = None) -> StreamingResponse:
        """Server-sent events: first every live call as it is, then each change. `Last-Event-ID` goes on behind it."""
        require_role(key, "supervisor", "officer", "viewer", "sink")
        number = int(last_event_id) if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 19 else None

        async def stream() -> AsyncIterator[str]:
            after = switchboard.feed.number if number is None else number
            if number is None:
                for view in switchboard.views():
                    yield _event("call", after, view)
            async for change in switchboard.feed.follow(after):
                yield _event(change.kind, change.number, change.data)

        return StreamingResponse(
            stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )


def _event(kind: str, number: int, data: dict[str, Any]) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


_FORMS: dict[HttpForm, tuple[str, str]] = {
    "bundle": ("evidence-{}.json", "application/json"),
    "vcon": ("{}.vcon.json", "application/vcon+json"),
    "consent-record": ("consent-record-{}.jsonld", "application/ld+json"),
    "receipt": ("receipt-{}.txt", "text/plain; charset=utf-8"),
}
"""The file's name of a call in each form, and its media type."""


def _evidence(app: FastAPI, switchboard: Switchboard, policies: PolicyShelf) -> None:
    @app.get("/v1/calls/{call_id}/evidence")
    async def evidence(
        key: Caller,
        call_id: CallId,
        form: Annotated[HttpForm, Query(alias="format", description="what is made of the bundle")] = "bundle",
        language: Annotated[
            str, Query(pattern=f"^({'|'.join(LANGUAGES)})?$", description="of a receipt; left out: the caller's")
        ] = "",
    ) -> Response:
        """The call's bundle, for `consent-gateway evidence verify`, or a form made of it; of a live call: what is
        durable so far. A signed vCon is made where the log's key is: `consent-gateway evidence export`."""
        await require_kept(key, call_id, Act.EXPORT, switchboard, policies)
        services = switchboard.services
        try:
            bundle = await services.evidence.export(call_id)
        except KeyError:
            raise Problem(404, "no_evidence", "The log has no entry of that call") from None
        except EvidenceUnavailable:
            raise Problem(503, "evidence_unavailable", "The evidence cannot be read now") from None
        wishes, verifier = Wishes(language=language), services.evidence.verifier_key()
        try:
            made = await asyncio.to_thread(render, form, bundle, verifier, wishes, made_at=services.clock.utc())
        except BundleInvalid as error:
            raise Problem(409, "not_in_this_form", "The call cannot be told in this form", because=str(error)) from None
        name, media_type = _FORMS[form]
        return Response(
            made,
            media_type=media_type,
            headers={"Content-Disposition": f'attachment; filename="{name.format(call_id)}"'},
        )

    @app.get("/v1/evidence/key")
    async def key_line(key: Caller) -> Response:
        """The log's public key, as `evidence verify --key` takes it."""
        return Response(switchboard.services.evidence.verifier_key() + "\n", media_type="text/plain")
