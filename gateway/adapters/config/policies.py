"""The policies on disk, read once and all together: one wrong file and none is used."""

import contextlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from gateway.adapters.config.files import read_all, tomls
from gateway.policy.book import Book, Occasion, Policy, PromptMinima, make_book, parse_policy, warnings
from gateway.policy.decide import Places, Whereabouts, place_warnings, tightened, tightened_for_who_joins
from gateway.policy.errors import Problem
from gateway.policy.jurisdiction import merge
from gateway.policy.law import LAW_FILES, LawTable, law_warnings, make_law, parse_law
from gateway.policy.model import Minima, PolicyFile
from gateway.policy.numbering import AREA_CODES_FILE, Numbering, parse_numbering
from gateway.ports.policy import CallFacts, Decision
from gateway.ports.prompts import ALSO_PROMPT_NAMES, SPOKEN_PROMPT_NAMES, Prompt, PromptLibrary, PromptMissing


def read_policies(paths: list[Path]) -> list[Policy]:
    """Read policy files. Raises `PolicyError` with the findings of *all* of them."""
    return read_all(paths, parse_policy)


def default_policy() -> Policy:
    """The policy of the embedded default."""
    return parse_policy((resources.files("gateway.policy") / "default.toml").read_bytes(), "built-in default policy")


def load_book(folder: Path | None) -> Book:
    """Read `*.toml` of *folder*, in order of names; None: the built-in default. Raises `PolicyError`."""
    if folder is None:
        return make_book([default_policy()])
    return make_book(read_policies(tomls(folder, "put a policy there, or leave policy.folder out")))


def prompt_problems(book: Book, prompts: PromptLibrary) -> list[Problem]:
    """What the prompts cannot do for the policies: a language that is missing, a minimum longer than the prompt."""
    problems = []
    for policy in book.policies:
        file = policy.file
        for name in (*file.prompts, *_spoken(file, prompts)):
            try:
                prompt = prompts.prompt(file.language, name)
            except PromptMissing:
                has = ", ".join(prompts.languages()) or "none"
                message = f'language "{file.language}" has no usable prompt "{name}" (there is: {has})'
                problems.append(Problem(policy.source, 0, message))
                continue
            problems += _unnamed(policy, prompt)
            minimum = file.ask.minimum_heard_ms
            if name.startswith("ask") and minimum is not None and minimum > prompt.duration_ms:
                message = f'ask.minimum_heard_ms {minimum} is longer than prompt "{name}" ({prompt.duration_ms} ms)'
                problems.append(Problem(policy.source, 0, f"{message}: no answer could ever count"))
    return problems


def _unnamed(policy: Policy, prompt: Prompt) -> list[Problem]:
    """Purposes that an answer to *prompt* is to be for, and that it does not name: nobody agrees to what he was not
    told (GDPR Article 4(11), 7)."""
    file = policy.file
    wanted = () if file.ask.purposes == "one_by_one" or not prompt.name.startswith("ask") else file.purposes
    missing = [purpose for purpose in wanted if purpose not in prompt.purposes]
    if not missing:
        return []
    message = (
        f'prompt "{prompt.name}" in language "{file.language}" asks for {", ".join(prompt.purposes)}, not for '
        f'{", ".join(missing)}: write ask.purposes = "one_by_one", or record a prompt that names all, and list them as '
        'its "purposes" in the manifest'
    )
    return [Problem(policy.source, 0, message)]


def _spoken(file: PolicyFile, prompts: PromptLibrary) -> tuple[str, ...]:
    """The prompts that ask for a spoken answer, where the policy wants one and its language has them."""
    wanted = file.ask.by_voice and "ask" in file.prompts
    return SPOKEN_PROMPT_NAMES if wanted and prompts.asks_by_voice(file.language) else ()


@dataclass(frozen=True, slots=True)
class FilePolicyBook:
    """`ports.policy.PolicyBook` on a `Book`, the prompts it asks with, and the law of places."""

    book: Book
    prompt_minima: PromptMinima
    places: Places

    def resolve(self, facts: CallFacts) -> Decision:
        choice = self.book.choose(_occasion(facts))
        rules, reasons = choice.rules(self.prompt_minima), choice.reasons
        file = choice.policy.file
        table = file.jurisdiction
        if table is None:
            return Decision(rules, reasons, authority=file.who_may)
        found = self.places.of_call(table, _whereabouts(facts))
        rules, more = tightened(rules, table, found)
        return Decision(rules, (*reasons, *more), found, file.who_may, table)

    def resolve_joining(self, facts: CallFacts, joined: Decision) -> Decision:
        reasons = (joined.rules.joining_reason,)
        table = joined.jurisdiction_table
        if table is None or joined.jurisdiction is None:
            return Decision(joined.rules.for_who_joins(), reasons, authority=joined.authority)
        found = merge(joined.jurisdiction, self.places.of_who_joins(table, _whereabouts(facts)))
        rules, more = tightened_for_who_joins(joined.rules, table, found)
        return Decision(rules, (*reasons, *more), found, joined.authority, table)


def _occasion(facts: CallFacts) -> Occasion:
    return Occasion(called=facts.called, at=facts.at, line=facts.line, trunk=facts.trunk)


def _whereabouts(facts: CallFacts) -> Whereabouts:
    return Whereabouts(
        caller=facts.caller,
        line=facts.line or facts.called,
        trunk=facts.trunk,
        place=facts.place,
        trusted=facts.place_trusted,
    )


def load_places(folder: Path | None) -> Places:
    """Read the shipped tables of law and numbers, and `*.toml` of *folder*, whose rows take the place of the shipped
    ones. Raises `PolicyError`."""
    return Places(make_law(_shipped(), read_law(folder)), _numbering())


def read_law(folder: Path | None) -> list[LawTable]:
    """Read tables of law of one's own. Raises `PolicyError` with the findings of all of them."""
    if folder is None:
        return []
    return read_all(tomls(folder, "put a table there, or leave policy.law out"), parse_law)


def second_looks(book: Book, places: Places, law: Path | None) -> list[Problem]:
    """What policies, and tables of one's own in *law*, may do but deserves a second look. Raises `PolicyError`."""
    found = [problem for policy in book.policies for problem in warnings(policy)]
    return found + place_warnings(book, places) + law_warnings(_shipped(), read_law(law))


@cache
def _shipped() -> tuple[LawTable, ...]:
    tables = resources.files("gateway.policy") / "law"
    return tuple(parse_law((tables / name).read_bytes(), name) for name in LAW_FILES)


@cache
def _numbering() -> Numbering:
    file = resources.files("gateway.policy") / "law" / AREA_CODES_FILE
    return parse_numbering(file.read_bytes(), AREA_CODES_FILE)


def prompt_minima(prompts: PromptLibrary) -> PromptMinima:
    """Return how much of a language's asking prompts must be heard, by their manifest."""

    def minima(language: str) -> Minima:
        ask, again = (prompts.prompt(language, name).minimum_heard_ms for name in ("ask", "ask_again"))
        spoken = SPOKEN_PROMPT_NAMES if prompts.asks_by_voice(language) else ()
        also = []
        for name in ALSO_PROMPT_NAMES:
            with contextlib.suppress(PromptMissing):
                also.append((name.removeprefix("also_"), prompts.prompt(language, name).minimum_heard_ms))
        by_voice = {name: prompts.prompt(language, name).minimum_heard_ms for name in spoken}
        return Minima(ask, again)._replace(**by_voice, also=tuple(also))

    return minima
