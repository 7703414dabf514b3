"""What is read on this machine: Asterisk's files, the secret, the spool, addresses."""

import socket
from pathlib import Path

import pytest

from gateway.adapters.asterisk.inspection.config_files import read_sections
from gateway.adapters.asterisk.inspection.files import Files, read_files
from gateway.adapters.asterisk.inspection.machine import (
    contact_problem,
    is_listened_to,
    secret_findings,
    source_findings,
    spool_findings,
)

# --- configuration files ---


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.conf").write_text(text)
    return folder


def test_templates_additions_includes_and_comments(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.conf").write_text("[late](base)\nfour => 4\n")
    write(
        tmp_path,
        a="""
            one = 0 ; outside of a section
            [base](!) ; a template
            One = 1
            two=2
            ;two=3
            ;-- three = 3
            [hidden]
            --;
            [user](base)
            two = 22 ; is not 2
            #include "more/*.conf"
            [user](+)
            five = 5
            #tryinclude nowhere.conf
            #include <a.conf>
            [user](base)
            six = a\\;b
            """,
    )
    base, user, late, second = read_sections(tmp_path, "a.conf")
    assert base.is_template and not user.is_template
    assert user.settings == (("one", "1"), ("two", "2"), ("two", "22"), ("five", "5"))
    assert (user.last("two"), user.last("three")) == ("22", "")
    assert (late.name, late.settings) == ("late", (("one", "1"), ("two", "2"), ("four", "4")))
    assert (second.name, second.last("six")) == ("user", "a\\;b")


def test_an_addition_may_say_which_section_it_means(tmp_path: Path) -> None:
    write(tmp_path, p="[a]\ntype=aor\n[a]\ntype=endpoint\n[a](+type=endpoint)\none_touch_recording=yes\n")
    aor, endpoint = read_sections(tmp_path, "p.conf")
    assert (aor.last("one_touch_recording"), endpoint.last("one_touch_recording")) == ("", "yes")


def test_the_facts_that_count(tmp_path: Path) -> None:
    write(
        tmp_path,
        manager="[general]\n[t](!)\nread = all\n[gw](t)\nsecret = hidden\nread = call, DTMF\n",
        asterisk="[options]\nlive_dangerously = Yes\n",
        features="[featuremap]\nautomixmon => *3\n[applicationmap]\nrec => *5,self,MixMonitor(a.wav)\n"
        "end => *6,self,StopMixMonitor()\n",
        pjsip="[t](!)\ntype=endpoint\none_touch_recording=on\n[alice](t)\n[bob](t)\none_touch_recording=no\n[alice]\ntype=aor\n",
        queues="[general]\n[sales]\nmonitor-format = wav\n[plain]\n",
    )
    facts = read_files(tmp_path, "gw")
    assert facts == Files(frozenset({"call", "dtmf"}), True, "*3", ("alice",), ("sales",), ("rec",))
    assert "hidden" not in repr(facts)
    assert read_files(tmp_path, "nobody").read is None


def test_files_that_are_not_there_set_nothing_and_a_folder_that_is_not_there_is_unread(tmp_path: Path) -> None:
    assert read_files(tmp_path, "gw") == Files(None, None, "", (), ())
    assert read_files(tmp_path / "nowhere", "gw") == Files(unread=(str(tmp_path / "nowhere"),))
    assert read_files(None, "gw") == Files()
    (tmp_path / "pjsip.conf").mkdir()
    facts = read_files(tmp_path, "gw")
    assert (facts.endpoints, facts.unread) == (None, ("pjsip.conf",))


# --- addresses ---


@pytest.mark.parametrize(
    ("contacts", "bind", "state", "word"),
    [
        ((), "127.0.0.1:5070", "ok", ""),
        (("PJSIP/g/sip:consent@127.0.0.1:5070",), "127.0.0.1:5070", "ok", ""),
        (("PJSIP/g/sip:consent@127.0.0.1:5070;transport=udp",), "127.0.0.1:5070", "ok", ""),
        (("PJSIP/g/sip:127.0.0.1",), "127.0.0.1:5060", "ok", ""),
        (("PJSIP/g/sip:consent@localhost:5070",), "127.0.0.1:5070", "ok", ""),
        (("PJSIP/g/sip:consent@127.0.0.1:5070",), "0.0.0.0:5070", "ok", ""),
        (("PJSIP/g/sip:consent@[::1]:5070",), "[::1]:5070", "ok", ""),
        (("PJSIP/g/sip:a@192.0.2.1:5070", "PJSIP/g/sip:b@127.0.0.1:5070"), "127.0.0.1:5070", "ok", ""),
        (("PJSIP/g/sip:consent@127.0.0.1:5071",), "127.0.0.1:5070", "error", "127.0.0.1:5071"),
        (("PJSIP/g/sip:consent@127.0.0.1:5071",), "0.0.0.0:5070", "error", "127.0.0.1:5071"),
        (("PJSIP/g/sip:consent@127.0.0.2:5070",), "127.0.0.1:5070", "error", "127.0.0.2:5070"),
        (("PJSIP/g/sip:consent@192.0.2.1:5070",), "127.0.0.1:5070", "warning", "address translation"),
        (("PJSIP/g/sip:consent@nowhere.invalid:5070",), "127.0.0.1:5070", "warning", "nowhere.invalid"),
    ],
)
def test_the_contact_is_this_gateway_or_it_is_not(contacts: tuple[str, ...], bind: str, state: str, word: str) -> None:
    what, found = contact_problem(contacts, bind)
    assert (found, bool(what)) == (state, state != "ok")
    assert word in what


def test_a_port_that_somebody_has() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert is_listened_to(address)
    assert not is_listened_to(address)


NETWORKS = ("127.0.0.0/8", "192.0.2.0/24", "::1/128")


@pytest.mark.parametrize(
    ("sources", "wrong", "word"),
    [
        ([("a", "192.0.2.1"), ("b", "192.0.2.2")], [], ""),
        ([("a", "192.0.2.1:5060"), ("b", "192.0.2.1:5070")], [], ""),
        ([("a", "[::1]:5060"), ("b", "[::1]:5070")], [], ""),
        ([("a", "192.0.2.1"), ("b", "192.0.2.1")], ["b"], "same source as a"),
        ([("a", "192.0.2.1"), ("b", "192.0.2.1:5060")], ["b"], "same source as a"),
        ([("a", "192.0.2.1:5060"), ("b", "192.0.2.1")], ["b"], "same source as a"),
        ([("a", "192.0.2.1:5060"), ("b", "192.0.2.1:5060")], ["b"], "same source as a"),
        ([("a", "pbx.example")], ["a"], "not from a name"),
        ([("a", "198.51.100.1:5060")], ["a"], '"198.51.100.1/32"'),
    ],
)
def test_sources(sources: list[tuple[str, str]], wrong: list[str], word: str) -> None:
    found = list(source_findings(sources, NETWORKS))
    assert [name for name, _ in found] == wrong
    assert all(finding.state == "error" and word in finding.what for _, finding in found)


# --- secret and spool ---


def test_the_file_of_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "ami.secret"
    assert [f.state for f in secret_findings(file, "", [])] == ["error"]
    file.write_text("hush")
    file.chmod(0o600)
    assert [f.state for f in secret_findings(file, "", [])] == ["ok"]
    for mode in (0o640, 0o604, 0o620):
        file.chmod(mode)
        (found,) = secret_findings(file, "", [])
        assert found.state == "error" and f"chmod 600 {file}" in found.what and "hush" not in found.what
    file.write_text("\n")
    assert [f.state for f in secret_findings(file, "", [])] == ["error", "error"]


def test_a_secret_that_stands_in_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('secret = "hush"')
    config.chmod(0o644)
    (found,) = secret_findings(None, "hush", [config])
    assert found.state == "error" and "chmod 600" in found.what and "hush" not in found.what
    assert list(secret_findings(None, "from-the-environment", [config])) == []
    config.chmod(0o600)
    assert list(secret_findings(None, "hush", [config])) == []


def states(spool: Path | None, told: str | None, *, same_machine: bool = True) -> list[str]:
    return [finding.state for finding in spool_findings(spool, told, same_machine=same_machine)]


def test_the_spool(tmp_path: Path) -> None:
    theirs = tmp_path / "spool" / "monitor"
    theirs.mkdir(parents=True)
    told = str(theirs.parent)
    link = tmp_path / "link"
    link.symlink_to(theirs)
    assert states(None, told) == []
    assert states(theirs, told) == states(link, told) == ["ok"]
    assert states(theirs.parent, told) == states(tmp_path, told) == ["error"]
    assert states(tmp_path / "nowhere", told) == ["error"]
    assert states(theirs, told, same_machine=False) == ["unknown"]
    assert states(theirs, "/nowhere") == states(theirs, None) == ["unknown"]
    file = tmp_path / "file"
    file.touch()
    assert states(file, told) == ["error"]
    (theirs / "consent").mkdir()
    (theirs / "consent" / "a.wav").mkdir()  # what cannot be opened, whoever we are
    assert states(theirs, told) == ["error"]
