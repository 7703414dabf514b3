"""The command line. Every command's work stands in a module of its own, imported when it runs."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_URL, CallId, Config, Json, Key, Url
from gateway.cli.people import education, staff

app = typer.Typer(
    name="consent-gateway",
    help="A SIP consent gateway: asks the caller, records only as the answer allows, and keeps the evidence.",
    epilog="Exit codes: 0 done; 1 a check failed or the answer is no; 2 wrong usage; 3 gateway or file out of reach.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
calls = typer.Typer(help="Live calls of the running gateway.", no_args_is_help=True)
evidence = typer.Typer(help="The evidence of calls: list, show, export, convert, verify.", no_args_is_help=True)
devices = typer.Typer(
    help="The inventory of what can record: check, list, how much of it is gated.", no_args_is_help=True
)
policy = typer.Typer(help="Policies: check files, explain a decision.", no_args_is_help=True)
db = typer.Typer(help="The versions of the databases' tables: show, upgrade.", no_args_is_help=True)
keys = typer.Typer(help="API keys: make, list, revoke.", no_args_is_help=True)
prompts = typer.Typer(help="The spoken prompts.", no_args_is_help=True)
recordings = typer.Typer(help="Recordings, of the gateway and of its PBXes.", no_args_is_help=True)
for name, group in (
    ("calls", calls),
    ("db", db),
    ("devices", devices),
    ("education", education),
    ("evidence", evidence),
    ("keys", keys),
    ("policy", policy),
    ("prompts", prompts),
    ("recordings", recordings),
    ("staff", staff),
):
    app.add_typer(group, name=name)


class Answer(StrEnum):
    """How the demonstration's caller answers."""

    DTMF_YES = "dtmf-yes"
    DTMF_NO = "dtmf-no"
    SAY_YES = "say-yes"
    SAY_NO = "say-no"
    SILENCE = "silence"
    HANGUP = "hangup"


class Form(StrEnum):
    """In which form a call's evidence is written."""

    BUNDLE = "bundle"
    VCON = "vcon"
    VCON_SIGNED = "vcon-signed"
    CONSENT_RECORD = "consent-record"
    RECEIPT = "receipt"


class OpenForm(StrEnum):
    """The forms for which the log's private key is not needed."""

    VCON = "vcon"
    CONSENT_RECORD = "consent-record"
    RECEIPT = "receipt"


class Language(StrEnum):
    """The languages of a receipt."""

    DE = "de"
    EN = "en"
    ES = "es"
    FR = "fr"
    IT = "it"
    PT = "pt"


class Role(StrEnum):
    """What a key may do."""

    AGENT = "agent"
    SUPERVISOR = "supervisor"
    OFFICER = "officer"
    VIEWER = "viewer"
    SINK = "sink"
    ADMIN = "admin"


class CallPath(StrEnum):
    """Through which system the demonstration's call goes."""

    INLINE = "inline"
    ASTERISK = "asterisk"


@app.command()
def demo(
    path: Annotated[CallPath, typer.Option("--path", help="asterisk: through a real Asterisk.")] = CallPath.INLINE,
    answer: Annotated[Answer, typer.Option("--answer", help="What the caller does.")] = Answer.DTMF_YES,
    answer_wav: Annotated[
        Path | None,
        typer.Option("--answer-wav", help="What the caller says with say-yes or say-no: WAV, mono, 16 bit, 8 kHz."),
    ] = None,
    answer_after_ms: Annotated[
        int | None,
        typer.Option("--answer-after-ms", min=0, help="Answer so long after the prompt began. Default: at its end."),
    ] = None,
    pause_after: Annotated[
        float, typer.Option(min=0, help="Agent pauses after so many seconds of talk; 0: never.")
    ] = 3.0,
    resume_after: Annotated[
        float, typer.Option(min=0, help="Agent resumes so many seconds after the pause; 0: never.")
    ] = 3.0,
    withdraw_after: Annotated[
        float, typer.Option(min=0, help="Caller withdraws after so many seconds of talk; 0: never.")
    ] = 0.0,
    talk: Annotated[float, typer.Option(min=1, help="Seconds of talk.")] = 10.0,
    language: Annotated[str, typer.Option(help="Language of the prompts.")] = "en",
    out: Annotated[Path, typer.Option(help="Folder for recording, evidence and public key.")] = Path("demo-out"),
    as_json: Json = False,
) -> None:
    """Place one complete real call over SIP and RTP on loopback, and show what happened."""
    from gateway.cli import demo as work
    from gateway.cli.demo_people import Script

    script = Script(
        answer=answer.value,
        answer_wav=answer_wav,
        answer_after_ms=answer_after_ms,
        pause_after=pause_after,
        resume_after=resume_after,
        withdraw_after=withdraw_after,
        talk=talk,
        language=language,
    )
    raise typer.Exit(work.run(script, out, path=path.value, as_json=as_json))


@app.command()
def serve(
    config: Config = None,
    role: Annotated[str, typer.Option(help="all: everything in this process and its workers.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print where it listens as one JSON document.")] = False,
) -> None:
    """Keep the gateway running until it is told to stop (SIGTERM, Ctrl-C)."""
    from gateway.cli import serve as work

    raise typer.Exit(work.run(config, role, as_json=as_json))


@app.command()
def doctor(config: Config = None, as_json: Json = False) -> None:
    """Examine the installation and say what is wrong and what to do."""
    from gateway.cli import doctor as work

    raise typer.Exit(work.run(config, as_json=as_json))


@calls.command("list")
def calls_list(url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """List the live calls."""
    from gateway.cli import calls as work

    raise typer.Exit(work.listing(url, key, as_json=as_json))


@calls.command("show")
def calls_show(call_id: CallId, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """Show one live call."""
    from gateway.cli import calls as work

    raise typer.Exit(work.show(url, key, call_id, as_json=as_json))


def _act(
    verb: str, url: str, key: Path | None, as_json: bool, call_id: str | None, mine: bool, agent: str | None
) -> None:
    from gateway.cli import calls as work

    if (call_id is not None) + mine + (agent is not None) != 1:
        raise typer.BadParameter("name one call: CALL_ID, --mine or --agent AGENT")
    target = work.one_call(call_id) if call_id is not None else work.agents_call(agent)
    raise typer.Exit(work.act(url, key, verb, target, as_json=as_json))


OptionalCall = Annotated[str | None, typer.Argument(metavar="CALL_ID", help="Our call id (a ULID).")]
Mine = Annotated[bool, typer.Option("--mine", help="The present call of the agent whose API key is used.")]
Agent = Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="The present call of this agent.")]


@calls.command("pause")
def calls_pause(
    call_id: OptionalCall = None,
    mine: Mine = False,
    agent: Agent = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Pause the recording; exits 0 only when the pause was observed. For a hotkey: calls pause --mine."""
    _act("pause", url, key, as_json, call_id, mine, agent)


@calls.command("resume")
def calls_resume(
    call_id: OptionalCall = None,
    mine: Mine = False,
    agent: Agent = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Let the recording go on, if it may; exits 0 only when that was observed."""
    _act("resume", url, key, as_json, call_id, mine, agent)


@calls.command("withdraw")
def calls_withdraw(call_id: CallId, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """Take the caller's consent back on the caller's request."""
    _act("withdraw", url, key, as_json, call_id, False, None)


@calls.command("reconsent")
def calls_reconsent(call_id: CallId, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """Ask the caller again in the middle of the call."""
    _act("reconsent", url, key, as_json, call_id, False, None)


@evidence.command("list")
def evidence_list(config: Config = None, as_json: Json = False) -> None:
    """List the calls of the log."""
    from gateway.cli import evidence as work

    raise typer.Exit(work.listing(config, as_json=as_json))


@evidence.command("show")
def evidence_show(call_id: CallId, config: Config = None, as_json: Json = False) -> None:
    """Show one call's entries."""
    from gateway.cli import evidence as work

    raise typer.Exit(work.show(config, call_id, as_json=as_json))


OutOrStdout = Annotated[Path, typer.Option("--out", "-o", help="File to write; - for standard output.")]
JsonWithOut = Annotated[bool, typer.Option("--json", help="With --out: say what was written as JSON.")]
ExportForm = Annotated[Form, typer.Option("--format", help="bundle holds everything; the others follow from it.")]
ReceiptLanguage = Annotated[
    Language | None, typer.Option("--language", help="Of a receipt. Default: the language the caller was spoken to in.")
]
ReceiptParty = Annotated[str, typer.Option("--party", help="Whose receipt: the name his verdicts have.")]
Controller = Annotated[str, typer.Option("--controller", help="Who is responsible, for consent records and receipts.")]
MediaUrl = Annotated[
    str, typer.Option("--media-url", help="Where a vCon's recordings lie: https://.../{recording}. Default: not said.")
]


@evidence.command("export")
def evidence_export(
    call_id: CallId,
    out: OutOrStdout = Path("-"),
    form: ExportForm = Form.BUNDLE,
    language: ReceiptLanguage = None,
    party: ReceiptParty = "caller",
    controller: Controller = "",
    media_url: MediaUrl = "",
    anchored: Annotated[
        bool, typer.Option("--anchored", help="Hang it on the first anchored head that covers the whole call.")
    ] = False,
    config: Config = None,
    as_json: JsonWithOut = False,
) -> None:
    """Write one call's evidence: its bundle, a vCon, consent records or a receipt for the caller."""
    from gateway.cli import evidence as work
    from gateway.evidence.forms import Wishes

    wishes = Wishes(language.value if language else "", party, controller, media_url)
    raise typer.Exit(work.export(config, call_id, out, form.value, wishes, anchored=anchored, as_json=as_json))


@evidence.command("convert")
def evidence_convert(
    bundle: Annotated[Path, typer.Argument(help="A bundle that `evidence export` wrote.")],
    form: Annotated[OpenForm, typer.Option("--format", help="What to write.")],
    key: Annotated[Path, typer.Option("--key", help="The log's public key (log.pub), from a source you trust.")] = Path(
        "log.pub"
    ),
    out: OutOrStdout = Path("-"),
    language: ReceiptLanguage = None,
    party: ReceiptParty = "caller",
    controller: Controller = "",
    media_url: MediaUrl = "",
    as_json: JsonWithOut = False,
) -> None:
    """Verify a bundle offline and write it in another form."""
    from gateway.cli import evidence as work
    from gateway.evidence.forms import Wishes

    wishes = Wishes(language.value if language else "", party, controller, media_url)
    raise typer.Exit(work.convert(bundle, key, out, form.value, wishes, as_json=as_json))


AnchorFolder = Annotated[
    Path | None, typer.Option("--anchors", help="A folder of anchors: what they prove is said, and a lie is an error.")
]
TsaCerts = Annotated[
    Path | None, typer.Option("--tsa-certs", help="The authority's certificates (PEM), from a source you trust.")
]

WitnessKeys = Annotated[
    list[str] | None, typer.Option("--witness", help="A witness's key, the line or a file with it; may be repeated.")
]


@evidence.command("verify")
def evidence_verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a vCon, that `evidence export` wrote.")],
    key: Annotated[Path, typer.Option("--key", help="The log's public key (log.pub), from a source you trust.")] = Path(
        "log.pub"
    ),
    anchors: AnchorFolder = None,
    tsa_certs: TsaCerts = None,
    witness: WitnessKeys = None,
    as_json: Json = False,
) -> None:
    """Check a bundle or a vCon offline: no database, no configuration, no network."""
    from gateway.cli import evidence as work

    if (tsa_certs is not None or witness) and anchors is None:
        raise typer.BadParameter("--tsa-certs and --witness go with --anchors: what they vouch for is kept there")
    raise typer.Exit(work.verify(bundle, key, anchors, tsa_certs, witness or [], as_json=as_json))


@evidence.command("anchor")
def evidence_anchor(
    only: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Anchors of the configuration; none: all of them.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--folder", help="A write-once folder, instead of them.")] = None,
    tsa: Annotated[str, typer.Option("--tsa", help="URL of a time stamping authority, instead of them.")] = "",
    tsa_certs: TsaCerts = None,
    witness: Annotated[str, typer.Option("--witness", help="URL of a witness, instead of them.")] = "",
    witness_key: Annotated[str, typer.Option("--witness-key", help="Its key: the line, or a file with it.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Have the log's signed head kept elsewhere: a write-once folder, a time stamping authority, a witness."""
    from gateway.cli import evidence_anchor as work

    if bool(tsa) is not (tsa_certs is not None):
        raise typer.BadParameter("--tsa and --tsa-certs go together: a stamp is worth what its authority is")
    if bool(witness) is not bool(witness_key):
        raise typer.BadParameter("--witness and --witness-key go together")
    named = work.Named(folder, tsa, tsa_certs, witness, witness_key)
    raise typer.Exit(work.run(config, only or [], named, as_json=as_json))


@evidence.command("proof")
def evidence_proof(
    call_id: CallId,
    entry: Annotated[
        int | None, typer.Option("--entry", min=0, help="The entry's number in its call; none: the last.")
    ] = None,
    out: OutOrStdout = Path("-"),
    data: Annotated[Path | None, typer.Option("--entry-data", help="File for the entry's own bytes.")] = None,
    anchored: Annotated[bool, typer.Option("--anchored", help="Under the first anchored head that covers it.")] = False,
    config: Config = None,
    as_json: JsonWithOut = False,
) -> None:
    """Write the proof that one entry is in the log (C2SP tlog-proof): it shows nothing of what the entry says."""
    from gateway.cli import evidence_proof as work

    raise typer.Exit(work.write(config, call_id, entry, out, data, anchored=anchored, as_json=as_json))


@evidence.command("verify-proof")
def evidence_verify_proof(
    proof: Annotated[Path, typer.Argument(help="A file that `evidence proof` wrote.")],
    data: Annotated[Path, typer.Option("--entry-data", help="The entry's own bytes.")],
    key: Annotated[Path, typer.Option("--key", help="The log's public key (log.pub), from a source you trust.")] = Path(
        "log.pub"
    ),
    witness: WitnessKeys = None,
    as_json: Json = False,
) -> None:
    """Check offline that the log holds exactly this entry."""
    from gateway.cli import evidence_proof as work

    raise typer.Exit(work.verify(proof, data, key, witness or [], as_json=as_json))


@evidence.command("tiles")
def evidence_tiles(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write, or to go on writing.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write the log as static files for monitors (C2SP tlog-tiles). No entry holds a personal value."""
    from gateway.cli import evidence_proof as work

    raise typer.Exit(work.tiles(config, folder, as_json=as_json))


@evidence.command("fsck")
def evidence_fsck(config: Config = None, as_json: Json = False) -> None:
    """Read the whole log again and compare everything with everything."""
    from gateway.cli import evidence as work

    raise typer.Exit(work.fsck(config, as_json=as_json))


@evidence.command("drill")
def evidence_drill(
    folder: Annotated[
        Path | None, typer.Option("--dir", help="A new folder that keeps the damaged copies; without it they go away.")
    ] = None,
    most: Annotated[
        int, typer.Option("--entries", min=0, help="Copy only so many entries, from the first; 0: all of them.")
    ] = 2_000,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Damage a copy of the log in some fifty ways; exits 0 only when each is found. The log itself is only read."""
    from gateway.cli import evidence_drill as work

    raise typer.Exit(work.run(config, folder, most, as_json=as_json))


@db.command("show")
def db_show(config: Config = None, as_json: Json = False) -> None:
    """Show which version each database has and which this program needs; 0 when they are the same."""
    from gateway.cli import db as work

    raise typer.Exit(work.show(config, as_json=as_json))


@db.command("upgrade")
def db_upgrade(config: Config = None, as_json: Json = False) -> None:
    """Bring the databases to the version this program needs. Stop every gateway that uses them first."""
    from gateway.cli import db as work

    raise typer.Exit(work.bring_up(config, as_json=as_json))


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for, for people who read the list.")],
    role: Annotated[Role, typer.Option("--role", help="agent: the calls of --agent only.")] = Role.AGENT,
    agent: Annotated[str, typer.Option("--agent", help="The agent the key acts for.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File for the key; without it, it is printed.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a key. Its clear text is shown this once."""
    from gateway.cli import keys as work

    if (role is Role.AGENT) is not bool(agent):
        raise typer.BadParameter("--agent NAME goes with --role agent, and with no other")
    raise typer.Exit(work.create(name, role.value, agent, out, config, as_json=as_json))


@keys.command("list")
def keys_list(config: Config = None, as_json: Json = False) -> None:
    """List the keys, without their secrets."""
    from gateway.cli import keys as work

    raise typer.Exit(work.listing(config, as_json=as_json))


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as in `keys list`.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a key worthless, at once."""
    from gateway.cli import keys as work

    raise typer.Exit(work.revoke(key_id, config, as_json=as_json))


@policy.command("check")
def policy_check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Policy files or folders; none: those of the configuration.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check policies: errors with file and line, and warnings."""
    from gateway.cli import policy as work

    raise typer.Exit(work.check(files or [], config, as_json=as_json))


@policy.command("explain")
def policy_explain(
    caller: Annotated[str, typer.Option(help="The caller's number.")] = "",
    called: Annotated[str, typer.Option(help="The number called.")] = "",
    at: Annotated[
        str, typer.Option(help="When, such as 2026-12-24T18:00 (here) or 2026-12-24T18:00Z; none: now.")
    ] = "",
    line: Annotated[str, typer.Option(help="The line, as a PBX names it; none: the called number.")] = "",
    trunk: Annotated[str, typer.Option(help="The trunk it comes by: its name in a PBX, or the peer's address.")] = "",
    place: Annotated[str, typer.Option(help="The place a trusted peer names for the caller, such as US-CA.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say what the policy decides for a call, and why."""
    from gateway.cli import policy as work
    from gateway.ports.policy import CallFacts

    try:
        moment = work.moment(at)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None
    facts = CallFacts(caller=caller, called=called, at=moment, line=line, trunk=trunk, place=place, place_trusted=True)
    raise typer.Exit(work.explain(facts, config, as_json=as_json))


@policy.command("diff")
def policy_diff(
    before: Annotated[Path, typer.Argument(help="A policy folder, or one policy file.")],
    after: Annotated[Path, typer.Argument(help="The one to compare it with.")],
    calls: Annotated[
        Path | None, typer.Option(help="Sample calls, a TOML file of [[call]]; none: made up from both.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say which of a set of sample calls two sets of policies decide otherwise; 0 when none."""
    from gateway.cli import policy as work

    raise typer.Exit(work.diff(before, after, calls, config, as_json=as_json))


@policy.command("reload")
def policy_reload(url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """Let the policies on disk come into force in the running gateway; it keeps the old ones when anything is wrong."""
    from gateway.cli import policy as work

    raise typer.Exit(work.reload(url, key, as_json=as_json))


DeviceFiles = Annotated[
    list[Path] | None, typer.Argument(help="Files of devices, or folders; none: those of the configuration.")
]


@devices.command("check")
def devices_check(files: DeviceFiles = None, config: Config = None, as_json: Json = False) -> None:
    """Check the inventory: errors with file and line, and warnings."""
    from gateway.cli import devices as work

    raise typer.Exit(work.check(files or [], config, as_json=as_json))


@devices.command("list")
def devices_list(files: DeviceFiles = None, config: Config = None, as_json: Json = False) -> None:
    """List what can record and what it counts as today, the worst first."""
    from gateway.cli import devices as work

    raise typer.Exit(work.listing(files or [], config, as_json=as_json))


@devices.command("coverage")
def devices_coverage(
    files: DeviceFiles = None,
    at: Annotated[
        datetime | None,
        typer.Option("--at", metavar="DATE", formats=["%Y-%m-%d"], help="On this day; none: today, UTC."),
    ] = None,
    insist: Annotated[
        bool, typer.Option("--insist", help="Exit 1 when something that can record is uncontrolled or unknown.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say how much of what can record is gated, and what to do about the rest."""
    from gateway.cli import devices as work

    day = at.date() if at is not None else None
    raise typer.Exit(work.cover(files or [], day, config, insist=insist, as_json=as_json))


@prompts.command("check")
def prompts_check(
    folder: Annotated[Path | None, typer.Argument(help="The prompts' folder; none: that of the configuration.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check every prompt: format, level, length, hash."""
    from gateway.cli import prompts as work

    raise typer.Exit(work.check(folder, config, as_json=as_json))


@prompts.command("build")
def prompts_build(
    folder: Annotated[Path | None, typer.Argument(help="Where to write; none: ivr_prompts/.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only this language; may be repeated.")] = None,
) -> None:
    """Speak the prompts anew from their texts. Installs the voices into a folder of their own first."""
    from gateway.cli import prompts as work

    raise typer.Exit(work.build(folder, language or []))


@recordings.command("list")
def recordings_list(
    call: Annotated[str | None, typer.Option("--call", help="Only those of the call of this id.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the latest.")] = 100,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List recordings and where each is: sealed here, or a file of the PBX that made it."""
    from gateway.cli import recordings as work

    raise typer.Exit(work.listing(call, limit, config, as_json=as_json))


@recordings.command("export")
def recordings_export(
    recording: Annotated[str, typer.Argument(help="The recording's id: the call id, a hyphen, a number.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The WAV file to write; it must not exist.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Decrypt one recording into a plain WAV file, or copy that of a PBX."""
    from gateway.cli import recordings as work

    raise typer.Exit(work.export(recording, out, config, as_json=as_json))


@recordings.command("verify")
def recordings_verify(
    recording: Annotated[str, typer.Argument(help="The recording's id: the call id, a hyphen, a number.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compare one recording with its entry in the log: hash, length, and if it is ours silence in every paused span."""
    from gateway.cli import recordings as work

    raise typer.Exit(work.verify(recording, config, as_json=as_json))


def main() -> None:
    """Entry point of the `consent-gateway` command."""
    app()


if __name__ == "__main__":
    main()
