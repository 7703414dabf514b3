"""Options that many commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Config = Annotated[Path | None, typer.Option("--config", help="gateway.toml; without it the embedded default.")]
Url = Annotated[str, typer.Option("--url", envvar="CONSENT_GATEWAY_URL", help="Where the running gateway listens.")]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key-file", envvar="CONSENT_GATEWAY_KEY_FILE", help="File with the API key. Default: var/keys/cli.key."
    ),
]
CallId = Annotated[str, typer.Argument(metavar="CALL_ID", help="Our call id (a ULID).")]
DEFAULT_URL = "http://127.0.0.1:8090"
