"""Reading a TOML table into a pydantic model: everything that is wrong, with its line and what to write instead."""

import re
import tomllib
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from gateway.policy.errors import PolicyError, Problem
from gateway.policy.lines import key_lines, line_of

PLACE = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"
"""ISO 3166-1 alpha-2, or ISO 3166-2 of a part of a country."""

_REMEDIES = {
    "extra_forbidden": "unknown key; take it out or correct its spelling",
    "missing": "this key is required",
    "date_type": "write a date without quotes, such as 2026-11-28",
    "date_from_datetime_inexact": "write a date without a time, such as 2026-11-28",
}


class Table(BaseModel):
    """A table of a file: frozen, strict, every unknown key refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


TableType = TypeVar("TableType", bound=Table)


def clash(message: str, *path: str) -> PydanticCustomError:
    """An error of several keys together; *path* is the key to change, whose line is shown."""
    return PydanticCustomError("clash", "{message}", {"message": message, "path": path})


def parse_toml(data: bytes, source: str) -> tuple[str, dict[str, Any]]:
    """Return a TOML document as text and as a table. Raises `PolicyError` with the line of what is no TOML."""
    try:
        text = data.decode()
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PolicyError([Problem(source, line, "not UTF-8: save the file as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise PolicyError([Problem(source, line, f"not TOML: {str(error).partition(' (at')[0]}")]) from None


def read_table(model: type[TableType], data: bytes, source: str) -> TableType:
    """Return *data*, a TOML document, as *model*. Raises `PolicyError` with every problem, by line."""
    text, table = parse_toml(data, source)
    try:
        return model.model_validate(table)
    except ValidationError as invalid:
        lines = key_lines(text)
        problems = []
        for wrong in invalid.errors(include_input=False, include_url=False):
            path = wrong["loc"] + tuple(wrong.get("ctx", {}).get("path", ()))
            name = ".".join(str(part) for part in path if part != "[key]")
            message = _REMEDIES.get(wrong["type"], wrong["msg"].removeprefix("Value error, "))
            if "[key]" in path:
                message = 'not a place: write ISO 3166 codes such as "DE" or "US-CA"'
            problems.append(Problem(source, line_of(lines, path), f"{name}: {message}" if name else str(message)))
        raise PolicyError(sorted(problems, key=lambda problem: problem.line)) from None
