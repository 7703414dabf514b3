"""What follows from what a server and its files say: states, texts, and what no text may have in it."""

import re
from dataclasses import replace
from typing import Any

import pytest

from gateway.adapters.asterisk.inspection.dialplan import examine, options, split_arguments
from gateway.adapters.asterisk.inspection.files import Files
from gateway.adapters.asterisk.inspection.findings import Facts, Finding, Section, findings
from gateway.adapters.asterisk.inspection.survey import Step, Survey

NUMBER = "4930123456"
SHIPPED = frozenset({"setvar", "coreshowchannels", "showdialplan", "getvar", "ping"})
GATE = (
    Step("consent-gate", "1", "Dial", "PJSIP/consent-gateway,3,gL(60000)b(consent-headers^s^1(${UNIQUEID}^x))"),
    Step("consent-gate-return", "1", "Return", ""),
    Step("consent-recorder-start", "1", "MixMonitor", "a.wav,bi(ID)"),
    Step("in", "1", "Gosub", "consent-gate,s,1"),
)
WELL = Survey(
    actions=SHIPPED,
    dangerous=False,
    automixmon="",
    dialplan=GATE,
    one_touch={"consent-gateway": False},
    state="NOT_INUSE",
    contacts=("PJSIP/consent-gateway/sip:consent@127.0.0.1:5070",),
    spool="/var/spool/asterisk",
    ahead_s=0.001,
)
READ = frozenset({"call", "dtmf", "user", "dialplan", "reporting"})
FILES = Files(read=READ, dangerous=False, automixmon="", endpoints=(), queues=())
SECTION = Section("consent-gateway", "PJSIP/consent-gateway")


def found(files: Files = FILES, section: Section = SECTION, **told: Any) -> list[Finding]:
    return list(findings(Facts(section, replace(WELL, **told), files)))


def wrong(files: Files = FILES, section: Section = SECTION, **told: Any) -> list[tuple[str, str]]:
    return [(finding.name, finding.state) for finding in found(files, section, **told) if finding.state != "ok"]


def also(*steps: Step) -> tuple[Step, ...]:
    return (*GATE, *steps)


def test_of_a_server_that_is_well_set_up_nothing_is_found() -> None:
    assert wrong() == []
    assert {finding.name for finding in found()} >= {"pbx-classes", "pbx-shell", "pbx-danger", "pbx-clock"}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"booted": False}, [("pbx-login", "error")]),
        ({"actions": SHIPPED - {"setvar"}}, [("pbx-classes", "error")]),
        ({"actions": SHIPPED - {"showdialplan"}}, [("pbx-classes", "error")]),
        ({"actions": SHIPPED - {"coreshowchannels"}}, [("pbx-classes", "error")]),
        ({"actions": SHIPPED | {"filter", "command"}}, [("pbx-shell", "warning")] * 2),
        ({"read": READ}, [("pbx-config", "warning")]),
        ({"read": frozenset({"all"})}, [("pbx-config", "warning")]),
        ({"read": READ - {"user"}}, [("pbx-classes", "error"), ("pbx-config", "warning")]),
        ({"read": frozenset()}, [("pbx-classes", "error")] * 5 + [("pbx-config", "warning")]),
        ({"dangerous": True}, [("pbx-danger", "error")]),
        ({"version": "22.10.1"}, []),
        ({"version": "22.10.1~dfsg+~cs6.17"}, [("pbx-version", "warning")]),
        ({"automixmon": "*3"}, [("pbx-automixmon", "error")]),
        ({"dialplan": None}, [("pbx-dialplan", "unknown")]),
        ({"dialplan": ()}, [("pbx-dialplan", "error")] * 2),
        ({"dialplan": GATE[:1]}, [("pbx-dialplan", "error")]),
        ({"dialplan": GATE[:3]}, [("pbx-route", "warning")]),
        ({"dialplan": also(Step("a", "1", "Dial", "PJSIP/b,30,x"))}, [("pbx-options", "warning")]),
        (
            {"dialplan": also(Step("a", "1", "Dial", "PJSIP/b,30,x")), "automixmon": "*3"},
            [("pbx-automixmon", "error"), ("pbx-options", "error")],
        ),
        (
            {"dialplan": also(Step("a", "1", "Set", "FEATUREMAP(automixmon)=*3"))},
            [("pbx-automixmon", "error")],
        ),
        ({"dialplan": also(Step("a", "1", "Dial", "PJSIP/b,30,${OPTIONS}"))}, [("pbx-options", "unknown")]),
        ({"dialplan": also(Step("a", "1", "MixMonitor", "a.wav"))}, [("pbx-recorders", "warning")]),
        ({"one_touch": {"alice": True, "bob": False}}, [("pbx-one-touch", "error")]),
        ({"queues": {"sales": "wav", "plain": ""}}, [("pbx-queues", "error")]),
        ({"queues": {"sales": ""}}, []),
        ({"state": "INVALID"}, [("pbx-endpoint", "error")]),
        ({"state": "UNAVAILABLE"}, [("pbx-endpoint", "error")]),
        ({"state": ""}, [("pbx-endpoint", "error")]),
        ({"state": None}, [("pbx-endpoint", "unknown")]),
        ({"ahead_s": 2.1}, [("pbx-clock", "error")]),
        ({"ahead_s": -2.1}, [("pbx-clock", "error")]),
        ({"ahead_s": 2.0}, []),
        ({"ahead_s": None}, [("pbx-clock", "unknown")]),
    ],
)
def test_each_thing_is_a_finding_of_its_own(told: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert wrong(**told) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (Files(), [("pbx-classes", "unknown"), ("pbx-one-touch", "unknown")]),
        (replace(FILES, read=READ - {"dtmf"}), [("pbx-classes", "error")]),
        (replace(FILES, endpoints=("alice", "bob")), [("pbx-one-touch", "error")] * 2),
        (replace(FILES, queues=("sales",)), [("pbx-queues", "error")]),
        (replace(FILES, keys=("rec",)), [("pbx-keys", "error")]),
        (replace(FILES, unread=("pjsip.conf",)), [("pbx-files", "error")]),
        (replace(FILES, dangerous=True, automixmon="*3"), []),
    ],
)
def test_what_the_files_say_counts_where_the_server_does_not(files: Files, expected: list[tuple[str, str]]) -> None:
    assert wrong(files) == expected


def test_where_the_server_says_nothing_the_files_are_believed_and_else_nothing_is() -> None:
    assert wrong(replace(FILES, dangerous=True), dangerous=None) == [("pbx-danger", "error")]
    assert wrong(replace(FILES, dangerous=None), dangerous=None) == [("pbx-danger", "unknown")]
    assert wrong(replace(FILES, automixmon="*1"), automixmon=None) == [("pbx-automixmon", "error")]
    assert wrong(replace(FILES, automixmon=None), automixmon=None) == [("pbx-automixmon", "unknown")]
    assert wrong(replace(FILES, queues=None), queues={"sales": None}) == [("pbx-queues", "unknown")]


def test_a_gateway_that_does_not_run_is_no_fault_of_the_server() -> None:
    assert wrong(section=replace(SECTION, listens=False), state="UNAVAILABLE") == [("pbx-endpoint", "warning")]


def test_a_wrong_contact_is_said_once() -> None:
    assert wrong(section=replace(SECTION, contact="elsewhere", contact_state="error")) == [("pbx-contact", "error")]


def everything() -> list[Finding]:
    """Every finding there is, about a server whose names are numbers."""
    steps = [
        Step(f"from-{NUMBER}", "1", application, data)
        for application, data in (
            ("Dial", f"PJSIP/{NUMBER}@trunk,30,xX"),
            ("Dial", f"PJSIP/{NUMBER},30,${{O}}"),
            ("MixMonitor", f"{NUMBER}.wav"),
            ("Set", "FEATUREMAP(automixmon)=*3"),
        )
    ]
    bad = {"dialplan": (*GATE[:2], *steps), "automixmon": "*3", "dangerous": True, "read": frozenset()}
    bad |= {"one_touch": {NUMBER: True}, "queues": {NUMBER: "wav"}, "ahead_s": 99.0, "state": "INVALID"}
    bad |= {"actions": frozenset({"filter", "command", "originate", "updateconfig"})}
    files = replace(FILES, endpoints=(NUMBER,), queues=(NUMBER,), keys=(NUMBER,), unread=("pjsip.conf",))
    nothing = dict.fromkeys(("dangerous", "automixmon", "dialplan", "state", "ahead_s"))
    unknown = found(Files(), **nothing, queues={NUMBER: None})
    others = [*found(state="UNAVAILABLE"), *found(state=""), *found(dialplan=()), *found(booted=False)]
    return [f for f in (*found(files, **bad), *unknown, *others) if f.state != "ok"]


def test_no_text_has_a_number_in_it() -> None:
    texts = [finding.what for finding in everything()]
    assert not [text for text in texts if re.search(r"\d{5,}", text)]
    assert sum("…" in text for text in texts) >= 6


def test_every_text_says_what_to_do() -> None:
    kinds = {(finding.name, finding.state) for finding in everything()}
    assert len(kinds) >= 20
    for finding in everything():
        assert re.search(r"\b(write|look with|take|leave|let|start|run|set|see|compare)\b", finding.what), finding


@pytest.mark.parametrize(
    ("application", "data", "flags", "unseen"),
    [
        ("dial", "PJSIP/alice", "", False),
        ("dial", "PJSIP/alice,30", "", False),
        ("dial", "PJSIP/alice,30,xb(a^s^1)", "xb", False),
        ("dial", "PJSIP/alice,30,b(x^s^1(X))L(60000)", "bL", False),
        ("dial", "PJSIP/alice,,X", "X", False),
        ("dial", "PJSIP/${FILTER(0-9,${EXTEN})}@trunk,60,U(consent-gate^s^1)", "U", False),
        ("dial", 'PJSIP/${IF($["${A}"="x,x"]?x:y)},30,t', "t", False),
        ("dial", "PJSIP/alice,30,t${MORE}", "t", True),
        ("dial", "PJSIP/alice,30,b(a^s^1(${X}))", "b", False),
        ("queue", "sales,tX,,,60", "tX", False),
        ("queue", "sales,,,x", "", False),
        ("retrydial", "beep,1,2,PJSIP/a,30,x", "x", False),
        ("dial", "PJSIP/alice,30,x)))((", "x", False),
    ],
)
def test_options_are_what_stands_outside_of_brackets(application: str, data: str, flags: str, unseen: bool) -> None:
    assert options(application, data) == (flags, unseen)


def test_arguments_are_split_outside_of_brackets_and_quotes() -> None:
    assert split_arguments('a(b,c),"d,e",${f(g,h)},') == ["a(b,c)", '"d,e"', "${f(g,h)}", ""]


@pytest.mark.parametrize("application", ["ExecIf", "TryExec", "Exec"])
def test_applications_that_others_run_are_seen(application: str) -> None:
    data = {"ExecIf": "1?Dial(PJSIP/a,30,x(y)):Hangup()"}.get(application, "Dial(PJSIP/a,30,x(y))")
    facts = examine([Step("a", "1", application, data)])
    assert facts is not None and facts.one_touch == ("a",)
    facts = examine([Step("a", "1", application, data.replace("Dial(PJSIP/a,30,x(y))", "MixMonitor(a.wav)"))])
    assert facts is not None and facts.recorders == ("a",) and facts.one_touch == ()
