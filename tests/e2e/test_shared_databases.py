"""Two whole gateways with one PostgreSQL: real calls, and the crash of one is nobody else's business."""

import asyncio
from pathlib import Path

import pytest

from gateway.adapters.config.settings import load_settings
from gateway.adapters.softphone import Softphone
from gateway.adapters.store.evidence_log import EvidenceReader
from gateway.adapters.store.fsck import fsck
from gateway.adapters.store.registry import RegistryDatabase, SqliteCallRegistry
from gateway.app.tasks import spawn
from gateway.bootstrap import Folders, evidence_database, open_log, registry_database
from gateway.evidence.bundle import verify_bundle
from gateway.ports.registry import CallRecord
from tests.e2e.test_kill import accept, audio_flows, place
from tests.support.postgres import PASSWORD, Cluster, cluster
from tests.support.serving import Served


def served(folder: Path, agent: str, name: str, url: str) -> Served:
    """A gateway of this name whose databases are in PostgreSQL."""
    place = folder / name
    place.mkdir()
    password = place / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    keys = f'database = "{url}"\npassword_file = "{password}"\n'
    return Served(place, agent, more=f'[evidence]\norigin = "{name}.example/log"\n{keys}[registry]\n{keys}')


async def calls(gateway: Served) -> dict[str, CallRecord]:
    database = RegistryDatabase(registry_database(load_settings(gateway.config)), read_only=True)
    try:
        return {call.call_id: call for call in await SqliteCallRegistry(database).calls()}
    finally:
        await database.aclose()


async def verified(gateway: Served) -> dict[str, list[str]]:
    """Check the log of a gateway that is gone; return the kinds of entries of each call."""
    settings = load_settings(gateway.config)
    assert fsck(evidence_database(settings), Folders(settings.storage.folder).keys) == []
    log = open_log(settings)
    kinds = {}
    try:
        for logged in await log.calls():
            verify_bundle(await log.export(logged.call_id), log.verifier_key())
            kinds[logged.call_id] = [entry.kind for entry in await log.entries(logged.call_id)]
    finally:
        await log.aclose()
    return kinds


async def test_the_recovery_of_one_gateway_leaves_the_calls_of_the_other_alone(
    tmp_path: Path, postgres_cluster: Cluster, postgres_database: str
) -> None:
    async with await Softphone.open() as caller, await Softphone.open(user="agent") as agent_phone:
        url = postgres_cluster.url(postgres_database)
        one, other = (served(tmp_path, agent_phone.address, name, url) for name in ("one", "other"))
        await asyncio.gather(one.start(), other.start())
        talking = []
        for gateway in (one, other):
            call = await place(caller, gateway.sip)
            await asyncio.sleep(0.65)
            await call.send_digit("1", 60)
            talking.append((call, await accept(agent_phone)))
        await asyncio.sleep(1.0)
        before = await calls(one)
        assert {call.state for call in before.values()} == {"open"} and len(before) == 2
        await one.kill_control()
        await one.start()
        after = await calls(other)
        assert sorted(call.state for call in after.values()) == ["ended", "open"], "its own, and no other"
        assert await audio_flows(*talking[1])
        for call, agent in talking:
            await call.hang_up()
            await agent.ended(5)
        await asyncio.sleep(0.5)
        assert [(await asyncio.gather(one.stop(), other.stop()))] == [[0, 0]]
    assert {call.state for call in (await calls(one)).values()} == {"ended"}
    logs = [await verified(gateway) for gateway in (one, other)]
    [(mine, kinds)], [(theirs, other_kinds)] = (list(log.items()) for log in logs)
    assert mine != theirs
    assert "call.recovered" in kinds and kinds[-1] == "call.ended"
    assert "call.recovered" not in other_kinds and "recording.closed" in other_kinds
    for gateway in (one, other):
        assert (gateway.folder / "var" / "keys" / "cli.key").exists(), "each command line has a key"
        assert EvidenceReader(evidence_database(load_settings(gateway.config))).calls()


async def arrived(gateway: Served) -> None:
    """Wait until the call's first entry is in the log."""
    reader = EvidenceReader(evidence_database(load_settings(gateway.config)))
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(reader.calls):  # noqa: ASYNC110 (a database tells nobody)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("when", ["asking", "talking"])
async def test_a_server_that_goes_away_costs_the_recording_and_not_the_call(tmp_path: Path, when: str) -> None:
    with cluster() as own:
        await go_away(own, tmp_path, when)


async def go_away(own: Cluster, folder: Path, when: str) -> None:
    async with await Softphone.open() as caller, await Softphone.open(user="agent") as agent_phone:
        gateway = served(folder, agent_phone.address, "one", own.url(own.new_database()))
        await gateway.start()
        call = await place(caller, gateway.sip)
        if when == "asking":
            await arrived(gateway)
            own.end()
        await asyncio.sleep(0.65)
        await call.send_digit("1", 60)
        answering = spawn(accept(agent_phone), name="agent")
        agent = await asyncio.wait_for(answering, 20)
        if when == "talking":
            await asyncio.sleep(1.0)
            own.end()
        assert await audio_flows(call, agent, 3.0), "the call was cut by a database that is away"
        own.start()
        await call.hang_up()
        await agent.ended(5)
        again = await place(caller, gateway.sip)
        await asyncio.sleep(0.65)
        await again.send_digit("1", 60)
        agent = await accept(agent_phone)
        assert await audio_flows(again, agent)
        await again.hang_up()
        await agent.ended(5)
        await asyncio.sleep(0.5)
        assert await gateway.stop() == 0
    kinds = await verified(gateway)
    last = list(kinds)[-1]
    assert kinds[last][-1] == "call.ended" and "recording.closed" in kinds[last], "recorded again when it is back"
    if when == "asking":
        assert all("recorder.observed" not in found for call_id, found in kinds.items() if call_id != last)
