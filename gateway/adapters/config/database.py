"""Where a PostgreSQL database is, as an operator writes it: `postgresql://user@host:5432/name?sslmode=verify-full`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = ("postgresql", "postgres")
OPTIONS = frozenset(
    {"channel_binding", "connect_timeout", "host", "passfile", "port", "sslcert", "sslcrl", "sslkey", "sslmode"}
    | {"sslrootcert", "sslnegotiation"}
)
"""Parameters of libpq that may stand behind the question mark. None of them changes what a commit promises."""
EXAMPLE = 'write "postgresql://user@host:5432/name"'


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """*parameters* are libpq's, the password among them when the address has one; *label* is the address without it."""

    label: str
    parameters: Mapping[str, str] = field(repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the way to the server leaves this machine nowhere."""
        host = self.parameters.get("host", "")
        return not host or host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")


def parse_address(text: str) -> PostgresAddress:
    """Return the address that *text* spells. Raises `ValueError`, whose text repeats nothing of it: it may hold a
    password in a place where nobody looks for one."""
    try:
        parts = urlsplit(text)
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError(
            f"the address cannot be read: {EXAMPLE}, with % and other signs of a password as %25"
        ) from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{EXAMPLE}; left out: a file in storage.folder")
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name or parts.fragment:
        raise ValueError(f"the address names no database: {EXAMPLE}, with # and / of a password as %23 and %2F")
    options = parse_qsl(parts.query, keep_blank_values=True)
    unknown = [option for option, _ in options if option not in OPTIONS]
    if unknown:
        raise ValueError(f"the address has an option that is not one of {', '.join(sorted(OPTIONS))}")
    parameters = {"dbname": name, **dict(options)}
    if host:
        parameters["host"] = host
    if port is not None:
        parameters["port"] = str(port)
    for key, value in (("user", parts.username), ("password", parts.password)):
        if value:
            parameters[key] = unquote(value)
    if any("," in parameters.get(key, "") for key in ("host", "port")):
        raise ValueError("the address names several servers: name the one that can be written")
    user = f"{parameters['user']}@" if "user" in parameters else ""
    where = f"[{host}]" if ":" in host else host or parameters.get("host", "")
    port_text = f":{parameters['port']}" if "port" in parameters else ""
    return PostgresAddress(f"postgresql://{user}{where}{port_text}/{name}", parameters)
