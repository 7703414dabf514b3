"""`consent-gateway calls`: live calls, through the HTTP interface."""

from pathlib import Path
from typing import Any

from gateway.cli.client import Refused, request, segment
from gateway.cli.output import NO, OK, complain, say, say_json, table


def _holds(call: dict[str, Any]) -> str:
    return ", ".join(hold["reason"] for hold in call["holds"]) or "-"


def _recorder(call: dict[str, Any]) -> str:
    recorder = call["recorder"]
    return str(recorder["observed"]) + ("" if recorder["confirmed"] else " (unconfirmed)")


def listing(url: str, key: Path | None, *, as_json: bool) -> int:
    """Print the live calls."""
    try:
        live = request(url, key, "GET", "/v1/calls")
    except Refused as refused:
        return _refused(refused, as_json)
    if as_json:
        say_json(live)
    elif not live:
        say("no live calls")
    else:
        rows = [[c["call_id"], c["phase"], c["verdict"], _recorder(c), _holds(c), c["started"]] for c in live]
        table(["CALL", "PHASE", "VERDICT", "RECORDER", "HOLDS", "STARTED"], rows)
    return OK


def show(url: str, key: Path | None, call_id: str, *, as_json: bool) -> int:
    """Print one live call."""
    try:
        call = request(url, key, "GET", one_call(call_id))
    except Refused as refused:
        return _refused(refused, as_json)
    if as_json:
        say_json(call)
        return OK
    recorder = call["recorder"]
    say(f"call      {call['call_id']}  since {call['started']}")
    say(f"phase     {call['phase']}")
    say(f"verdict   {call['verdict']} (basis {call['basis']}, policy {call['policy']})")
    say(f"recorder  {_recorder(call)} (desired {recorder['desired']}, commanded {recorder['commanded']})")
    for hold in call["holds"]:
        left = "without a limit" if hold["expires_in_ms"] is None else f"{hold['expires_in_ms'] / 1000:.0f} s left"
        say(f"hold      {hold['reason']}, set by {hold['actor']}, {left}")
    return OK


def one_call(call_id: str) -> str:
    """Return the path of the call of this id."""
    return f"/v1/calls/{segment(call_id)}"


def agents_call(agent: str | None) -> str:
    """Return the path of an agent's present call; None: of the agent whose API key is used."""
    return "/v1/me" if agent is None else f"/v1/agents/{segment(agent)}"


def act(url: str, key: Path | None, verb: str, target: str, *, as_json: bool) -> int:
    """Pause, resume, withdraw or ask again at the path *target*; 0 only when the effect was observed."""
    try:
        outcome = request(url, key, "POST", f"{target}/{verb}")
    except Refused as refused:
        return _refused(refused, as_json)
    if as_json:
        say_json(outcome)
    else:
        seen = "observed" if outcome["observed"] else f"NOT observed: {outcome['because']}"
        say(f"{outcome['code']}; recorder {outcome['recorder']} ({seen})")
    return OK if outcome["observed"] else NO


def _refused(refused: Refused, as_json: bool) -> int:
    if as_json:
        say_json({"accepted": False, "code": refused.code, "title": refused.title, "status": refused.status})
    else:
        complain(f"refused: {refused}")
    return NO
