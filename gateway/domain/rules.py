"""The rules one call lives by: resolved once from the policy when the call arrives, then fixed."""

from dataclasses import dataclass, field
from enum import StrEnum


class Basis(StrEnum):
    """The six lawful bases of GDPR Article 6(1), named as in draft-howe-vcon-lawful-basis."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTERESTS = "vital_interests"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTERESTS = "legitimate_interests"


class FailMode(StrEnum):
    """What happens to a call that may not, or cannot, be recorded."""

    CONNECT_UNRECORDED = "connect_unrecorded"
    REFUSE_CALL = "refuse_call"


class PauseLimitAction(StrEnum):
    """How a forgotten pause ends."""

    RESUME = "resume"
    STAY_PAUSED = "stay_paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything the consent core needs to know of the policy. Times in milliseconds.

    *close_timeout_ms*: the end of a recording is told when it is sealed and checked. A writer may be 65 s behind before
    it fails, and a check reads the whole file: hours of sound.
    """

    basis: Basis = Basis.CONSENT
    agent_basis: Basis = Basis.CONTRACT
    ask: bool = True
    fail_mode: FailMode = FailMode.CONNECT_UNRECORDED
    purposes: tuple[str, ...] = ("recording",)
    language: str = "en"
    accept_keys: frozenset[str] = frozenset("1")
    refuse_keys: frozenset[str] = frozenset("2")
    repeat_keys: frozenset[str] = frozenset("3")
    attempts: int = 2
    repeats: int = 3
    answer_timeout_ms: int = 6_000
    minimum_heard_ms: int = 3_000
    minimum_heard_again_ms: int = 3_000
    withdraw_code: str = "*9"
    reconsent_code: str = "*1"
    pause_code: str = "*71"
    resume_code: str = "*72"
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
    policy: tuple[str, str, str] = field(default=("", "", ""))
    """Name, version and SHA-256 of the policy these rules came from."""
