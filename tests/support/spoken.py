"""Spoken answers as sound, and a worker process that follows a script instead of listening.

As a program (`python -m tests.support.spoken SETUP`) it stands in for `gateway.adapters.speech.worker`: the first
sample of an utterance says what it does, see `Act`. Some recordings of this repository it knows by heart.
"""

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import wave
from enum import IntEnum
from pathlib import Path

import numpy as np

from gateway.adapters.speech import worker
from gateway.adapters.speech.wire import Answer, Ready, Unusable, encode
from gateway.domain.spoken import Hearing, Hypothesis
from gateway.media.g711 import Samples
from gateway.ports.recogniser import Engine

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings" / "speech"
ARGV = (sys.executable, "-m", "tests.support.spoken")
TEXTS = {"yes-i-agree": "Yes, I agree.", "no-thank-you": "No, thank you.", "no-problem": "No problem."}
SECRET = "hunter2"  # what must show nowhere


class Act(IntEnum):
    """What the scripted worker does with an utterance that begins with this sample."""

    ANSWER = 1
    CRASH = 2
    HANG = 3
    SLOW = 4
    RUBBISH = 5
    FAIL = 6
    OTHER_JOB = 7
    NO_SUCH_ENGINE = 8
    SECOND_LOOK = 9
    SECOND_HANGS = 10
    SECOND_CRASHES = 11
    SECOND_FAILS = 12


def recording(name: str, language: str = "en") -> Samples:
    """Return a recording: int16 mono 8 kHz."""
    with wave.open(str(RECORDINGS / language / f"{name}.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def utterance(act: Act, samples: int = 4_000) -> Samples:
    """Return sound that makes the scripted worker do *act*."""
    sound = np.zeros(samples, np.int16)
    sound[0] = act
    return sound


def heard(*texts: str, score: float = -0.3) -> tuple[Hearing, ...]:
    return (Hearing(8_000, 0.1, tuple(Hypothesis(text, score) for text in texts)),)


SECOND = {Act.SECOND_HANGS: Act.HANG, Act.SECOND_CRASHES: Act.CRASH, Act.SECOND_FAILS: Act.FAIL}
"""What is done at the second look; all of them want one."""


def _act(link: socket.socket, job: int, look: int, samples: bytes, known: dict[bytes, str]) -> None:
    first = int.from_bytes(samples[:2], "little")
    doubt = look == 1 and first in (Act.SECOND_LOOK, *SECOND)
    if look == 2:
        first = next((does for asked, does in SECOND.items() if asked == first), Act.ANSWER)
    text, number, engine = known.get(samples, f"Yes, I agree. {SECRET}"), job, look - 1
    if samples not in known:
        if first == Act.CRASH:
            os.kill(os.getpid(), signal.SIGSEGV)
        elif first == Act.HANG:
            time.sleep(3_600)
        elif first == Act.SLOW:
            time.sleep(0.3)
        elif first == Act.RUBBISH:
            link.sendall(f"{SECRET}\n".encode())
            return
        number += first == Act.OTHER_JOB
        engine += 2 * (first == Act.NO_SUCH_ENGINE)
    hearings = None if first == Act.FAIL else heard(text)
    link.sendall(encode(Answer(number, engine, doubt, 1, hearings)))


def main() -> None:
    """Play the part that the name of the first model says."""
    setup = worker.Setup.from_argument(sys.argv[1])
    worker.end_with(setup.parent)
    part = setup.choices[0].name
    link = socket.socket(fileno=setup.fd)
    if part == "unusable":
        link.sendall(encode(Unusable("no such model: install it")))
        return
    if part == "dies":
        sys.exit(3)
    waiting: queue.SimpleQueue[worker.Request] = queue.SimpleQueue()
    threading.Thread(target=worker._requests, args=(link.makefile("rb"), waiting), daemon=True).start()
    if part == "never ready":
        time.sleep(3_600)
    engine = Engine("scripted", json.dumps(os.getpid()), part, "0" * 64, ("en",), pinned=False)
    other = Engine("scripted too", engine.version, part, "1" * 64, ("en",), pinned=False)
    link.sendall(encode(Ready((engine, other) if part == "two" else (engine,))))
    known = {recording(name).astype("<i2").tobytes(): text for name, text in TEXTS.items()}
    while True:
        job, _language, look, samples = waiting.get()
        _act(link, job, look, samples, known)


if __name__ == "__main__":
    main()
