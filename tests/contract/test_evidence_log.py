"""What every evidence log promises: the fake of the unit tests and the real one keep the same contract."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.adapters.store.evidence_log import DatabaseEvidenceLog, PostgresEvidenceLog, SqliteEvidenceLog
from gateway.evidence import canonical, merkle
from gateway.evidence.bundle import verify_bundle
from gateway.ports.evidence import EntryRefused, EvidenceLog, EvidenceUnavailable, FakeEvidenceLog

PARTIES = {"parties": [{"role": "caller", "kind": "customer"}]}


@pytest.fixture(params=["fake", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EvidenceLog]:
    if request.param == "fake":
        yield FakeEvidenceLog(origin="gateway.example/log")
        return
    real: DatabaseEvidenceLog
    if request.param == "sqlite":
        real = SqliteEvidenceLog(tmp_path / "evidence.db", tmp_path / "keys", "gateway.example/log")
    else:
        cluster = request.getfixturevalue("postgres_cluster")
        server = cluster.server(request.getfixturevalue("postgres_database"))
        real = PostgresEvidenceLog(server, tmp_path / "keys", "gateway.example/log")
    yield real
    await real.aclose()


async def test_receipts_count_up_and_name_the_entry(log: EvidenceLog) -> None:
    first = await log.append("call1", "call.arrived", PARTIES)
    second = await log.append("call2", "call.arrived", PARTIES)
    assert (first.index, first.call_id, first.kind) == (0, "call1", "call.arrived")
    assert (second.index, second.call_id) == (1, "call2")
    [entry] = await log.entries("call1")
    assert first.leaf_hash == merkle.leaf_hash(canonical.encode(entry))
    assert first.durable_mono_ns <= second.durable_mono_ns


async def test_appends_of_one_call_are_chained_in_the_order_issued(log: EvidenceLog) -> None:
    kinds = [f"step.n{number}" for number in range(40)]
    await log.append("call1", "call.arrived", PARTIES)
    receipts = await asyncio.gather(*(log.append("call1", kind, {}) for kind in kinds))
    assert [receipt.index for receipt in receipts] == list(range(1, 41))
    entries = await log.entries("call1")
    assert [entry.kind for entry in entries] == ["call.arrived", *kinds]
    assert [entry.seq for entry in entries] == list(range(41))
    assert [entry.prev for entry in entries[1:]] == [
        merkle.leaf_hash(canonical.encode(entry)).hex() for entry in entries[:-1]
    ]


async def test_a_bundle_verifies_with_the_logs_own_key(log: EvidenceLog) -> None:
    await log.append("other", "call.arrived", PARTIES)
    await log.append("call1", "call.arrived", PARTIES, {"caller_number": "+4930123456"})
    await log.append("other", "call.ended", {"cause": "bye", "entries": 2})
    await log.append("call1", "call.ended", {"cause": "bye", "entries": 2})
    report = verify_bundle(await log.export("call1"), log.verifier_key())
    assert (report.origin, report.entries, report.tree_size) == (log.origin, 2, 4)
    assert any("1 of 1 personal values" in line for line in report.proven)


async def test_personal_values_stay_out_of_the_entries(log: EvidenceLog) -> None:
    await log.append("call1", "call.arrived", PARTIES, {"caller_number": "+4930123456"})
    await log.append("call2", "call.arrived", PARTIES, {"caller_number": "+4930123456"})
    [one], [other] = await log.entries("call1"), await log.entries("call2")
    assert b"4930123456" not in canonical.encode(one)
    assert one.commitments.keys() == {"caller_number"}
    assert one.commitments != other.commitments, "the same value, but another salt"


async def test_erasing_a_person_leaves_the_proofs_intact(log: EvidenceLog) -> None:
    await log.append("call1", "call.arrived", PARTIES, {"caller_number": "+4930123456"})
    assert b"4930123456" in await log.export("call1")
    receipt = await log.erase_personal("call1", "request of the data subject")
    assert receipt.kind == "personal.erased"
    bundle = await log.export("call1")
    assert b"4930123456" not in bundle
    report = verify_bundle(bundle, log.verifier_key())
    assert any("values of 1 commitments" in line for line in report.not_proven)
    assert (await log.entries("call1"))[-1].facts == {"authority": "request of the data subject", "count": 1}


async def test_facts_are_copied_when_the_append_is_issued(log: EvidenceLog) -> None:
    facts: dict[str, canonical.Json] = {"spans": [1]}
    appending = asyncio.ensure_future(log.append("call1", "call.arrived", facts))  # noqa: TID251
    await asyncio.sleep(0)
    facts["spans"] = [2]
    await appending
    assert (await log.entries("call1"))[0].facts == {"spans": [1]}


@pytest.mark.parametrize("facts", [{"a": 1.5}, {"a": "x" * 70_000}, {"a": 2**60}])
async def test_an_impossible_entry_fails_alone(log: EvidenceLog, facts: dict[str, canonical.Json]) -> None:
    results = await asyncio.gather(
        log.append("call1", "call.arrived", PARTIES),
        log.append("call1", "bad.one", facts),
        log.append("call1", "Bad Kind", {}),
        log.append("call1", "call.ended", {"cause": "bye", "entries": 2}),
        return_exceptions=True,
    )
    assert [isinstance(result, EntryRefused) for result in results] == [False, True, True, False]
    assert [entry.kind for entry in await log.entries("call1")] == ["call.arrived", "call.ended"]
    verify_bundle(await log.export("call1"), log.verifier_key())


async def test_an_unknown_call_is_a_key_error(log: EvidenceLog) -> None:
    await log.append("call1", "call.arrived", PARTIES)
    for question in (log.export("nobody"), log.entries("nobody"), log.erase_personal("nobody", "x")):
        with pytest.raises(KeyError):
            await question


async def test_calls_are_listed_oldest_first(log: EvidenceLog) -> None:
    assert list(await log.calls()) == []
    for call in ("b", "a", "b", "c"):
        await log.append(call, "call.arrived", PARTIES)
    listed = await log.calls()
    assert [(call.call_id, call.entries) for call in listed] == [("b", 2), ("a", 1), ("c", 1)]
    assert listed[0].first_at == (await log.entries("b"))[0].at


async def test_a_cancelled_append_disturbs_nobody(log: EvidenceLog) -> None:
    doomed = asyncio.ensure_future(log.append("call1", "call.arrived", PARTIES))  # noqa: TID251
    await asyncio.sleep(0)
    doomed.cancel()
    await log.append("call2", "call.arrived", PARTIES)
    verify_bundle(await log.export("call2"), log.verifier_key())


def test_a_refused_entry_counts_as_unavailable_evidence() -> None:
    assert issubclass(EntryRefused, EvidenceUnavailable)


async def test_the_fake_fails_and_holds_as_a_test_asks() -> None:
    fake = FakeEvidenceLog()
    fake.fail_next()
    with pytest.raises(EvidenceUnavailable):
        await fake.append("call1", "call.arrived", PARTIES)
    fake.hold()
    waiting = asyncio.ensure_future(fake.append("call1", "call.arrived", PARTIES))  # noqa: TID251
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert fake.kinds("call1") == []
    fake.release()
    assert (await waiting).index == 0
