"""The state diagrams of `docs/states.md`, drawn from the tables that are the code. `make docs` writes them."""

from collections.abc import Iterable

from gateway.domain.call import PHASES
from gateway.domain.consent import TRANSITIONS, Transition, always
from gateway.domain.recording import RECONCILIATION, WHEN_DURABLE, WHEN_OBSERVED, Act


def _label(row: Transition) -> str:
    guard = "" if row.guard is always else f" [{row.guard.__name__.replace('_', ' ')}]"
    return f"{row.event.__name__}{guard}"


def _consent_rows() -> Iterable[str]:
    yield "    [*] --> not_asked"
    for row in TRANSITIONS:
        if row.state is not row.target:
            yield f"    {row.state} --> {row.target}: {_label(row)}"


def _recorder_rows() -> Iterable[str]:
    yield "    [*] --> idle"
    for (stage, desired), (after, act) in RECONCILIATION.items():
        done = "" if act is Act.NOTHING else f" / {act.replace('_', ' ')}"
        yield f"    {stage} --> {after}: desired {desired}{done}"
    for stage, (after, act) in WHEN_DURABLE.items():
        yield f"    {stage} --> {after}: evidence durable / {act}"
    for (stage, seen), after in WHEN_OBSERVED.items():
        if stage is not after:
            yield f"    {stage} --> {after}: observed {seen}"
    yield "    closing --> idle: recording closed"
    yield "    closing --> failed: recording failed"


def _phase_rows() -> Iterable[str]:
    yield "    [*] --> arrived"
    for phase, following in PHASES.items():
        for after in following:
            yield f"    {phase} --> {after}"
    yield "    over --> [*]"


def _table() -> Iterable[str]:
    yield "| state | event | when | next | actions |"
    yield "|---|---|---|---|---|"
    for row in TRANSITIONS:
        actions = "; ".join((action.__doc__ or action.__name__).split(":")[0].rstrip(".") for action in row.actions)
        when = "" if row.guard is always else (row.guard.__doc__ or "").strip().rstrip(".")
        yield f"| {row.state} | {row.event.__name__} | {when} | {row.target} | {actions or '-'} |"


def document() -> str:
    """Return the whole of `docs/states.md`."""
    parts = [
        "# States",
        "Drawn by `make docs` from `gateway/domain/`; a test fails when this file and the code differ.",
        "## One party's consent",
        "```mermaid\nstateDiagram-v2\n" + "\n".join(_consent_rows()) + "\n```",
        "Every row of the table, in order; the first that matches is taken. An event no row names changes nothing.",
        "\n".join(_table()),
        "## The recorder",
        "Commands that record more (`open`, `resume`) wait in `..._waits` until all evidence is durable; `pause` and\n"
        "`close` wait for nothing.",
        "```mermaid\nstateDiagram-v2\n" + "\n".join(_recorder_rows()) + "\n```",
        "## The call",
        "```mermaid\nstateDiagram-v2\n" + "\n".join(_phase_rows()) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(document(), end="")
