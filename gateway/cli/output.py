"""How the command line speaks: plain lines for people, one JSON document for programs, errors on standard error."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.adapters.config.settings import Settings, SettingsError, load_settings
from gateway.ports.evidence import EvidenceUnavailable
from gateway.ports.keys import KeyStoreUnusable
from gateway.ports.registry import RegistryUnavailable

OK, NO, USAGE, OUT_OF_REACH = 0, 1, 2, 3


def say(text: str = "") -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print a line to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say_json(value: Any) -> None:
    """Print one JSON document."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as they need."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


OUT_OF_REACH_ERRORS = (EvidenceUnavailable, RegistryUnavailable, KeyStoreUnusable, OSError)


def why(error: BaseException) -> str:
    """Say in one line what is out of reach, where, and why."""
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    return " ".join(text.split())


@contextlib.contextmanager
def within_reach() -> Iterator[None]:
    """Databases, keys and files that cannot be used end the command with 3 and one line. Works as a decorator."""
    try:
        yield
    except BrokenPipeError:  # whoever read our output has seen enough
        raise
    except OUT_OF_REACH_ERRORS as error:
        complain(why(error))
        raise SystemExit(OUT_OF_REACH) from None


def settings_or_exit(config: Path | None) -> Settings:
    """Read the settings; on a mistake say where and leave with 2."""
    try:
        settings = load_settings(config)
        for name, bind in (("sip", settings.sip.bind), ("http", settings.http.bind)):
            if int(bind.rpartition(":")[2]) > 65_535:
                raise SettingsError(f"{config or 'environment'}: {name}.bind: a port is a number up to 65535")
        for section in (settings.evidence, settings.registry):
            section.address()
        return settings
    except SettingsError as error:
        complain(str(error))
    except (OSError, ValueError) as error:
        complain(f"{config or 'environment'}: cannot be read: {getattr(error, 'strerror', None) or error}")
    raise SystemExit(2)
