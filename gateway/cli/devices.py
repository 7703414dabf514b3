"""`consent-gateway devices`: the inventory of what can record, and how much of it is gated."""

import datetime
from pathlib import Path
from typing import Any

from gateway.adapters.config.devices import read_inventory
from gateway.adapters.system import SystemClock
from gateway.cli.output import NO, OK, USAGE, complain, say, say_json, settings_or_exit, table
from gateway.policy.coverage import Count, Coverage, Gap, coverage, state, worst_first
from gateway.policy.devices import Check, Device, Entry, Inventory, check_state, device_warnings, overdue_since
from gateway.policy.errors import PolicyError


def _today() -> datetime.date:
    return SystemClock().utc().date()


def _read(files: list[Path], config: Path | None) -> Inventory:
    """Read *files*, or the configured folder. Raises `PolicyError`; without either says so and leaves with 2."""
    folder = settings_or_exit(config).devices.folder
    if not files and folder is not None:
        files = [folder]
    if not files:
        complain("no inventory: name files, or set devices.folder in gateway.toml")
        raise SystemExit(USAGE)
    return read_inventory(files)


def _files(inventory: Inventory) -> list[dict[str, str]]:
    return [{"file": file.source, "sha256": file.sha256} for file in inventory.files]


def check(files: list[Path], config: Path | None, *, as_json: bool) -> int:
    """Print every finding; 0 when there is no error."""
    entries: tuple[Entry, ...] = ()
    try:
        inventory = _read(files, config)
        entries = inventory.entries
        problems = device_warnings(inventory, _today())
    except PolicyError as error:
        problems = error.problems
    errors = [problem for problem in problems if problem.severity == "error"]
    devices = sum(entry.device.count for entry in entries)
    if as_json:
        found = [{"file": p.source, "line": p.line, "severity": p.severity, "message": p.message} for p in problems]
        say_json({"ok": not errors, "entries": len(entries), "devices": devices, "findings": found})
        return NO if errors else OK
    for problem in problems:
        (complain if problem.severity == "error" else say)(str(problem))
    say(f"{len(entries)} entries, {devices} devices, {len(problems)} warnings" if entries else "not usable")
    return NO if errors else OK


def listing(files: list[Path], config: Path | None, *, as_json: bool) -> int:
    """Print every device and what it counts as today, the worst first."""
    try:
        inventory = _read(files, config)
    except PolicyError as error:
        complain(str(error))
        return NO
    today = _today()
    entries = worst_first(inventory.entries, today)
    if as_json:
        say_json([_device(entry, today) for entry in entries])
        return OK
    head = ["STATE", "DEVICES", "KIND", "ID", "NAME", "RESPONSIBLE", "RECORDS", "CONTROL", "CHECKED"]
    rows = [
        [
            state(entry.device, today).value,
            f"{entry.device.count:>7}",
            entry.device.kind.value,
            entry.device.id,
            _short(entry.device.name),
            _short(entry.device.responsible),
            entry.device.records.value,
            entry.device.control or "-",
            _checked(entry.device, today),
        ]
        for entry in entries
    ]
    table(head, rows)
    return OK


def _short(text: str, width: int = 32) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _checked(device: Device, at: datetime.date) -> str:
    found = check_state(device, at)
    if found is Check.NEVER:
        return "never"
    ended = {Check.OVERDUE: f", overdue since {overdue_since(device, at)}", Check.IN_THE_FUTURE: ", in the future"}
    return f"{device.last_checked}{ended.get(found, '')}"


def _device(entry: Entry, at: datetime.date) -> dict[str, Any]:
    device = entry.device
    return {
        "state": state(device, at).value,
        "check": check_state(device, at).value,
        "overdue_since": _iso(overdue_since(device, at)),
        "due": _iso(device.due),
        "file": entry.source,
        "line_in_file": entry.line,
        **device.model_dump(mode="json"),
    }


def _iso(date: datetime.date | None) -> str | None:
    return date.isoformat() if date else None


def cover(files: list[Path], at: datetime.date | None, config: Path | None, *, insist: bool, as_json: bool) -> int:
    """Print how much is gated; with *insist* 1 when something that can record is unknown or uncontrolled."""
    try:
        inventory = _read(files, config)
    except PolicyError as error:
        complain(str(error))
        return NO
    report = coverage(inventory, at or _today())
    if as_json:
        say_json(
            {
                "at": report.at.isoformat(),
                "complete": report.complete,
                "total": report.total.entry(),
                "kinds": [{"kind": kind.value, **count.entry()} for kind, count in report.kinds],
                "gaps": [_gap(gap) for gap in report.gaps],
                "files": _files(inventory),
            }
        )
    else:
        _print(report)
    return NO if insist and not report.complete else OK


def _gap(gap: Gap) -> dict[str, Any]:
    device = gap.entry.device
    return {
        "state": gap.state.value,
        "unknown_since": _iso(gap.since),
        "id": device.id,
        "kind": device.kind.value,
        "name": device.name,
        "devices": device.count,
        "responsible": device.responsible,
        "remedy": gap.remedy,
        "file": gap.entry.source,
        "line_in_file": gap.entry.line,
    }


HEAD = ("UNCONTROLLED", "UNKNOWN", "RULED", "SWITCHED", "GATED", "CANNOT RECORD", "ALL", "OVERDUE")


def _counts(count: Count) -> list[str]:
    numbers = (
        count.uncontrolled,
        count.unknown,
        count.ruled,
        count.switched,
        count.gated,
        count.cannot_record,
        count.total,
        count.overdue,
    )
    return [f"{number:>{len(head)}}" for head, number in zip(HEAD, numbers, strict=True)]


def _print(report: Coverage) -> None:
    rows = [[kind.value, *_counts(count)] for kind, count in report.kinds]
    table(["DEVICES", *HEAD], [*rows, ["total", *_counts(report.total)]])
    if report.gaps:
        say()
        gaps = [
            [
                f"{gap.state} since {gap.since}" if gap.since else gap.state.value,
                f"{gap.entry.device.count:>7}",
                gap.entry.device.id,
                _short(gap.entry.device.responsible),
                gap.remedy,
            ]
            for gap in report.gaps
        ]
        table(["GAP", "DEVICES", "ID", "RESPONSIBLE", "WHAT TO DO"], gaps)
    say()
    total = report.total
    if not total.recorders:
        say(f"on {report.at} none of {total.total} devices can record")
        return
    say(
        f"on {report.at} the gateway gates {total.gated} of {total.recorders} devices that can record "
        f"({total.gated_percent} %); {total.uncontrolled} uncontrolled, {total.unknown} unknown, "
        f"{total.ruled} only ruled"
    )
