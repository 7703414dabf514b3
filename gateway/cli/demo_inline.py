"""The demonstration's call through the gateway alone: it connects both, and records what its own worker hears."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.adapters.config.settings import Settings, Sip
from gateway.adapters.recorder.reader import export_wav, open_recording
from gateway.adapters.softphone import Call, Softphone
from gateway.bootstrap import Gateway
from gateway.cli.demo_people import Played
from gateway.cli.demo_summary import Exactness
from gateway.cli.demo_transcript import Transcript
from gateway.media import g711

Audio = NDArray[np.int16]
STRETCH = 400
"""Samples compared at once to find recorded sound in what was sent."""


def settings(common: Settings, agent: Softphone) -> Settings:
    """Return the settings of a gateway that dials the agent itself."""
    return common.model_copy(update={"sip": Sip(bind="127.0.0.1:0", calls=1, agent=f"sip:agent@{agent.address}")})


async def examine(gateway: Gateway, transcript: Transcript, played: Played, out: Path) -> Exactness:
    """Decrypt the call's recording into `out`, and count the samples that should not be there."""
    records = [record for record in await gateway.services.registry.recordings(transcript.call_id) if record.size]
    if not records:
        return Exactness()
    record = records[0]
    identity = gateway.services.keys.unwrap(record.recording, record.wrapped)
    shutil.copyfile(record.path, out / "recording.wav.age")
    with (out / "recording.wav").open("wb") as file:
        export_wav(record.path, identity, file)
    samples = open_recording(record.path, identity).samples
    paused = sum(
        int(np.count_nonzero(samples[span["from_frame"] * 160 : span["to_frame"] * 160]))
        for span in transcript.spans
        if span["recording"] == record.recording and span["state"] == "paused"
    )
    return Exactness(
        path=out / "recording.wav",
        seconds=len(samples) / 8000,
        channels="left the caller, right the agent",
        before_verdict=samples_before(samples[:, 0], played.caller, transcript.verdict_ns, transcript.on_ns),
        while_paused=paused,
        lines=(f"a plain copy for you to hear; {out / 'recording.wav.age'} is the sealed original",),
    )


def samples_before(left: Audio, caller: Call, verdict_ns: int, on_ns: int) -> int:
    """Return how many recorded samples the caller sent before *verdict_ns*.

    A stretch of sound near the recording's beginning is looked up, bit for bit, in what the caller sent; the packets
    carry the time they were sent. Repeated speech can match more than once: the match nearest to the time the recorder
    was seen running (*on_ns*) is taken. A recording without a stretch of sound has no such samples. Raises
    `ValueError` when it has sound that was never sent.
    """
    source = caller.audio_source
    assert source is not None
    sent = sorted(caller.sent)
    stream = g711.decode("PCMU", b"".join(source(packet) for packet, _ in sent))
    windows = np.lib.stride_tricks.sliding_window_view(stream, STRETCH)
    silent = True
    for begin in range(0, min(len(left) - STRETCH, 80_000), 160):
        stretch = left[begin : begin + STRETCH]
        if np.count_nonzero(stretch) < STRETCH // 2:
            continue
        silent = False
        places = np.flatnonzero((windows == stretch).all(axis=1)) - begin
        if len(places):
            times = [sent[max(0, int(place)) // 160][1] for place in places]
            sent_ns = min(times, key=lambda at_ns: abs(at_ns - on_ns))
            return max(0, (verdict_ns - sent_ns) * 8 // 1_000_000)
    if silent:
        return 0
    raise ValueError("the recording has no sound that the caller sent")
