"""Policies come into force while calls go on: all of them or none, and what a call began with stays."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.adapters.config.shelf import FilePolicies, open_policies
from gateway.adapters.prompts.library import load_prompts
from gateway.policy.errors import PolicyError
from gateway.ports.policy import CallFacts
from tests.support.gateway import write_prompts

TELLS = 'basis = "contract"\njustification = "terms 4"\n'
TEXAN = '[jurisdiction]\nhome = "US-TX"\narea_codes = "trust"\n'
CALL = CallFacts(caller="+15125550100", called="100", at=datetime(2026, 11, 30, 12, tzinfo=UTC))
CALIFORNIAN = replace(CALL, caller="+14155550100")


def write(folder: Path, version: str, text: str = "", name: str = "a") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(f'name = "{name}"\nversion = "{version}"\n{text}')


@pytest.fixture
def shelf(tmp_path: Path) -> FilePolicies:
    write(tmp_path / "p", "1", TELLS + TEXAN)
    prompts, _ = load_prompts(write_prompts(tmp_path / "prompts"))
    return open_policies(tmp_path / "p", None, prompts)


async def test_what_is_new_is_in_force_for_the_next_call(shelf: FilePolicies, tmp_path: Path) -> None:
    before = shelf.resolve(CALL)
    write(tmp_path / "p", "2", TELLS)
    assert shelf.resolve(CALL) == before, "nobody asked for it yet"
    done = await shelf.reload()
    assert [(p.name, p.version) for p in done.policies] == [("a", "2")] and done.changed == ("a",)
    assert shelf.resolve(CALL).rules.policy[:2] == ("a", "2")
    assert done.policies == shelf.in_force() and shelf.in_force()[0].sha256 == shelf.resolve(CALL).rules.policy[2]


async def test_what_is_the_same_is_not_changed_and_what_is_gone_is(shelf: FilePolicies, tmp_path: Path) -> None:
    write(tmp_path / "p", "1", '[match]\ncalled = ["1*"]', "b")
    assert (await shelf.reload()).changed == ("b",)
    assert (await shelf.reload()).changed == ()
    (tmp_path / "p" / "b.toml").unlink()
    assert (await shelf.reload()).changed == ("b",)


@pytest.mark.parametrize("wrong", ['colour = "red"', 'language = "xx"', "no TOML", '[match]\ncalled = ["1"]'])
async def test_one_wrong_file_and_those_in_force_stay(shelf: FilePolicies, tmp_path: Path, wrong: str) -> None:
    before = shelf.in_force()
    write(tmp_path / "p", "2", wrong)
    with pytest.raises(PolicyError) as caught:
        await shelf.reload()
    assert caught.value.problems and shelf.in_force() == before
    assert shelf.resolve(CALL).rules.policy[1] == "1"


async def test_a_warning_comes_with_what_is_in_force(shelf: FilePolicies, tmp_path: Path) -> None:
    write(tmp_path / "p", "2", TELLS + 'announce = false\n[jurisdiction]\nhome = "IN"\n')
    told = (await shelf.reload()).warnings
    assert len(told) == 2 and "announce = false" in told[0] and 'no table has a row for "IN" (home)' in told[1]


async def test_reloads_at_once_come_one_after_the_other(shelf: FilePolicies, tmp_path: Path) -> None:
    write(tmp_path / "p", "2", TELLS)
    done = await asyncio.gather(*(shelf.reload() for _ in range(5)))
    assert sorted(len(one.changed) for one in done) == [0, 0, 0, 0, 1]


async def test_who_joins_a_call_is_judged_by_the_policy_it_began_with(shelf: FilePolicies, tmp_path: Path) -> None:
    """The new one has no word of places; the old one makes a Californian be asked."""
    call = shelf.resolve(CALL)
    assert (call.rules.ask, call.rules.announce) == (False, True)
    write(tmp_path / "p", "2", TELLS)
    await shelf.reload()
    for facts, asked in ((CALL, False), (CALIFORNIAN, True), (replace(CALL, caller="anonymous"), True)):
        joins = shelf.resolve_joining(facts, call)
        assert (joins.rules.ask, joins.rules.announce) == (False, not asked)
        assert ("recording" in joins.rules.purposes) is not asked, "the caller was told only: he is kept out"
        assert joins.rules.policy[1] == "1" and not joins.rules.records
        assert joins.jurisdiction is not None
        assert {f.role for f in joins.jurisdiction.findings} == {"caller", "agent", "joins"}


async def test_who_joins_a_call_without_a_word_of_places_is_told_as_before(shelf: FilePolicies, tmp_path: Path) -> None:
    write(tmp_path / "p", "2", TELLS)
    await shelf.reload()
    joins = shelf.resolve_joining(CALIFORNIAN, shelf.resolve(CALL))
    assert joins.rules.announce and joins.jurisdiction is None and "who joins is told" in joins.reasons[0]


async def test_a_law_of_ones_own_counts_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "p", "1", TELLS + TEXAN)
    law = tmp_path / "law"
    law.mkdir()
    prompts, _ = load_prompts(write_prompts(tmp_path / "prompts"))
    with pytest.raises(PolicyError, match=r"no \*\.toml in this folder"):
        open_policies(tmp_path / "p", law, prompts)
    row = 'rule = "all_party"\nstatus = "settled"\nnotice = true\nsource = "counsel"\ndate = 2026-11-28\n'
    (law / "own.toml").write_text(f'version = "1"\ndisclaimer = "ours"\n[places.US-TX]\n{row}')
    shelf = open_policies(tmp_path / "p", law, prompts)
    assert shelf.resolve(CALL).rules.ask, "Texas is all-party by our own table"
    (law / "own.toml").write_text(f'version = "1"\ndisclaimer = "ours"\n[places.Texas]\n{row}')
    with pytest.raises(PolicyError, match=r"own\.toml:3"):
        await shelf.reload()
    assert shelf.resolve(CALL).rules.ask
