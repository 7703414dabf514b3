"""Who may do what with what is kept of a call: by the policy the call was of, in its present version."""

import contextlib

from gateway.api.access import require_role
from gateway.api.problems import Problem
from gateway.app.switchboard import Switchboard
from gateway.domain import events as ev
from gateway.domain.rules import Basis
from gateway.policy.authority import Act, Circumstances
from gateway.ports.evidence import EvidenceUnavailable, Json
from gateway.ports.policy import PolicyShelf
from gateway.ports.registry import ApiKey


async def require_kept(key: ApiKey, call_id: str, act: Act, switchboard: Switchboard, policies: PolicyShelf) -> None:
    """Raise a 403 problem unless *key* may *act* on what is kept of a call, 404 for a call that left nothing, 503 when
    that cannot be read. A refusal is written into the call's evidence (`control.refused`)."""
    require_role(key, "supervisor", "officer")
    services = switchboard.services
    try:
        entries = await services.evidence.entries(call_id)
    except KeyError:
        raise Problem(404, "no_evidence", "The log has no entry of that call") from None
    except EvidenceUnavailable:
        raise Problem(503, "evidence_unavailable", "The evidence cannot be read now") from None
    facts = entries[0].facts
    policy, line = facts.get("policy"), facts.get("line", "")
    name = policy.get("name", "") if isinstance(policy, dict) else ""
    call = Circumstances(str(line), Basis(str(facts.get("basis", Basis.CONSENT))), services.clock.utc())
    why = policies.authority(str(name)).why_not(act, services.staff.actor(key.role, key.agent), call)
    if why:
        await _refuse(key, call_id, act, why, switchboard)


async def _refuse(key: ApiKey, call_id: str, act: Act, why: str, switchboard: Switchboard) -> None:
    """Write the refusal down, as far as the log takes it, and raise it. A live call numbers its own entries."""
    actor, live = f"{key.role}:{key.key_id}", switchboard.sessions.get(call_id)
    if live is not None:
        live.post(ev.ActRefused(at_ns=live.now_ns(), act=str(act), actor=actor, because=why))
    else:
        with contextlib.suppress(EvidenceUnavailable):
            refused: dict[str, Json] = {"act": str(act), "actor": actor, "because": why}
            await switchboard.services.evidence.append(call_id, "control.refused", refused)
    raise Problem(403, "not_authorised", "The policy does not let you do that", because=why)
