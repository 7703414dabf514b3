"""Rules of the architecture that import-linter cannot express, checked on the syntax tree."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3] / "gateway"
SOURCES = sorted(ROOT.rglob("*.py"))
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception", "msg", "log"}
CLOCKS = {("time", "time"), ("time", "monotonic"), ("time", "monotonic_ns"), ("time", "time_ns"), ("datetime", "now")}
RANDOM = {"random", "secrets", "uuid"}
DERIVED = {"NAMESPACE_URL", "UUID", "uuid5"}
"""What of `uuid` makes the same of the same, and may be imported by name."""


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def made_in(name: str, tree: ast.AST) -> bool:
    """Whether *tree* makes an object called *name*."""
    return any(_name(call) == name for call in _calls(tree))


@pytest.mark.parametrize("command", ["RecordOpen", "RecordResume", "expect_recorder", "begin_recorder", "unmute"])
def test_the_recorder_is_opened_in_exactly_one_place(command: str) -> None:
    places = [_relative(path) for path in SOURCES if made_in(command, ast.parse(path.read_text()))]
    assert places == ["app/recorder.py"]


@pytest.mark.parametrize("command", ["OpenRecorder", "ResumeRecorder"])
def test_only_the_call_asks_for_the_recorder_to_run(command: str) -> None:
    places = [_relative(path) for path in SOURCES if made_in(command, ast.parse(path.read_text()))]
    assert places == ["domain/call.py"]


def _is_log(call: ast.Call) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LOG_METHODS
        and isinstance(function.value, ast.Name)
        and function.value.id in {"_log", "log", "logger"}
    )


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_log_messages_are_constants(path: Path) -> None:
    for call in _calls(ast.parse(path.read_text())):
        if _is_log(call):
            message = call.args[0]
            assert isinstance(message, ast.Constant) and isinstance(message.value, str), f"{path}:{call.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_logs_name_no_personal_fields(path: Path) -> None:
    personal = {
        "number",
        "name",
        "digit",
        "digits",
        "value",
        "uri",
        "caller",
        "called",
        "from_number",
        "to_number",
        "source",
    }
    for call in _calls(ast.parse(path.read_text())):
        if _is_log(call):
            named = {keyword.arg for keyword in call.keywords} & personal
            assert not named, f"{path}:{call.lineno} logs {named}"


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if _relative(p).split("/")[0] in ("domain", "app", "policy", "evidence", "media", "wire")],
    ids=_relative,
)
def test_clocks_and_randomness_come_from_ports(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for call in _calls(tree):
        function = call.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            assert (function.value.id, function.attr) not in CLOCKS, f"{path}:{call.lineno} reads a clock"
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not (
            node.module == "uuid" and {alias.name for alias in node.names} <= DERIVED
        ):
            names.append(node.module or "")
        assert not RANDOM & {name.split(".")[0] for name in names}, f"{path} imports randomness"


def test_the_rules_can_fail() -> None:
    """The checks above see what they look for."""
    bad = ast.parse("_log.info(f'call {x}', number=1); time.time(); RecordOpen(1)")
    calls = list(_calls(bad))
    assert any(_is_log(call) and not isinstance(call.args[0], ast.Constant) for call in calls)
    assert made_in("RecordOpen", bad)
