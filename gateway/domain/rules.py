"""The rules one call lives by: resolved once from the policy when the call arrives, then fixed."""

from dataclasses import dataclass, field, replace
from enum import StrEnum


class Basis(StrEnum):
    """The six lawful bases of GDPR Article 6(1), named as in draft-howe-vcon-lawful-basis."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTERESTS = "vital_interests"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTERESTS = "legitimate_interests"


RECORDING = "recording"
"""The purpose of the question itself; every other one of a call is about what else is done with it."""

MAY_OBJECT = frozenset({Basis.CONSENT, Basis.LEGITIMATE_INTERESTS, Basis.PUBLIC_TASK})
"""Bases under which a person may take his consent back (Article 7(3)) or object (Article 21(1))."""


class FailMode(StrEnum):
    """What happens to a call that may not, or cannot, be recorded."""

    CONNECT_UNRECORDED = "connect_unrecorded"
    REFUSE_CALL = "refuse_call"


class PauseLimitAction(StrEnum):
    """How a forgotten pause ends."""

    RESUME = "resume"
    STAY_PAUSED = "stay_paused"


class Joining(StrEnum):
    """What becomes of somebody who joins a recorded conversation and is covered by nothing. Until he is, or has gone,
    nothing is recorded."""

    ASK = "ask"
    ANNOUNCE = "announce"
    KEEP_OUT = "keep_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything the consent core needs to know of the policy. Times in milliseconds.

    *announce*: who is not asked is told that he is recorded, and is recorded only when he heard all of that.
    *joining*, *joining_basis*, *joining_reason*: what becomes of a person who joins later, and why. *records*: the call
    has a recorder of its own; a person who joins another's only answers for himself.
    *private_code*: an agent's key for a call that is his own affair; empty: there is none.
    *one_by_one*: who agreed to be recorded is asked for each other purpose by a question of its own, whose
    *minimum_also_ms* (purpose, ms) must be heard.
    *by_voice*: the question is asked so that it may be answered by voice too, and somebody listens.
    *stop_unconfirmed*: a recorder that was told to start, pause or resume and was not seen to is stopped; otherwise
    that is raised as an alarm and shown.
    *close_timeout_ms*: the end of a recording is told when it is sealed and checked. A writer may be 65 s behind before
    it fails, and a check reads the whole file: hours of sound.
    """

    basis: Basis = Basis.CONSENT
    agent_basis: Basis = Basis.CONTRACT
    ask: bool = True
    announce: bool = False
    fail_mode: FailMode = FailMode.CONNECT_UNRECORDED
    purposes: tuple[str, ...] = ("recording",)
    one_by_one: bool = False
    minimum_also_ms: tuple[tuple[str, int], ...] = ()
    language: str = "en"
    accept_keys: frozenset[str] = frozenset("1")
    refuse_keys: frozenset[str] = frozenset("2")
    repeat_keys: frozenset[str] = frozenset("3")
    attempts: int = 2
    repeats: int = 3
    answer_timeout_ms: int = 6_000
    minimum_heard_ms: int = 3_000
    minimum_heard_again_ms: int = 3_000
    by_voice: bool = False
    minimum_heard_spoken_ms: int = 3_000
    minimum_heard_again_spoken_ms: int = 3_000
    minimum_heard_confirm_ms: int = 3_000
    withdraw_code: str = "*9"
    reconsent_code: str = "*1"
    pause_code: str = "*71"
    resume_code: str = "*72"
    private_code: str = ""
    code_gap_ms: int = 3_000
    look_behind_ms: int = 0
    paused_fill: str = "silence"
    pause_limit_ms: int = 180_000
    pause_reminder_ms: int = 15_000
    pause_limit_action: PauseLimitAction = PauseLimitAction.STAY_PAUSED
    purge_on_withdrawal: bool = False
    may_withdraw: bool = True
    ring_timeout_ms: int = 30_000
    observe_timeout_ms: int = 2_000
    close_timeout_ms: int = 300_000
    joining: Joining = Joining.ASK
    joining_basis: Basis = Basis.CONSENT
    joining_reason: str = ""
    records: bool = True
    stop_unconfirmed: bool = True
    policy: tuple[str, str, str] = field(default=("", "", ""))
    """Name, version and SHA-256 of the policy these rules came from."""

    def for_who_joins(self) -> "Rules":
        """Return the rules of the call of somebody who joined a call with these."""
        basis = self.joining_basis
        asks = self.joining is Joining.ASK
        return replace(self, basis=basis, ask=asks, announce=not asks, may_withdraw=basis in MAY_OBJECT, records=False)
