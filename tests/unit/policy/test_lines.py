"""The line of every key, on documents that try to hide it."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.lines import key_lines, line_of

AWKWARD = '''# a comment with """ and [brackets
name = "x"   # line 2
[ask]
accept_keys = [
  "1", # ]
  "]",
  # fake = 1
]
text = """[not]
fake = 1 \\"""
"""
one = """[ one line"""
lit = \'\'\'
fake = 2
\'\'\'
s = "a \\" [ b"
h = "# no comment ["
codes.withdraw = "*9"
codes . pause = "*71"
"quoted.key" = 1
\'single\' = 1
in = { line = 1, two = [1, { a = "}" }] }
[[list]]
k = 1
[[ list ]]
k = 2
["a.b".c]
z = 1
[x] # tail
w = 'it"""s'
v = """four quotes""""
u = 2
sep = "\u2028"
t = \'\'\'a\'b\'\'\'
last = 1
'''


def test_the_document_is_valid() -> None:
    assert "last" in tomllib.loads(AWKWARD)["x"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("name", 2),
        ("ask", 3),
        ("ask accept_keys", 4),
        ("ask text", 9),
        ("ask one", 12),
        ("ask lit", 13),
        ("ask s", 16),
        ("ask h", 17),
        ("ask codes", 18),
        ("ask codes withdraw", 18),
        ("ask codes pause", 19),
        ("ask quoted.key", 20),
        ("ask single", 21),
        ("ask in", 22),
        ("list", 23),
        ("list k", 24),
        ("a.b", 27),
        ("a.b c z", 28),
        ("x", 29),
        ("x w", 30),
        ("x v", 31),
        ("x u", 32),
        ("x sep", 33),
        ("x t", 34),
        ("x last", 35),
    ],
)
def test_every_key_has_its_line(path: str, line: int) -> None:
    assert key_lines(AWKWARD)[tuple(path.split())] == line


ARRAYS = """top = 1
[[device]]
id = "a"
[device.place]
floor = 1
[[device.line]]
number = 1
[[device.line]]
number = 2
[[device]]
note = "b"
[[device.line]]
number = 3
[other]
id = 4
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 1),
        (("device", 0), 2),
        (("device", 0, "id"), 3),
        (("device", 0, "place", "floor"), 5),
        (("device", 0, "line", 0), 6),
        (("device", 0, "line", 1, "number"), 9),
        (("device", 1), 10),
        (("device", 1, "note"), 11),
        (("device", 1, "line", 0, "number"), 13),
        (("other", "id"), 15),
        (("device", 1, "id"), 10),
        (("device", 1, "note", 0, "x"), 11),
        (("device", "note"), 11),
    ],
)
def test_every_element_of_an_array_of_tables_has_lines_of_its_own(path: tuple[str | int, ...], line: int) -> None:
    assert line_of(key_lines(ARRAYS), path) == line


def test_nothing_inside_a_value_is_a_key() -> None:
    assert not [path for path in key_lines(AWKWARD) if path[-1] in ("fake", "not", "two")]


def test_windows_line_ends_count_once() -> None:
    assert key_lines('a = 1\r\n[b]\r\nc = """\r\n"""\r\nd = 1\r\n') == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "d"): 5,
    }


def test_the_nearest_parent_stands_in() -> None:
    lines = {("ask",): 3, ("ask", "accept_keys"): 4}
    assert line_of(lines, ("ask", "accept_keys", 1)) == 4
    assert line_of(lines, ("ask", "repeat_keys")) == 3
    assert line_of(lines, ("pause", "limit_ms")) == 0
    assert line_of(lines, ()) == 0


def spelled(value: str, how: int) -> list[str]:
    """One value as lines of TOML."""
    plain = value.replace("\\", "/").replace('"', "'").replace("'", "")
    return [
        [f'"{plain}"'],
        [f"'{plain}'  # {plain}"],
        ['"""', plain, '"""'],
        ["'''", plain, "'''"],
        ["[", f'  "{plain}", # ]', "]"],
        [f'{{ a = "{plain}" }}'],
    ][how]


VALUES = st.tuples(st.text("ab[]{}#=\"'. \\", max_size=12), st.integers(0, 5))


@given(st.lists(VALUES, max_size=8))
def test_any_document_of_keys_is_numbered_right(values: list[tuple[str, int]]) -> None:
    lines: list[str] = []
    expected: dict[Any, int] = {}
    for number, (value, how) in enumerate(values):
        first, *more = spelled(value, how)
        lines.append(f"key{number} = {first}")
        expected[(f"key{number}",)] = len(lines)
        lines += more
    text = "\n".join(lines)
    assert set(tomllib.loads(text)) == {path[0] for path in expected}
    assert key_lines(text) == expected
