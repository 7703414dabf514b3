"""The inventory of what can record: what a malformed one is told, what a device counts as, and what is reported."""

import datetime
import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.config.devices import read_inventory
from gateway.policy.coverage import Count, State, coverage, state, worst_first
from gateway.policy.devices import (
    Check,
    Control,
    Device,
    DeviceFile,
    Entry,
    Inventory,
    Kind,
    Party,
    Records,
    check_state,
    device_warnings,
    make_inventory,
    overdue_since,
    parse_devices,
)
from gateway.policy.errors import PolicyError, Problem

DOCS = Path(__file__).parents[3] / "docs"
TODAY = datetime.date(2026, 11, 28)

ROW = """[[device]]
id = "phones"
kind = "desk_phone"
name = "Phones"
records = "yes"
responsible = "IT"
parties = ["employees"]
control = "written_rule"
rule = "Rules, 3"
last_checked = 2026-11-01
checked_by = "J. Weber"
"""
GATEWAY = ROW.replace('written_rule"\nrule = "Rules, 3"', 'gateway"\ngateway_line = ["4930*", "sales"]')
SWITCH = ROW.replace('written_rule"\nrule = "Rules, 3"', 'vendor_switch"\nvendor_setting = "off"')
NONE = ROW.replace('written_rule"\nrule = "Rules, 3"', 'none"')
UNKNOWN = NONE.replace('"none"', '"unknown"')
CANNOT = NONE.replace('control = "none"\n', "").replace('"yes"', '"no"')
UNCHECKED = 'last_checked = 2026-11-01\nchecked_by = "J. Weber"\n'


def parse(text: str, source: str = "devices.toml") -> DeviceFile:
    return parse_devices(text.encode(), source)


def one(text: str) -> Device:
    [entry] = parse(text).entries
    return entry.device


def inventory(*texts: str) -> Inventory:
    """The texts as one file, each device with an id of its own."""
    numbered = (text.replace('id = "phones"', f'id = "d{number}"') for number, text in enumerate(texts))
    return make_inventory([parse("".join(numbered))])


def problems(text: str | bytes) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        parse_devices(text.encode() if isinstance(text, str) else text, "devices.toml")
    return caught.value.problems


# --- what is wrong ---


WRONG = [
    (ROW.replace('"phones"', '"Phones"'), 2, "id: write up to 63 small letters, digits and hyphens"),
    (ROW.replace('"phones"', '"-phones"'), 2, "id: write up to 63"),
    (ROW.replace('"phones"', '""'), 2, "id: write up to 63"),
    (ROW.replace('"phones"', f'"{"a" * 64}"'), 2, "id: write up to 63"),
    (ROW.replace('"desk_phone"', '"fax"'), 3, "kind: Input should be 'desk_phone', 'softphone', 'mobile'"),
    (ROW.replace('"Phones"', '""'), 4, "name: "),
    (ROW.replace('"Phones"', '"a\\u001bb"'), 4, "name: "),
    (ROW.replace('"yes"', "true"), 5, "records: Input should be 'yes', 'no' or 'unknown'"),
    (ROW.replace('responsible = "IT"\n', ""), 1, "responsible: this key is required"),
    (ROW.replace('["employees"]', '"employees"'), 7, 'parties: write a list, such as ["employees"]'),
    (ROW.replace('["employees"]', "3"), 7, "parties: write a list of texts"),
    (ROW.replace('["employees"]', "[]"), 7, "parties: name at least one"),
    (ROW.replace('["employees"]', '["friends"]'), 7, "parties.0: Input should be 'employees', 'contractors' or"),
    (ROW.replace('["employees"]', '["employees", "employees"]'), 7, "parties: name each party once"),
    (ROW.replace("written_rule", "prayer"), 8, "control: Input should be 'gateway', 'vendor_switch', 'written_rule'"),
    (ROW.replace("2026-11-01", '"2026-11-01"'), 10, "last_checked: write a date without quotes"),
    (ROW.replace("2026-11-01", "2026-11-01T10:00:00"), 10, "last_checked: "),
    (ROW + "count = 0\n", 12, "count: "),
    (ROW + "count = 1.5\n", 12, "count: "),
    (ROW + "count = true\n", 12, "count: "),
    (ROW + "check_every_days = 0\n", 12, "check_every_days: "),
    (ROW + 'colour = "red"\n', 12, "colour: unknown key"),
    (ROW.replace('control = "written_rule"\nrule = "Rules, 3"\n', ""), 1, "control: what can record needs a control"),
    (ROW.replace('rule = "Rules, 3"\n', ""), 8, 'control: control = "written_rule" needs rule: name the document'),
    (SWITCH.replace('vendor_setting = "off"\n', ""), 8, 'control: control = "vendor_switch" needs vendor_setting: '),
    (GATEWAY.replace('gateway_line = ["4930*", "sales"]\n', ""), 8, 'control: control = "gateway" needs gateway_line:'),
    (GATEWAY.replace('["4930*", "sales"]', '"4930*"'), 9, 'gateway_line: write a list, such as ["4930*"]'),
    (GATEWAY.replace('["4930*", "sales"]', "[]"), 9, "gateway_line: name at least one"),
    (GATEWAY.replace('"sales"', '"sales desk"'), 9, "gateway_line.1: "),
    (ROW + 'gateway_line = ["1"]\n', 12, 'gateway_line: gateway_line does not go with control = "written_rule": write'),
    (ROW + 'vendor_setting = "off"\n', 12, "vendor_setting: vendor_setting does not go with "),
    (SWITCH + 'gateway_line = ["1"]\n', 12, 'gateway_line: gateway_line does not go with control = "vendor_switch"'),
    (NONE + 'rule = "x"\n', 11, 'rule: rule does not go with control = "none": write control = "written_rule" if'),
    (UNKNOWN + 'vendor_setting = "x"\n', 11, 'vendor_setting: vendor_setting does not go with control = "unknown"'),
    (CANNOT + 'control = "unknown"\n', 10, "control: what cannot record needs no control: leave control out"),
    (CANNOT + 'rule = "x"\n', 10, "rule: what cannot record needs no control"),
    (ROW.replace('checked_by = "J. Weber"\n', ""), 10, "last_checked: last_checked needs checked_by: write who"),
    (ROW.replace("last_checked = 2026-11-01\n", ""), 10, "checked_by: checked_by needs last_checked: write who"),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG)
def test_a_malformed_device_is_told_where_and_what(text: str, line: int, message: str) -> None:
    good = ROW.replace('"phones"', '"first"')
    found = problems(f"{good}{text}")
    assert [(problem.source, problem.line) for problem in found] == [("devices.toml", line + good.count("\n"))]
    assert found[0].message.startswith(f"device.1.{message}")


def test_a_malformed_file_is_told_where_and_what() -> None:
    assert problems(b"[[device]]\nid = '\xff'")[0] == Problem("devices.toml", 2, "not UTF-8: save the file as UTF-8")
    assert problems("[[device\n")[0].message.startswith("not TOML: ")
    assert problems("") == [Problem("devices.toml", 0, "device: this key is required")]
    assert problems("device = []\n")[0].message == (
        "device: there is no [[device]] in the file: write one, or take the file away"
    )
    [single] = problems(f"\n{ROW.replace('[[device]]', '[device]')}")
    assert (single.line, single.message) == (2, "device: write [[device]], in double brackets, above each device")


def test_every_problem_is_told_in_the_order_of_the_lines() -> None:
    text = ROW.replace('"yes"', "1") + ROW.replace('"desk_phone"', "1").replace('"IT"', "2")
    assert [problem.line for problem in problems(text)] == [5, 14, 17]


def test_two_devices_of_one_id_are_refused_and_both_are_named() -> None:
    first, second = parse(ROW, "a.toml"), parse(ROW.replace('"phones"', '"other"') + ROW, "b.toml")
    with pytest.raises(PolicyError) as caught:
        make_inventory([first, second])
    assert caught.value.problems == [
        Problem("b.toml", 12, 'id "phones" is that of a.toml:1 already: give each device an id of its own')
    ]
    with pytest.raises(PolicyError, match=r"a\.toml:12: error: .* is that of a\.toml:1 already"):
        make_inventory([parse(ROW + ROW, "a.toml")])


def test_a_weaker_control_may_stand_beside_a_stronger() -> None:
    device = one(GATEWAY + 'vendor_setting = "off"\nrule = "Rules, 3"\n')
    assert (device.control, device.vendor_setting, device.rule) == (Control.GATEWAY, "off", "Rules, 3")
    assert one(SWITCH + 'rule = "Rules, 3"\n').control is Control.VENDOR_SWITCH


def test_every_key_is_read() -> None:
    text = GATEWAY + 'location = "here"\nline = "12"\ncount = 7\ncheck_every_days = 30\nnote = "n"\n'
    file = parse(text)
    [entry] = file.entries
    assert file.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert entry.where == "devices.toml:1"
    assert entry.device == Device(
        id="phones",
        kind=Kind.DESK_PHONE,
        name="Phones",
        location="here",
        line="12",
        count=7,
        records=Records.YES,
        responsible="IT",
        parties=(Party.EMPLOYEES,),
        control=Control.GATEWAY,
        gateway_line=("4930*", "sales"),
        last_checked=datetime.date(2026, 11, 1),
        checked_by="J. Weber",
        check_every_days=30,
        note="n",
    )
    assert (one(ROW).count, one(ROW).check_every_days) == (1, 365)


# --- files ---


def test_a_folder_is_read_whole_and_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(ROW)
    (tmp_path / "a.toml").write_text(ROW.replace('"phones"', '"other"'))
    (tmp_path / "notes.txt").write_text("not read")
    read = read_inventory([tmp_path, tmp_path / "a.toml"])
    assert [(entry.device.id, entry.where) for entry in read.entries] == [
        ("other", f"{tmp_path / 'a.toml'}:1"),
        ("phones", f"{tmp_path / 'b.toml'}:1"),
    ]


def test_one_wrong_file_and_none_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(ROW)
    (tmp_path / "b.toml").write_text(ROW.replace('"yes"', '"maybe"'))
    (tmp_path / "c.toml").mkdir()
    with pytest.raises(PolicyError) as caught:
        read_inventory([tmp_path, tmp_path / "b.toml", tmp_path / "gone.toml"])
    assert [(Path(problem.source).name, problem.line) for problem in caught.value.problems] == [
        ("b.toml", 5),
        ("c.toml", 0),
        ("gone.toml", 0),
    ]
    assert [problem.message for problem in caught.value.problems[1:]] == [
        "cannot be read (IsADirectoryError)",
        "cannot be read (FileNotFoundError)",
    ]


def test_a_folder_without_files_is_told() -> None:
    with pytest.raises(PolicyError, match=r"no \*\.toml in this folder"):
        read_inventory([Path(__file__).parent])


# --- what a device counts as ---


@pytest.mark.parametrize(
    ("text", "checked", "overdue"),
    [
        (GATEWAY, State.GATED, State.UNKNOWN),
        (SWITCH, State.SWITCHED, State.UNKNOWN),
        (ROW, State.RULED, State.UNKNOWN),
        (CANNOT, State.CANNOT_RECORD, State.UNKNOWN),
        (CANNOT + 'control = "none"\n', State.CANNOT_RECORD, State.UNKNOWN),
        (NONE, State.UNCONTROLLED, State.UNCONTROLLED),
        (NONE.replace('"yes"', '"unknown"'), State.UNCONTROLLED, State.UNCONTROLLED),
        (UNKNOWN, State.UNKNOWN, State.UNKNOWN),
        (GATEWAY.replace('"yes"', '"unknown"'), State.GATED, State.UNKNOWN),
    ],
)
def test_what_a_device_counts_as(text: str, checked: State, overdue: State) -> None:
    assert state(one(text), TODAY) is checked
    assert state(one(text), datetime.date(2028, 1, 1)) is overdue
    assert state(one(text.replace(UNCHECKED, "")), TODAY) is overdue
    assert state(one(text), datetime.date(2026, 10, 31)) is overdue, "nobody has looked yet on that day"


@pytest.mark.parametrize(
    ("day", "check", "since"),
    [
        ("2026-10-31", Check.IN_THE_FUTURE, None),
        ("2026-11-01", Check.CURRENT, None),
        ("2026-12-01", Check.CURRENT, None),
        ("2026-12-02", Check.OVERDUE, "2026-12-02"),
        ("2027-12-02", Check.OVERDUE, "2026-12-02"),
    ],
)
def test_a_check_counts_through_its_last_day(day: str, check: Check, since: str | None) -> None:
    device, at = one(GATEWAY + "check_every_days = 30\n"), datetime.date.fromisoformat(day)
    assert device.due == datetime.date(2026, 12, 1)
    assert check_state(device, at) is check
    assert overdue_since(device, at) == (datetime.date.fromisoformat(since) if since else None)
    assert (state(device, at) is State.GATED) is (check is Check.CURRENT)


def test_the_last_day_of_the_calendar_is_no_crash() -> None:
    device = one(ROW.replace("2026-11-01", "9999-12-31"))
    assert device.due == datetime.date.max
    assert check_state(device, datetime.date.max) is Check.CURRENT
    assert check_state(one(ROW.replace(UNCHECKED, "")), TODAY) is Check.NEVER


# --- warnings ---


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (ROW, []),
        (SWITCH, []),
        (CANNOT, []),
        (NONE, ["it can record and nothing controls it: put the gateway before it"]),
        (NONE.replace('"yes"', '"unknown"'), ["it may be able to record and nothing controls it: "]),
        (UNKNOWN, ["nobody knows what controls it: find out"]),
        (ROW.replace(UNCHECKED, ""), ['never checked: see whether the rule is kept ("Rules, 3"), then write last_che']),
        (CANNOT.replace(UNCHECKED, ""), ["never checked: see whether it still cannot record"]),
        (
            SWITCH.replace("2026-11", "2025-11"),
            ["check overdue since 2026-11-02: see whether the switch is set as wri"],
        ),
        (ROW.replace("2026-11", "2027-11"), ["checked in the future (2027-11-01): write the day on which somebody"]),
        (GATEWAY, ["the gateway stops no recorder inside the device: name the vendor_setting or the rule"]),
        (GATEWAY + 'rule = "x"\n', []),
        (GATEWAY + 'vendor_setting = "x"\n', []),
        (GATEWAY.replace("desk_phone", "trunk"), []),
        (
            GATEWAY.replace("desk_phone", "trunk").replace("2026-11", "2025-01"),
            ["check overdue since 2026-01-02: see whether the gateway stands before it on 4930*, sales"],
        ),
        (NONE.replace(UNCHECKED, ""), ["it can record and nothing controls it: ", "never checked: "]),
    ],
)
def test_what_somebody_has_to_see_to_is_a_warning(text: str, warnings: list[str]) -> None:
    found = device_warnings(make_inventory([parse("\n" + text)]), TODAY)
    assert [(problem.source, problem.line, problem.severity) for problem in found] == [
        ("devices.toml", 2, "warning") for _ in warnings
    ]
    for problem, warning in zip(found, warnings, strict=True):
        assert problem.message.startswith(f'device "phones": {warning}')


# --- coverage ---


def test_devices_are_counted_by_kind_and_in_total() -> None:
    phones = [f"{text}count = {count}\n" for text, count in ((GATEWAY, 2), (SWITCH, 3), (NONE, 5), (CANNOT, 7))]
    trunks = [text.replace("desk_phone", "trunk") for text in (f"{UNKNOWN}count = 11\n", f"{ROW}count = 13\n")]
    report = coverage(inventory(*phones, *trunks, CANNOT.replace("desk_phone", "other")), TODAY)
    assert report.kinds == (
        (Kind.DESK_PHONE, Count(gated=2, switched=3, uncontrolled=5, cannot_record=7)),
        (Kind.TRUNK, Count(ruled=13, unknown=11)),
        (Kind.OTHER, Count(cannot_record=1)),
    )
    total = Count(gated=2, switched=3, ruled=13, uncontrolled=5, unknown=11, cannot_record=8)
    assert report.total == total
    assert (total.total, total.recorders, total.gated_percent) == (42, 34, 5)
    assert (report.at, report.complete) == (TODAY, False)
    assert total.entry() == {
        "total": 42,
        "can_record": 34,
        "gated": 2,
        "switched": 3,
        "ruled": 13,
        "uncontrolled": 5,
        "unknown": 11,
        "cannot_record": 8,
        "overdue": 0,
        "gated_percent": 5,
    }


def test_a_share_is_never_rounded_up_and_nothing_has_no_share() -> None:
    assert Count(gated=999, ruled=1).gated_percent == 99
    assert Count(gated=1_000).gated_percent == 100
    assert Count(cannot_record=3).gated_percent is None


def test_a_device_behind_the_gateway_whose_check_is_overdue_is_not_gated() -> None:
    held = inventory(GATEWAY + "count = 4\n")
    assert coverage(held, datetime.date(2027, 11, 1)).total == Count(gated=4)
    report = coverage(held, datetime.date(2027, 11, 2))
    assert report.total == Count(unknown=4, overdue=4)
    [gap] = report.gaps
    assert (gap.state, gap.since) == (State.UNKNOWN, datetime.date(2027, 11, 2))
    assert gap.remedy == (
        "see again whether the gateway stands before it on 4930*, sales: last checked on 2026-11-01 by J. Weber"
    )


def test_gaps_have_the_worst_first_and_say_what_to_do() -> None:
    held = inventory(
        GATEWAY,
        SWITCH,
        f"{ROW}count = 9\n",
        f"{UNKNOWN}count = 3\n",
        SWITCH.replace(UNCHECKED, ""),
        f"{NONE}count = 2\n".replace('"yes"', '"unknown"'),
        NONE,
        f"{ROW}count = 4\n".replace("2026-11-01", "2026-12-01"),
        CANNOT,
        f"{UNKNOWN}count = 3\n".replace("2026-11", "2024-11"),
    )
    gaps = coverage(held, TODAY).gaps
    assert [(gap.entry.device.id, gap.state, gap.since, gap.remedy) for gap in gaps] == [
        (
            "d6",
            State.UNCONTROLLED,
            None,
            "put the gateway before it, turn its recorder off with the vendor's switch, or write a rule for it",
        ),
        (
            "d5",
            State.UNCONTROLLED,
            None,
            "find out whether it can record; until then put the gateway before it, turn its recorder off with the "
            "vendor's switch, or write a rule for it",
        ),
        (
            "d7",
            State.UNKNOWN,
            None,
            'see whether the rule is kept ("Rules, 3"): checked on 2026-12-01 only, which is after 2026-11-28',
        ),
        ("d3", State.UNKNOWN, None, "nobody knows what controls it: find out what does and write that down"),
        ("d9", State.UNKNOWN, None, "nobody knows what controls it: find out what does and write that down"),
        ("d4", State.UNKNOWN, None, 'see whether the switch is set as written ("off"): nobody has'),
        (
            "d2",
            State.RULED,
            None,
            'put the gateway before it or use the vendor\'s switch: only a rule governs it ("Rules, 3")',
        ),
    ]


@pytest.mark.parametrize(
    ("text", "complete"),
    [(GATEWAY, True), (SWITCH, True), (ROW, True), (CANNOT, True), (NONE, False), (UNKNOWN, False)],
)
def test_complete_is_what_has_neither_unknown_nor_uncontrolled(text: str, complete: bool) -> None:
    assert coverage(inventory(GATEWAY, text), TODAY).complete is complete
    assert coverage(inventory(GATEWAY, text), datetime.date(2030, 1, 1)).complete is False


# --- properties ---

DAYS = st.dates(datetime.date(2024, 1, 1), datetime.date(2030, 1, 1))


@st.composite
def devices(draw: st.DrawFn) -> Device:
    records = draw(st.sampled_from(Records))
    control = draw(st.sampled_from(Control)) if records is not Records.NO else None
    checked = draw(st.none() | DAYS)
    return Device(
        id="x",
        kind=draw(st.sampled_from(Kind)),
        name="n",
        count=draw(st.integers(1, 500)),
        records=records,
        responsible="r",
        parties=(Party.EMPLOYEES,),
        control=control,
        gateway_line=("1",) if control is Control.GATEWAY else None,
        vendor_setting="s" if control is Control.VENDOR_SWITCH else None,
        rule="r" if control is Control.WRITTEN_RULE else None,
        last_checked=checked,
        checked_by="c" if checked else None,
        check_every_days=draw(st.integers(1, 1_000)),
    )


def held(found: list[Device]) -> Inventory:
    numbered = (device.model_copy(update={"id": f"d{number}"}) for number, device in enumerate(found))
    entries = tuple(Entry(device, "f.toml", number) for number, device in enumerate(numbered, start=1))
    return make_inventory([DeviceFile("f.toml", "", entries)])


@given(st.lists(devices(), max_size=12), DAYS)
def test_counts_always_sum_up(found: list[Device], at: datetime.date) -> None:
    report = coverage(held(found), at)
    for name in Count.__dataclass_fields__:
        assert sum(getattr(count, name) for _, count in report.kinds) == getattr(report.total, name)
    assert report.total.total == sum(device.count for device in found)
    assert report.total.overdue <= report.total.total
    listed = sum(gap.entry.device.count for gap in report.gaps)
    assert listed == report.total.uncontrolled + report.total.unknown + report.total.ruled
    assert len({kind for kind, _ in report.kinds}) == len(report.kinds)


@given(st.lists(devices(), max_size=12), devices(), DAYS)
def test_one_more_device_that_is_not_gated_never_raises_the_gated_share(
    found: list[Device], more: Device, at: datetime.date
) -> None:
    before, after = coverage(held(found), at).total, coverage(held([*found, more]), at).total
    if state(more, at) is State.GATED:
        assert after.gated == before.gated + more.count
        return
    assert after.gated == before.gated
    assert after.gated * max(before.recorders, 1) <= before.gated * max(after.recorders, 1)
    if more.records is not Records.NO and more.control is Control.NONE:
        assert after.uncontrolled == before.uncontrolled + more.count
        assert (after.gated_percent or 0) <= (before.gated_percent or 0)


@given(st.lists(devices(), max_size=12), DAYS, st.integers(0, 2_000))
def test_time_without_a_check_never_makes_anything_better(found: list[Device], at: datetime.date, days: int) -> None:
    """Once every check was made, a later day has no more gated, switched or ruled than an earlier one."""
    found = [device for device in found if device.last_checked is None or device.last_checked <= at]
    now, later = coverage(held(found), at).total, coverage(held(found), at + datetime.timedelta(days=days)).total
    for name in ("gated", "switched", "ruled", "cannot_record"):
        assert getattr(later, name) <= getattr(now, name)
    assert later.uncontrolled == now.uncontrolled


@given(st.lists(devices(), max_size=12), DAYS, st.randoms(use_true_random=False))
def test_the_order_of_the_devices_does_not_matter(found: list[Device], at: datetime.date, random) -> None:
    entries = list(held(found).entries)
    shuffled = random.sample(entries, len(entries))
    assert worst_first(shuffled, at) == worst_first(entries, at)
    order = [list(State).index(state(entry.device, at)) for entry in worst_first(entries, at)]
    assert order == sorted(order)


# --- the example ---


def test_the_example_shows_every_state_and_each_kind_of_control() -> None:
    example = read_inventory([DOCS / "examples" / "devices.toml"])
    assert {entry.device.id for entry in example.entries} >= {"zoom", "skype-for-business", "gotomeeting", "main-trunk"}
    assert {state(entry.device, TODAY) for entry in example.entries} == set(State)
    assert {entry.device.control for entry in example.entries} == {*Control, None}
    assert {party for entry in example.entries for party in entry.device.parties} == set(Party)
    assert coverage(example, TODAY).total == Count(
        gated=31, switched=550, ruled=535, uncontrolled=6, unknown=132, cannot_record=1, overdue=132
    )


def test_the_documentation_names_every_kind_and_its_example_is_a_device() -> None:
    document = (DOCS / "devices.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    assert one(example).id == "zoom"
    assert state(one(example), TODAY) is State.SWITCHED
    names = {f"`{key}`" for key in Device.model_fields if key not in {"id", "name", "count"}} - {"`check_every_days`"}
    for name in [*names, *(f"`{value}`" for value in [*Kind, *State, *Party])]:
        assert name in document, name
