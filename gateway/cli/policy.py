"""`consent-gateway policy`: check files, explain decisions."""

from datetime import UTC, datetime
from pathlib import Path

from gateway.adapters.config.policies import (
    FilePolicyBook,
    default_policy,
    load_book,
    load_places,
    prompt_minima,
    prompt_problems,
    read_policies,
    second_looks,
)
from gateway.adapters.config.shelf import open_policies
from gateway.adapters.prompts.library import load_prompts
from gateway.cli.client import Refused, request
from gateway.cli.output import NO, OK, USAGE, complain, say, say_json, settings_or_exit, why
from gateway.domain.consent import announcement
from gateway.domain.rules import Joining, Rules
from gateway.policy.book import Book, make_book
from gateway.policy.diff import Sample, changes, read_samples, samples_of
from gateway.policy.errors import PolicyError
from gateway.policy.jurisdiction import Resolution
from gateway.ports.policy import CallFacts
from gateway.ports.prompts import PromptLibrary

SHOWN = 3
"""So many calls of a group are named."""
_JOINING = {
    Joining.ASK: "asked",
    Joining.ANNOUNCE: "told",
    Joining.KEEP_OUT: "kept out: nothing is recorded while he is there",
}


def _book(files: list[Path], folder: Path | None) -> Book:
    if not files:
        return load_book(folder)
    paths = [found for file in files for found in (sorted(file.glob("*.toml")) if file.is_dir() else [file])]
    policies = read_policies(paths)
    if any(file.is_dir() for file in files):
        return make_book(policies)
    return Book(tuple(policies))


def _joining(rules: Rules) -> str:
    basis = f", basis {rules.joining_basis}" if rules.joining is Joining.ANNOUNCE else ""
    return _JOINING[rules.joining] + basis


def check(files: list[Path], config: Path | None, *, as_json: bool) -> int:
    """Print every finding; 0 when there is no error."""
    settings = settings_or_exit(config)
    prompts, _ = load_prompts(settings.prompts.folder)
    count = 0
    try:
        book = _book(files, settings.policy.folder)
        count = len(book.policies)
        places = load_places(settings.policy.law)
        problems = prompt_problems(book, prompts) + second_looks(book, places, settings.policy.law)
    except PolicyError as error:
        problems = error.problems
    errors = [problem for problem in problems if problem.severity == "error"]
    if as_json:
        found = [{"file": p.source, "line": p.line, "severity": p.severity, "message": p.message} for p in problems]
        say_json({"ok": not errors, "policies": count, "findings": found})
    else:
        for problem in problems:
            (complain if problem.severity == "error" else say)(str(problem))
        say(
            f"{count} policies, {len(errors)} errors, {len(problems) - len(errors)} warnings" if count else "not usable"
        )
    return NO if errors else OK


def diff(before: Path, after: Path, calls: Path | None, config: Path | None, *, as_json: bool) -> int:
    """Decide sample calls by two sets of policies and print whose outcome differs; 0 when no one's does."""
    settings = settings_or_exit(config)
    prompts, _ = load_prompts(settings.prompts.folder)
    now = moment("")
    try:
        places = load_places(settings.policy.law)
        books = [_book_of(path, prompts) for path in (before, after)]
        samples = read_samples(calls.read_bytes(), str(calls), now) if calls else samples_of(books, now)
        shelves = [FilePolicyBook(book, prompt_minima(prompts), places) for book in books]
    except PolicyError as error:
        complain(str(error))
        return USAGE
    except OSError as error:
        complain(why(error))
        return USAGE
    found: dict[tuple[tuple[str, tuple[str, str]], ...], list[str]] = {}
    for sample in samples:
        facts = _facts(sample)
        other = changes(*(shelf.resolve(facts).rules for shelf in shelves))
        if other:
            found.setdefault(tuple(other.items()), []).append(sample.name)
    count = sum(map(len, found.values()))
    if as_json:
        groups = [{"calls": names, "changes": {k: list(v) for k, v in changed}} for changed, names in found.items()]
        say_json({"calls": len(samples), "changed": count, "groups": groups})
        return NO if count else OK
    for changed, names in sorted(found.items(), key=lambda group: -len(group[1])):
        more = f", and {len(names) - SHOWN} more (--json has all)" if len(names) > SHOWN else ""
        say(f"{len(names)} calls: {'; '.join(names[:SHOWN])}{more}")
        for name, (old, new) in changed:
            say(f"    {name:28}{old}  ->  {new}")
    say(
        f"{count} of {len(samples)} sample calls are decided otherwise"
        if count
        else f"no change in {len(samples)} calls"
    )
    return NO if count else OK


def _book_of(path: Path, prompts: PromptLibrary) -> Book:
    """The policies of a folder, or one policy for every call. Raises `PolicyError`."""
    if path.is_dir():
        book = load_book(path)
    else:
        (policy,) = read_policies([path])
        book = Book((policy,)) if not policy.named else make_book([policy, default_policy()])
    if problems := prompt_problems(book, prompts):
        raise PolicyError(problems)
    return book


def _facts(sample: Sample) -> CallFacts:
    return CallFacts(
        caller=sample.caller,
        called=sample.called,
        at=sample.at,
        line=sample.line,
        trunk=sample.trunk,
        place=sample.place,
        place_trusted=True,
    )


def reload(url: str, key_file: Path | None, *, as_json: bool) -> int:
    """Let the policies on disk come into force in the running gateway; say what changed, or what is wrong with them."""
    try:
        done = request(url, key_file, "POST", "/v1/policies/reload")
    except Refused as refused:
        if as_json:
            say_json({"ok": False, "code": refused.code, "errors": list(refused.errors)})
        else:
            complain(str(refused))
            for error in refused.errors:
                complain(f"{error['where']}: {error['what']}")
        return NO
    if as_json:
        say_json({"ok": True, **done})
        return OK
    for warning in done["warnings"]:
        say(warning)
    for policy in done["policies"]:
        mark = "changed" if policy["name"] in done["changed"] else "as before"
        say(f"{mark:10}{policy['name']}, version {policy['version']}  (SHA-256 {policy['sha256'][:16]}...)")
    for name in sorted(set(done["changed"]) - {policy["name"] for policy in done["policies"]}):
        say(f"{'gone':10}{name}")
    say("in force for calls that arrive from now on; calls keep what they began with")
    return OK


def explain(facts: CallFacts, config: Path | None, *, as_json: bool) -> int:
    """Print the decision for a call and its reasons."""
    settings = settings_or_exit(config)
    prompts, _ = load_prompts(settings.prompts.folder)
    try:
        policies = open_policies(settings.policy.folder, settings.policy.law, prompts)
    except PolicyError as error:
        complain(str(error))
        return NO
    resolved = policies.resolve(facts)
    rules, law = resolved.rules, resolved.jurisdiction
    name, version, sha256 = rules.policy
    decision = {
        "basis": str(rules.basis),
        "ask": rules.ask,
        "announce": rules.announce,
        "fail_mode": str(rules.fail_mode),
        "prompt": "ask" if rules.ask else announcement(rules) if rules.announce else None,
        "language": rules.language,
        "purposes": list(rules.purposes),
        "purposes_asked": ("one_by_one" if rules.one_by_one else "together") if rules.ask else None,
        "joining": {"what": str(rules.joining), "basis": str(rules.joining_basis)},
        "jurisdictions": [] if law is None else law.entry()["findings"],
        "requirement": None if law is None else law.requirement.label,
        "reasons": list(resolved.reasons),
        "policy": {"name": name, "version": version, "sha256": sha256},
    }
    if as_json:
        say_json(decision)
        return OK
    say(f"policy    {name}, version {version}  (SHA-256 {sha256})")
    told = "told, and not asked" if rules.announce else "neither asked nor told"
    say(f"basis     {rules.basis}; the caller is {'asked' if rules.ask else told}")
    apart = ", each asked for on its own" if rules.one_by_one and rules.ask and len(rules.purposes) > 1 else ""
    say(f"language  {rules.language}; purposes {', '.join(rules.purposes)}{apart}")
    say(f"no means  {rules.fail_mode}")
    say(f"joining   who joins later and is covered by nothing is {_joining(rules)}")
    if rules.ask:
        say(
            f"question  accept {_keys(rules.accept_keys)}, refuse {_keys(rules.refuse_keys)}, "
            f"{rules.attempts} attempts of {rules.answer_timeout_ms} ms; "
            f"a key counts after {rules.minimum_heard_ms} ms were heard"
        )
    for reason in resolved.reasons:
        say(f"because   {reason}")
    if law is None:
        say("law       this policy has no [jurisdiction]: nobody looks at where the parties are")
    else:
        _say_law(law)
    return OK


def _say_law(law: Resolution) -> None:
    """Every finding: whose, where, what it requires, by what source of what date."""
    for finding in law.findings:
        certain = "" if finding.status == "settled" else f", {finding.status}"
        say(f"law       {finding.role:6}  {finding.place:8}  {finding.requirement.label}{certain}: {finding.because}")
        say(f"          {'':16}  {finding.source} ({finding.date})")


def moment(text: str) -> datetime:
    """Return the moment *text* names, by the clock of this machine unless it names a zone; now without one. Raises
    `ValueError` when it names none."""
    try:
        return (datetime.fromisoformat(text) if text else datetime.now(UTC)).astimezone()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f'"{text}" is no time; write it as 2026-12-24T18:00, or 2026-12-24T18:00Z') from None


def _keys(keys: frozenset[str]) -> str:
    return "/".join(sorted(keys))
