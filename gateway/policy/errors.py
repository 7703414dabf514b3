"""What is wrong with a policy: which file, which line, what, and what to write instead."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. *line* counts from 1, 0 means the file as a whole."""

    source: str
    line: int
    message: str
    severity: str = "error"

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else self.source
        return f"{where}: {self.severity}: {self.message}"


class PolicyError(ValueError):
    """A policy that cannot be used. `problems` has every finding, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))
