"""`consent-gateway staff`: the colleagues whose calls these are."""

from pathlib import Path

from gateway.adapters.config.staff import read_files
from gateway.cli.output import NO, OK, USAGE, complain, say, say_json, settings_or_exit, table
from gateway.policy.errors import PolicyError
from gateway.policy.staff import Directory


def _read(files: list[Path], config: Path | None) -> Directory:
    """Read *files*, or the configured folder. Raises `PolicyError`; without either says so and leaves with 2."""
    folder = settings_or_exit(config).staff.folder
    if not files and folder is not None:
        files = [folder]
    if not files:
        complain("no list of colleagues: name files, or set staff.folder in gateway.toml")
        raise SystemExit(USAGE)
    return read_files(files)


def check(files: list[Path], config: Path | None, *, as_json: bool) -> int:
    """Print every finding; 0 when there is none."""
    try:
        count, problems = len(_read(files, config).by_agent), []
    except PolicyError as error:
        count, problems = 0, list(error.problems)
    if as_json:
        found = [{"file": p.source, "line": p.line, "severity": p.severity, "message": p.message} for p in problems]
        say_json({"ok": not problems, "people": count, "findings": found})
        return NO if problems else OK
    for problem in problems:
        complain(str(problem))
    say("not usable" if problems else f"{count} people")
    return NO if problems else OK


def listing(files: list[Path], config: Path | None, *, as_json: bool) -> int:
    """Print everybody, who is not recorded first."""
    try:
        people = sorted(_read(files, config).by_agent.values(), key=lambda one: (one.recorded, one.agent))
    except PolicyError as error:
        complain(str(error))
        return NO
    if as_json:
        say_json([one.model_dump(mode="json") for one in people])
        return OK
    rows = [
        [
            one.agent,
            str(one.kind),
            one.role,
            one.organisation or "-",
            "yes" if one.recorded else f"no, since {one.since}",
        ]
        for one in people
    ]
    table(["AGENT", "KIND", "ROLE", "ORGANISATION", "RECORDED"], rows)
    return OK
