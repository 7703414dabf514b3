"""A policy as it is written: TOML tables checked by pydantic, every unknown key refused.

Times are whole milliseconds. Defaults are the most protective that still lets a call through.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StringConstraints, field_validator, model_validator

from gateway.domain.rules import MAY_OBJECT, Basis, FailMode, Joining, PauseLimitAction, Rules
from gateway.policy.authority import TEACHABLE, Authority, Education, Grant
from gateway.policy.jurisdiction import AreaCodes
from gateway.policy.tables import PLACE, Table, clash
from gateway.policy.times import Times

DIGITS = "0123456789*#ABCD"
Key = Annotated[str, StringConstraints(pattern=r"^[0-9*#A-D]$")]
Code = Annotated[str, StringConstraints(pattern=r"^[0-9*#A-D]{2,8}$")]
Purpose = Literal["recording", "transcription", "analysis", "sharing"]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")]


class Minima(NamedTuple):
    """Milliseconds of each prompt that must be heard before an answer counts. Where a language has no prompts that ask
    for a spoken answer, the defaults stand for them; nothing uses them."""

    ask: int
    ask_again: int
    ask_spoken: int = 3_000
    ask_again_spoken: int = 3_000
    confirm_spoken: int = 3_000
    also: tuple[tuple[str, int], ...] = ()
    """(purpose, ms) of those that have a question of their own."""


class Match(Table):
    """Which calls the policy is for: those that every list here has something for. An empty list is every call.

    Patterns with `*` (anything) and `?` (one character), on the called number, on the name of the line (the called
    number where nobody named it), and on the trunk (its name in a PBX, the peer's address otherwise).
    """

    called: tuple[str, ...] = Field(default=(), strict=False)
    lines: tuple[str, ...] = Field(default=(), strict=False)
    trunks: tuple[str, ...] = Field(default=(), strict=False)
    times: tuple[Times, ...] = Field(default=(), strict=False)


class Ask(Table):
    """The question: keys, attempts, times."""

    accept_keys: tuple[Key, ...] = Field(default=("1",), min_length=1, strict=False)
    refuse_keys: tuple[Key, ...] = Field(default=("2",), min_length=1, strict=False)
    repeat_keys: tuple[Key, ...] = Field(default=("3",), strict=False)
    attempts: int = Field(default=2, ge=1, le=9)
    repeats: int = Field(default=3, ge=0, le=9)
    answer_timeout_ms: int = Field(default=6_000, ge=500, le=60_000)
    purposes: Literal["together", "one_by_one"] = "together"
    """Whether one answer is for all purposes of the policy, which the prompt then must name, or each beside recording
    is asked for by a question of its own, once the caller has agreed to be recorded."""
    by_voice: bool = False
    """Answers may be spoken too, where a recogniser and prompts for that are there. Off until a policy says so: how
    rarely a recogniser takes for a yes what is none has to be measured first."""
    minimum_heard_ms: int | None = Field(default=None, ge=0, le=60_000)
    """Keys pressed before so much of the prompt was heard do not count. Unset: where the prompt's manifest says the
    asking sentence ends."""


class Codes(Table):
    """Keys that work in the middle of the call."""

    withdraw: Code = "*9"
    reconsent: Code = "*1"
    pause: Code = "*71"
    resume: Code = "*72"
    private: Code | Literal[""] = ""
    """An agent's key that begins a private call, and ends it: nothing is recorded in between. Empty: there is none."""
    gap_ms: int = Field(default=3_000, ge=500, le=10_000)


class Pause(Table):
    """How long a pause may last, and how a forgotten one ends."""

    limit_ms: int = Field(default=180_000, ge=0, le=3_600_000)
    reminder_ms: int = Field(default=15_000, ge=1_000, le=600_000)
    at_limit: PauseLimitAction = Field(default=PauseLimitAction.STAY_PAUSED, strict=False)


class Recording(Table):
    """What the recorder does."""

    look_behind_ms: int = Field(default=0, ge=0, le=5_000)
    paused_fill: Literal["silence", "gap"] = "silence"
    on_withdrawal: Literal["keep", "purge"] = "keep"
    on_unconfirmed: Literal["stop", "alarm"] = "stop"
    """A recorder that was told to start, pause or resume and was not seen to: it is stopped, or only shown."""


class JoiningTable(Table):
    """Who joins a recorded conversation and is covered by nothing: a stranger the call is transferred to."""

    what: Joining | None = Field(default=None, strict=False)
    """Unset: asked under consent, announced to under every other basis."""
    basis: Basis | None = Field(default=None, strict=False)
    """What an announcement rests on. Unset: the policy's own basis."""
    justification: str = ""

    def under(self, basis: Basis) -> tuple[Joining, Basis]:
        """Return what becomes of who joins a call under *basis*, and what that rests on."""
        what = self.what or (Joining.ASK if basis is Basis.CONSENT else Joining.ANNOUNCE)
        return what, Basis.CONSENT if what is Joining.ASK else self.basis or basis


Place = Annotated[str, StringConstraints(pattern=PLACE)]
"""ISO 3166: "DE", "US-TX"."""


class JurisdictionTable(Table):
    """Whose law counts, and what an announcement is worth under it. Without the table nobody looks at places."""

    home: Place
    """Where the agents are, and whose national form numbers may be in."""
    area_codes: AreaCodes = Field(default=AreaCodes.HINT, strict=False)
    all_party: Literal["ask", "announce"] = "ask"
    """Where everybody must agree: the caller is asked, or an announcement that he hears to its end has to do."""
    justification: str = ""
    lines: dict[str, Place] = Field(default_factory=dict)
    """Patterns on the name of the line, or the called number -> where its agents are; `home` where none is right."""
    trunks: dict[str, Place] = Field(default_factory=dict)
    """Patterns on the name of the trunk -> where everybody is who comes by it."""


class PolicyFile(Table):
    """One policy file."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    version: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    basis: Basis = Field(default=Basis.CONSENT, strict=False)
    justification: str = ""
    announce: bool | None = None
    """Whether who is not asked is told before he is recorded. Unset: he is."""
    agent_basis: Basis = Field(default=Basis.CONTRACT, strict=False)
    fail_mode: FailMode = Field(default=FailMode.CONNECT_UNRECORDED, strict=False)
    language: Language = "en"
    prompt: Literal["ask"] = "ask"
    purposes: tuple[Purpose, ...] = Field(default=("recording",), min_length=1, strict=False)
    ring_timeout_ms: int = Field(default=30_000, ge=1_000, le=300_000)
    match: Match = Match()
    ask: Ask = Ask()
    codes: Codes = Codes()
    pause: Pause = Pause()
    recording: Recording = Recording()
    joining: JoiningTable = JoiningTable()
    jurisdiction: JurisdictionTable | None = None
    authority: tuple[Grant, ...] = Field(default=(), strict=False)
    education: Education = Education()

    @field_validator("justification")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 500:
            raise ValueError("keep the justification under 500 characters and cite the document instead")
        return value

    @model_validator(mode="after")
    def _coherent(self) -> "PolicyFile":
        keys = [*self.ask.accept_keys, *self.ask.refuse_keys, *self.ask.repeat_keys]
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        if doubled:
            raise clash(
                f"key {doubled[0]} has two meanings in [ask]: give accept, refuse and repeat keys of their own", "ask"
            )
        names = ("withdraw", "reconsent", "pause", "resume", "private")
        codes = {name: code for name in names if (code := getattr(self.codes, name))}
        for name, code in codes.items():
            if code[0] in keys:
                raise clash(
                    f"code {code} begins with the answer key {code[0]}: begin codes with a key [ask] does not use",
                    *("codes", name),
                )
            if any(other.startswith(code) for place, other in codes.items() if place != name):
                raise clash(
                    f"code {code} is also the beginning of another code: it could never be told apart",
                    *("codes", name),
                )
        if self.basis is not Basis.CONSENT and not self.justification:
            raise clash(
                f'basis "{self.basis}" needs a justification: name the law, contract or assessment it rests on', "basis"
            )
        if self.asks and self.announce is not None:
            raise clash("consent is asked for, not announced: leave announce out, or choose another basis", "announce")
        if self.ask.purposes == "one_by_one" and "recording" not in self.purposes:
            raise clash(
                'the first question is about recording, and "recording" is not among the purposes: name it there, or '
                "ask for all together with a prompt of your own",
                *("ask", "purposes"),
            )
        law = self.jurisdiction
        if law is not None and (law.all_party == "announce") is not bool(law.justification):
            raise clash(
                'all_party = "announce" needs a justification: name the statute, or the opinion, by which an '
                'announcement is enough where everybody must agree; and all_party = "ask" needs none',
                *("jurisdiction", "justification" if law.justification else "all_party"),
            )
        protecting = sorted(set(self.education.until_acknowledged_not) - set(TEACHABLE))
        if protecting:
            raise clash(
                f"{protecting[0]} protects people, and nobody has to know a text for it: take it out "
                f"(there may be: {', '.join(TEACHABLE)})",
                *("education", "until_acknowledged_not"),
            )
        joining, basis = self.joining.under(self.basis)
        if joining is Joining.ANNOUNCE and basis is Basis.CONSENT:
            raise clash(
                'nobody consents by being told: give [joining] a basis such as "legitimate_interests", or what = "ask"',
                *("joining", "what"),
            )
        if self.joining.basis is not None and joining is not Joining.ANNOUNCE:
            raise clash('only what = "announce" has a basis of its own: leave it out', "joining", "basis")
        if self.joining.basis is not None and not self.joining.justification:
            raise clash(
                f'basis "{basis}" needs a justification: name the law, contract or assessment it rests on',
                *("joining", "basis"),
            )
        return self

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts without which nobody can be asked, or told, what this policy wants."""
        joining, basis = self.joining.under(self.basis)
        by_law = self.jurisdiction is not None and not self.asks
        asks = self.asks or joining is Joining.ASK
        asks = asks or (self.jurisdiction is not None and self.jurisdiction.all_party == "ask")
        under = [self.basis] if self.announces or by_law else []
        under += [basis] if joining is Joining.ANNOUNCE else []
        told = ("announced_may_object" if each in MAY_OBJECT else "announced" for each in under)
        one_by_one = self.ask.purposes == "one_by_one"
        also = tuple(f"also_{purpose}" for purpose in self.purposes if purpose != "recording" and asks and one_by_one)
        return (("ask", "ask_again") if asks else ()) + also + tuple(dict.fromkeys(told))

    def _joining_reason(self, joining: Joining, basis: Basis) -> str:
        """Why somebody who joins is asked, told or kept out."""
        if joining is Joining.ANNOUNCE:
            why = self.joining.justification or self.justification
            return f'basis "{basis}": who joins is told, and not asked; justification: {why}'
        if joining is Joining.ASK:
            return f'basis "{basis}": who joins is asked before he is recorded'
        return "who joins is not recorded, nor is anybody while he is there"

    @property
    def who_may(self) -> Authority:
        """Who may do what with a call's recording."""
        return Authority(self.authority, self.education, private=bool(self.codes.private))

    @property
    def asks(self) -> bool:
        """Only consent is asked for."""
        return self.basis is Basis.CONSENT

    @property
    def announces(self) -> bool:
        """Who is not asked is told, unless the policy says otherwise."""
        return not self.asks and self.announce is not False

    def rules(self, sha256: str, prompt_minima_ms: Minima) -> Rules:
        """Return what the core needs to know. *prompt_minima_ms* stand in for an unset `minimum_heard_ms`, which is
        about the question in each of its wordings; what asks back ("confirm_spoken") has its own minimum always."""
        own = self.ask.minimum_heard_ms
        joining, joining_basis = self.joining.under(self.basis)
        heard = prompt_minima_ms
        if own is not None:
            heard = Minima(own, own, own, own, heard.confirm_spoken, heard.also)
        return Rules(
            basis=self.basis,
            agent_basis=self.agent_basis,
            ask=self.asks,
            announce=self.announces,
            fail_mode=self.fail_mode,
            purposes=self.purposes,
            one_by_one=self.ask.purposes == "one_by_one",
            minimum_also_ms=heard.also,
            language=self.language,
            accept_keys=frozenset(self.ask.accept_keys),
            refuse_keys=frozenset(self.ask.refuse_keys),
            repeat_keys=frozenset(self.ask.repeat_keys),
            attempts=self.ask.attempts,
            repeats=self.ask.repeats,
            answer_timeout_ms=self.ask.answer_timeout_ms,
            by_voice=self.ask.by_voice,
            minimum_heard_ms=heard.ask,
            minimum_heard_again_ms=heard.ask_again,
            minimum_heard_spoken_ms=heard.ask_spoken,
            minimum_heard_again_spoken_ms=heard.ask_again_spoken,
            minimum_heard_confirm_ms=heard.confirm_spoken,
            withdraw_code=self.codes.withdraw,
            reconsent_code=self.codes.reconsent,
            pause_code=self.codes.pause,
            resume_code=self.codes.resume,
            private_code=self.codes.private,
            code_gap_ms=self.codes.gap_ms,
            look_behind_ms=self.recording.look_behind_ms,
            paused_fill=self.recording.paused_fill,
            pause_limit_ms=self.pause.limit_ms,
            pause_reminder_ms=self.pause.reminder_ms,
            pause_limit_action=self.pause.at_limit,
            purge_on_withdrawal=self.recording.on_withdrawal == "purge",
            joining=joining,
            joining_basis=joining_basis,
            joining_reason=self._joining_reason(joining, joining_basis),
            stop_unconfirmed=self.recording.on_unconfirmed == "stop",
            may_withdraw=self.basis in MAY_OBJECT,
            ring_timeout_ms=self.ring_timeout_ms,
            policy=(self.name, self.version, sha256),
        )
