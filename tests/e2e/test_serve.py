"""`consent-gateway serve` as a process of its own, and the commands that speak with it."""

import asyncio
import json
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.adapters.softphone import Call, Softphone
from tests.support import gateway as support
from tests.support import numbered
from tests.support.serving import Served, free_port

pytestmark = pytest.mark.slow

NUMBER = "+4915550100"
NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def command(*arguments: str | Path, cwd: Path) -> Said:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", *map(str, arguments)),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Said(process.returncode, out.decode(), err.decode())


@dataclass
class Scene:
    """A serving process, two phones, and the command line."""

    served: Served
    caller: Softphone
    agent: Softphone

    @property
    def folder(self) -> Path:
        return self.served.folder

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.served.http_port}"

    @property
    def key_file(self) -> Path:
        return self.folder / "var" / "keys" / "cli.key"

    async def calls(self, *arguments: str) -> Said:
        return await command("calls", *arguments, "--url", self.url, "--key-file", self.key_file, cwd=self.folder)

    async def evidence(self, verb: str, *arguments: str | Path) -> Said:
        return await command("evidence", verb, *arguments, "--config", self.served.config, cwd=self.folder)

    async def talk(self) -> tuple[Call, str]:
        """A granted call that talks; returns it and its id."""
        call = await self.caller.call(self.served.sip, from_number=NUMBER, from_name="Ada Lovelace")
        call.audio_source = numbered.source
        await call.answered(10)
        await asyncio.sleep(0.7)
        await call.send_digit("1", 60)
        agent = await self.agent.incoming(10)
        agent.audio_source = numbered.source
        await agent.accept()
        await asyncio.sleep(0.5)
        (live,) = (await self.calls("list", "--json")).json
        return call, live["call_id"]


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with await Softphone.open(user="agent") as agent, await Softphone.open() as caller:
        served = Served(folder, agent.address)
        await served.start()
        try:
            yield Scene(served, caller, agent)
        finally:
            await served.stop()


async def test_it_says_where_it_listens_and_who_may_log_in(tmp_path: Path) -> None:
    served = Served(tmp_path, "127.0.0.1:5080")
    key_file = tmp_path / "var" / "keys" / "cli.key"
    keys = []
    for number in (signal.SIGTERM, signal.SIGINT):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(served.config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        lines = []
        async with asyncio.timeout(20):
            while line := (await process.stdout.readline()).decode():
                lines.append(line)
                if line.startswith("Stop with"):
                    break
        said = "".join(lines)
        assert f"sip:127.0.0.1:{served.sip_port}" in said
        assert f"http://127.0.0.1:{served.http_port}/" in said
        assert str(key_file) in said
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        keys.append(key_file.read_text())
        assert keys[-1].startswith("cgk_") and keys[-1].strip() not in said
        listed = await command(
            *("calls", "list", "--url", f"http://127.0.0.1:{served.http_port}", "--key-file", key_file), cwd=tmp_path
        )
        assert (listed.code, listed.out) == (0, "no live calls\n")
        process.send_signal(number)
        begun = time.monotonic()
        out, err = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 0 and b"Traceback" not in err, err.decode()
        assert time.monotonic() - begun < 8
        assert b"stopped" in out
    assert keys[0] == keys[1], "the first login is made once"


async def test_the_command_line_controls_a_live_call_and_its_end_is_complete(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        _, call_id = await s.talk()
        assert call_id in (await s.calls("list")).out
        shown = await s.calls("show", call_id)
        assert shown.code == 0 and "granted" in shown.out and NUMBER not in shown.out
        assert (await s.calls("show", call_id, "--json")).json["recorder"]["observed"] == "on"

        paused = await s.calls("pause", call_id, "--json")
        assert paused.code == 0 and paused.json["observed"] is True and paused.json["recorder"] == "paused"
        assert (await s.calls("pause", call_id)).out == "already_paused; recorder paused (observed)\n"
        assert "supervisor" in (await s.calls("list")).out
        resumed = await s.calls("resume", "--agent", "sales")
        assert (resumed.code, resumed.out) == (0, "resumed; recorder on (observed)\n")

        mine = tmp_path / "sales.key"
        here = ("--config", s.served.config)
        made = await command(*("keys", "create", "hotkey", "--agent", "sales", "--out", mine, *here), cwd=tmp_path)
        assert made.code == 0 and stat.S_IMODE(mine.stat().st_mode) == 0o600
        assert mine.read_text().strip() not in made.out and "(agent sales)" in made.out
        again = await command(*("keys", "create", "hotkey", "--agent", "sales", "--out", mine, *here), cwd=tmp_path)
        assert again.code == 3 and "exists already" in again.err
        hotkey = ("--mine", "--url", s.url, "--key-file", mine)
        for verb, answer in (("pause", "paused; recorder paused"), ("resume", "resumed; recorder on")):
            pressed = await command("calls", verb, *hotkey, cwd=tmp_path)
            assert (pressed.code, pressed.out) == (0, f"{answer} (observed)\n")
        listed = await command("keys", "list", "--json", *here, cwd=tmp_path)
        (key_id,) = [key["key_id"] for key in listed.json if key["agent"] == "sales"]
        assert (await command("keys", "revoke", key_id, *here, cwd=tmp_path)).code == 0
        refused = await command("calls", "pause", *hotkey, cwd=tmp_path)
        assert refused.code == 1 and "unauthenticated" in refused.err
        assert "revoked" in (await command("keys", "list", *here, cwd=tmp_path)).out
        unknown = await command("keys", "revoke", "00" * 8, *here, cwd=tmp_path)
        assert unknown.code == 3 and "no key has that id" in unknown.err
        wrong_use = await command("keys", "create", "x", "--role", "viewer", "--agent", "sales", *here, cwd=tmp_path)
        assert wrong_use.code == 2

        for arguments, code in (
            (("show", NOBODY), "no_such_call"),
            (("pause", "no id?#%2e"), "invalid_request"),
            (("pause", "--agent", "no body?#"), "invalid_request"),
            (("pause", "--agent", "nobody"), "no_present_call"),
            (("pause", "--mine"), "no_agent"),
            (("reconsent", call_id), "nothing_to_ask"),
        ):
            refused = await s.calls(*arguments, "--json")
            assert (refused.code, refused.json["code"], refused.json["accepted"]) == (1, code, False)
        (tmp_path / "wrong.key").write_text("cgk_wrong")
        wrong = await command("calls", "list", "--url", s.url, "--key-file", "wrong.key", cwd=tmp_path)
        assert wrong.code == 1 and "unauthenticated" in wrong.err
        assert (await command("calls", "list", "--url", s.url, cwd=tmp_path / "prompts")).code == 3
        assert (await s.calls("pause")).code == 2

        # the evidence beside the gateway that has the log open
        (listed,) = (await s.evidence("list", "--json")).json
        assert listed["call_id"] == call_id
        assert "hold.cleared" in (await s.evidence("show", call_id)).out
        exported = await s.evidence("export", call_id, "--out", tmp_path / "live.json", "--json")
        assert exported.code == 0, exported.err
        size = (tmp_path / "live.json").stat().st_size
        assert exported.json == {"call_id": call_id, "path": str(tmp_path / "live.json"), "size": size}
        key = tmp_path / "var" / "keys" / "log.pub"
        verified = await command("evidence", "verify", "live.json", "--key", key, "--json", cwd=tmp_path)
        assert verified.code == 0 and any("still open" in line for line in verified.json["not_proven"])
        assert (await s.evidence("fsck")).code == 0

        begun = time.monotonic()
        assert await s.served.stop() == 0
        assert time.monotonic() - begun < 10
        fsck = await s.evidence("fsck", "--json")
        assert fsck.code == 0 and fsck.json == {"ok": True, "problems": []}
        entries = (await s.evidence("show", call_id, "--json")).json
        assert entries[-1]["kind"] == "call.ended" and entries[-1]["facts"]["cause"] == "gateway stopped"
        assert entries[-1]["facts"]["entries"] == len(entries)
        assert "recording.closed" in [entry["kind"] for entry in entries]
        piped = await s.evidence("export", call_id)
        (tmp_path / "ended.json").write_text(piped.out)
        verified = await command("evidence", "verify", "ended.json", "--key", key, cwd=tmp_path)
        assert verified.code == 0 and verified.out.startswith("proven:")
        assert (await s.evidence("show", NOBODY)).code == 3
        assert (await s.evidence("export", NOBODY)).code == 3

        recording = (f"{call_id}-1", "--config", str(s.served.config))
        assert (await command("recordings", "verify", *recording, cwd=tmp_path)).code == 0
        wav = await command("recordings", "export", *recording, "--out", "call.wav", "--json", cwd=tmp_path)
        assert wav.code == 0 and wav.json["duration_ms"] > 500 and wav.json["truncated"] is False
        assert (tmp_path / "call.wav").read_bytes()[:4] == b"RIFF"
        assert (await s.calls("list")).code == 3, "nobody answers any more"


async def test_withdrawal_and_a_reader_of_events_at_the_end(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, call_id = await s.talk()
        withdrawn = await s.calls("withdraw", call_id, "--json")
        assert withdrawn.code == 0
        assert (withdrawn.json["verdict"], withdrawn.json["recorder"]) == ("withdrawn", "off")
        refused = await s.calls("pause", call_id)
        assert refused.code == 1 and "not_recording" in refused.err
        assert (await s.calls("reconsent", call_id)).code == 0
        reader, writer = await asyncio.open_connection("127.0.0.1", s.served.http_port)
        key = s.key_file.read_bytes().strip()
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + b"\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert await s.served.stop() == 0
        assert time.monotonic() - begun < 10, "a reader of events does not hold the end up"
        writer.close()
        assert await call.ended(5)
        assert (await s.evidence("fsck")).code == 0
        entries = (await s.evidence("show", call_id, "--json")).json
        assert entries[-1]["kind"] == "call.ended"


async def test_a_second_instance_is_refused_and_the_first_serves_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        same = s.served.config.read_text()
        (tmp_path / "ports.toml").write_text(
            same.replace(str(s.served.sip_port), str(free_port(socket.SOCK_DGRAM))).replace(
                str(s.served.http_port), str(free_port(socket.SOCK_STREAM))
            )
        )
        second = await command("serve", "--config", "ports.toml", cwd=tmp_path)
        assert second.code == 3
        assert "second instance" in second.err or "another" in second.err
        assert len(second.err.splitlines()) == 1, second.err
        again = await command("serve", "--config", s.served.config, cwd=tmp_path)
        assert again.code == 3 and str(s.served.http_port) in again.err
        (tmp_path / "sip.toml").write_text(
            same.replace(str(s.served.http_port), str(free_port(socket.SOCK_STREAM))).replace(
                str(tmp_path / "var"), str(tmp_path / "var2")
            )
        )
        sip = await command("serve", "--config", "sip.toml", cwd=tmp_path)
        assert sip.code == 3 and str(s.served.sip_port) in sip.err
        await s.talk()
        assert (await s.evidence("fsck")).code == 0


GOOD_POLICY = support.POLICY.format(top="", ask="", pause="", recording="")
SETTINGS = '[sip]\nbind = "127.0.0.1:0"\n[http]\nbind = "127.0.0.1:0"\n'
SETTINGS += '[policy]\nfolder = "policy.d"\n[prompts]\nfolder = "prompts"\n'


@pytest.mark.parametrize(
    ("files", "code", "names"),
    [
        ({"gateway.toml": "[sip\nbind = 1"}, 2, ["gateway.toml", "line 1"]),
        ({"gateway.toml": b"\xff\xfe"}, 2, ["gateway.toml"]),
        ({"gateway.toml": '[sip]\nbnd = "x"'}, 2, ["gateway.toml", "sip.bnd"]),
        ({"gateway.toml": '[http]\nbind = "127.0.0.1:99999"'}, 2, ["gateway.toml", "http.bind"]),
        ({"gateway.toml": '[sip]\nbind = "127.0.0.1:70000"'}, 2, ["gateway.toml", "sip.bind"]),
        ({"gateway.toml": None}, 2, ["gateway.toml", "no such file"]),
        (
            {"policy.d/test.toml": GOOD_POLICY.replace("attempts = 2", 'attempts = "many"')},
            2,
            ["test.toml:7", "attempts"],
        ),
        ({"policy.d/test.toml": "name = \n"}, 2, ["test.toml:1"]),
        ({"policy.d/test.toml": GOOD_POLICY.replace("[ask]", 'language = "fr"\n[ask]')}, 2, ["test.toml", '"fr"']),
        ({"policy.d/test.toml": None}, 2, ["policy.d"]),
        ({"prompts/en/ask.wav": b"RIFF"}, 2, ["prompts/en/ask.wav", "SHA-256"]),
        ({"prompts/en/manifest.json": "{"}, 2, ["prompts/en/manifest.json"]),
        ({"gateway.toml": SETTINGS + '[storage]\nfolder = "policy.d/test.toml"'}, 3, ["policy.d/test.toml"]),
        ({"gateway.toml": SETTINGS.replace("127.0.0.1:0", "192.0.2.1:0", 1)}, 3, ["192.0.2.1"]),
    ],
)
async def test_what_cannot_work_is_said_in_a_line(
    tmp_path: Path, files: dict[str, str | bytes | None], code: int, names: list[str]
) -> None:
    support.write_policy(tmp_path / "policy.d")
    support.write_prompts(tmp_path / "prompts")
    (tmp_path / "gateway.toml").write_text(SETTINGS)
    for name, content in files.items():
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    said = await command("serve", "--config", "gateway.toml", cwd=tmp_path)
    assert said.code == code, said.err
    lines = [line for line in said.err.splitlines() if not line.startswith("{")]
    assert lines and all(any(name in line for line in lines) for name in names), said.err
    assert len(lines) <= 3 and said.out == ""


async def test_where_it_listens_can_be_read_by_a_program(tmp_path: Path) -> None:
    served = Served(tmp_path, "127.0.0.1:5080")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "serve", "--json", "--config", str(served.config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    document = (await asyncio.wait_for(process.stdout.readuntil(b"\n}\n"), 20)).decode()
    process.terminate()
    rest, _ = await asyncio.wait_for(process.communicate(), 15)
    said = json.loads(document)
    assert said["sip"] == f"sip:127.0.0.1:{served.sip_port}"
    assert said["http"] == f"http://127.0.0.1:{served.http_port}/"
    assert Path(said["key_file"]).read_text().startswith("cgk_")  # noqa: ASYNC240
    assert (process.returncode, rest) == (0, b"")


async def test_a_role_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    said = await command("serve", "--role", "sip", cwd=tmp_path)
    assert said.code == 2 and "sip" in said.err


async def test_whatever_answers_at_the_url_is_told_from_a_gateway(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(replies.pop(0))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    (tmp_path / "k").write_text("cgk_x")
    replies = [b"HTTP/1.1 200 OK\r\n\r\n<html>", b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 500 No\r\n\r\n[1]"]
    for code in (3, 3, 3, 1):
        said = await command("calls", "list", "--url", url, "--key-file", "k", cwd=tmp_path)
        assert said.code == code and len(said.err.splitlines()) == 1, said.err
    said = await command("calls", "list", "--url", "ftp://x", "--key-file", "k", cwd=tmp_path)
    assert said.code == 2
    server.close()


async def test_reload_brings_new_policies_into_force_for_new_calls_only(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        policy = tmp_path / "policy.d" / "test.toml"
        first = policy.read_text()
        at = ("--url", s.url, "--key-file", s.key_file)
        call, call_id = await s.talk()

        policy.write_text(first.replace('version = "1"', 'version = "2"\nbasis = "contract"\njustification = "t 4"'))
        done = await command("policy", "reload", *at, "--json", cwd=tmp_path)
        assert done.code == 0 and done.json["ok"] and done.json["changed"] == ["test"]
        (live,) = (await s.calls("list", "--json")).json
        assert (live["call_id"], live["basis"], live["verdict"]) == (call_id, "consent", "granted")

        policy.write_text(first.replace('version = "1"', "version = 3"))
        refused = await command("policy", "reload", *at, cwd=tmp_path)
        assert refused.code == 1 and "those in force stay" in refused.err and f"{policy}:3: version" in refused.err
        assert s.served.process is not None
        s.served.process.send_signal(signal.SIGHUP)
        for _ in range(100):
            if "not usable: those in force stay" in (tmp_path / "serve.log").read_text():
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the log says nothing of SIGHUP")

        await call.hang_up()
        second = await s.caller.call(s.served.sip, from_number=NUMBER)
        await second.answered(10)
        (live,) = (await s.calls("list", "--json")).json
        assert live["basis"] == "contract", "version 2 is in force, not the broken one"

        policy.write_text(first.replace('version = "1"', 'version = "4"'))
        s.served.process.send_signal(signal.SIGHUP)
        headers = {"Authorization": f"Bearer {s.key_file.read_text().strip()}"}
        async with httpx.AsyncClient(base_url=s.url, headers=headers, trust_env=False) as client:
            for _ in range(100):
                versions = [policy["version"] for policy in (await client.get("/v1/policies")).json()]
                if versions == ["4"]:
                    break
                await asyncio.sleep(0.05)
        assert versions == ["4"]
        again = await command("policy", "reload", *at, cwd=tmp_path)
        assert again.out.startswith("as before test, version 4")
        await second.hang_up()
        (bundle, *_) = [e for e in (await s.evidence("list", "--json")).json if e["call_id"] == call_id]
        shown = await s.evidence("show", call_id, "--json")
        assert bundle and '"version": "1"' in shown.out, "the first call has the policy it began with in its evidence"


async def test_who_read_the_policy_says_so_and_who_did_not_is_shown(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        here = ("--url", s.url, "--key-file", s.key_file)
        nobody = await command("education", "list", *here, cwd=tmp_path)
        assert (nobody.code, nobody.out) == (0, "nobody is listed\n")
        async with httpx.AsyncClient(
            base_url=s.url, headers={"Authorization": f"Bearer {s.key_file.read_text().strip()}"}, trust_env=False
        ) as client:
            read = (await client.get("/v1/education/text", params={"role": "agent"})).json()
        wrong = await command(
            "education", "acknowledge", "0" * 64, "--agent", "7", "--role", "agent", *here, cwd=tmp_path
        )
        assert wrong.code == 1 and "read it again" in wrong.err
        wish = ("education", "acknowledge", read["sha256"], "--agent", "7", "--role", "agent")
        made = await command(*wish, *here, cwd=tmp_path)
        assert made.code == 0 and made.out.startswith("7 (agent) has acknowledged the present text since 2")
        listed = await command("education", "list", *here, cwd=tmp_path)
        assert listed.code == 0 and "known  7      agent" in listed.out
        policy = tmp_path / "policy.d" / "test.toml"
        policy.write_text(policy.read_text().replace('version = "1"', 'version = "2"'))
        assert (await command("policy", "reload", *here, cwd=tmp_path)).code == 0
        missing = await command("education", "list", "--json", *here, cwd=tmp_path)
        assert missing.code == 1
        assert (missing.json["missing"], missing.json["people"][0]["acknowledged"]) == (1, None)
