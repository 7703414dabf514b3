"""The HTTP interface over a real socket, with a real call behind it."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
import uvicorn

from gateway.adapters.softphone import Call, Softphone
from gateway.api.app import make_app
from gateway.app.session import CallSession
from gateway.app.tasks import spawn
from gateway.bootstrap import Gateway
from gateway.domain.call import Phase
from gateway.evidence.bundle import verify_bundle
from tests.support import gateway as support
from tests.support import numbered

pytestmark = pytest.mark.slow

NUMBER, NAME, CALLED = "+4915550100", "Ada Lovelace", "sales"
NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@dataclass
class Scene:
    """A gateway behind HTTP, with two phones and one client for every role."""

    gateway: Gateway
    url: str
    caller: Softphone
    agent: Softphone
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    @property
    def admin(self) -> httpx.AsyncClient:
        return self.clients["admin"]

    async def call(self, key: str = "1") -> tuple[Call, CallSession]:
        """A call that answered the question with *key* and talks."""
        call = await self.caller.call(f"sip:{CALLED}@{self.gateway.front.address}", from_number=NUMBER, from_name=NAME)
        call.audio_source = numbered.source
        session = await support.session_of(self.gateway, NUMBER)
        await call.answered(10)
        await asyncio.sleep(0.6)
        await call.send_digit(key, 60)
        agent = await self.agent.incoming(10)
        agent.audio_source = numbered.source
        await agent.accept()
        assert await session.wait_for(lambda: session.call.phase is Phase.TALKING, 10_000)
        if key == "1":
            assert await session.wait_for(lambda: session.call.recorder.observed == "on", 3_000)
        return call, session

    async def over(self, call: Call, session: CallSession) -> None:
        await call.hang_up()
        await asyncio.wait_for(session.over.wait(), 10)


@asynccontextmanager
async def scene(folder: Path, **policy: str) -> AsyncIterator[Scene]:
    async with (
        await Softphone.open(user="agent") as agent,
        await Softphone.open() as caller,
        support.running(support.settings(folder, agent.address, **policy)) as (gateway, _),
        contextlib.AsyncExitStack() as stack,
    ):
        app = make_app(gateway.switchboard, gateway.api_keys, gateway.policies, is_ready=gateway.not_ready)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        listening = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving = spawn(server.serve(sockets=[listening]), name="http")
        made = Scene(gateway, url, caller, agent)
        for name, role, of in (
            ("admin", "admin", ""),
            ("supervisor", "supervisor", ""),
            ("viewer", "viewer", ""),
            ("agent", "agent", CALLED),
            ("other agent", "agent", "billing"),
            ("odd role", "janitor", ""),
        ):
            _, clear = await gateway.api_keys.create(name, role, of)
            headers = {"Authorization": f"Bearer {clear}"}
            client = httpx.AsyncClient(base_url=url, headers=headers, timeout=10, trust_env=False)
            made.clients[name] = await stack.enter_async_context(client)
        plain = httpx.AsyncClient(base_url=url, timeout=10, trust_env=False)
        made.clients["nobody"] = await stack.enter_async_context(plain)
        try:
            yield made
        finally:
            server.should_exit = True
            await serving


def is_problem(answer: httpx.Response, status: int, *codes: str) -> None:
    """It is a problem document with a stable code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["title"]
    assert body["code"] in codes, body


async def test_a_call_is_controlled_and_every_answer_says_what_was_observed(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        assert (await s.admin.get("/v1/calls")).json() == []
        call, session = await s.call()
        at = f"/v1/calls/{session.call_id}"
        (listed,) = (await s.admin.get("/v1/calls")).json()
        shown = (await s.admin.get(at)).json()
        assert {**shown, "started": ""} == {**listed, "started": ""}
        assert (
            shown["call_id"],
            shown["phase"],
            shown["verdict"],
            shown["basis"],
            shown["policy"],
            shown["holds"],
        ) == (
            session.call_id,
            "talking",
            "granted",
            "consent",
            "test",
            [],
        )
        assert shown["recorder"]["observed"] == "on"
        assert not re.search(f"{re.escape(NUMBER)}|{NAME}", json.dumps(shown))

        async def act(verb: str, code: str, recorder: str, **query: str) -> None:
            answer = await s.admin.post(f"{at}/{verb}", params=query)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert body["accepted"] is True and body["observed"] is True and body["call_id"] == session.call_id
            assert (body["code"], body["recorder"]) == (code, recorder)
            assert session.call.recorder.observed == recorder

        await act("pause", "paused", "paused")
        await act("pause", "already_paused", "paused")
        await act("pause", "paused", "paused", reason="card_entry")
        holds = (await s.admin.get(at)).json()["holds"]
        assert [hold["reason"] for hold in holds] == ["supervisor", "card_entry"]
        assert all(hold["actor"].startswith("admin:") and 0 < hold["expires_in_ms"] <= 180_000 for hold in holds)
        await act("resume", "still_paused", "paused")
        await act("resume", "resumed", "on", reason="card_entry")
        await act("resume", "not_paused", "on")
        await act("withdraw", "withdrawn", "off")
        await act("withdraw", "already_not_recorded", "off")
        assert session.call.verdict == "withdrawn"
        is_problem(await s.admin.post(f"{at}/pause"), 409, "not_recording")
        is_problem(await s.admin.post(f"{at}/resume"), 409, "not_allowed")
        await act("reconsent", "asking", "off")
        is_problem(await s.admin.post(f"{at}/reconsent"), 409, "nothing_to_ask")
        await asyncio.sleep(0.7)
        await call.send_digit("1", 60)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert session.call.recorder.ordinal == 2 and session.call.verdict == "granted"
        await s.over(call, session)
        is_problem(await s.admin.get(at), 404, "no_such_call")
        is_problem(await s.admin.post(f"{at}/pause"), 404, "no_such_call")
        bundle = (await s.admin.get(f"{at}/evidence")).content
        key = (await s.admin.get("/v1/evidence/key")).text
        report = verify_bundle(bundle, key.strip())
        assert report.call == session.call_id
        kinds = [entry["entry"]["kind"] for entry in json.loads(bundle)["entries"]]
        assert kinds.count("recording.closed") == 2 and kinds[-1] == "call.ended"
        forms = {
            form: await s.admin.get(f"{at}/evidence", params={"format": form, "language": "de"})
            for form in ("bundle", "vcon", "consent-record", "receipt")
        }
        assert forms["bundle"].content == bundle
        assert forms["vcon"].headers["content-type"] == "application/vcon+json"
        assert f'filename="{session.call_id}.vcon.json"' in forms["vcon"].headers["content-disposition"]
        vcon = forms["vcon"].json()
        assert {a["purpose"] for a in vcon["attachments"]} >= {"lawful_basis", "consent_gateway_log_proof"}
        assert len(forms["consent-record"].json()["@graph"]) == 2
        assert session.call_id in forms["receipt"].text and NUMBER in forms["receipt"].text
        is_problem(await s.admin.get(f"{at}/evidence", params={"format": "vcon-signed"}), 422, "invalid_request")
        is_problem(await s.clients["viewer"].get(f"{at}/evidence", params={"format": "receipt"}), 403, "forbidden")


async def test_a_request_as_the_call_ends_is_answered(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        over = spawn(s.over(call, session), name="hang up")
        answers = []
        while not over.done():
            answers.append(await s.admin.post(f"/v1/calls/{session.call_id}/pause"))
        await over
        answers.append(await s.admin.post(f"/v1/calls/{session.call_id}/pause"))
        for answer in answers:
            assert answer.status_code in (200, 404, 409, 410), answer.text
            assert answer.status_code == 200 or answer.json()["code"]
        is_problem(answers[-1], 404, "no_such_call")


async def test_the_agent_controls_the_call_of_the_agents_name(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        agent, other, viewer = s.clients["agent"], s.clients["other agent"], s.clients["viewer"]
        is_problem(await agent.post(f"/v1/agents/{CALLED}/pause"), 404, "no_present_call")
        call, session = await s.call()
        at = f"/v1/calls/{session.call_id}"
        for verb, client, code, recorder in (
            ("pause", agent, "paused", "paused"),
            ("pause", s.clients["supervisor"], "paused", "paused"),
            ("pause", s.clients["admin"], "paused", "paused"),
            ("resume", s.clients["supervisor"], "still_paused", "paused"),
            ("resume", agent, "still_paused", "paused"),
            ("resume", agent, "still_paused", "paused"),
            ("resume", s.clients["admin"], "resumed", "on"),
        ):
            body = (await client.post(f"/v1/agents/{CALLED}/{verb}")).json()
            assert (body["call_id"], body["observed"]) == (session.call_id, True)
            assert (body["code"], body["recorder"]) == (code, recorder)
        for verb in ("pause", "resume"):
            refused = await agent.post(f"{at}/{verb}", params={"reason": "supervisor"})
            is_problem(refused, 403, "supervisors_hold")
        for verb, recorder in (("pause", "paused"), ("resume", "on")):
            body = (await agent.post(f"/v1/me/{verb}")).json()
            assert (body["call_id"], body["observed"], body["recorder"]) == (session.call_id, True, recorder)
            is_problem(await other.post(f"/v1/me/{verb}"), 404, "no_present_call")
            for client in (s.admin, s.clients["supervisor"], viewer):
                is_problem(await client.post(f"/v1/me/{verb}"), 409, "no_agent")
            is_problem(await s.clients["nobody"].post(f"/v1/me/{verb}"), 401, "unauthenticated")
        assert len((await agent.get("/v1/calls")).json()) == 1
        assert (await agent.post(f"{at}/pause")).json()["observed"] is True
        assert (await agent.post(f"{at}/resume")).json()["observed"] is True

        assert (await other.get("/v1/calls")).json() == []
        is_problem(await other.get(at), 404, "no_such_call")
        for verb in ("pause", "resume", "withdraw", "reconsent"):
            is_problem(await other.post(f"{at}/{verb}"), 404, "no_such_call")
            is_problem(await viewer.post(f"{at}/{verb}"), 403, "forbidden")
        is_problem(await other.post(f"/v1/agents/{CALLED}/pause"), 403, "other_agents_call")
        is_problem(await viewer.post(f"/v1/agents/{CALLED}/pause"), 403, "forbidden")
        assert (await viewer.get(at)).status_code == 200
        for client in (agent, other, viewer):
            is_problem(await client.get(f"{at}/evidence"), 403, "forbidden")
        for path in ("/v1/events", "/metrics"):
            is_problem(await agent.get(path), 403, "forbidden")
        assert session.call.recorder.observed == "on", "nobody without the right changed anything"
        await s.over(call, session)


async def test_a_refused_call_cannot_be_paused(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call("2")
        at = f"/v1/calls/{session.call_id}"
        is_problem(await s.admin.post(f"{at}/pause"), 409, "not_recording")
        is_problem(await s.admin.post(f"{at}/resume"), 409, "not_allowed")
        assert (await s.admin.post(f"{at}/pause")).json()["verdict"] == "refused"
        await s.over(call, session)


async def test_a_pause_before_anything_is_recorded_holds_and_says_so(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call = await s.caller.call(f"sip:{CALLED}@{s.gateway.front.address}", from_number=NUMBER)
        session = await support.session_of(s.gateway, NUMBER)
        await call.answered(10)
        body = (await s.admin.post(f"/v1/calls/{session.call_id}/pause")).json()
        assert body["accepted"] is True and body["observed"] is False and body["because"]
        is_problem(await s.admin.post(f"/v1/calls/{session.call_id}/reconsent"), 409, "not_connected")
        await s.over(call, session)


# --- events ---


@dataclass
class Event:
    number: int
    kind: str
    data: dict[str, Any]


async def events(client: httpx.AsyncClient, last: int | None = None) -> AsyncIterator[Event]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with client.stream("GET", "/v1/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                lines[name] = value
            else:
                yield Event(int(lines["id"]), lines["event"], json.loads(lines["data"]))
                lines = {}


async def until(stream: AsyncIterator[Event], phase: str = "", recorder: str = "") -> list[Event]:
    seen = []
    async with asyncio.timeout(10):
        async for event in stream:
            seen.append(event)
            if event.data["phase"] == (phase or event.data["phase"]) and event.data["recorder"]["observed"] == (
                recorder or event.data["recorder"]["observed"]
            ):
                return seen
    raise AssertionError("the stream ended")


async def test_events_tell_everything_once_and_go_on_where_the_reader_was(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        viewer = s.clients["viewer"]
        call, session = await s.call()
        first = events(viewer)
        (snapshot,) = await until(first)
        assert snapshot.kind == "call"
        assert snapshot.data == {**(await viewer.get(f"/v1/calls/{session.call_id}")).json(), "started": ANY}
        await s.admin.post(f"/v1/calls/{session.call_id}/pause")
        changes = await until(first, recorder="paused")
        numbers = [event.number for event in changes]
        assert numbers == list(range(snapshot.number + 1, numbers[-1] + 1))
        await first.aclose()  # type: ignore[attr-defined]

        await s.admin.post(f"/v1/calls/{session.call_id}/resume")
        await s.over(call, session)
        again = events(viewer, numbers[-1])
        missed = await until(again, phase="over")
        assert missed[0].number == numbers[-1] + 1
        assert [e.number for e in missed] == list(range(missed[0].number, missed[-1].number + 1))
        assert "on" in [event.data["recorder"]["observed"] for event in missed]
        await again.aclose()  # type: ignore[attr-defined]
        text = json.dumps([event.data for event in [snapshot, *changes, *missed]])
        assert NUMBER not in text and NAME not in text

        from_the_start = events(viewer, 0)
        everything = await until(from_the_start, phase="over")
        assert [e.number for e in everything] == list(range(1, everything[-1].number + 1))
        await from_the_start.aclose()  # type: ignore[attr-defined]
        other_life = events(viewer, 10**9)
        assert (await until(other_life))[0].number == 1, "a number of another life starts at the oldest kept"
        await other_life.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("last", ["abc", "-1", "1.5", "9" * 400, "\xb2"])
async def test_a_senseless_last_event_id_is_a_fresh_start(tmp_path: Path, last: str) -> None:
    async with scene(tmp_path) as s:
        headers = {"Last-Event-ID": last.encode("latin-1")}
        async with s.admin.stream("GET", "/v1/events", headers=headers) as answer:
            assert answer.status_code == 200


# --- health, metrics, description ---


async def test_health_and_metrics_say_enough_and_nothing_personal(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        nobody = s.clients["nobody"]
        assert (await nobody.get("/livez")).json() == {"status": "alive"}
        ready = (await nobody.get("/readyz")).json()
        assert ready["ready"] is True and ready["capacity"] == s.gateway.pool.max_calls
        call, session = await s.call()
        await s.admin.post(f"/v1/calls/{session.call_id}/pause")
        live = (await s.admin.get("/metrics")).text
        assert 'consentgw_calls{phase="talking",recorder="paused"} 1.0' in live
        await s.over(call, session)
        ended = (await s.admin.get("/metrics")).text
        assert 'consentgw_calls_ended_total{verdict="granted"} 1.0' in ended
        for name in ("answer_to_verdict", "verdict_to_recording", "pause_to_silence"):
            assert f"# TYPE consentgw_{name}_seconds histogram" in ended
            assert f"consentgw_{name}_seconds_count 1.0" in ended
            assert f'consentgw_{name}_seconds_bucket{{le="+Inf"}} 1.0' in ended
        for text in (live, ended):
            assert not any(word in text for word in (NUMBER, NUMBER[1:], NAME, "Ada", CALLED, session.call_id))
            samples = [line for line in text.splitlines() if line and not line.startswith("#")]
            assert all(line.startswith("consentgw_") for line in samples), samples
        s.gateway.switchboard.draining = True
        refusing = await nobody.get("/readyz")
        assert refusing.status_code == 503
        assert refusing.json()["ready"] is False and refusing.json()["because"] == ["the gateway is stopping"]
        assert (await nobody.get("/livez")).status_code == 200


async def test_policies_are_seen_by_many_and_reloaded_by_an_admin_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        (shown,) = (await s.clients["viewer"].get("/v1/policies")).json()
        assert (shown["name"], shown["version"]) == ("test", "1")
        is_problem(await s.clients["agent"].get("/v1/policies"), 403, "forbidden")
        for name in ("supervisor", "viewer", "agent"):
            is_problem(await s.clients[name].post("/v1/policies/reload"), 403, "forbidden")
        policy = tmp_path / "policy.d" / "test.toml"
        policy.write_text(policy.read_text().replace("attempts = 2", "attempts = 20"))
        refused = await s.admin.post("/v1/policies/reload")
        is_problem(refused, 422, "policies_not_usable")
        (error,) = refused.json()["errors"]
        assert error["where"].endswith("test.toml:7") and "attempts" in error["what"]
        assert (await s.admin.get("/v1/policies")).json() == [shown]


async def test_the_description_names_every_path_of_the_contract(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        described = (await s.clients["nobody"].get("/openapi.json")).json()
        assert described["openapi"].startswith("3.")
        paths = described["paths"]
        for verb in ("pause", "resume", "withdraw", "reconsent"):
            assert "post" in paths[f"/v1/calls/{{call_id}}/{verb}"]
        for verb in ("pause", "resume"):
            assert "post" in paths[f"/v1/agents/{{agent}}/{verb}"]
        reading = ["/livez", "/readyz", "/metrics", "/v1/calls", "/v1/calls/{call_id}", "/v1/events"]
        for path in [*reading, "/v1/calls/{call_id}/evidence", "/v1/policies"]:
            assert "get" in paths[path]
        assert "post" in paths["/v1/policies/reload"]
        text = json.dumps(described)
        names = set(described["components"]["schemas"])
        assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) <= names


# --- errors ---


async def test_who_has_no_key_gets_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        nobody = s.clients["nobody"]
        good = s.admin.headers["authorization"].removeprefix("Bearer ")
        assert (await nobody.get("/v1/calls", headers={"X-API-Key": good})).status_code == 200
        assert (await nobody.get("/v1/calls", headers={"Authorization": f"bearer {good}"})).status_code == 200
        wrong = [
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": f"Basic {good}"},
            {"Authorization": f"Bearer {good[:-1]}"},
            {"Authorization": f"Bearer {good}x"},
            {"Authorization": "Bearer cgk_" + "0" * 60},
            {"Authorization": b"Bearer cgk_\xe9\xff_\xb2"},
            {"X-API-Key": "x" * 8_000},
            {"Authorization": s.clients["odd role"].headers["authorization"]},
        ]
        for headers in wrong:
            for path in ("/v1/calls", f"/v1/calls/{NOBODY}", "/metrics", "/v1/events", "/v1/policies"):
                answer = await nobody.get(path, headers=headers)  # type: ignore[arg-type]
                is_problem(answer, 401, "unauthenticated")
                assert answer.headers["www-authenticate"] == "Bearer"
        assert (await nobody.get("/v1/calls", params={"key": good, "api_key": good})).status_code == 401
        (key,) = [key for key in await s.gateway.api_keys.all() if key.role == "viewer"]
        await s.gateway.api_keys.revoke(key.key_id)
        is_problem(await s.clients["viewer"].get("/v1/calls"), 401, "unauthenticated")


async def test_bad_and_unknown_ids_are_told_apart(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        for bad in ("1", NOBODY.lower(), NOBODY + "0", "I" * 26, "%00" * 26, "a%20b"):
            for answer in (
                await s.admin.get(f"/v1/calls/{bad}"),
                await s.admin.post(f"/v1/calls/{bad}/pause"),
                await s.admin.get(f"/v1/calls/{bad}/evidence"),
            ):
                is_problem(answer, 422, "invalid_request")
        is_problem(await s.admin.get(f"/v1/calls/{NOBODY}"), 404, "no_such_call")
        is_problem(await s.admin.post(f"/v1/calls/{NOBODY}/withdraw"), 404, "no_such_call")
        is_problem(await s.admin.get(f"/v1/calls/{NOBODY}/evidence"), 404, "no_evidence")
        is_problem(await s.admin.post("/v1/agents/nobody/pause"), 404, "no_present_call")
        is_problem(await s.admin.post("/v1/agents/%3Cx%3E/pause"), 422, "invalid_request")
        is_problem(await s.admin.post(f"/v1/calls/{NOBODY}/pause", params={"reason": "mood"}), 422, "invalid_request")
        is_problem(await s.admin.get("/v1/nothing"), 404, "not_found")
        wrong_method = await s.admin.get(f"/v1/calls/{NOBODY}/pause")
        is_problem(wrong_method, 405, "method_not_allowed")
        assert wrong_method.headers["allow"] == "POST"


async def raw(url: str, request: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(65_536), 5)
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.close()


async def test_hostile_requests_are_never_our_fault(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        key = s.admin.headers["authorization"].encode()
        head = b"Host: x\r\nConnection: close\r\nAuthorization: " + key + b"\r\n"
        at = f"/v1/calls/{NOBODY}".encode()
        requests = [
            b"GET /v1/calls HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 300_000 + b"\r\n\r\n",
            b"GET /v1/calls HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(2_000)) + head + b"\r\n",
            b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + head + b"\r\n",
            b"POST "
            + at
            + b"/pause HTTP/1.1\r\n"
            + head
            + b"Content-Length: 9\r\nContent-Type: application/json\r\n\r\n{not json",
            b"POST " + at + b"/pause HTTP/1.1\r\n" + head + b"Content-Length: -5\r\n\r\n",
            b"POST " + at + b"/pause HTTP/1.1\r\n" + head + b"Content-Length: 99999999999999\r\n\r\n{}",
            b"POST " + at + b"/pause HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST " + at + b"/pause?reason=%00%ff HTTP/1.1\r\n" + head + b"\r\n",
            b"GET /v1/calls/../../etc/passwd HTTP/1.1\r\n" + head + b"\r\n",
            b"GET /v1/calls/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + head + b"\r\n",
            b"GET /v1/calls/%2e%2e/evidence HTTP/1.1\r\n" + head + b"\r\n",
            b"GET //v1//calls HTTP/1.1\r\n" + head + b"\r\n",
            b"GET /v1/calls/%ff%fe HTTP/1.1\r\n" + head + b"\r\n",
            b"GET http://elsewhere/v1/calls HTTP/1.1\r\n" + head + b"\r\n",
            b"GET \x00\x01 HTTP/1.1\r\n" + head + b"\r\n",
            b"TRACE /v1/calls HTTP/1.1\r\n" + head + b"\r\n",
            b"BREW /v1/calls HTTP/1.1\r\n" + head + b"\r\n",
            b"GET /v1/calls HTTP/9.9\r\n" + head + b"\r\n",
            b"GET /v1/events HTTP/1.1\r\nLast-Event-ID: \xff\xfe\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"INVITE sip:a@b SIP/2.0\r\n\r\n",
            b"\r\n" * 10_000,
        ]
        for request in requests:
            answer = await raw(s.url, request)
            assert not re.match(rb"HTTP/1\.[01] 5", answer), (request[:80], answer[:300])
            assert b"root:" not in answer and b"Traceback" not in answer
        assert (await s.admin.get("/v1/calls")).status_code == 200
        assert (await s.admin.post("/v1/calls", content=b"x" * 3_000_000)).status_code == 405


# --- who may do what ---

ONLY_AGENTS_PAUSE = {"codes": 'private = "*70"\n[[authority]]\nmay = ["pause", "private"]\nroles = ["agent"]\n'}


async def test_the_policy_of_a_call_says_who_may_do_what_to_it(tmp_path: Path) -> None:
    async with scene(tmp_path, **ONLY_AGENTS_PAUSE) as s:
        call, session = await s.call()
        at = f"/v1/calls/{session.call_id}"
        agent, supervisor = s.clients["agent"], s.clients["supervisor"]
        for verb in ("pause", "withdraw", "reconsent", "resume"):
            refused = await supervisor.post(f"{at}/{verb}")
            is_problem(refused, 403, "not_authorised")
            assert refused.json()["because"].startswith("the policy does not let a supervisor ")
        is_problem(await supervisor.post(f"/v1/agents/{CALLED}/pause"), 403, "not_authorised")
        is_problem(await supervisor.get(f"{at}/evidence"), 403, "not_authorised")
        assert session.call.recorder.observed == "on", "nobody without the right changed anything"
        assert (await agent.post("/v1/me/pause")).json()["observed"] is True
        is_problem(await agent.post("/v1/me/resume"), 403, "not_authorised")
        assert (await s.admin.post(f"{at}/resume", params={"reason": "agent_key"})).json()["recorder"] == "on"
        body = (await agent.post(f"{at}/pause", params={"reason": "private_call"})).json()
        assert (body["observed"], body["recorder"]) == (True, "paused")
        assert (await agent.get(at)).json()["holds"] == [
            {"reason": "private_call", "actor": ANY, "expires_in_ms": None},
        ]
        assert (await agent.post(f"{at}/resume", params={"reason": "private_call"})).json()["recorder"] == "on"
        await s.over(call, session)
        is_problem(await supervisor.get(f"{at}/evidence"), 403, "not_authorised")
        bundle = (await s.admin.get(f"{at}/evidence")).content
        verify_bundle(bundle, s.gateway.evidence.verifier_key())
        refusals = [
            (entry["entry"]["facts"]["act"], entry["entry"]["facts"]["actor"].partition(":")[0])
            for entry in json.loads(bundle)["entries"]
            if entry["entry"]["kind"] == "control.refused"
        ]
        by_supervisor = ["pause", "withdraw", "record", "resume", "pause", "export"]
        assert refusals == [
            *((act, "supervisor") for act in by_supervisor),
            ("resume", "agent"),
            ("export", "supervisor"),
        ]


async def test_who_has_not_acknowledged_the_policy_may_pause_and_no_more(tmp_path: Path) -> None:
    learn = {"education": 'until_acknowledged_not = ["resume", "export"]\n'}
    async with scene(tmp_path, **learn) as s:
        call, session = await s.call()
        agent, at = s.clients["agent"], f"/v1/calls/{session.call_id}"
        assert (await agent.post("/v1/me/pause")).json()["observed"] is True
        refused = await agent.post("/v1/me/resume")
        is_problem(refused, 403, "not_authorised")
        assert "acknowledge it first" in refused.json()["because"]
        is_problem(await s.clients["supervisor"].get(f"{at}/evidence"), 403, "not_authorised")
        read = (await agent.get("/v1/education/text")).json()
        assert read["role"] == "agent" and "*71 pauses the recording" in read["text"]
        post = "/v1/education/acknowledgements"
        is_problem(await agent.post(post, json={"sha256": "0" * 64}), 409, "text_changed")
        is_problem(await agent.post(post, json={"sha256": read["sha256"], "agent": "billing"}), 403, "forbidden")
        is_problem(await agent.post(post, json={"sha256": "x"}), 422, "invalid_request")
        is_problem(await s.clients["viewer"].get("/v1/education/text"), 409, "no_text")
        is_problem(await s.clients["viewer"].get("/v1/education"), 403, "forbidden")
        made = (await agent.post(post, json={"sha256": read["sha256"]})).json()
        assert (made["agent"], made["role"], bool(made["acknowledged"])) == (CALLED, "agent", True)
        assert (await agent.post("/v1/me/resume")).json()["recorder"] == "on"

        of_supervisors = (await s.clients["supervisor"].get("/v1/education/text")).json()["sha256"]
        is_problem(await s.clients["supervisor"].post(post, json={"sha256": of_supervisors}), 409, "no_agent")
        wish = {"sha256": of_supervisors, "agent": "chief", "role": "supervisor"}
        assert (await s.admin.post(post, json=wish)).status_code == 200, "a signature on paper"
        (chief, mine) = (await s.clients["supervisor"].get("/v1/education")).json()
        assert (chief["agent"], chief["role"], mine) == ("chief", "supervisor", made)

        policy = tmp_path / "policy.d" / "test.toml"
        policy.write_text(policy.read_text() + '[codes]\npause = "*75"\n')
        assert (await s.admin.post("/v1/policies/reload")).status_code == 200
        shown = {one["agent"]: one for one in (await s.clients["supervisor"].get("/v1/education")).json()}
        assert shown[CALLED]["acknowledged"] is None and shown[CALLED]["former"] == made["acknowledged"]
        assert shown["chief"]["acknowledged"], "nothing changed for supervisors"
        await s.over(call, session)


async def test_whatever_works_beside_the_recorder_asks_for_its_purpose(tmp_path: Path) -> None:
    one_by_one = {"top": 'purposes = ["recording", "transcription", "analysis"]', "ask": 'purposes = "one_by_one"'}
    async with scene(tmp_path, **one_by_one) as s:
        _, clear = await s.gateway.api_keys.create("scribe", "sink")
        call = await s.caller.call(f"sip:{CALLED}@{s.gateway.front.address}", from_number=NUMBER)
        call.audio_source = numbered.source
        session = await support.session_of(s.gateway, NUMBER)
        await call.answered(10)
        for key in "112":
            await asyncio.sleep(0.7)
            await call.send_digit(key, 60)
            await asyncio.sleep(0.2)
        agent = await agent_takes_it(s)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 10_000)
        at = f"/v1/calls/{session.call_id}"
        headers = {"Authorization": f"Bearer {clear}"}
        async with httpx.AsyncClient(base_url=s.url, headers=headers, timeout=10, trust_env=False) as scribe:
            granted = {"recording": True, "transcription": True, "analysis": False}
            assert (await scribe.get(at)).json()["purposes"] == granted
            made = await scribe.post(f"{at}/sinks", json={"name": "scribe", "purpose": "transcription"})
            assert made.json() == {
                **{"call_id": session.call_id, "name": "scribe", "purpose": "transcription", "now": True},
            }
            refused = await scribe.post(f"{at}/sinks", json={"name": "scribe", "purpose": "analysis"})
            is_problem(refused, 403, "purpose_not_granted")
            assert refused.json()["because"] == "not granted"
            refused = await scribe.post(f"{at}/sinks", json={"name": "scribe", "purpose": "sharing"})
            assert refused.json()["because"] == "not among the call's purposes"
            is_problem(await scribe.post(f"{at}/sinks", json={"name": "A B", "purpose": "x"}), 422, "invalid_request")
            is_problem(await scribe.post(f"{at}/pause"), 403, "forbidden")
            is_problem(await scribe.get(f"{at}/evidence"), 403, "forbidden")
            for client in (s.clients["agent"], s.clients["viewer"]):
                wish = {"name": "x", "purpose": "transcription"}
                is_problem(await client.post(f"{at}/sinks", json=wish), 403, "forbidden")
            assert (await s.admin.post(f"{at}/pause")).json()["observed"] is True
            assert not any((await scribe.get(at)).json()["purposes"].values()), "a pause is for sinks too"
            again = await scribe.post(f"{at}/sinks", json={"name": "scribe", "purpose": "transcription"})
            assert again.json()["now"] is False
        await call.hang_up()
        await agent.ended(5)
        await asyncio.wait_for(session.over.wait(), 10)
        entries = await s.gateway.services.evidence.entries(session.call_id)
        kinds = [entry.kind for entry in entries]
        assert (kinds.count("sink.allowed"), kinds.count("sink.refused")) == (1, 2)
        answers = [dict(e.facts) for e in entries if e.kind == "verdict" and e.facts["party"] == "caller"]
        assert [one["purposes"] for one in answers] == [
            {"recording": True, "transcription": False, "analysis": False},
            {"recording": True, "transcription": True, "analysis": False},
            {"recording": True, "transcription": True, "analysis": False},
        ]
        assert [one.get("answer") for one in answers] == [None, "granted", "refused"]
        verify_bundle(await s.gateway.services.evidence.export(session.call_id), s.gateway.evidence.verifier_key())


async def agent_takes_it(s: Scene) -> Call:
    """The agent takes the call."""
    agent = await s.agent.incoming(10)
    agent.audio_source = numbered.source
    await agent.accept()
    return agent
