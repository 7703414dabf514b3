"""Makes wrong versions of the consent core: one guard, row or condition each."""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.domain.consent import TRANSITIONS
from gateway.domain.recording import RECONCILIATION, WHEN_DURABLE, WHEN_OBSERVED

DOMAIN = Path(__file__).resolve().parents[2] / "gateway" / "domain"


@dataclass(frozen=True)
class Mutant:
    """One wrong version of one file. *name* is stable as long as the mutated code is."""

    name: str
    file: str
    source: Callable[[], str]


def _rewritten(file: str, what: str, change: Callable[[ast.Module], object]) -> Mutant:
    def source() -> str:
        tree = ast.parse((DOMAIN / file).read_text())
        change(tree)
        return ast.unparse(ast.fix_missing_locations(tree))

    return Mutant(f"{file}: {what}", file, source)


def _set(tree: ast.Module, place: int, make: Callable[[ast.AST], ast.expr], field: str) -> None:
    node = list(ast.walk(tree))[place]
    setattr(node, field, make(getattr(node, field)))


def _not(node: ast.AST) -> ast.expr:
    assert isinstance(node, ast.expr)
    return ast.UnaryOp(ast.Not(), node)


def _owners(tree: ast.Module) -> dict[ast.AST, str]:
    """Each node's innermost function, by name."""
    owners: dict[ast.AST, str] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            owners |= dict.fromkeys(ast.walk(function), function.name)
    return owners


def _guards(file: str) -> Iterable[Mutant]:
    """Every value a bool function returns: negated, always true, always false."""
    tree = ast.parse((DOMAIN / file).read_text())
    owners = _owners(tree)
    truthful = {f.name for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and _returns_bool(f)}
    ways: list[tuple[str, Callable[[ast.AST], ast.expr]]] = [
        ("negated", _not),
        ("always true", lambda node: ast.Constant(True)),
        ("always false", lambda node: ast.Constant(False)),
    ]
    for place, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Return) and node.value is not None and owners.get(node) in truthful:
            for way, make in ways:
                if ast.unparse(make(node.value)) != ast.unparse(node.value):
                    what = f"{owners[node]} returns {ast.unparse(node.value)}, {way}"
                    yield _rewritten(file, what, lambda t, p=place, m=make: _set(t, p, m, "value"))


def _returns_bool(function: ast.FunctionDef) -> bool:
    return isinstance(function.returns, ast.Name) and function.returns.id == "bool"


def _conditions(file: str) -> Iterable[Mutant]:
    """Every `if` and `while` test negated, every operand of `and` and `or` dropped."""
    tree = ast.parse((DOMAIN / file).read_text())
    owners = _owners(tree)
    idle = {node for check in ast.walk(tree) if isinstance(check, ast.Assert) for node in ast.walk(check)}
    idle |= {node for node in ast.walk(tree) if isinstance(node, ast.BoolOp) and _is_text(node)}
    for place, node in enumerate(ast.walk(tree)):
        if node in idle:
            continue
        where = owners.get(node, "module")
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            what = f"{where} tests {ast.unparse(node.test)}, negated"
            if what.startswith("_settle"):
                continue
            yield _rewritten(file, what, lambda t, p=place: _set(t, p, _not, "test"))
        elif isinstance(node, ast.BoolOp):
            for number, operand in enumerate(node.values):
                what = f"{where} tests {ast.unparse(node)} without {ast.unparse(operand)}"
                yield _rewritten(file, what, lambda t, p=place, n=number: list(ast.walk(t))[p].values.pop(n))
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            what = f"{where} compares {ast.unparse(node)} at the limit"
            yield _rewritten(file, what, lambda t, p=place: _shift(list(ast.walk(t))[p]))


def _is_text(node: ast.BoolOp) -> bool:
    """`docstring or ""` decides nothing."""
    return isinstance(node.values[-1], ast.Constant) and node.values[-1].value == ""


def _shift(node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    shifted = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
    node.ops[0] = shifted[type(node.ops[0])]()


def _appended(file: str, what: str, line: str) -> Mutant:
    return Mutant(f"{file}: {what}", file, lambda: (DOMAIN / file).read_text() + f"\n{line}\n")


def _dropped() -> Iterable[Mutant]:
    """Every row of every table dropped."""
    for number, row in enumerate(TRANSITIONS):
        what = f"no row {number}, {row.state} {row.event.__name__} {row.guard.__name__}"
        yield _appended("consent.py", what, f"TRANSITIONS = TRANSITIONS[:{number}] + TRANSITIONS[{number + 1}:]")
    for name, table in (
        ("RECONCILIATION", RECONCILIATION),
        ("WHEN_DURABLE", WHEN_DURABLE),
        ("WHEN_OBSERVED", WHEN_OBSERVED),
    ):
        for number, key in enumerate(table):
            words = "/".join(key) if isinstance(key, tuple) else str(key)
            yield _appended("recording.py", f"{name} without {words}", f"del {name}[list({name})[{number}]]")


def _order() -> Iterable[Mutant]:
    """Commands in the order they came up, and less-recording ones last."""
    source = (DOMAIN / "call.py").read_text()
    line = "return less + [c for c in self._out if c not in less]"
    assert source.count(line) == 1
    yield Mutant("call.py: handle does not sort", "call.py", lambda: source.replace(line, "return self._out"))
    backwards = "return [c for c in self._out if c not in less] + less"
    yield Mutant("call.py: handle sorts backwards", "call.py", lambda: source.replace(line, backwards))


def all_mutants() -> list[Mutant]:
    """Every mutant, each once."""
    found: dict[str, Mutant] = {}
    for mutant in [*_order(), *_dropped()]:
        found[mutant.name] = mutant
    for file in ("consent.py", "recording.py", "call.py", "pbx_call.py", "codes.py", "spoken.py"):
        for mutant in [*_guards(file), *_conditions(file)]:
            name = mutant.name
            while name in found:
                name += " (another)"
            found[name] = Mutant(name, mutant.file, mutant.source)
    return list(found.values())
