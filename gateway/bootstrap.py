"""The one place that wires adapters to ports."""

import asyncio
import shutil
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.adapters.anchors.authority import TimeStampingAuthority
from gateway.adapters.anchors.folder import WriteOnceFolder
from gateway.adapters.anchors.shelf import AnchorShelf
from gateway.adapters.anchors.witness import WitnessAnchor
from gateway.adapters.asterisk.ami.client import AmiClient
from gateway.adapters.asterisk.ami.settings import ManagerServer
from gateway.adapters.asterisk.ami_library import library_client
from gateway.adapters.asterisk.pbx import AsteriskPbx, AsteriskServer
from gateway.adapters.asterisk.starter import RecorderStarter
from gateway.adapters.config.settings import Anchors, Asterisk, RecorderLogin, Settings, SettingsError, Speech
from gateway.adapters.config.shelf import FilePolicies, open_policies
from gateway.adapters.keys.file_keys import FileKeyStore
from gateway.adapters.prompts.library import FilePromptLibrary, load_prompts
from gateway.adapters.recorder.vault import AgeVault
from gateway.adapters.sip.front import SipFront
from gateway.adapters.sip.pool import SipWorkerPool
from gateway.adapters.sip.protocol import WorkerConfig
from gateway.adapters.speech.models import Choice
from gateway.adapters.speech.pool import Sizes, open_recogniser
from gateway.adapters.store.acknowledgements import SqlAcknowledgements
from gateway.adapters.store.databases import Database, SqliteFile
from gateway.adapters.store.evidence_log import DatabaseEvidenceLog, PostgresEvidenceLog, SqliteEvidenceLog
from gateway.adapters.store.fsck import ANCHORS
from gateway.adapters.store.heads import LogHeads, read_verifier
from gateway.adapters.store.postgresql import REGISTRY_SCHEMA, PostgresSchema, PostgresServer, log_schema
from gateway.adapters.store.registry import RegistryDatabase, SqliteApiKeys, SqliteCallRegistry
from gateway.adapters.system import SystemClock, Ulids
from gateway.app.anchoring import Anchoring
from gateway.app.colleagues import Colleagues
from gateway.app.recovery import recorded_by_pbx, recover
from gateway.app.services import Services
from gateway.app.switchboard import Switchboard
from gateway.app.tasks import spawn
from gateway.evidence.checkpoint import Verifier
from gateway.evidence.cosignature import Witness
from gateway.evidence.errors import KeyInvalid, TimestampInvalid
from gateway.evidence.timestamp import read_certificates
from gateway.ports.anchors import Anchor
from gateway.ports.clock import Clock
from gateway.ports.policy import CallFacts
from gateway.ports.recogniser import NoRecogniser, Recogniser

_log = structlog.get_logger(__name__)

MINIMUM_FREE_BYTES = 64 * 1024 * 1024
WORKER_ARGV: Sequence[str] = (sys.executable, "-m", "gateway.bootstrap")


def configure_logging() -> None:
    """Log one JSON object a line to standard error. Messages are constants; values are never personal."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@dataclass(slots=True)
class Folders:
    """Where the embedded default keeps things, all below one folder."""

    root: Path

    @property
    def evidence(self) -> Path:
        return self.root / "evidence.db"

    @property
    def registry(self) -> Path:
        return self.root / "registry.db"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def anchors(self) -> Path:
        return self.keys / ANCHORS

    @property
    def recordings(self) -> Path:
        return self.root / "recordings"


def evidence_database(settings: Settings) -> Database:
    """Return where the log is. Raises `SettingsError`."""
    address = settings.evidence.address()
    if address is None:
        return SqliteFile(Folders(settings.storage.folder.resolve()).evidence)
    return PostgresSchema(PostgresServer(address.label, address.parameters), log_schema(settings.evidence.origin))


def registry_database(settings: Settings) -> Database:
    """Return where calls, recordings and API keys are. Raises `SettingsError`."""
    address = settings.registry.address()
    if address is None:
        return SqliteFile(Folders(settings.storage.folder.resolve()).registry)
    return PostgresSchema(PostgresServer(address.label, address.parameters), REGISTRY_SCHEMA)


def node(settings: Settings) -> str:
    """Return this gateway's name among those that share its registry, "" where it is alone."""
    return "" if settings.registry.database is None else settings.evidence.origin


def open_log(settings: Settings) -> DatabaseEvidenceLog:
    """Open the log for writing. Raises `ForkDetected`, `EvidenceUnavailable`, `OSError`, `SettingsError`."""
    folders, origin = Folders(settings.storage.folder.resolve()), settings.evidence.origin
    address = settings.evidence.address()
    if address is None:
        return SqliteEvidenceLog(folders.evidence, folders.keys, origin)
    return PostgresEvidenceLog(PostgresServer(address.label, address.parameters), folders.keys, origin)


def agent_route(template: str) -> Callable[[CallFacts], str]:
    """Return the route of the embedded default: one SIP address, `{called}` standing for the number dialled.

    Characters that have no place in a user part are left out: the caller chooses the number, not the address.
    """

    def route(facts: CallFacts) -> str:
        user = "".join(char for char in facts.called if char.isalnum() or char in "+-_.*#")
        return template.replace("{called}", user or "unknown")

    return route


def manager_server(section: Asterisk, login: RecorderLogin | None = None) -> ManagerServer:
    """Return where and how to log in to a server of the configuration, as its user or as *login*. Raises
    `SettingsError`."""
    user = login or section
    host, _, port = section.ami.rpartition(":")
    return ManagerServer(
        section.name,
        host.strip("[]"),
        user.user,
        user.read_secret(),
        port=int(port),
        tls=ssl.create_default_context() if section.tls else None,
        allow_system=login is not None,
    )


def asterisk_pbx(sections: Sequence[Asterisk], gateway: str) -> AsteriskPbx:
    """Return the Asterisk servers of the configuration; *gateway* is our name to them. Raises `SettingsError`."""
    servers = []
    for section in sections:
        server = manager_server(section)
        client = AmiClient(server) if section.client == "own" else library_client(server)
        starter = None
        if section.recorder is not None:
            _log.warning("a manager user that may run anything on the PBX starts recorders", server=section.name)
            starter = RecorderStarter(AmiClient(manager_server(section, section.recorder)))
        servers.append(
            AsteriskServer(
                client,
                section.source or section.ami.rpartition(":")[0],
                section.agents,
                section.endpoint,
                section.spool,
                section.foreign_recorders,
                starter,
            )
        )
    return AsteriskPbx(servers, gateway)


def open_anchors(section: Anchors, verifier: Verifier) -> list[Anchor]:
    """Return the anchors of the configuration, of the log that *verifier* is the key of. Raises `SettingsError`."""
    anchors: list[Anchor] = []
    if section.folder is not None:
        anchors.append(WriteOnceFolder(section.folder, verifier))
    for tsa in section.tsa:
        try:
            certificates = read_certificates(tsa.certificates.read_bytes())
        except (OSError, TimestampInvalid) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SettingsError(f"evidence.anchors: certificates of {tsa.name}: {tsa.certificates}: {reason}") from None
        anchors.append(TimeStampingAuthority(tsa.name, tsa.url, certificates, timeout_s=section.timeout_s))
    for witness in section.witness:
        try:
            key = Witness.parse(witness.key)
        except KeyInvalid as error:
            raise SettingsError(f"evidence.anchors: key of {witness.name}: {error}") from None
        anchors.append(WitnessAnchor(witness.name, witness.url, key, timeout_s=section.timeout_s))
    return anchors


def open_anchoring(settings: Settings, folders: Folders, clock: Clock) -> Anchoring | None:
    """Return what anchors the log's head while the gateway runs; `None` where that is not configured. Raises
    `SettingsError`."""
    section = settings.evidence.anchors
    if not section.every_minutes:
        return None
    return Anchoring(
        LogHeads(evidence_database(settings), folders.keys),
        open_anchors(section, read_verifier(folders.keys)),
        AnchorShelf(folders.anchors),
        clock,
        every_s=60.0 * section.every_minutes,
        stale_s=60.0 * (section.stale_after_minutes or 3 * section.every_minutes),
    )


async def start_recogniser(section: Speech) -> Recogniser:
    """Return the recogniser of the configuration, running; one that hears nothing where it cannot run."""
    choices = [Choice(name) for name in section.engines]
    if section.folder is not None:
        choices.insert(0, Choice("own", str(section.folder), section.folder_languages))
    deadline_s = section.deadline_ms / 1000
    sizes = Sizes(section.workers, section.waiting, deadline_s, hung_after_s=3 * deadline_s)
    return await open_recogniser(choices, sizes)


@dataclass(slots=True, eq=False)
class Gateway:
    """A running gateway."""

    settings: Settings
    services: Services
    switchboard: Switchboard
    pool: SipWorkerPool
    front: SipFront
    evidence: DatabaseEvidenceLog
    api_keys: SqliteApiKeys
    prompts: FilePromptLibrary
    database: RegistryDatabase
    pbx: AsteriskPbx
    policies: FilePolicies
    recovering: asyncio.Task[int]
    """Closes what a PBX went on recording when the last gateway was killed, once it can be seen."""
    anchoring: Anchoring | None = None

    def not_ready(self) -> list[str]:
        """Return what stands against taking a call now; empty: ready."""
        because = []
        if self.switchboard.draining:
            because.append("the gateway is stopping")
        if not self.pool.worker_pids:
            because.append("no SIP worker is running")
        elif not self.pool.free_calls:
            because.append("every SIP worker is full")
        lost = [name for name, connected in self.pbx.servers.items() if not connected]
        if lost:
            because.append(f"no manager connection to {', '.join(lost)}: its calls are connected unasked, unrecorded")
        if shutil.disk_usage(self.settings.storage.folder).free < MINIMUM_FREE_BYTES:
            because.append("the disk is nearly full: calls are connected, but nothing can be recorded")
        return because

    async def stop(self, cause: str = "gateway stopped") -> None:
        """End the live calls with their evidence complete, then everything else."""
        self.front.draining = True
        if self.anchoring is not None:
            await self.anchoring.stop()
        await self.switchboard.drain(cause=cause)
        await self.front.stop()
        await self.pool.stop()
        self.recovering.cancel()  # what it has not closed stays open, and is the next start's
        await asyncio.wait([self.recovering])
        await self.pbx.stop()
        await self.services.recogniser.stop()
        await self.database.aclose()
        await self.evidence.aclose()


async def start_gateway(settings: Settings) -> Gateway:
    """Bring everything up. Raises `PolicyError`, `EvidenceUnavailable`, `RegistryUnavailable`, `OSError` or
    `WorkerStartFailed`; nothing is left running then."""
    folders = Folders(settings.storage.folder.resolve())
    folders.recordings.mkdir(parents=True, exist_ok=True, mode=0o700)
    prompts, findings = load_prompts(settings.prompts.folder)
    for finding in findings:
        _log.error("a prompt is not usable", file=finding.file, finding=finding.message)
    policies = open_policies(settings.policy.folder, settings.policy.law, prompts, settings.staff.folder)
    pbx = asterisk_pbx(settings.asterisk, settings.evidence.origin)
    clock = SystemClock()
    evidence = open_log(settings)
    try:
        database = RegistryDatabase(registry_database(settings))
    except BaseException:
        await evidence.aclose()
        raise
    host, _, port = settings.sip.bind.rpartition(":")
    front = SipFront(
        host.strip("[]"),
        int(port),
        choose_worker=lambda call_id: pool.choose_worker(call_id),
        refused=lambda call_id: pool.release(call_id),
        can_take=lambda: pool.free_calls > 0,
        allowed_sources=settings.sip.allowed_sources,
        invites_per_second=settings.sip.invites_per_second,
    )
    recogniser: Recogniser = NoRecogniser()
    try:
        anchoring = open_anchoring(settings, folders, clock)
        if any(policy.file.ask.by_voice for policy in policies.current.book.policies):
            recogniser = await start_recogniser(settings.speech)
        await front.start()
        pool = SipWorkerPool(
            WORKER_ARGV,
            calls=settings.sip.calls,
            address=front.address,
            template=WorkerConfig(
                control_fd=-1,
                bind_host=host.strip("[]"),
                public_address=front.address,
                rtp_ports=settings.sip.rtp_ports,
                sources=settings.sip.allowed_sources,
                media_lost_s=float(settings.sip.media_timeout_s),
            ),
            on_address_lost=front.forget_worker,
        )
        services = Services(
            media=pool,
            evidence=evidence,
            registry=SqliteCallRegistry(database, node=node(settings)),
            keys=FileKeyStore(folders.keys),
            vault=AgeVault(),
            prompts=prompts,
            policy=policies,
            clock=clock,
            identities=Ulids(),
            route=agent_route(settings.sip.agent),
            recordings=folders.recordings,
            pbx=pbx,
            recogniser=recogniser,
            staff=Colleagues(policies.directory, policies.text, SqlAcknowledgements(database)),
        )
        await services.staff.load()
        lost = await services.registry.open_calls()
        later = await recorded_by_pbx(services, lost)
        await recover(services, [call for call in lost if call not in later])
        switchboard = Switchboard(services, settings.sip.trust_jurisdiction)
        await pbx.start()
        await pool.start(switchboard.on_media)
        recovering = spawn(recover(services, later), name="recover calls that a PBX recorded")
    except BaseException:
        await pbx.stop()
        await front.stop()
        await recogniser.stop()
        await database.aclose()
        await evidence.aclose()
        raise
    if anchoring is not None:
        anchoring.start()
    return Gateway(
        settings,
        services,
        switchboard,
        pool,
        front,
        evidence,
        SqliteApiKeys(database),
        prompts,
        database,
        pbx,
        policies,
        recovering,
        anchoring,
    )


def main_worker() -> None:
    """Run one SIP worker: the process that a pool starts."""
    from gateway.adapters.recorder.writer import AgeRecordingWriter
    from gateway.adapters.sip.worker import run_worker

    run_worker(WorkerConfig.from_environment(), AgeRecordingWriter)


if __name__ == "__main__":
    main_worker()
