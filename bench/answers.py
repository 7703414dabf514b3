"""How long a spoken answer takes to become a verdict, with one caller and with eight at once, and what that does to
the other calls.

Real SIP and RTP to a whole gateway in its own process, with the real recogniser and its default settings. An answer
begins to count when the caller's phone sent the last packet that holds speech (a frame above -45 dBov), so the silence
that has to follow (500 ms) is in every figure. A verdict is when the gateway has it in its evidence, durably; "heard"
is when the caller's phone got the first packet of what he is told then, which does not wait for the disk (recording
does). One CLOCK_MONOTONIC for all processes.

Beside the eight there are callers who press a key while the recogniser is at work, and callers who hear a prompt, whose
packets the kernel stamps as they arrive. The same callers are measured in the same run with nobody else there.
"""

import asyncio
import math
import os
import random
import socket
import struct
import time
import wave
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine
from bench.whole import Told, Whole, whole
from gateway.adapters.softphone import Call, CallFailed, Softphone
from gateway.adapters.softphone.media import FRAME_NS, FRAME_SAMPLES, Press
from gateway.media import g711
from gateway.media.g711 import Samples
from gateway.ports.recogniser import Failure
from gateway.wire.rtp import RtpPacket
from tests.support import speech
from tests.support.spoken import recording

WORDS = {"yes-i-agree": "granted", "no-thank-you": "refused", "i-do-not-agree": "refused"}
"""What is said, each with the verdict that it is. None of it has to be asked back."""
AT_ONCE = 8
BY_KEY = 2
HEARING = 2
SPARE = 4
"""Calls that the gateway could take besides: no worker has to be full."""
KEY, KEY_VERDICT = "2", "refused"
LEAD_S = 2.5
"""From when everybody was asked to the end of the answers: longer than the longest of them."""
LEAD_ALONE_S = 1.5
PROMPT_BEFORE_S = 0.7
"""How long before the end of the answers the prompts begin that are watched."""
KEYS_AFTER_S = (0.5, 1.0)
"""When keys are pressed, after the end of the answers: the end has been noticed then, and the recogniser is at work."""
SETTLED_WITHIN_S = 12.0
LATE_MS = 40.0
SILENT = bytes([g711.SILENCE["PCMU"]]) * FRAME_SAMPLES
QUIET_CODES = bytes((0x7F, 0xFF))
_STEP = np.unique(g711.decode("PCMU", bytes(range(256))), return_inverse=True)[1].astype(int)
"""Code -> its place among all values, in order."""


class Words:
    """An audio source: silence, and once words, begun so that their last sound is sent at a given time."""

    def __init__(self, sound: Samples) -> None:
        audio = np.pad(sound, (0, -len(sound) % FRAME_SAMPLES))
        payload = g711.encode("PCMU", audio)
        self._frames = [payload[at : at + FRAME_SAMPLES] for at in range(0, len(payload), FRAME_SAMPLES)]
        self.last = speech.spoken(audio / 32768)[-1][1] - 1
        """The last frame that holds speech."""
        self.begin_ns: int | None = None
        self._first: int | None = None

    def end_at(self, at_ns: int) -> None:
        self.begin_ns = at_ns - self.last * FRAME_NS

    def __call__(self, n: int) -> bytes:
        if self._first is None:
            if self.begin_ns is None or time.monotonic_ns() < self.begin_ns:
                return SILENT
            self._first = n
        frame = n - self._first
        return self._frames[frame] if frame < len(self._frames) else SILENT

    def ended_ns(self, sent: Sequence[tuple[int, int]]) -> int:
        """When the last packet that holds speech was sent. Raises `RuntimeError` when it was not."""
        if self._first is not None:
            for n, at_ns in reversed(sent):
                if n == self._first + self.last:
                    return at_ns
        raise RuntimeError("a caller's phone did not send his words: this machine has no room for the measurement")


class StampedSocket(socket.socket):
    """A UDP socket that keeps what it received and when the kernel got it (nanoseconds of the kernel's clock): no
    delay of this process is in it."""

    _STAMP = 35  # SO_TIMESTAMPNS; Python has no name for it

    def __init__(self, plain: socket.socket) -> None:
        super().__init__(fileno=plain.detach())
        self.setblocking(False)
        self.setsockopt(socket.SOL_SOCKET, self._STAMP, 1)
        self.stamped: list[tuple[int, bytes]] = []

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        data, more, _, source = self.recvmsg(size, 64, flags)
        for level, kind, value in more:
            if (level, kind) == (socket.SOL_SOCKET, self._STAMP):
                seconds, nanoseconds = struct.unpack("qq", value[:16])
                self.stamped.append((seconds * 1_000_000_000 + nanoseconds, data))
        return data, source


@dataclass(frozen=True, slots=True)
class Heard:
    """What arrived of one prompt: packets, how many of them are missing, the times between two that arrived one after
    the other, and whether the sound is the prompt's, sample for sample (`same_sound`)."""

    packets: int
    missing: int
    between_ms: tuple[float, ...]
    same: bool


def heard(stamped: Sequence[tuple[int, bytes]], prompt: bytes) -> Heard:
    """Judge a stream of RTP packets (arrival in nanoseconds, datagram) that holds *prompt* (mu-law) and silence. Times
    and losses count from the first packet of it that is not silent to the last."""
    packets = [(at_ns, RtpPacket.decode(datagram)) for at_ns, datagram in stamped]
    packets = [(at_ns, packet) for at_ns, packet in packets if packet.payload_type == 0]
    loud = [number for number, (_, packet) in enumerate(packets) if packet.payload.strip(QUIET_CODES)]
    if not loud:
        return Heard(0, 0, (), False)
    inside = packets[loud[0] : loud[-1] + 1]
    origin = inside[0][1].sequence
    numbers = [(packet.sequence - origin + 0x8000) % 0x10000 - 0x8000 for _, packet in inside]
    in_order = sorted(zip(numbers, (packet.payload for _, packet in inside), strict=True), key=itemgetter(0))
    between = [(after - before) / 1e6 for (before, _), (after, _) in pairwise(inside)]
    missing = max(numbers) - min(numbers) + 1 - len(set(numbers))
    return Heard(len(inside), missing, tuple(between), same_sound(b"".join(payload for _, payload in in_order), prompt))


def same_sound(one: bytes, other: bytes) -> bool:
    """Whether two pieces of mu-law, silence around them left out, are one sound: as long, and each sample within one
    step, as two encoders may differ where a value lies between two codes."""
    one, other = one.strip(QUIET_CODES), other.strip(QUIET_CODES)
    steps = [_STEP[np.frombuffer(sound, np.uint8)] for sound in (one, other)]
    return len(one) == len(other) and bool((abs(steps[0] - steps[1]) <= 1).all())


@dataclass(slots=True)
class Answers:
    """Spoken answers under one condition. Milliseconds since the last packet that holds speech."""

    verdict: list[float] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)
    noticed: list[float] = field(default_factory=list)
    recogniser: list[float] = field(default_factory=list)
    """From the question to the recogniser to its answer, its queue included."""
    cpu_ms: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    passes: list[float] = field(default_factory=list)
    speech_cpu_s: float = 0.0

    @property
    def said(self) -> int:
        return sum(self.outcomes.values())


@dataclass(slots=True)
class Others:
    """The calls beside them, under one condition."""

    rounds: int = 0
    keys: list[float] = field(default_factory=list)
    prompts: list[Heard] = field(default_factory=list)


@dataclass(slots=True)
class Site:
    """A gateway and a phone that calls it."""

    gateway: Whole
    phone: Softphone
    prefix: str
    placed: int = 0
    up: list[tuple[str, Call]] = field(default_factory=list)

    async def place(self, source: Words | None = None, *, stamped: bool = False) -> tuple[str, Call]:
        """Bring up one call, silent or with words to come."""
        self.placed += 1
        number = f"+49{self.prefix}{self.placed:04}"
        address = self.gateway.up["address"]
        call = await self.phone.call(f"sip:line@{address}", from_number=number, audio_during_digit=True)
        if stamped:
            call.stream.socket = StampedSocket(call.stream.socket)  # before the answer, with which it is served
        call.audio_source = source
        try:
            await call.answered(10)
        except (CallFailed, TimeoutError) as error:
            # 503: every worker is full, or its media is late (a p99 gap of more than 25 ms between conference ticks).
            raise RuntimeError(
                f"a call was not taken ({error}): this machine has no room for the measurement"
            ) from None
        self.up.append((number, call))
        return number, call

    async def asked(self, number: str) -> None:
        """Wait until a caller has heard the whole question."""
        await self.reach(number, "prompt finished", 10.0)

    async def reach(self, number: str, what: str, within_s: float = SETTLED_WITHIN_S) -> dict[str, Any]:
        """Wait for the first line of that kind. Raises `RuntimeError` when it does not come."""
        try:
            found: list[dict[str, Any]] = await self.gateway.reach(number, lambda told: told.all(what), within_s)
        except TimeoutError:
            told = [line["what"] for line in self.gateway.of(number).lines]
            raise RuntimeError(f'a call never came to "{what}"; what there was: {told}') from None
        return found[0]

    async def clear(self) -> None:
        """Hang up everybody, and wait until the gateway is done with them."""
        await asyncio.gather(*(call.hang_up() for _, call in self.up))
        await asyncio.gather(*(self.reach(number, "over") for number, _ in self.up))
        self.up.clear()


def settled(told: Told) -> bool:
    """Whether it is clear what became of an answer: a verdict, or another question."""
    return bool(told.all("verdict")) or any(
        line["counted"] and line["decision"] not in ("yes", "no") for line in told.all("ruling")
    )


async def outcome(site: Site, number: str, call: Call, said: str, words: Words, found: Answers) -> None:
    """Wait for what becomes of what a caller said, and note it. Raises `RuntimeError` for a wrong verdict, or none."""
    try:
        await site.gateway.reach(number, settled, SETTLED_WITHIN_S)
    except TimeoutError:
        there = [line["what"] for line in site.gateway.of(number).lines]
        raise RuntimeError(f'"{said}" became nothing within {SETTLED_WITHIN_S:g} s; what there was: {there}') from None
    told = site.gateway.of(number)
    ended_ns = words.ended_ns(call.sent)
    spoken = told.all("spoken")[-1]
    found.noticed.append((spoken["at_ns"] - ended_ns) / 1e6)
    if spoken["elapsed_ms"] is not None:
        found.recogniser.append(spoken["elapsed_ms"])
    if spoken["cpu_ms"] is not None:
        found.cpu_ms.append(spoken["cpu_ms"])
        found.passes.append(spoken["passes"])
    if not (verdicts := told.all("verdict")):
        because = spoken["failure"] or told.all("ruling")[-1]["because"]
        found.outcomes[f"asked again: {because}"] += 1
        found.verdict.append(math.inf)
        found.heard.append(math.inf)
        return
    verdict = verdicts[0]
    if verdict["verdict"] != WORDS[said]:
        raise RuntimeError(f'wrong verdict: "{said}" became {verdict["verdict"]}')
    found.outcomes[verdict["verdict"]] += 1
    found.verdict.append((verdict["at_ns"] - ended_ns) / 1e6)

    def told_ns() -> int:
        later = (at for _, _, at, payload in list(call.received) if at > ended_ns and payload.strip(QUIET_CODES))
        return next(later, 0)

    try:
        await call.until(lambda: told_ns() > 0, 5.0)
    except TimeoutError:
        raise RuntimeError(f'"{said}" was {verdict["verdict"]}, and the caller was never told') from None
    found.heard.append((told_ns() - ended_ns) / 1e6)


async def answer_alone(site: Site, said: str, found: Answers) -> None:
    """One call, nobody else there."""
    words = Words(recording(said))
    number, call = await site.place(words)
    await site.asked(number)
    words.end_at(time.monotonic_ns() + round(LEAD_ALONE_S * 1e9))
    await outcome(site, number, call, said, words, found)
    await site.clear()


async def press_at(site: Site, number: str, call: Call, at_ns: int, found: Others) -> None:
    """Press a key at that time, and note how long the verdict took."""
    await until(at_ns)
    press: Press = await call.send_digit(KEY, 80)
    verdict = await site.reach(number, "verdict")
    if verdict["verdict"] != KEY_VERDICT:
        raise RuntimeError(f"wrong verdict: the key {KEY} became {verdict['verdict']}")
    found.keys.append((verdict["at_ns"] - press.down_ns) / 1e6)


async def hear_prompt(site: Site, at_ns: int, prompt: bytes, found: Others) -> None:
    """Be called at that time, hear the question to its end, and note what arrived of it."""
    await until(at_ns)
    number, call = await site.place(stamped=True)
    finished = await site.reach(number, "prompt finished", 10.0)
    if not finished["completed"]:
        raise RuntimeError("a prompt that nobody answered was not played to its end")
    await asyncio.sleep(0.3)  # what was sent of it is still on its way
    assert isinstance(call.stream.socket, StampedSocket)
    arrived = heard(call.stream.socket.stamped, prompt)
    if not arrived.packets:
        raise RuntimeError("a prompt was played of which the caller heard nothing")
    found.prompts.append(arrived)


async def until(at_ns: int) -> None:
    await asyncio.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9))


async def all_of(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run *jobs* together; the first failure ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def one_round(site: Site, speakers: int, prompt: bytes, rng: random.Random, answers: Answers) -> Others:
    """Everybody is asked, *speakers* of them answer at the same moment, keys are pressed and prompts are heard then."""
    said = [list(WORDS)[number % len(WORDS)] for number in range(speakers)]
    words = [Words(recording(one)) for one in said]
    up = await asyncio.gather(*(site.place(each) for each in (*words, *[None] * BY_KEY)))
    await asyncio.gather(*(site.asked(number) for number, _ in up))
    end_ns = time.monotonic_ns() + round(LEAD_S * 1e9)
    for each in words:
        each.end_at(end_ns)
    others = Others(rounds=1)
    speaking = zip(up[:speakers], said, words, strict=True)
    begin_ns = end_ns - round(PROMPT_BEFORE_S * 1e9)
    keys_ns = [end_ns + round(rng.uniform(*KEYS_AFTER_S) * 1e9) for _ in range(BY_KEY)]
    await all_of(
        *(outcome(site, number, call, one, each, answers) for (number, call), one, each in speaking),
        *(press_at(site, *caller, at_ns, others) for caller, at_ns in zip(up[speakers:], keys_ns, strict=True)),
        *(hear_prompt(site, begin_ns, prompt, others) for _ in range(HEARING)),
    )
    await site.clear()
    return others


def add(total: Others, one: Others) -> None:
    total.rounds += one.rounds
    total.keys += one.keys
    total.prompts += one.prompts


def mu_law(path: str) -> bytes:
    with wave.open(path) as file:
        return g711.encode("PCMU", np.frombuffer(file.readframes(file.getnframes()), np.int16))


async def run(folder: Path, quick: bool) -> dict[str, Any]:
    """Measure. Raises `RuntimeError`, which says what: a wrong verdict, a call that failed, or nothing measured."""
    calls, rounds = (3, 1) if quick else (20, 10)
    one, eight = Answers(), Answers()
    without, beside = Others(), Others()
    rng = random.Random(1)
    async with (
        await Softphone.open(user="agent") as agents,
        await Softphone.open() as phone,
        whole(folder, agents.address, AT_ONCE + BY_KEY + HEARING + SPARE) as gateway,
    ):
        site = Site(gateway, phone, f"{time.time_ns() % 10**6:06}")
        prompt = mu_law(gateway.up["prompt"])
        listening = gateway.up["speech"]
        begun_s, everybody = time.monotonic(), machine.everybody()
        before = machine.processes_cpu(listening)
        for number in range(calls):
            await answer_alone(site, list(WORDS)[number % len(WORDS)], one)
        one.speech_cpu_s = machine.processes_cpu(listening) - before
        for _ in range(rounds):
            add(without, await one_round(site, 0, prompt, rng, eight))
            before = machine.processes_cpu(listening)
            add(beside, await one_round(site, AT_ONCE, prompt, rng, eight))
            eight.speech_cpu_s += machine.processes_cpu(listening) - before
        took_s = time.monotonic() - begun_s
        foreign = machine.others(everybody, machine.everybody(), (*gateway.pids, os.getpid()))
    for name, answers in (("one caller", one), ("eight callers", eight)):
        if not any(map(math.isfinite, answers.verdict)):
            raise RuntimeError(f"with {name} at a time no answer became a verdict: {dict(answers.outcomes)}")
    return {
        "recogniser": {**gateway.up["speech_settings"], "workers": len(listening)},
        "media_workers": len(gateway.up["media"]),
        "others_percent": 100 * foreign / took_s,
        "load_after": round(os.getloadavg()[0], 2),
        "answers": {"one": answers_row(one), "eight": answers_row(eight)},
        "rounds": rounds,
        "other_calls": {"without": others_row(without), "beside": others_row(beside)},
    }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Quantiles in ms; None for what never came, which counts as slower than all that did."""
    found = {
        "p50_ms": machine.quantile(values, 0.5),
        "p95_ms": machine.quantile(values, 0.95),
        "p99_ms": machine.quantile(values, 0.99),
        "max_ms": max(values),
    }
    return {"n": len(values), **{name: value if math.isfinite(value) else None for name, value in found.items()}}


def answers_row(found: Answers) -> dict[str, Any]:
    rows = {
        "end_noticed": found.noticed,
        "recogniser": found.recogniser,
        "verdict": found.verdict,
        "heard": found.heard,
    }
    late_or_full = sum(found.outcomes[f"asked again: {failure}"] for failure in (Failure.LATE, Failure.FULL))
    return {
        "said": found.said,
        "outcomes": dict(found.outcomes),
        "late_or_full": late_or_full,
        "measured": {name: spread(values) for name, values in rows.items() if values},
        "passes_per_answer": sum(found.passes) / max(len(found.passes), 1),
        "speech_cpu_s_per_answer": found.speech_cpu_s / found.said,
        "cpu_ms_told": spread(found.cpu_ms) if found.cpu_ms else None,
    }


def others_row(found: Others) -> dict[str, Any]:
    between = [gap for prompt in found.prompts for gap in prompt.between_ms]
    return {
        "rounds": found.rounds,
        "key_to_verdict": spread(found.keys),
        "prompts": len(found.prompts),
        "same": sum(prompt.same for prompt in found.prompts),
        "packets": sum(prompt.packets for prompt in found.prompts),
        "missing": sum(prompt.missing for prompt in found.prompts),
        "between": spread(between),
        "over_40_ms": sum(gap > LATE_MS for gap in between),
    }


ROWS = {
    "end_noticed": "its end noticed (500 ms are silence)",
    "recogniser": "recogniser, queue and listening",
    "verdict": "VERDICT, durable in the evidence",
    "heard": "the caller hears what follows",
}


def ms(value: float | None, digits: int = 0) -> str:
    return "never" if value is None else f"{value:.{digits}f}"


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    about = found["recogniser"]
    print(
        f"{', '.join(about['engines'])}: {about['workers']} process(es), {about['waiting']} may wait, deadline "
        f"{about['deadline_ms']} ms; {found['media_workers']} media workers; meanwhile others took "
        f"{found['others_percent']:.0f} % of a core, load {found['load_after']} after"
    )
    print("in ms; all but the recogniser's row from the last packet that holds speech")
    print(f"{'':58}{'n':>5}{'p50':>8}{'p95':>8}{'max':>8}")
    conditions = (("one", "one at a time"), ("eight", f"{AT_ONCE} at once"))
    for name, title in conditions:
        for key, row in found["answers"][name]["measured"].items():
            values = "".join(f"{ms(row[part]):>8}" for part in ("p50_ms", "p95_ms", "max_ms"))
            print(f"{title + ': ' + ROWS[key]:58}{row['n']:5}{values}")
    for name, title in conditions:
        row = found["answers"][name]
        became = ", ".join(f"{count} {what}" for what, count in sorted(row["outcomes"].items()))
        print(f"{title}: {row['said']} said: {became}; late or full, so asked for a key: {row['late_or_full']}")
        print(
            f"{'':{len(title) + 2}}{row['speech_cpu_s_per_answer']:.3f} s of the recogniser's processor an answer, "
            f"{row['passes_per_answer']:.2f} passes"
        )
    without, beside = found["other_calls"]["without"], found["other_calls"]["beside"]
    title = f"other calls, {found['rounds']} rounds each"
    print(f"{title:46}{'n':>12}{'alone':>9}{f'beside {AT_ONCE}':>10}{'ratio':>8}")
    for kind, label in (("key_to_verdict", "key sent to verdict"), ("between", "between two packets of a prompt")):
        a, b = without[kind], beside[kind]
        counts = f"{a['n']}, {b['n']}"
        for part in ("p50_ms", "p95_ms", "p99_ms", "max_ms"):
            start = f"{label}, {part[:3]}, ms"
            print(f"{start:46}{counts:>12}{a[part]:9.1f}{b[part]:10.1f}{b[part] / a[part]:8.2f}")
    for key, label in (
        ("over_40_ms", "of these over 40 ms"),
        ("missing", "packets missing"),
        ("prompts", "prompts heard"),
        ("same", "of them sample for sample the prompt"),
    ):
        print(f"{label:46}{'':12}{without[key]:9}{beside[key]:10}")
