"""`staff` and `education`, as far as they need no gateway."""

import json
from pathlib import Path

import pytest

from gateway.adapters.config.settings import ROOT
from tests.unit.cli.test_commands import run

EXAMPLE = ROOT / "docs" / "examples" / "staff"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "staff.d").mkdir()
    (tmp_path / "staff.d" / "staff.toml").write_text((EXAMPLE / "staff.toml").read_text())
    (tmp_path / "policy.d").mkdir()
    (tmp_path / "policy.d" / "a.toml").write_text('name = "a"\nversion = "7"\n')
    file = tmp_path / "gateway.toml"
    file.write_text(f'[staff]\nfolder = "{tmp_path}/staff.d"\n[policy]\nfolder = "{tmp_path}/policy.d"\n')
    return file


def test_the_example_is_right_whether_it_is_named_or_configured(config: Path) -> None:
    for said in (run("staff", "check", EXAMPLE), run("staff", "check", "--config", config)):
        assert (said.code, said.out, said.err) == (0, "5 people\n", "")
    assert run("staff", "check", EXAMPLE, "--json").json == {"ok": True, "people": 5, "findings": []}


def test_who_declined_comes_first(config: Path) -> None:
    said = run("staff", "list", "--config", config)
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["AGENT", "KIND", "ROLE", "ORGANISATION", "RECORDED"]
    assert lines[1] == ["202", "employee", "agent", "-", "no,", "since", "2026-10-01"]
    assert [line[0] for line in lines[1:]] == ["202", "201", "301", "lead", "privacy"]
    shown = run("staff", "list", "--config", config, "--json").json
    assert shown[0] == {
        **{"agent": "202", "kind": "employee", "role": "agent", "organisation": None},
        **{"recorded": False, "since": "2026-10-01"},
    }


def test_a_wrong_file_ends_with_1_and_its_line(config: Path) -> None:
    file = config.parent / "staff.d" / "b.toml"
    file.write_text('[[person]]\nagent = "9"\nkind = "friend"\n')
    for verb in ("check", "list"):
        said = run("staff", verb, "--config", config)
        assert said.code == 1 and said.err.startswith(f"{file}:3: error: person.0.kind: Input should be 'employee'")
    found = run("staff", "check", "--config", config, "--json").json
    assert (found["ok"], found["people"], found["findings"][0]["line"]) == (False, 0, 3)


@pytest.mark.parametrize("verb", ["check", "list"])
def test_without_a_list_there_is_nothing_to_say(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("staff", verb)
    assert (said.code, said.out) == (2, "")
    assert said.err == "no list of colleagues: name files, or set staff.folder in gateway.toml\n"


def test_the_text_is_printed_with_what_is_acknowledged(config: Path) -> None:
    said = run("education", "text", "--config", config)
    assert said.code == 0 and 'Policy "a", version 7' in said.out
    shown = run("education", "text", "--role", "officer", "--config", config, "--json").json
    assert shown["role"] == "officer" and len(shown["sha256"]) == 64
    assert said.out.splitlines()[-1].startswith("SHA-256 of this text: ")
    assert run("education", "text", "--role", "viewer").code == 2


def test_a_policy_that_is_wrong_has_no_text(config: Path) -> None:
    (config.parent / "policy.d" / "a.toml").write_text("name = 1\n")
    said = run("education", "text", "--config", config)
    assert said.code == 1 and "a.toml:1: error: name" in said.err


def test_what_needs_a_gateway_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("cgk_x")
    where = ("--url", "http://127.0.0.1:9", "--key-file", "key")
    for verb in (("list",), ("acknowledge", "0" * 64)):
        said = run("education", *verb, *where)
        assert said.code == 3 and "no gateway answers" in said.err


def test_the_text_for_programs_is_that_for_people(config: Path) -> None:
    shown = json.loads(run("education", "text", "--config", config, "--json").out)
    assert run("education", "text", "--config", config).out.startswith(shown["text"])
