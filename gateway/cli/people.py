"""The commands about people: who the colleagues are, and what they know of the policy."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_URL, Config, Json, Key, Url

staff = typer.Typer(help="The colleagues whose calls these are: check files, list.", no_args_is_help=True)
education = typer.Typer(
    help="The policy in plain words: read it, acknowledge it, see who has not.", no_args_is_help=True
)

Files = Annotated[
    list[Path] | None, typer.Argument(help="Files of colleagues, or folders; none: those of the configuration.")
]


class Learns(StrEnum):
    """Whose text of the policy is meant."""

    AGENT = "agent"
    SUPERVISOR = "supervisor"
    OFFICER = "officer"


@staff.command("check")
def staff_check(files: Files = None, config: Config = None, as_json: Json = False) -> None:
    """Check files of colleagues: errors with file and line."""
    from gateway.cli import staff as work

    raise typer.Exit(work.check(files or [], config, as_json=as_json))


@staff.command("list")
def staff_list(files: Files = None, config: Config = None, as_json: Json = False) -> None:
    """List the colleagues, who declined to be recorded first."""
    from gateway.cli import staff as work

    raise typer.Exit(work.listing(files or [], config, as_json=as_json))


@education.command("text")
def education_text(
    role: Annotated[Learns, typer.Option(help="Whose text.")] = Learns.AGENT,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print what the policies on disk ask of a role, in plain words, and the SHA-256 that is acknowledged."""
    from gateway.cli import education as work

    raise typer.Exit(work.text(str(role), config, as_json=as_json))


@education.command("list")
def education_list(url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """Say who has acknowledged the text in force, and who has not; 0 when everybody has."""
    from gateway.cli import education as work

    raise typer.Exit(work.listing(url, key, as_json=as_json))


@education.command("acknowledge")
def education_acknowledge(
    sha256: Annotated[str, typer.Argument(help="SHA-256 of the text that was read, as `education text` prints it.")],
    agent: Annotated[str, typer.Option(help="For whom, where it is not the key's own agent: an admin key only.")] = "",
    role: Annotated[Learns | None, typer.Option(help="Whose text it was; left out: that of the key's role.")] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Say that the text in force was read and understood."""
    from gateway.cli import education as work

    whose = None if role is None else str(role)
    raise typer.Exit(work.acknowledge(sha256, agent, whose, url, key, as_json=as_json))
