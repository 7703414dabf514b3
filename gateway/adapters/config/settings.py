"""`gateway.toml`: where the gateway listens, whom it serves, where it keeps things. Environment variables
`CONSENT_GATEWAY_<SECTION>__<KEY>` override the file."""

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.adapters.config.database import PostgresAddress, parse_address

HostPort = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")]
ROOT = Path(__file__).resolve().parents[3]


class SettingsError(ValueError):
    """A configuration that cannot be used; the text names file, key and remedy."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sip(_Section):
    """The SIP side. *calls*: how many back-to-back calls must fit at once; workers are started accordingly."""

    bind: HostPort = "127.0.0.1:5070"
    calls: int = Field(default=4, ge=1, le=2_000)
    agent: str = "sip:{called}@127.0.0.1:5080"
    allowed_sources: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    rtp_ports: tuple[int, int] = (40_000, 49_999)
    invites_per_second: float = Field(default=100.0, gt=0)
    media_timeout_s: int = Field(default=30, ge=2, le=3_600)
    trust_jurisdiction: bool = False
    """`X-Consent-Jurisdiction` of the inline path is a fact: who sends calls here sets it himself, and passes on nobody
    else's. Otherwise it may only add a place."""

    @field_validator("allowed_sources")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError('write networks such as "192.0.2.0/24" or "2001:db8::/32"') from None
        return value

    @field_validator("agent")
    @classmethod
    def _uri(cls, value: str) -> str:
        if not re.fullmatch(r"sips?:[^\s@<>\"]+@[^\s@<>\"]+", value):
            raise ValueError(
                'write a SIP address such as "sip:{called}@pbx.example:5060"; {called} is the number dialled'
            )
        return value


class _Login(_Section):
    """A user of a manager interface, with his secret: in a file, or here."""

    user: str
    secret_file: Path | None = None
    secret: str = Field(default="", repr=False)

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if bool(self.secret) is (self.secret_file is not None):
            raise ValueError("the secret of manager.conf is needed once: secret_file (a file of mode 600), or secret")
        return self

    def read_secret(self) -> str:
        """Return the secret. Raises `SettingsError`."""
        if self.secret_file is None:
            return self.secret
        try:
            return self.secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"asterisk user {self.user}: {self.secret_file}: {type(error).__name__}") from None


class RecorderLogin(_Login):
    """A second user of the same server, with write class `system`, which is shell access there: it starts recorders in
    the dialplan's place, and does nothing else."""

    user: str = "consent-gateway-recorder"


class Asterisk(_Login):
    """One Asterisk whose dialplan sends its callers to be asked (`dialplan/asterisk`).

    *ami*: where its manager interface listens. *source*: the address its INVITEs come from, `host` or `host:port`; left
    out: the host of *ami*. *agents*: endpoints whose users need not be asked, `PJSIP/alice` or patterns such as
    `PJSIP/1???`; whoever else is connected counts as not covered, and the recorder waits. *spool*: where its
    `/var/spool/asterisk/monitor` can be read, left out: not from this machine. *config_folder*: where its
    `/etc/asterisk` can be read, for `consent-gateway doctor` alone. *foreign_recorders*: what becomes of a recorder on
    a gated channel that this gateway did not allow. *recorder*: an opt-in, the gateway starts the recorder itself.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,40}$")] = "asterisk"
    ami: HostPort = "127.0.0.1:5038"
    user: str = "consent-gateway"
    source: str = ""
    agents: tuple[str, ...] = Field(min_length=1)
    endpoint: str = "PJSIP/consent-gateway"
    spool: Path | None = None
    config_folder: Path | None = None
    tls: bool = False
    foreign_recorders: Literal["stop", "alarm", "ignore"] = "stop"
    client: Literal["own", "asterisk-ami"] = "own"
    recorder: RecorderLogin | None = None

    @field_validator("agents")
    @classmethod
    def _endpoints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" not in pattern for pattern in value):
            raise ValueError('write endpoints with their technology, such as "PJSIP/alice" or "PJSIP/1???"')
        return value


class Http(_Section):
    """The HTTP side."""

    bind: HostPort = "127.0.0.1:8090"


class Storage(_Section):
    """Where everything is kept."""

    folder: Path = Path("var")


class _Database(_Section):
    """Where something is kept that need not be a file: *database*, an address of PostgreSQL; left out: SQLite in
    `storage.folder`. The password is in *password_file*, in *password*, in the address, or where libpq finds it
    (`~/.pgpass`)."""

    database: SecretStr | None = None
    password: SecretStr | None = None
    password_file: Path | None = None

    @field_validator("database")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_address(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        address = None if self.database is None else parse_address(self.database.get_secret_value())
        inside = address is not None and "password" in address.parameters
        if (self.password is not None) + (self.password_file is not None) + inside > 1:
            raise ValueError("the password is needed once: password_file, or password, or in the address")
        if self.database is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password without a database: write database, or leave it out")
        return self

    @property
    def spells_password(self) -> bool:
        """Whether the password itself stands in the configuration."""
        address = None if self.database is None else parse_address(self.database.get_secret_value())
        return self.password is not None or (address is not None and "password" in address.parameters)

    def address(self) -> PostgresAddress | None:
        """Return where the database is, with the password; None for SQLite. Raises `SettingsError`."""
        if self.database is None:
            return None
        address = parse_address(self.database.get_secret_value())
        password = "" if self.password is None else self.password.get_secret_value()
        if self.password_file is not None:
            try:
                password = self.password_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                raise SettingsError(f"{self.password_file}: the database's password cannot be read: {reason}") from None
        if not password:
            return address
        return PostgresAddress(address.label, {**address.parameters, "password": password})


class _Elsewhere(_Section):
    """An anchor reached over HTTP. *name*: in file names and messages."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


class TimeStamping(_Elsewhere):
    """A time stamping authority (RFC 3161). *certificates*: a PEM file, of its certificates up to a self-signed one."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")] = "tsa"
    certificates: Path


class WitnessSection(_Elsewhere):
    """A witness (C2SP tlog-witness). *url*: its submission prefix; *key*: its verifier key line."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")] = "witness"
    key: str


class Anchors(_Section):
    """Where the log's signed head is kept beyond this machine.

    *folder*: a write-once folder, which must exist. *every_minutes*: how often the running gateway anchors a head that
    has moved, 0 for never: `consent-gateway evidence anchor` does it once. *stale_after_minutes*: from then on
    `/readyz` says so; 0 for three times *every_minutes*. *timeout_s*: for one answer.
    """

    folder: Path | None = None
    tsa: tuple[TimeStamping, ...] = ()
    witness: tuple[WitnessSection, ...] = ()
    every_minutes: float = Field(default=0, ge=0, le=10_080)
    stale_after_minutes: float = Field(default=0, ge=0, le=100_800)
    timeout_s: float = Field(default=15.0, gt=0, le=120)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        names = [section.name for section in (*self.tsa, *self.witness)]
        if len(names) != len(set(names)) or "folder" in names:
            raise ValueError("give each anchor a `name` of its own (not folder): files and messages name them by it")
        if self.every_minutes and not (self.folder or names):
            raise ValueError("every_minutes needs something to anchor to: folder, [[evidence.anchors.tsa]] or .witness")
        return self


class Evidence(_Database):
    """The log's name in its checkpoints: one per gateway node, never reused; where the log is, and where its head is
    anchored."""

    origin: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9./_-]{1,100}$")] = "consent-gateway/local"
    anchors: Anchors = Anchors()


class Registry(_Database):
    """Where calls, recordings and API keys are. In PostgreSQL, several gateways share them."""


class Policies(_Section):
    """Where the policies are; without a folder the built-in default asks for consent in English. *law*: a folder with
    tables of law of one's own, whose rows take the place of the shipped ones."""

    folder: Path | None = None
    law: Path | None = None


class Devices(_Section):
    """Where the inventory of what can record is; without a folder there is none."""

    folder: Path | None = None


class Staff(_Section):
    """Where the list of colleagues is; without a folder nobody is known by name, and every agent is an employee."""

    folder: Path | None = None


class Prompts(_Section):
    """Where the prompts are."""

    folder: Path = ROOT / "ivr_prompts"


class Speech(_Section):
    """Answers by voice.

    *engines*: Whisper models that come as packages: the first that knows the language listens, the next that does is
    asked about what the first is not sure of; none, and no *folder*: speech is off. *folder*: a model of your own,
    converted for CTranslate2, asked before them for *folder_languages*.
    *workers*: processes, 0 for one less than the machine has cores, and at most four. *waiting*: utterances that may
    queue. *deadline_ms*: an answer that takes longer counts as none.
    """

    engines: tuple[Literal["tiny.en", "base"], ...] = ("tiny.en", "base")
    folder: Path | None = None
    folder_languages: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")], ...] = ("en",)
    workers: int = Field(default=0, ge=0, le=64)
    waiting: int = Field(default=16, ge=1, le=1_000)
    deadline_ms: int = Field(default=2_000, ge=200, le=10_000)


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="CONSENT_GATEWAY_", env_nested_delimiter="__"
    )
    sip: Sip = Sip()
    asterisk: tuple[Asterisk, ...] = ()
    http: Http = Http()
    storage: Storage = Storage()
    evidence: Evidence = Evidence()
    registry: Registry = Registry()
    policy: Policies = Policies()
    devices: Devices = Devices()
    staff: Staff = Staff()
    prompts: Prompts = Prompts()
    speech: Speech = Speech()

    @field_validator("asterisk")
    @classmethod
    def _names(cls, value: tuple[Asterisk, ...]) -> tuple[Asterisk, ...]:
        names = [section.name for section in value]
        if len(names) != len(set(names)):
            raise ValueError("give each section a `name` of its own: evidence and readiness name servers by it")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def _merge(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = _merge(base[key], value) if both else value
    return base


def load_settings(path: Path | None) -> Settings:
    """Read *path* and `conf.d/*.toml` beside it, in order of names; None: defaults and environment only.

    Raises `SettingsError`.
    """
    table: dict[str, Any] = {}
    for file in [] if path is None else [path, *sorted((path.parent / "conf.d").glob("*.toml"))]:
        try:
            _merge(table, tomllib.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise SettingsError(
                f"{file}: no such file; name one with --config or leave it out for the defaults"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: not TOML: {error}") from None
    try:
        return Settings(**table)
    except ValidationError as invalid:
        where = str(path) if path is not None else "environment"
        lines = [
            f"{where}: {'.'.join(str(part) for part in error['loc'])}: {error['msg'].removeprefix('Value error, ')}"
            for error in invalid.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("\n".join(lines)) from None
