"""The policies on disk, read once and all together: one wrong file and none is used."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gateway.policy.book import Book, Policy, PromptMinima, make_book, parse_policy
from gateway.policy.errors import PolicyError, Problem
from gateway.policy.model import Minima, PolicyFile
from gateway.ports.policy import CallFacts, Decision
from gateway.ports.prompts import SPOKEN_PROMPT_NAMES, PromptLibrary, PromptMissing


def read_policies(paths: list[Path]) -> list[Policy]:
    """Read policy files. Raises `PolicyError` with the findings of *all* of them."""
    policies: list[Policy] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            policies.append(parse_policy(path.read_bytes(), str(path)))
        except PolicyError as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem(str(path), 0, f"cannot be read ({type(error).__name__})"))
    if problems:
        raise PolicyError(problems)
    return policies


def default_policy() -> Policy:
    """The policy of the embedded default."""
    return parse_policy((resources.files("gateway.policy") / "default.toml").read_bytes(), "built-in default policy")


def load_book(folder: Path | None) -> Book:
    """Read `*.toml` of *folder*, in order of names; None: the built-in default. Raises `PolicyError`."""
    if folder is None:
        return make_book([default_policy()])
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise PolicyError(
            [Problem(str(folder), 0, "no *.toml in this folder: put a policy there, or leave policy.folder out")]
        )
    return make_book(read_policies(paths))


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
            minimum = file.ask.minimum_heard_ms
            if name.startswith("ask") and minimum is not None and minimum > prompt.duration_ms:
                message = f'ask.minimum_heard_ms {minimum} is longer than prompt "{name}" ({prompt.duration_ms} ms)'
                problems.append(Problem(policy.source, 0, f"{message}: no answer could ever count"))
    return problems


def _spoken(file: PolicyFile, prompts: PromptLibrary) -> tuple[str, ...]:
    """The prompts that ask for a spoken answer, where the policy wants one and its language has them."""
    wanted = file.ask.by_voice and "ask" in file.prompts
    return SPOKEN_PROMPT_NAMES if wanted and prompts.asks_by_voice(file.language) else ()


@dataclass(frozen=True, slots=True)
class FilePolicyBook:
    """`ports.policy.PolicyBook` on a `Book` and the prompts it asks with."""

    book: Book
    prompt_minima: PromptMinima

    def resolve(self, facts: CallFacts) -> Decision:
        rules, reasons = self.book.rules(facts.called, self.prompt_minima)
        return Decision(rules, reasons)


def prompt_minima(prompts: PromptLibrary) -> PromptMinima:
    """Return how much of a language's asking prompts must be heard, by their manifest."""

    def minima(language: str) -> Minima:
        names = ("ask", "ask_again", *(SPOKEN_PROMPT_NAMES if prompts.asks_by_voice(language) else ()))
        return Minima(*(prompts.prompt(language, name).minimum_heard_ms for name in names))

    return minima
