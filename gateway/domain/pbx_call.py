"""The call that stays in a PBX: asked over a leg of its own, given back with a verdict, watched until its channel ends.

The dialplan connects the parties and starts the recorder when the verdict says so; this core allows it, pauses it and
stops it. Whoever hears no verdict records nothing: that is what the dialplan begins with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, HANDLERS, PHASES, POLICY, Call, Handlers, Leg, Phase
from gateway.domain.consent import COVERED, Consent, State
from gateway.domain.recording import LIVE, Hold, RecorderState, Stage
from gateway.domain.rules import RECORDING, FailMode, Joining, Rules

CHANNEL = "channel"
"""The leg that is the asked person's channel in the PBX: it lasts as long as the call."""

ALONE = "nobody_covered"
"""The hold of a caller whose last covered party has left him: whoever comes next may be anybody."""

MOST_TRIES = 3
"""So often somebody who joined is tried to be sent to be asked."""

RETURN_TIMER = "return"
RETURN_LIMIT_MS = 2_000
"""A caller who agreed waits so long for his evidence to be on the disk; then he goes on, unrecorded."""

SIGHT_TIMER = "sight"

UNTOLD = "unknown"
"""The verdict the dialplan begins with, and keeps when there is none that it may act on."""

JOINED = "joined"
"""The verdict of a person who may be recorded in the call he joined, by that call's recorder."""

PBX_PHASES: Mapping[Phase, tuple[Phase, ...]] = {
    **PHASES,
    Phase.ARRIVED: (Phase.ASKING, Phase.RETURNING, Phase.ENDING),
    Phase.ASKING: (Phase.TELLING, Phase.TALKING, Phase.ENDING),
    Phase.TELLING: (Phase.RETURNING, Phase.TALKING, Phase.ENDING),
    Phase.DIALLING: (),
    Phase.RETURNING: (Phase.TALKING, Phase.ENDING),
    Phase.TALKING: (Phase.ASKING, Phase.RETURNING, Phase.ENDING),
}


class PbxCall(Call):
    """One call whose parties a PBX connects."""

    phases: ClassVar[Mapping[Phase, tuple[Phase, ...]]] = PBX_PHASES

    def __init__(self, call_id: str, rules: Rules) -> None:
        super().__init__(call_id, rules)
        self.legs[CHANNEL] = Leg(up=True)
        self.others: dict[str, bool] = {}
        self.in_sight = True
        self._askable: frozenset[str] = frozenset()
        self._tries: dict[str, int] = {}
        """How often somebody could not be sent to be asked."""
        self._asked: set[str] = set()
        self._told_pbx = False
        self._returned = False
        self._late = False
        self._given_up = False

    @property
    def handlers(self) -> Handlers:
        return PBX_HANDLERS

    # --- the recorder's permission ----------------------------------------------------------------------------------

    def _may_be_recorded(self) -> bool:
        returning = self.phase is Phase.RETURNING and not self._late
        connected = returning or (self.phase is Phase.TALKING and self._told_pbx)
        return connected and self.rules.records and self.provable and RECORDING in self.rules.purposes

    @property
    def covers(self) -> bool:
        """Whether the person asked may be recorded in a conversation with others, as far as he goes: his verdict allows
        it, stands, and is on the disk."""
        durable = self.provable and self._verdict_token not in self._waiting
        allowed = self.verdict in COVERED and RECORDING in self.rules.purposes
        return self.phase is Phase.TALKING and allowed and durable

    def _present(self) -> Iterable[Consent]:
        return self.parties.values()

    def _holds_that_count(self) -> Iterable[Hold]:
        """Until the caller is back in the PBX nobody can be recorded, and only a recorder that runs can be paused."""
        return () if self.phase is Phase.RETURNING else self.holds.values()

    def _further(self) -> bool:
        return self._give_back() or self._ask_who_joined()

    def _give_back(self) -> bool:
        """A call that is not to be recorded is given back by this, at once; one that is, by its recorder's opening."""
        opens = self.desired is not RecorderState.OFF and self.recorder.stage is not Stage.FAILED
        if self.phase is not Phase.RETURNING or self._returned or opens:
            return False
        self._returned = True
        covered = UNTOLD if self.rules.records else JOINED
        self._emit(do.ReturnCall(CALLER, covered if self.verdict in COVERED else str(self.verdict)))
        return True

    # --- asking and giving back -------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        self._go(Phase.RETURNING)
        self._returned = self._late = False
        self._why = "returned to the PBX"
        self._emit(do.StartTimer(RETURN_TIMER, RETURN_LIMIT_MS))
        if AGENT not in self.parties and self.rules.records:
            self.parties[AGENT] = Consent(AGENT, state=State.NOT_REQUIRED)
            self.legs[AGENT] = Leg(up=True, gone=True)  # up: has keys; gone: not ours to end
            self._log_verdict(AGENT)

    def _call_returned(self, event: ev.CallReturned) -> None:
        if self.phase is Phase.RETURNING:
            self._talk(told=self.recorder.stage in LIVE)

    def _talk(self, *, told: bool) -> None:
        self._told_pbx = told
        self.parties[CALLER] = replace(self.parties[CALLER], in_conversation=True)
        self._go(Phase.TALKING)

    def _sent_again(self, event: ev.CallSentAgain) -> None:
        if self.phase is not Phase.TALKING:
            return
        before = self.parties[CALLER]
        self.legs[CALLER] = Leg()
        self._told_pbx = False
        self.parties[CALLER] = Consent(CALLER, plays=before.plays, asked=before.asked)
        self._log("ask.again", party=CALLER, actor=CALLER)
        self._emit(do.AnswerCall(CALLER))

    def _leg_ended(self, event: ev.LegEnded) -> None:
        leg = self.legs.get(event.leg)
        if leg is None or leg.gone:
            return
        leg.up, leg.gone = False, True
        self._log("leg.ended", leg=event.leg, code=event.code, by=event.by)
        if event.leg == CHANNEL:
            self._step(CALLER, ev.PartyLeft(at_ns=event.at_ns))
            self._end(f"caller {'hung up' if event.by == 'remote' else event.by}")
        elif self.phase in (Phase.ARRIVED, Phase.ASKING, Phase.TELLING):
            self._left_unheard(event)
        elif self.phase is Phase.RETURNING:
            self._talk(told=False)
        else:  # who was sent again and never arrived has given no answer; to everybody else it means nothing
            self._step(CALLER, ev.PartyLeft(at_ns=event.at_ns))

    def _timer(self, event: ev.TimerFired) -> None:
        if event.timer == RETURN_TIMER:
            self._late = self.recorder.stage not in LIVE
        elif event.timer == SIGHT_TIMER:
            if self.recorder.stage in LIVE:
                self._emit(do.RaiseAlarm("recorder_out_of_sight"))
        else:
            super()._timer(event)

    def _taken_back(self, event: ev.CallTakenBack) -> None:
        """The dialplan is about to stop its recorder and to send the caller again."""
        if self.phase is Phase.TALKING:
            self._told_pbx = False
            self._why = "to be asked again"

    def _left_unheard(self, event: ev.LegEnded) -> None:
        """The leg ended before the PBX was told: its dialplan goes on without a verdict, and nothing is recorded."""
        self._step(CALLER, ev.PartyLeft(at_ns=event.at_ns))
        if self.rules.fail_mode is FailMode.REFUSE_CALL:
            self._end("recording refused")
        elif self.phase is Phase.ARRIVED:
            self._let_go("the caller's leg was never up")
        else:
            self._talk(told=False)

    def _abandoned(self, event: ev.CallAbandoned) -> None:
        """Nobody waits for the answer, or it may be somebody else's: the question ends, nothing answers it any more,
        and the PBX does what it does then."""
        if self.phase in (Phase.ASKING, Phase.TELLING):
            self._step(CALLER, ev.PartyLeft(at_ns=event.at_ns))
            self._emit(do.HangUpLeg(CALLER))

    def _hang_up(self, event: ev.HangUpRequested) -> None:
        self._let_go(event.cause)

    def _let_go(self, cause: str) -> None:
        """End the call here: its parties talk on in the PBX, unrecorded."""
        self.legs[CHANNEL].gone = self._given_up = True
        self._end(cause)
        self._hurry()

    def _close_limit_ms(self) -> int:
        """Nobody waits long for the end of a recorder that he cannot see, in a call that he gives up."""
        if self._given_up and not self.in_sight:
            return self.rules.observe_timeout_ms
        return super()._close_limit_ms()

    def _hurry(self) -> None:
        """Wait anew for the recorder's end: the time for it may be another now."""
        if self.recorder.stage is Stage.CLOSING:
            self._await_recorder()

    # --- keys -------------------------------------------------------------------------------------------------------

    def _pressed_on(self, event: ev.DigitPressed) -> str:
        """The PBX tells of every key that passes through it. While the caller is with us, his keys come on our leg."""
        if event.transport != "ami":
            return event.leg
        if self.phase is not Phase.TALKING:
            return ""
        return CHANNEL if event.leg == CALLER else event.leg

    def _relay(self, leg: str, digits: str) -> None:
        """The PBX has passed them on already."""

    def _notice(self, leg: str, prompt: str) -> str:
        """Only the caller can be told anything, and only while he is with us. The agent has his lamp."""
        return super()._notice(leg, prompt) if leg == CALLER else ""

    def _reconsent(self, event: ev.ReconsentRequested) -> None:
        """Only the PBX can send the caller to us again; it does so, or nothing changes."""
        if self._may_not(event, "record"):
            return
        outcome = self._reconsenting(event)
        if outcome == "asking":
            self._emit(do.AskAgain())
        self._reply(event.request, outcome == "asking", outcome)

    # --- who is there -----------------------------------------------------------------------------------------------

    def _joined(self, event: ev.PartyJoined) -> None:
        if self.phase is Phase.ENDING or event.party in self.others:
            return
        self.others[event.party] = event.covered
        self._log("party.joined", party=event.party, covered=event.covered, **event.facts)
        if not event.covered:
            self._hold_by_policy(f"uncovered_party:{event.party}", "uncovered_party")
        elif ALONE in self.holds:
            self._clear_hold(ALONE, POLICY)

    def _gone(self, event: ev.PartyGone) -> None:
        if event.party not in self.others:
            return
        covered = self.others.pop(event.party)
        self._log("party.gone", party=event.party)
        if not any(self.others.values()) and ALONE not in self.holds:
            self._hold_by_policy(ALONE, ALONE)
        if not covered:
            self._clear_hold(f"uncovered_party:{event.party}", POLICY)

    def _are_askable(self, event: ev.PartiesAskable) -> None:
        self._askable = event.parties

    def _not_asked(self, event: ev.PartyNotAsked) -> None:
        """He may be, once the conversation has changed again."""
        self._tries[event.party] = self._tries.get(event.party, 0) + 1
        if self._tries[event.party] < MOST_TRIES:
            self._asked.discard(event.party)
        self._log("ask.joined", party=event.party, how="not possible")

    def _ask_who_joined(self) -> bool:
        """Whoever keeps the caller from being recorded is asked or told: once, and one at a time, since who else can be
        taken out of the conversation is another question when one was."""
        strangers = [party for party, covered in self.others.items() if not covered and party not in self._asked]
        askable = [party for party in strangers if party in self._askable]
        party = min(askable, key=lambda party: self._tries.get(party, 0), default="")
        recordable = self.desired is not RecorderState.OFF and self.recorder.stage is not Stage.FAILED
        if not party or not recordable or self.rules.joining is Joining.KEEP_OUT:
            return False
        self._askable = frozenset()
        self._asked.add(party)
        self._log("ask.joined", party=party, how=str(self.rules.joining))
        self._emit(do.AskParty(party))
        return True

    # --- whether the PBX can be seen --------------------------------------------------------------------------------

    @property
    def confirmed(self) -> bool:
        return self.in_sight and super().confirmed

    def _sight_changed(self, event: ev.SightChanged) -> None:
        """Nothing can be done about a recorder that cannot be seen: it is shown, and told when it lasts."""
        if event.clear == self.in_sight:
            return
        self.in_sight = event.clear
        self._log("recorder.sight", clear=event.clear)
        self._hurry()
        if event.clear:
            self._emit(do.StopTimer(SIGHT_TIMER))
        else:
            self._emit(do.StartTimer(SIGHT_TIMER, self.rules.observe_timeout_ms))

    def _hold_by_policy(self, key: str, reason: str) -> None:
        self.holds[key] = Hold(reason, POLICY, self._now)
        self._why = reason
        self._log("hold.set", hold=key, reason=reason, actor=POLICY, expires_in_ms=0)


PBX_HANDLERS: Handlers = HANDLERS | {
    ev.CallReturned: PbxCall._call_returned,
    ev.CallSentAgain: PbxCall._sent_again,
    ev.LegEnded: PbxCall._leg_ended,
    ev.CallAbandoned: PbxCall._abandoned,
    ev.CallTakenBack: PbxCall._taken_back,
    ev.TimerFired: PbxCall._timer,
    ev.PartyJoined: PbxCall._joined,
    ev.PartyGone: PbxCall._gone,
    ev.PartiesAskable: PbxCall._are_askable,
    ev.PartyNotAsked: PbxCall._not_asked,
    ev.SightChanged: PbxCall._sight_changed,
    ev.HangUpRequested: PbxCall._hang_up,
    ev.ReconsentRequested: PbxCall._reconsent,
}
