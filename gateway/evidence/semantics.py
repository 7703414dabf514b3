"""What the log's own rule asks of one call's entries: no recorder ran without a verdict that allowed it.

The entries are walked once, in order. A *lie* is an entry that cannot be true beside the entries before it;
the walk stops there. Kinds that this version does not know are carried and named, never refused: a newer
gateway may know more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gateway.evidence.canonical import Entry
from gateway.evidence.errors import BundleInvalid

COVERING_VERDICTS = frozenset({"granted", "not_required"})
VERDICTS = COVERING_VERDICTS | {"refused", "unanswered", "unclear", "withdrawn"}

_CARRIED = frozenset(
    {
        "prompt.played",
        "answer.digit",
        "answer.speech",
        "leg.answered",
        "leg.ended",
        "leg.held",
        "hold.overdue",
        "ask.again",
        "control.refused",
        "sink.allowed",
        "sink.refused",
        "sink.ended",
        "party.joined",
        "party.gone",
        "ask.joined",
        "recorder.sight",
        "recorder.unconfirmed",
        "personal.erased",
    }
)
"""Known kinds that cannot contradict the rule."""


@dataclass(slots=True)
class RecordingFacts:
    """What the entries say about one recording."""

    recording: str
    state: str = "open"
    sha256: str = ""
    size: int = 0
    frames: int = 0
    failed: str = ""

    def as_object(self) -> dict[str, Any]:
        return {
            "recording": self.recording,
            "state": self.state,
            "sha256": self.sha256,
            "size": self.size,
            "frames": self.frames,
        }


@dataclass(slots=True)
class _Track:
    """One recording while walking: what was commanded, and whether its effect was seen."""

    facts: RecordingFacts
    allowed_at: int | None = None
    """The entry whose open or resume command was given while everyone was covered."""
    in_flight: list[int] = field(default_factory=list)
    """Such entries whose effect was not observed yet, oldest first."""
    owed: tuple[int, int] | None = None
    """An observation that came after the cover was lost, and that entry: a pause or close must be on record."""
    shut_at: int | None = None
    """The last entry that paused or closed it by command."""


@dataclass(slots=True)
class Story:
    """What the walk found."""

    parties: list[dict[str, Any]] = field(default_factory=list)
    recordings: dict[str, RecordingFacts] = field(default_factory=dict)
    observed_on: int = 0
    ended_at: int | None = None
    ended_cause: str = ""
    recovered_at: list[int] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)
    late_effects: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    silent_parties: list[str] = field(default_factory=list)


def read_story(entries: Sequence[Entry]) -> Story:
    """Walk one call's entries. Raises `BundleInvalid` at the first lie, naming the entry."""
    walk = _Walk()
    for entry in entries:
        walk.step(entry)
    return walk.finish()


def where(entry: Entry) -> str:
    return f"entry {entry.seq} ({entry.kind})"


class _Walk:
    def __init__(self) -> None:
        self.story = Story()
        self.verdicts: dict[str, tuple[str, bool, int]] = {}
        self.holds: dict[str, int] = {}
        self.tracks: dict[str, _Track] = {}
        self.cover_lost_at: int | None = None
        self.ever_covered = False
        self.steps: Mapping[str, Callable[[Entry], None]] = {
            "call.arrived": self._arrived,
            "verdict": self._verdict,
            "recorder.command": self._command,
            "recorder.observed": self._observed,
            "hold.set": self._hold_set,
            "hold.cleared": self._hold_cleared,
            "recording.closed": self._closed,
            "recording.destroyed": self._destroyed,
            "recorder.unexpected": self._unexpected,
            "call.recovered": self._recovered,
            "call.ended": self._ended,
        }

    def step(self, entry: Entry) -> None:
        if entry.seq == 0 and entry.kind != "call.arrived":
            _lie(entry, "a call begins with call.arrived: nobody knows who took part")
        handler = self.steps.get(entry.kind)
        if handler is not None:
            handler(entry)
        elif entry.kind not in _CARRIED:
            self.story.unknown[entry.kind] = self.story.unknown.get(entry.kind, 0) + 1

    def finish(self) -> Story:
        for track in self.tracks.values():
            if track.owed is not None:
                seen, lost = track.owed
                raise BundleInvalid(
                    f"entry {seen} (recorder.observed): the recorder of {track.facts.recording} was seen on after "
                    f"entry {lost} took the permission away, and nothing shows that it was paused or closed"
                )
        self.story.recordings = {name: track.facts for name, track in self.tracks.items()}
        self.story.silent_parties = sorted({_party_name(party) for party in self.story.parties} - self.verdicts.keys())
        return self.story

    # --- one kind each --------------------------------------------------------------------------------

    def _arrived(self, entry: Entry) -> None:
        if entry.seq != 0:
            _lie(entry, "a call arrives once, with its first entry")
        parties = _fact(entry, "parties", list)
        if not parties:
            _lie(entry, "no parties: evidence about nobody proves nothing")
        for party in parties:
            if not isinstance(party, dict) or not isinstance(party.get("role"), str) or not party["role"]:
                _lie(entry, "a party without a role")
        self.story.parties = parties

    def _verdict(self, entry: Entry) -> None:
        party, verdict = _fact(entry, "party", str), _fact(entry, "verdict", str)
        purposes = _fact(entry, "purposes", dict)
        if verdict not in VERDICTS:
            _lie(entry, "a verdict that does not exist")
        recording = purposes.get("recording", False)
        if not isinstance(recording, bool):
            _lie(entry, "purposes.recording is neither true nor false")
        covered = self._uncovered() is None
        self.verdicts[party] = (verdict, recording, entry.seq)
        if self._uncovered() is None:
            self.cover_lost_at, self.ever_covered = None, True
        elif covered:
            self.cover_lost_at = entry.seq

    def _command(self, entry: Entry) -> None:
        recording, command = _fact(entry, "recording", str), _fact(entry, "command", str)
        if command not in ("open", "pause", "resume", "close"):
            _lie(entry, "a recorder command that does not exist")
        track = self._track(recording)
        if command in ("pause", "close"):
            track.owed, track.shut_at = None, entry.seq
            return
        self._require_cover(entry, f"the recorder was told to {command}")
        if command == "resume" and self.holds:
            reason, seq = next(iter(self.holds.items()))
            _lie(entry, f"the recorder was told to resume while the hold '{reason}' of entry {seq} was still set")
        if self.story.ended_at is not None:
            _lie(entry, f"the recorder was told to {command} after the call ended with entry {self.story.ended_at}")
        track.allowed_at, track.shut_at = entry.seq, None
        track.in_flight.append(entry.seq)

    def _observed(self, entry: Entry) -> None:
        recording, state = _fact(entry, "recording", str), _fact(entry, "state", str)
        if state not in ("on", "paused"):
            _lie(entry, "a recorder state that does not exist")
        track = self._track(recording)
        if state == "paused":
            track.owed = None
            return
        if self._uncovered() is None:
            del track.in_flight[:1]
            track.allowed_at = entry.seq if track.allowed_at is None else track.allowed_at
        else:
            self._late_effect(entry, track)
        self.story.observed_on += 1

    def _late_effect(self, entry: Entry, track: _Track) -> None:
        """An observation may arrive after the cover is gone only as the effect of a command given before."""
        if not track.in_flight or self.cover_lost_at is None:
            self._require_cover(entry, "the recorder was seen on")
            return
        commanded, lost = track.in_flight.pop(0), self.cover_lost_at
        if track.shut_at is None:
            track.owed = (entry.seq, lost)
        self.story.late_effects.append(
            f"entry {entry.seq} saw the recorder of {track.facts.recording} on after entry {lost} had taken the "
            f"permission away: the effect of the command in entry {commanded}, which was shut again"
        )

    def _hold_set(self, entry: Entry) -> None:
        self.holds.setdefault(_hold(entry), entry.seq)

    def _hold_cleared(self, entry: Entry) -> None:
        self.holds.pop(_hold(entry), None)

    def _closed(self, entry: Entry) -> None:
        track = self._track(_fact(entry, "recording", str))
        facts = track.facts
        facts.state, facts.failed = "closed", _fact(entry, "failed", str)
        if facts.failed and "sha256" not in entry.facts:
            on = False
        else:
            facts.sha256, facts.size = _fact(entry, "sha256", str), _fact(entry, "size", int)
            facts.frames, on = _fact(entry, "frames", int), _check_spans(entry)
        lost_in_crash = bool(self.story.recovered_at) and self.ever_covered
        if on and track.allowed_at is None and not lost_in_crash:
            self._require_cover(entry, "the recording holds sound")
            _lie(entry, "the recording holds sound, yet no entry before it opened the recorder")
        track.in_flight.clear()
        track.owed, track.shut_at = None, entry.seq

    def _unexpected(self, entry: Entry) -> None:
        """The gateway itself reports a recorder that nobody had opened: true, and no comfort."""
        recording, state = _fact(entry, "recording", str), _fact(entry, "state", str)
        self.story.unexpected.append(f"entry {entry.seq} saw recorder {recording} '{state}' when none was to run")

    def _recovered(self, entry: Entry) -> None:
        self.story.recovered_at.append(entry.seq)

    def _destroyed(self, entry: Entry) -> None:
        self._track(_fact(entry, "recording", str)).facts.state = "destroyed"

    def _ended(self, entry: Entry) -> None:
        if self.story.ended_at is not None:
            _lie(entry, f"the call ended already with entry {self.story.ended_at}")
        total = _fact(entry, "entries", int)
        if total != entry.seq + 1:
            _lie(
                entry,
                f"says the call has {total} entries, but it is number {entry.seq + 1}: entries were lost or added",
            )
        self.story.ended_at, self.story.ended_cause = entry.seq, _fact(entry, "cause", str)

    # --- who is covered -------------------------------------------------------------------------------

    def _track(self, recording: str) -> _Track:
        return self.tracks.setdefault(recording, _Track(RecordingFacts(recording)))

    def _uncovered(self) -> str | None:
        """Say what is missing for the recorder to run, or `None` when every party is covered."""
        if not self.verdicts:
            return "no verdict was on record"
        for party, (verdict, recording, seq) in self.verdicts.items():
            if verdict not in COVERING_VERDICTS:
                return f"the verdict of {party} was '{verdict}' (entry {seq})"
            if not recording:
                return f"the verdict of {party} (entry {seq}) does not allow the purpose 'recording'"
        for known in self.story.parties:
            if known["role"] != "agent" and _party_name(known) not in self.verdicts:
                return f"no verdict of {_party_name(known)} was on record"
        return None

    def _require_cover(self, entry: Entry, what: str) -> None:
        missing = self._uncovered()
        if missing is not None:
            _lie(entry, f"{what} while {missing}: recorded without a reason")


def _party_name(party: Mapping[str, Any]) -> str:
    """The name that verdicts use for a party: its own if it has one, else its role."""
    name = party.get("party", party["role"])
    return name if isinstance(name, str) else str(party["role"])


def _check_spans(entry: Entry) -> bool:
    """Check that the spans join from frame 0 on; return whether any sound was let through."""
    on, reached = False, 0
    for number, span in enumerate(_fact(entry, "spans", list)):
        if not isinstance(span, dict):
            _lie(entry, f"span {number} is not an object")
        state, begin, end = span.get("state"), _frame(span.get("from_frame")), _frame(span.get("to_frame"))
        if state not in ("on", "paused") or begin is None or end is None:
            _lie(entry, f"span {number} is malformed")
        if begin != reached or end < begin:
            _lie(entry, f"span {number} begins at frame {begin}, but the one before it ends at {reached}")
        reached = end
        on = on or (state == "on" and end > begin)
    return on


def _hold(entry: Entry) -> str:
    """The hold an entry is about. Two people may pause for the same reason; logs from before that name the reason."""
    return str(_fact(entry, "hold", str)) if "hold" in entry.facts else str(_fact(entry, "reason", str))


def _frame(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _fact(entry: Entry, name: str, kind: type[Any]) -> Any:
    value = entry.facts.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        _lie(entry, f"the fact '{name}' is missing or of the wrong type")
    return value


def _lie(entry: Entry, text: str) -> NoReturn:
    raise BundleInvalid(f"{where(entry)}: {text}")
