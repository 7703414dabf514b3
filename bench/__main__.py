"""Run the measurements and print their tables: `python -m bench [--json] [--quick] [NAME ...]`."""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from bench import answers, asterisk, calls, cli, endpointing, evidence, latency, machine
from bench.speech import cli as speech


async def evidence_run(folder: Path, quick: bool) -> dict[str, Any]:
    return await evidence.run(folder, 0.5 if quick else 2.0, 1_000 if quick else 10_000)


Run = Callable[[Path, bool], Awaitable[dict[str, Any]]]
MEASUREMENTS: dict[str, tuple[Run, Callable[[dict[str, Any]], None]]] = {
    "calls": (calls.run, calls.show),
    "latency": (latency.run, latency.show),
    "answers": (answers.run, answers.show),
    "evidence": (evidence_run, evidence.show),
    "asterisk": (asterisk.run, asterisk.show),
    "cli": (cli.run, cli.show),
    "endpointing": (endpointing.run, endpointing.show),
}


def main() -> None:
    if sys.argv[1:2] == ["speech"]:
        speech.main(sys.argv[2:])
        return
    more = "How spoken answers are taken is measured apart, and takes an hour: python -m bench speech --help"
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0], epilog=more)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(MEASUREMENTS)} (all)")
    parser.add_argument("--json", action="store_true", help="print one object instead of tables")
    parser.add_argument("--quick", action="store_true", help="short windows and few calls: a try, not a measurement")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to measure: the disk matters")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in MEASUREMENTS]:
        parser.error(f"no such measurement: {', '.join(unknown)} (there are {', '.join(MEASUREMENTS)})")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    found: dict[str, Any] = {
        "machine": machine.describe(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
    }
    if not options.json:
        about = found["machine"]
        print(f"{about['cpu']}, {about['cores']} cores, load {about['load_before'][0]} before; {found['at']}")
    for name in options.names or MEASUREMENTS:
        run, show = MEASUREMENTS[name]
        with tempfile.TemporaryDirectory(dir=options.folder, prefix=f".bench-{name}-") as folder:
            found[name] = asyncio.run(run(Path(folder), options.quick))
        if not options.json:
            print(f"\n-- {name} --")
            show(found[name])
            sys.stdout.flush()
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
