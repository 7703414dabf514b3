"""The colleagues whose calls these are."""

from pathlib import Path

import pytest

from gateway.adapters.config.staff import read_files, read_staff
from gateway.policy.errors import PolicyError
from gateway.policy.staff import Colleague, Directory, Kind, make_directory, parse_staff

GOOD = """\
[[person]]
agent = "201"
kind = "employee"

[[person]]
agent = "anna"
kind = "outsourcer"
organisation = "Helpdesk Ltd"
recorded = false
since = 2026-10-01

[[person]]
agent = "chief"
kind = "contractor"
organisation = "Interim GmbH"
role = "supervisor"
"""


def test_a_list_says_what_each_colleague_is() -> None:
    known = make_directory([parse_staff(GOOD.encode(), "s.toml")])
    assert known.colleague("201") == Colleague(Kind.EMPLOYEE)
    assert known.colleague("anna") == Colleague(Kind.OUTSOURCER, declined=True)
    assert known.colleague("nobody") == Colleague(None) == Directory().colleague("201")
    assert known.by_agent["chief"].role == "supervisor"


WRONG = [
    ("", 0, "person: this key is required"),
    ("person = []", 1, "there is no [[person]] in the file"),
    ('[person]\nagent = "1"', 1, "write [[person]], in double brackets"),
    ('[[person]]\nkind = "employee"', 1, "person.0.agent: this key is required"),
    ('[[person]]\nagent = "a b"\nkind = "employee"', 2, "person.0.agent: String should match"),
    ('[[person]]\nagent = "1"\nkind = "friend"', 3, "person.0.kind: Input should be 'employee'"),
    ('[[person]]\nagent = "1"\nkind = "contractor"', 3, "whose contractor is he?"),
    ('[[person]]\nagent = "1"\nkind = "employee"\nname = "Anna"', 4, "person.0.name: unknown key"),
    ('[[person]]\nagent = "1"\nkind = "employee"\nrecorded = false', 4, "recorded = false needs since"),
    ('[[person]]\nagent = "1"\nkind = "employee"\nsince = 2026-01-01', 4, "since is the day on which he declined"),
    ('[[person]]\nagent = "1"\nkind = "employee"\nrecorded = false\nsince = "x"', 5, "write a date without quotes"),
    ("[[person]\n", 1, "not TOML"),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_staff(text.encode(), "s.toml")
    found = [(problem.line, problem.message) for problem in caught.value.problems]
    assert any(at == line and message in said for at, said in found), found


def test_nobody_is_listed_twice(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    (tmp_path / "b.toml").write_text('# twice\n[[person]]\nagent = "201"\nkind = "employee"\n')
    with pytest.raises(PolicyError) as caught:
        read_staff(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.source, problem.line) == (str(tmp_path / "b.toml"), 2)
    assert f'agent "201" is in {tmp_path / "a.toml"}:1 already' in problem.message


def test_a_folder_without_a_list_is_told_and_without_a_folder_nobody_is_known(tmp_path: Path) -> None:
    assert read_staff(None) == Directory()
    with pytest.raises(PolicyError, match="put a file with"):
        read_staff(tmp_path)


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(GOOD)
    assert len(read_files([file, tmp_path, file]).by_agent) == 3


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.toml").write_text("[[person]]\n")
    with pytest.raises(PolicyError) as caught:
        read_files([tmp_path / "empty", tmp_path / "a.toml", tmp_path / "missing.toml"])
    assert len({problem.source for problem in caught.value.problems}) == 3
