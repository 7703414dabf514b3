"""`consent-gateway devices`: what it prints, and with which code it ends."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.adapters.config.settings import ROOT, load_settings
from gateway.adapters.system import SystemClock
from tests.unit.cli.test_commands import Said, run

EXAMPLE = ROOT / "docs" / "examples" / "devices.toml"
DAY = "2026-11-28"


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example is read on the day it was written for."""
    monkeypatch.setattr(SystemClock, "utc", lambda _: datetime(2026, 11, 28, 23, 59, tzinfo=UTC))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with the example as its inventory."""
    folder = tmp_path / "devices.d"
    folder.mkdir()
    (folder / "all.toml").write_text(EXAMPLE.read_text())
    file = tmp_path / "gateway.toml"
    file.write_text(f'[devices]\nfolder = "{folder}"\n')
    return file


def spoil(config: Path) -> Path:
    file = config.parent / "devices.d" / "all.toml"
    file.write_text(file.read_text().replace('kind = "trunk"', 'kind = "bough"', 1))
    return file


def test_the_folder_is_a_setting(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(config).devices.folder == config.parent / "devices.d"
    assert load_settings(None).devices.folder is None
    monkeypatch.setenv("CONSENT_GATEWAY_DEVICES__FOLDER", "/elsewhere")
    assert load_settings(config).devices.folder == Path("/elsewhere")


@pytest.mark.parametrize("verb", ["check", "list", "coverage"])
def test_without_an_inventory_there_is_nothing_to_say(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("devices", verb)
    assert (said.code, said.out) == (2, "")
    assert said.err == "no inventory: name files, or set devices.folder in gateway.toml\n"


@pytest.mark.parametrize("verb", ["check", "list", "coverage"])
def test_a_wrong_file_ends_with_1_and_its_line(verb: str, config: Path) -> None:
    file = spoil(config)
    said = run("devices", verb, "--config", config)
    assert said.code == 1
    assert said.err.startswith(f"{file}:5: error: device.0.kind: Input should be 'desk_phone'")
    assert said.out == ("not usable\n" if verb == "check" else "")


def test_named_files_take_the_place_of_the_folder(config: Path) -> None:
    spoil(config)
    assert run("devices", "check", EXAMPLE, "--config", config).code == 0
    assert run("devices", "check", EXAMPLE.parent, "--config", config).code == 0
    assert run("devices", "check", "--config", config).code == 1


def test_check_warns_and_ends_with_0(config: Path) -> None:
    said = run("devices", "check", "--config", config)
    assert (said.code, said.err) == (0, "")
    *warnings, last = said.out.splitlines()
    assert last == "12 entries, 1255 devices, 4 warnings"
    assert [line.split('"')[1] for line in warnings] == [
        "reception-phones",
        "staff-softphones",
        "gotomeeting",
        "gotomeeting",
    ]
    found = run("devices", "check", "--config", config, "--json").json
    assert (found["ok"], found["entries"], found["devices"]) == (True, 12, 1255)
    assert {finding["severity"] for finding in found["findings"]} == {"warning"} and len(found["findings"]) == 4


def test_check_of_a_wrong_file_is_json_too(config: Path) -> None:
    file = spoil(config)
    said = run("devices", "check", "--config", config, "--json")
    assert (said.code, said.json["ok"], said.json["devices"]) == (1, False, 0)
    [finding] = said.json["findings"]
    assert (finding["file"], finding["line"], finding["severity"]) == (str(file), 5, "error")


def test_list_has_the_worst_first_in_columns(config: Path) -> None:
    said = run("devices", "list", "--config", config)
    head, *lines = said.out.splitlines()
    assert said.code == 0 and len(lines) == 12
    assert lines[0].startswith("uncontrolled         6  desk_phone")
    assert "2025-08-20, overdue since 2026-08-21" in lines[1] and "never" in lines[2]
    assert lines[-1].startswith("cannot_record")
    for title in ("KIND", "ID", "NAME", "RESPONSIBLE", "CHECKED"):
        column = head.index(f" {title}") + 1
        assert all(line[column - 1] == " " != line[column] for line in lines), title
    told = run("devices", "list", "--config", config, "--json").json
    assert [entry["id"] for entry in told] == [line[24:].split()[1] for line in lines]
    trunk = next(entry for entry in told if entry["id"] == "main-trunk")
    assert (trunk["state"], trunk["check"], trunk["due"]) == ("gated", "current", "2027-01-03")
    assert (trunk["gateway_line"], trunk["line_in_file"], trunk["overdue_since"]) == (["493055501*"], 3, None)


def coverage(config: Path, *arguments: str) -> Said:
    return run("devices", "coverage", "--config", config, *arguments)


def test_coverage_closes_with_the_share_gated(config: Path) -> None:
    said = coverage(config)
    lines = said.out.splitlines()
    assert said.code == 0
    assert lines[-1] == (
        "on 2026-11-28 the gateway gates 31 of 1254 devices that can record (2 %); "
        "6 uncontrolled, 132 unknown, 535 only ruled"
    )
    table = lines[: lines.index("")]
    assert table[1].startswith("desk_phone") and table[-1].startswith("total")
    for title in ("UNCONTROLLED", "UNKNOWN", "RULED", "SWITCHED", "GATED", "CANNOT RECORD", "ALL", "OVERDUE"):
        end = table[0].index(f"  {title}") + 2 + len(title)
        assert all(line[end - 1].isdigit() for line in table[1:]), title
    gaps = [line for line in lines if line.startswith(("uncontrolled ", "unknown ", "ruled "))]
    assert len(gaps) == 7
    assert gaps[0].startswith("uncontrolled ") and "reception-phones" in gaps[0]
    assert gaps[1].startswith("unknown since 2026-08-21 ") and "staff-softphones" in gaps[1]


def test_coverage_for_machines(config: Path) -> None:
    found = coverage(config, "--json").json
    assert set(found) == {"at", "complete", "total", "kinds", "gaps", "files"}
    assert (found["at"], found["complete"], found["total"]["gated_percent"]) == (DAY, False, 2)
    assert sum(kind["total"] for kind in found["kinds"]) == found["total"]["total"] == 1255
    assert [gap["state"] for gap in found["gaps"]] == ["uncontrolled", "unknown", "unknown", *["ruled"] * 4]
    assert found["gaps"][1]["unknown_since"] == "2026-08-21" and found["gaps"][1]["devices"] == 120
    assert len(found["files"][0]["sha256"]) == 64


def test_coverage_of_another_day(config: Path) -> None:
    assert coverage(config, "--at", "2026-08-20", "--json").json["at"] == "2026-08-20"
    assert "the gateway gates 0 of 1255 devices" in coverage(config, "--at", "2028-01-01").out
    assert coverage(config, "--at", "yesterday").code == 2


def test_only_insisting_makes_a_gap_a_no(config: Path, tmp_path: Path) -> None:
    assert coverage(config, "--insist").code == 1
    assert coverage(config, "--insist", "--json").code == 1
    file = tmp_path / "one.toml"
    first = EXAMPLE.read_text().split("[[device]]")[1]
    file.write_text(f"[[device]]{first}")
    assert coverage(config, str(file), "--insist", "--at", DAY).code == 0
    assert coverage(config, str(file), "--insist", "--at", "2027-01-04").code == 1


def test_where_nothing_can_record_there_is_no_share(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text("[[device]]" + EXAMPLE.read_text().split("[[device]]")[-1])
    said = coverage(config, str(file), "--insist")
    assert said.code == 0 and said.out.endswith("\non 2026-11-28 none of 1 devices can record\n")
    assert "GAP" not in said.out
    assert coverage(config, str(file), "--json").json["total"]["gated_percent"] is None
