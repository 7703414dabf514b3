"""The commands that need no gateway: what they print, and with which code they end."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.adapters.config.settings import ROOT
from gateway.cli.main import app
from tests.support import gateway as support

VERBS = {
    "demo": True,
    "serve": True,
    "doctor": True,
    "calls list": True,
    "db show": True,
    "db upgrade": True,
    "devices check": True,
    "devices coverage": True,
    "devices list": True,
    "education acknowledge": True,
    "education list": True,
    "education text": True,
    "keys create": True,
    "keys list": True,
    "keys revoke": True,
    "calls show": True,
    "calls pause": True,
    "calls resume": True,
    "calls withdraw": True,
    "calls reconsent": True,
    "evidence list": True,
    "evidence show": True,
    "evidence export": True,
    "evidence convert": True,
    "evidence verify": True,
    "evidence fsck": True,
    "evidence drill": True,
    "evidence tiles": True,
    "evidence proof": True,
    "evidence verify-proof": True,
    "evidence anchor": True,
    "policy check": True,
    "policy explain": True,
    "policy diff": True,
    "policy reload": True,
    "prompts check": True,
    "prompts build": False,
    "recordings list": True,
    "recordings verify": True,
    "recordings export": True,
    "staff check": True,
    "staff list": True,
}
"""Every verb, and whether it has --json."""


class Said:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str | Path) -> Said:
    """Run a command in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"NO_COLOR": "1", "COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose policy and prompts are good."""
    support.write_policy(tmp_path / "policy.d")
    support.write_prompts(tmp_path / "prompts")
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[sip]\nbind = "127.0.0.1:0"\n[http]\nbind = "127.0.0.1:0"\n'
        f'[storage]\nfolder = "{tmp_path / "var"}"\n[policy]\nfolder = "{tmp_path / "policy.d"}"\n'
        f'[prompts]\nfolder = "{tmp_path / "prompts"}"\n'
    )
    return file


# --- help ---


def test_nothing_heavy_is_loaded_before_a_command_runs() -> None:
    heavy = "('fastapi', 'sqlalchemy', 'pjsua2', 'numpy', 'uvicorn', 'pydantic', 'cryptography', 'structlog')"
    script = f"import sys, gateway.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("verb", "has_json"), VERBS.items())
def test_every_verb_explains_itself(verb: str, has_json: bool) -> None:
    said = run(*verb.split(), "--help")
    assert said.code == 0
    assert ("--json" in said.out) == has_json


def test_the_list_of_verbs_is_complete() -> None:
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for name, group in groups.items():
        verbs |= {f"{name} {command.name}" for command in group.registered_commands if group is not None}
    assert verbs == set(VERBS)
    assert "Exit codes" in run("--help").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["calls", "pause"],
        ["calls", "pause", "X", "--mine"],
        ["calls", "pause", "--mine", "--agent", "Y"],
        ["calls", "resume", "X", "--agent", "Y"],
        ["calls", "pause", "--agent"],
        ["calls", "show"],
        ["demo", "--answer", "shrug"],
        ["demo", "--talk", "-1"],
        ["serve", "--role", "jobs"],
        ["policy", "explain", "--config", "/nowhere.toml"],
        ["evidence", "verify"],
        ["evidence", "export", "X", "--format", "pdf"],
        ["evidence", "convert", "X"],
        ["evidence", "convert", "X", "--format", "vcon-signed"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert run(*arguments).code == 2


def test_two_servers_of_one_name_are_no_configuration(config: Path) -> None:
    """Readiness and evidence name a server by it: one that is away would be hidden by the other."""
    section = '[[asterisk]]\nagents = ["PJSIP/1*"]\nsecret_file = "secret"\n'
    config.write_text(config.read_text() + section + section)
    said = run("policy", "explain", "--config", config)
    assert said.code == 2 and "give each section a `name` of its own" in said.err
    config.write_text(config.read_text().replace(section, f'{section}name = "second"\n', 1))
    assert run("policy", "explain", "--config", config).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["evidence", "list"],
        ["evidence", "show", "X"],
        ["evidence", "export", "X"],
        ["evidence", "export", "X", "--format", "receipt"],
        ["evidence", "fsck"],
        ["recordings", "list"],
        ["recordings", "verify", "X"],
        ["recordings", "export", "X", "--out", "never.wav"],
    ],
)
def test_a_folder_without_a_log_is_out_of_reach(config: Path, arguments: list[str]) -> None:
    said = run(*arguments, "--config", config)
    assert said.code == 3
    assert "--config" in said.err and len(said.err.splitlines()) == 1
    assert not (config.parent / "var").exists(), "looking makes nothing"


# --- policy ---


def test_explain_prints_the_decision_of_the_contract(config: Path) -> None:
    said = run("policy", "explain", "--called", "sales", "--config", config, "--json")
    assert said.code == 0
    decision = said.json
    assert set(decision) == {
        "basis",
        "ask",
        "announce",
        "fail_mode",
        "prompt",
        "language",
        "purposes",
        "purposes_asked",
        "joining",
        "jurisdictions",
        "requirement",
        "reasons",
        "policy",
    }
    assert (decision["basis"], decision["ask"], decision["fail_mode"]) == ("consent", True, "connect_unrecorded")
    assert (decision["language"], decision["purposes"]) == ("en", ["recording"])
    assert decision["reasons"] and all(isinstance(reason, str) for reason in decision["reasons"])
    policy = decision["policy"]
    assert (policy["name"], policy["version"], len(policy["sha256"])) == ("test", "1", 64)
    text = run("policy", "explain", "--config", config).out
    assert "basis     consent" in text and "because" in text and policy["sha256"] in text


def test_explain_without_configuration_explains_the_built_in_policy(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("policy", "explain", "--json")
    assert said.code == 0 and said.json["policy"]["name"] == "ask-everybody"


def test_explain_of_a_bad_policy_says_where(config: Path) -> None:
    policy = config.parent / "policy.d" / "test.toml"
    policy.write_text(policy.read_text().replace("attempts = 2", "attempts = 0"))
    said = run("policy", "explain", "--config", config, "--json")
    assert said.code == 1 and said.out == ""
    assert "test.toml:7" in said.err and "attempts" in said.err


def test_check_is_silent_about_good_policies(config: Path) -> None:
    said = run("policy", "check", "--config", config, "--json")
    assert said.code == 0
    assert (said.json["ok"], said.json["policies"]) == (True, 1)
    assert [found for found in said.json["findings"] if found["severity"] == "error"] == []
    assert run("policy", "check", config.parent / "policy.d" / "test.toml", "--config", config).code == 0
    assert run("policy", "check", config.parent / "policy.d", "--config", config).code == 0


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("attempts = 2", 'attempts = "many"', 7, "attempts"),
        ("attempts = 2", "attempts = 2\ncolour = 1", 8, "colour"),
        ('version = "1"', 'version = "1"\nfail_mode = "shrug"', 4, "fail_mode"),
        ("[ask]", "[ask", None, ""),
    ],
)
def test_check_names_file_and_line(config: Path, old: str, new: str, line: int | None, word: str) -> None:
    policy = config.parent / "policy.d" / "test.toml"
    policy.write_text(policy.read_text().replace(old, new, 1))
    said = run("policy", "check", policy, "--config", config, "--json")
    assert said.code == 1 and said.json["ok"] is False
    (found,) = [found for found in said.json["findings"] if found["severity"] == "error"]
    assert set(found) == {"file", "line", "severity", "message"}
    assert found["file"] == str(policy) and word in found["message"]
    assert line is None or found["line"] == line
    assert str(policy) in run("policy", "check", policy, "--config", config).err


def test_check_of_a_file_that_is_not_there(config: Path) -> None:
    said = run("policy", "check", "/nowhere.toml", "--config", config, "--json")
    assert said.code == 1 and said.json["findings"][0]["file"] == "/nowhere.toml"


def test_check_knows_which_prompts_there_are(config: Path) -> None:
    (config.parent / "prompts" / "en" / "ask_again.wav").unlink()
    said = run("policy", "check", "--config", config, "--json")
    assert said.code == 1
    assert any("ask_again" in found["message"] for found in said.json["findings"])


# --- prompts ---


def test_the_prompts_of_the_project_are_whole(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("prompts", "check", "--json")
    assert said.code == 0 and said.json["ok"] is True and said.json["findings"] == []
    assert {prompt["language"] for prompt in said.json["prompts"]} == {"en", "de", "fr", "es", "it", "pt"}
    assert len(said.json["prompts"]) == 6 * (10 + 3 + 3)
    assert all(prompt["duration_ms"] > 500 and len(prompt["sha256"]) == 64 for prompt in said.json["prompts"])
    assert "96 prompts usable in 6 languages" in run("prompts", "check").out


NOT_UNDERSTOOD = "has prompts for spoken answers, but no engine in speech.engines understands it: add "


@pytest.mark.parametrize(
    ("speech", "by_voice"),
    [
        ("", {"de", "en", "es", "fr", "it", "pt"}),
        ('engines = ["tiny.en"]', {"en"}),
        ('engines = []\nfolder = "/own"\nfolder_languages = ["fr", "pt"]', {"fr", "pt"}),
        ('engines = []\nfolder_languages = ["fr"]', set()),
    ],
)
def test_check_says_which_languages_are_answered_by_voice(tmp_path: Path, speech: str, by_voice: set[str]) -> None:
    """A language has the prompts *and* an engine that understands it, or its callers answer by key."""
    config = tmp_path / "gateway.toml"
    config.write_text(f'[prompts]\nfolder = "{ROOT / "ivr_prompts"}"\n[speech]\n{speech}\n')
    said = run("prompts", "check", "--config", config).out
    for language in ("de", "en", "es", "fr", "it", "pt"):
        ending = ", and by voice" if language in by_voice else f" only ({NOT_UNDERSTOOD}"
        assert f"\n{language}: answers by key{ending}" in said
    told = run("prompts", "check", "--config", config, "--json").json
    answers = {entry["language"]: entry["answers"] for entry in told["languages"]}
    assert {language for language, ways in answers.items() if ways == ["key", "voice"]} == by_voice
    assert all(ways == ["key"] for language, ways in answers.items() if language not in by_voice)
    assert all(prompt["answers"] == answers[prompt["language"]] for prompt in told["prompts"])


def test_check_says_which_languages_have_no_prompts_for_spoken_answers(tmp_path: Path) -> None:
    said = run("prompts", "check", support.write_prompts(tmp_path))
    assert "\nen: answers by key only (no prompts that ask for a spoken answer)\n" in said.out


def test_half_of_the_prompts_for_spoken_answers_is_a_finding(tmp_path: Path) -> None:
    folder = support.write_prompts(tmp_path, spoken=True)
    manifest = folder / "en" / "manifest.json"
    entries = json.loads(manifest.read_text())["prompts"]
    del entries["confirm_spoken"]
    manifest.write_text(json.dumps({"prompts": entries}))
    said = run("prompts", "check", folder)
    assert said.code == 1 and 'but not "confirm_spoken"' in said.err
    assert "en: answers by key only" in said.out


def test_a_changed_prompt_is_found(config: Path) -> None:
    sound = config.parent / "prompts" / "en" / "ask.wav"
    sound.write_bytes(sound.read_bytes()[:-2] + b"\1\1")
    said = run("prompts", "check", "--config", config, "--json")
    assert said.code == 1 and said.json["ok"] is False
    assert any(found["file"] == str(sound) and "SHA-256" in found["message"] for found in said.json["findings"])
    assert str(sound) in run("prompts", "check", config.parent / "prompts").err


def test_a_folder_without_prompts_is_a_finding(tmp_path: Path) -> None:
    said = run("prompts", "check", tmp_path, "--json")
    assert said.code == 1 and said.json["findings"]


# --- doctor ---


def test_doctor_examines_everything(config: Path) -> None:
    said = run("doctor", "--config", config, "--json")
    assert said.code == 0, said.out
    assert said.json["ok"] is True
    names = {check["name"] for check in said.json["checks"]}
    assert names >= {"python", "pjsua2", "prompts", "policy", "storage", "disk", "sip", "http", "clock"}
    assert all(set(check) == {"name", "state", "what"} and check["what"] for check in said.json["checks"])
    assert {check["state"] for check in said.json["checks"]} <= {"ok", "warning", "error"}


def test_doctor_says_what_is_wrong(config: Path) -> None:
    keys = config.parent / "var" / "keys"
    keys.mkdir(parents=True)
    (keys / "log.key").write_text("secret")
    (keys / "log.key").chmod(0o644)
    (config.parent / "prompts" / "en" / "ask.wav").unlink()
    said = run("doctor", "--config", config, "--json")
    assert said.code == 1 and said.json["ok"] is False
    wrong = {check["name"]: check["what"] for check in said.json["checks"] if check["state"] == "error"}
    assert "chmod 600" in wrong["keys"] and "ask" in wrong["prompts"]
    assert "secret" not in said.out


def test_doctor_names_each_asterisk_that_is_out_of_reach(config: Path) -> None:
    secret = config.parent / "ami.secret"
    secret.write_text("hush-hush")
    secret.chmod(0o600)
    section = '[[asterisk]]\nname = "{}"\nami = "127.0.0.1:1"\nagents = ["PJSIP/a"]\nsource = "127.0.0.{}"\n'
    config.write_text(
        config.read_text()
        + f'{section.format("here", 1)}secret_file = "{secret}"\n'
        + f'{section.format("there", 1)}secret_file = "/nowhere"\n'
    )
    said = run("doctor", "--config", config, "--json")
    assert said.code == 1 and said.json["ok"] is False
    wrong = [(check["name"], check["what"]) for check in said.json["checks"] if check["state"] == "error"]
    assert [(name, what.partition(":")[0]) for name, what in wrong] == [
        *(("pbx-source", "there"), ("pbx-reach", "here"), ("pbx-secret", "there")),
    ]
    text = run("doctor", "--config", config)
    assert text.code == 1 and "ERROR    pbx-reach      here: 127.0.0.1:1 is out of reach" in text.err
    assert "hush-hush" not in said.out + text.out + text.err


# --- configuration ---


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[sip\n", "line 1"),
        ("[sip]\nbnd = 1", "sip.bnd"),
        ('[http]\nbind = "localhost"', "http.bind"),
        ('[http]\nbind = "127.0.0.1:65536"', "http.bind"),
        ('[sip]\nallowed_sources = ["anywhere"]', "192.0.2.0/24"),
        ('[sip]\nagent = "bob"', "sip.agent"),
        ("[moon]", "moon"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    said = run("policy", "explain", "--config", file)
    assert said.code == 2
    assert str(file) in said.err and word in said.err and len(said.err.splitlines()) == 1


def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    said = run("policy", "explain", "--config", tmp_path)
    assert said.code == 2 and str(tmp_path) in said.err
    monkeypatch.setenv("CONSENT_GATEWAY_SIP", "no JSON")
    said = run("policy", "explain")
    assert said.code == 2 and "sip" in said.err and len(said.err.splitlines()) == 1


def test_diff_says_which_calls_are_decided_otherwise(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
        (folder / "a.toml").write_text('name = "a"\nversion = "1"\n')
    config = tmp_path / "gateway.toml"
    config.write_text("")
    same = run("policy", "diff", before, after, "--config", config)
    assert (same.code, same.out) == (0, "no change in 1 calls\n")
    (after / "b.toml").write_text(
        'name = "b"\nversion = "1"\nbasis = "contract"\njustification = "terms 4"\n[match]\ncalled = ["4930*"]\n'
    )
    said = run("policy", "diff", before, after, "--config", config)
    assert said.code == 1
    assert "1 calls: to 4930\n" in said.out and "1 of 2 sample calls are decided otherwise" in said.out
    assert re.search(r"basis +consent  ->  contract", said.out)
    machine = run("policy", "diff", before, after, "--config", config, "--json").json
    assert (machine["calls"], machine["changed"]) == (2, 1)
    assert machine["groups"][0]["changes"]["ask"] == ["yes", "no"]
    calls = tmp_path / "calls.toml"
    calls.write_text('[[call]]\nname = "Berlin"\ncalled = "4930123"\n[[call]]\ncalled = "33"\n')
    own = run("policy", "diff", before, after, "--calls", calls, "--config", config)
    assert own.code == 1 and own.out.startswith("1 calls: Berlin\n")
    calls.write_text("[[call]]\ncolour = 1\n")
    wrong = run("policy", "diff", before, after, "--calls", calls, "--config", config)
    assert wrong.code == 2 and "calls.toml:2: error: call.0.colour: unknown key" in wrong.err
    assert run("policy", "diff", before, tmp_path / "nowhere.toml", "--config", config).code == 2


def test_explain_of_a_time_that_is_none_is_wrong_usage(config: Path) -> None:
    said = run("policy", "explain", "--at", "noon", "--config", config)
    assert said.code == 2 and "is no time; write it as 2026-12-24T18:00" in said.err
    assert run("policy", "explain", "--at", "2026-12-24T18:00Z", "--config", config).code == 0


def test_check_reads_tables_of_law_of_ones_own(tmp_path: Path) -> None:
    law, config = tmp_path / "law.d", tmp_path / "gateway.toml"
    law.mkdir()
    config.write_text(f'[policy]\nlaw = "{law}"\n')
    said = run("policy", "check", "--config", config)
    assert said.code == 1 and f"{law}: error: no *.toml in this folder: put a table there" in said.err
    examined = run("doctor", "--config", config)
    assert examined.code == 1 and f"{law}: error: no *.toml in this folder" in examined.out + examined.err
    (law / "own.toml").write_text(
        'version = "1"\ndisclaimer = "ours"\n[places.DE]\nrule = "one_party"\nstatus = "settled"\n'
        'notice = true\nsource = "counsel"\ndate = 2026-11-28\n'
    )
    said = run("policy", "check", "--config", config)
    assert said.code == 0 and "places.DE: asks for notice where the shipped row asks for all_party" in said.out
