"""A process that listens: `python -m gateway.adapters.speech.worker SETUP`, SETUP being JSON.

It reads sound from an inherited socket and writes what it heard there, one utterance after the other, and nothing
anywhere else: no file, no log, no core dump. It is nice to the processes of its scheduling group (docs/operating.md,
Speech), and ends with whoever started it: by the end of the socket, or by the kernel should it be too busy, or stopped,
to notice that.
"""

import ctypes
import json
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import BinaryIO, Final

import numpy as np

from gateway.adapters.speech.models import Choice, read_model
from gateway.adapters.speech.whisper import FIRST_WINDOW_MS, Whisper, first_look, second_look
from gateway.adapters.speech.wire import MAX_LINE_BYTES, Answer, Ready, Unusable, WireError, decode_request, encode
from gateway.domain.spoken import wants_another_look
from gateway.ports.recogniser import RecogniserUnusable, base_language

PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is started with. *parent*: the process it ends with."""

    fd: int
    parent: int
    niceness: int
    choices: tuple[Choice, ...]

    def to_argument(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, argument: str) -> "Setup":
        fields = json.loads(argument)
        choices = [Choice(each["name"], each["folder"], tuple(each["languages"])) for each in fields["choices"]]
        return cls(fields["fd"], fields["parent"], fields["niceness"], tuple(choices))


def end_with(parent: int) -> None:
    """Be killed when *parent* is gone, even killed itself (Linux); elsewhere the end of the socket has to do."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(0)


def keep_nothing() -> None:
    """Leave no image of the memory behind, whatever happens."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


Request = tuple[int, str, int, bytes]
"""Number, language, look, samples."""


def _requests(stream: BinaryIO, waiting: "queue.SimpleQueue[Request]") -> None:
    """Read requests until the socket ends, and end the process then, whatever it is doing."""
    with suppress(OSError, WireError):
        while line := stream.readline(MAX_LINE_BYTES):
            job, language, look, size = decode_request(line)
            samples = stream.read(size)
            if len(samples) != size:
                break
            waiting.put((job, language, look, samples))
    os._exit(0)


def answer(engines: Sequence[Whisper], request: Request) -> Answer:
    """Look once at one utterance: with the first engine that knows the language, or for the second look with the next.
    Never raises: what goes wrong with one caller's words is told without them."""
    job, language, look, samples = request
    begun = time.process_time()
    tongue = base_language(language)
    serving = [number for number, each in enumerate(engines) if tongue in each.engine.languages]
    number, hearings, doubt = 0, None, False
    if look <= len(serving):
        number, alone = serving[look - 1], len(serving) == 1
        utterance = np.frombuffer(samples, "<i2").astype(np.int16)
        with suppress(Exception):
            if look > 1:
                hearings = second_look(engines[number], utterance, language)
            else:
                hearings = first_look(engines[number], utterance, language, alone=alone)
                doubt = not alone and wants_another_look(hearings[0], language)
    return Answer(job, number, doubt, round((time.process_time() - begun) * 1000), hearings)


def main() -> None:
    """Load, say so, and listen until the socket ends."""
    setup = Setup.from_argument(sys.argv[1])
    end_with(setup.parent)
    keep_nothing()
    os.nice(setup.niceness)
    link = socket.socket(fileno=setup.fd)
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_requests, args=(link.makefile("rb"), waiting), daemon=True).start()
    try:
        engines = [Whisper(read_model(choice)) for choice in setup.choices]
    except RecogniserUnusable as unusable:
        link.sendall(encode(Unusable(str(unusable))))
        return
    for engine in engines:
        engine.hear(np.zeros(8_000, np.int16), engine.engine.languages[0], FIRST_WINDOW_MS)  # the first run is slow
    link.sendall(encode(Ready(tuple(engine.engine for engine in engines))))
    while True:
        link.sendall(encode(answer(engines, waiting.get())))


if __name__ == "__main__":
    main()
