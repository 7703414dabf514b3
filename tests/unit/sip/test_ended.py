"""Ended calls are kept while the library keeps their slots, and counted as long."""

from dataclasses import dataclass

from gateway.adapters.sip.ended import LOOK_AGAIN_S, EndedCalls


@dataclass
class Slot:
    """A call's slot. *owner*: which call has it now; "" nobody."""

    number: int
    owner: str


@dataclass
class EndedCall:
    slot: Slot
    name: str
    looks: int = 0

    def isActive(self) -> bool:
        return self.slot.owner == "another, in conversation"

    def getId(self) -> int:
        return self.slot.number

    def keeps_slot(self) -> bool:
        self.looks += 1
        return self.slot.owner == self.name


def test_a_call_that_the_library_is_rid_of_holds_nothing() -> None:
    ended = EndedCalls()
    ended.bury(EndedCall(Slot(0, ""), "a"), 100.0)
    assert ended.slots == set()


def test_an_unanswered_bye_holds_its_slot_until_the_library_gives_it_up() -> None:
    slot, ended = Slot(3, "a"), EndedCalls()
    ended.bury(EndedCall(slot, "a"), 100.0)
    for tenth in range(320):
        ended.look(100.0 + tenth / 10)
        assert ended.slots == {3}
    slot.owner = ""
    ended.look(132.0 + LOOK_AGAIN_S)
    assert ended.slots == set()


def test_an_answer_is_noticed_about_as_late_as_it_came() -> None:
    slot, ended = Slot(3, "a"), EndedCalls()
    ended.bury(EndedCall(slot, "a"), 100.0)
    for turn in range(5):
        ended.look(100.0 + turn / 100)
    slot.owner = ""
    ended.look(100.08)
    assert ended.slots == set()


def test_many_unanswered_byes_do_not_keep_the_stack_busy() -> None:
    call, ended = EndedCall(Slot(0, "a"), "a"), EndedCalls()
    ended.bury(call, 100.0)
    for turn in range(3_200):
        ended.look(100.0 + turn / 100)
    assert call.looks < 32 / LOOK_AGAIN_S + 15


def test_an_object_is_let_go_only_while_its_slot_is_empty() -> None:
    slot, ended = Slot(0, "another, in conversation"), EndedCalls()
    call = EndedCall(slot, "a")
    ended.bury(call, 100.0)
    ended.look(101.0)
    assert ended.slots == set()
    slot.owner = ""
    ended.look(103.0)
    looks = call.looks
    ended.look(110.0)
    assert call.looks == looks


def test_two_that_had_one_slot_count_once() -> None:
    slot, ended = Slot(0, "b"), EndedCalls()
    ended.bury(EndedCall(slot, "a"), 100.0)
    ended.bury(EndedCall(slot, "b"), 100.0)
    ended.look(101.0)
    assert ended.slots == {0}
