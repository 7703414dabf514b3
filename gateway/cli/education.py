"""`consent-gateway education`: the policy in plain words, and who has acknowledged it."""

from pathlib import Path

from gateway.adapters.config.policies import load_book
from gateway.cli.client import Refused, request
from gateway.cli.output import NO, OK, complain, say, say_json, settings_or_exit, table
from gateway.policy.errors import PolicyError
from gateway.policy.plain import plain_text


def text(role: str, config: Path | None, *, as_json: bool) -> int:
    """Print what *role* has to know of the policies on disk."""
    try:
        found = plain_text(load_book(settings_or_exit(config).policy.folder), role)
    except PolicyError as error:
        complain(str(error))
        return NO
    if as_json:
        say_json({"role": role, "sha256": found.sha256, "text": found.text})
        return OK
    say(found.text.rstrip("\n"))
    say(f"\nSHA-256 of this text: {found.sha256}")
    return OK


def listing(url: str, key_file: Path | None, *, as_json: bool) -> int:
    """Print who has acknowledged the present text, who has not yet first; 0 when everybody has."""
    try:
        learners = request(url, key_file, "GET", "/v1/education")
    except Refused as refused:
        return _refused(refused, as_json)
    missing = sum(one["acknowledged"] is None for one in learners)
    if as_json:
        say_json({"missing": missing, "people": learners})
        return NO if missing else OK
    rows = [
        [
            "missing" if one["acknowledged"] is None else "known",
            one["agent"],
            one["role"],
            one["acknowledged"] or "-",
            one["former"] or "-",
        ]
        for one in sorted(learners, key=lambda one: one["acknowledged"] is not None)
    ]
    if rows:
        table(["STATE", "AGENT", "ROLE", "ACKNOWLEDGED", "A FORMER TEXT"], rows)
    say(f"{missing} of {len(learners)} have not acknowledged the present text" if rows else "nobody is listed")
    return NO if missing else OK


def acknowledge(sha256: str, agent: str, role: str | None, url: str, key_file: Path | None, *, as_json: bool) -> int:
    """Keep that the text with *sha256* was read and understood."""
    wish = {"sha256": sha256, "agent": agent} | ({} if role is None else {"role": role})
    try:
        made = request(url, key_file, "POST", "/v1/education/acknowledgements", wish)
    except Refused as refused:
        return _refused(refused, as_json)
    if as_json:
        say_json(made)
    else:
        say(f"{made['agent']} ({made['role']}) has acknowledged the present text since {made['acknowledged']}")
    return OK


def _refused(refused: Refused, as_json: bool) -> int:
    if as_json:
        say_json({"ok": False, "code": refused.code, "title": refused.title})
    else:
        complain(str(refused))
    return NO
