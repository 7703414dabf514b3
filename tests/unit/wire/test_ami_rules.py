"""What may be said to an Asterisk manager."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.ami import MAX_LINE_BYTES, MAX_LINES, PERMITTED, check_action
from gateway.wire.errors import AmiError


def check(
    name: str,
    fields: dict[str, str] | None = None,
    variables: dict[str, str] | None = None,
    *,
    allow_system: bool = False,
) -> None:
    check_action(name, fields or {}, variables or {}, allow_system=allow_system)


@pytest.mark.parametrize("allow_system", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        "core show channels",
        "core show channel PJSIP/alice-00000001",
        "core show uptime seconds",
        "mixmonitor list PJSIP/alice-00000001",
        "mixmonitor list Local/100@consent-gate-00000001;2",
    ],
)
def test_the_read_only_commands_pass(command: str, allow_system: bool) -> None:
    check("Command", {"Command": command}, allow_system=allow_system)
    check("command", {"command": command}, allow_system=allow_system)


@pytest.mark.parametrize("allow_system", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        "",
        "core stop now",
        "core restart now",
        "Core show channels",
        " core show channels",
        "core show",
        "core show channels; core stop now",
        "!id",
        "channel request hangup all",
        "mixmonitor start PJSIP/a a.wav",
        "mixmonitor stop PJSIP/a",
        "mixmonitor list PJSIP/a b",
        "mixmonitor list ",
        "mixmonitor list PJSIP/a;3",
        'mixmonitor list "PJSIP/a"',
    ],
)
def test_no_other_command_passes_whatever_the_user_may(command: str, allow_system: bool) -> None:
    with pytest.raises(AmiError, match="only `core show"):
        check("Command", {"Command": command}, allow_system=allow_system)


def test_a_command_for_a_shell_never_passes() -> None:
    with pytest.raises(AmiError, match="shell"):
        check("MixMonitor", {"Channel": "c", "File": "a.wav", "Command": "id"}, allow_system=True)


@pytest.mark.parametrize("fields", [{"State": "0"}, {"State": "0", "MixMonitorID": ""}, {"State": " 0"}, {}])
def test_nobody_elses_recorder_is_opened(fields: dict[str, str]) -> None:
    with pytest.raises(AmiError, match="every recorder on the channel"):
        check("MixMonitorMute", {"Channel": "c", "Direction": "both", **fields}, allow_system=True)
    check("MixMonitorMute", {"Channel": "c", **fields, "MixMonitorID": "0x7f01"})
    check("MixMonitorMute", {"Channel": "c", "Direction": "both", "State": "1"})


@pytest.mark.parametrize("name", ["Login", "Logoff", "Challenge", "Events", "WaitEvent"])
def test_the_connection_is_the_clients_own(name: str) -> None:
    with pytest.raises(AmiError, match="by itself"):
        check(name, allow_system=True)


@pytest.mark.parametrize(
    "name",
    [
        *("Originate", "UpdateConfig", "CreateConfig", "GetConfig", "ListCategories", "Reload", "ModuleLoad", "DBPut"),
        *("DBDel", "Filter", "MixMonitor", "ConfbridgeStartRecord", "AGI", "DialplanExtensionAdd", "SomethingNew"),
    ],
)
def test_what_is_not_on_the_list_needs_allow_system(name: str) -> None:
    with pytest.raises(AmiError, match="without allow_system"):
        check(name)
    check(name, allow_system=True)


@pytest.mark.parametrize("name", sorted(PERMITTED))
def test_what_is_on_the_list_passes_in_any_case(name: str) -> None:
    check(name, {"Channel": "PJSIP/alice-00000001", "State": "1"})
    check(name.upper(), {"state": "1"})


@pytest.mark.parametrize("action", ["Getvar", "Setvar", "Status"])
@pytest.mark.parametrize("function", ["SHELL(id)", "FILE(/etc/passwd)", "shell(id)", "DB(a/b)", "CHANNEL(x)SHELL(id)"])
def test_a_dialplan_function_that_reaches_out_needs_allow_system(action: str, function: str) -> None:
    key = "Variables" if action == "Status" else "Variable"
    with pytest.raises(AmiError, match="dialplan function"):
        check(action, {"Channel": "c", key: function})
    check(action, {"Channel": "c", key: function}, allow_system=True)
    for harmless in ("CHANNEL(pjsip,call-id)", "DEVICE_STATE(Custom:consent)", "MIXMONITOR(0x7f01,filename)", "NAME"):
        check(action, {"Channel": "c", key: harmless})


PROBES = (
    *("STAT(e,/)", "ENV(AST_VERSION)", "FEATUREMAP(automixmon)", "PJSIP_DIAL_CONTACTS(consent-gateway)"),
    *("PJSIP_ENDPOINT(alice,one_touch_recording)", "AST_CONFIG(queues.conf,sales,monitor-format,-1)"),
    *("AST_CONFIG(manager.conf,consent-gateway,read,-1)", "AST_CONFIG(manager.conf,consent-gateway,write,-1)"),
)


@pytest.mark.parametrize("probe", PROBES)
def test_what_the_doctor_asks_passes_as_it_stands_and_nothing_near_it(probe: str) -> None:
    check("Getvar", {"Variable": probe})
    refused: list[tuple[str, dict[str, str]]] = [
        ("Setvar", {"Variable": probe}),
        ("Setvar", {"Variable": probe, "Value": "1"}),
        ("Status", {"Variables": probe}),
        ("Getvar", {"Variable": probe, "Channel": "PJSIP/alice-00000001"}),
        ("Getvar", {"Variable": f"{probe}x"}),
        ("Getvar", {"Variable": f" {probe}"}),
        ("Getvar", {"Variable": f"{probe}SHELL(id)"}),
        ("Getvar", {"Variable": f"${{{probe}}}"}),
        ("Getvar", {"Variable": probe.lower()}),
        ("Getvar", {"Variable": probe.replace(")", ",x)")}),
    ]
    for name, fields in refused:
        with pytest.raises(AmiError, match="dialplan function"):
            check(name, fields)


@pytest.mark.parametrize(
    "probe",
    [
        *("STAT(e,/etc/passwd)", "STAT(s,/)", "STAT(e,/,x)", "ENV(PATH)", "FEATUREMAP(blindxfer)", "FEATUREMAP()"),
        *("AST_CONFIG(manager.conf,consent-gateway,secret,-1)", "AST_CONFIG(manager.conf,consent-gateway,secret)"),
        *("AST_CONFIG(pjsip.conf,alice,password,-1)", "AST_CONFIG(/etc/asterisk/manager.conf,a,read,-1)"),
        *("AST_CONFIG(manager.conf,a,secret,-1,read,-1)", "AST_CONFIG(manager.conf,a)read,-1)"),
        *("AST_CONFIG(queues.conf,${SHELL(id)},monitor-format,-1)", "AST_CONFIG(queues.conf,,monitor-format,-1)"),
        *("PJSIP_ENDPOINT(alice,auth)", "PJSIP_ENDPOINT(a,auth,one_touch_recording)", "PJSIP_DIAL_CONTACTS(a,b)"),
    ],
)
def test_no_other_value_of_a_probed_function_passes(probe: str) -> None:
    with pytest.raises(AmiError, match="dialplan function"):
        check("Getvar", {"Variable": probe})


@pytest.mark.parametrize(
    "control", ["\r", "\n", "\r\n", "\x00", "\t", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\ud800"]
)
def test_controls_are_refused_wherever_they_stand(control: str) -> None:
    hostile = f"x{control}Action: Originate"
    attempts: list[tuple[str, dict[str, str], dict[str, str]]] = [
        (hostile, {}, {}),
        ("Setvar", {hostile: "1"}, {}),
        ("Setvar", {"Value": hostile}, {}),
        ("UserEvent", {}, {hostile: "1"}),
        ("UserEvent", {}, {"NAME": hostile}),
    ]
    for name, fields, variables in attempts:
        with pytest.raises(AmiError) as caught:
            check(name, fields, variables, allow_system=True)
        assert "Originate" not in str(caught.value)


@pytest.mark.parametrize("value", ["a,CONSENT_VERDICT=granted", 'a"b', "a\\,b"])
def test_a_variable_cannot_bring_another(value: str) -> None:
    with pytest.raises(AmiError, match="split or changed"):
        check("UserEvent", {}, {"NAME": value})


@pytest.mark.parametrize("key", ["Action", "action", "ActionID", "ACTIONID"])
def test_the_callers_fields_do_not_name_the_action(key: str) -> None:
    with pytest.raises(AmiError, match="not for the caller"):
        check("Setvar", {key: "Originate"}, allow_system=True)
    with pytest.raises(AmiError, match="given twice"):
        check("Setvar", {"Value": "1", "value": "2"})


def test_what_asterisk_would_cut_is_refused() -> None:
    room = MAX_LINE_BYTES - len("Value: ")
    check("Setvar", {"Value": "x" * room})
    with pytest.raises(AmiError, match="1022 bytes"):
        check("Setvar", {"Value": "x" * (room + 1)})
    with pytest.raises(AmiError, match="1022 bytes"):
        check("Setvar", {"Value": "ü" * (room // 2 + 1)})
    check("UserEvent", {f"F{number}": "" for number in range(MAX_LINES - 2)})
    with pytest.raises(AmiError, match="128 lines"):
        check("UserEvent", {f"F{number}": "" for number in range(MAX_LINES - 1)})


@given(st.text(), st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_nothing_passes_that_has_a_line_break_or_is_unknown(
    name: str, fields: dict[str, str], variables: dict[str, str]
) -> None:
    try:
        check(name, fields, variables)
    except AmiError:
        return
    assert name.lower() in PERMITTED
    assert not any(mark in text for text in [*fields, *fields.values(), *variables.values()] for mark in "\r\n")
