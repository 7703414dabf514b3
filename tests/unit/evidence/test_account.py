"""What a bundle says, arranged."""

import pytest

from gateway.evidence.account import NO_VERDICT, shifted, tell
from gateway.evidence.errors import BundleInvalid
from tests.unit.evidence.portable import STORIES, WORDS, asked, bundle, key, of
from tests.unit.evidence.stories import KEY, arrived, bundle_of, verdict


def test_every_verdict_has_the_answer_it_followed_from() -> None:
    caller, agent = tell(bundle("withdrawn"), KEY).persons
    assert [(one.verdict, one.answer.key if one.answer else None) for one in caller.decisions] == [
        ("granted", "1"),
        ("withdrawn", "*9"),
    ]
    assert [(one.verdict, one.answer) for one in agent.decisions] == [("not_required", None)]


def test_an_answer_belongs_to_one_verdict_only() -> None:
    steps = of(arrived(), asked(), key("1"), verdict(), verdict("withdrawn"))
    caller = tell(bundle_of(steps), KEY).persons[0]
    assert caller.decisions[0].answer is not None and caller.decisions[1].answer is None


def test_a_recording_is_measured_in_its_spans() -> None:
    (sound,) = tell(bundle(), KEY).sounds
    assert (sound.heard_ms, sound.paused_ms, sound.pauses, sound.frames) == (2_620, 1_000, 1, 181)
    assert [sound.recording for sound in tell(bundle("two_recordings"), KEY).sounds] == ["r1", "r2"]
    assert tell(bundle("open"), KEY).sounds[0].state == "open"


def test_what_was_heard_is_there_until_it_is_erased() -> None:
    def words(erased: bool) -> str:
        answer = tell(bundle("spoken", erased=erased), KEY).persons[0].decisions[0].answer
        assert answer is not None and answer.how == "speech"
        return answer.words

    assert words(False) == WORDS and words(True) == ""


def test_no_personal_value_is_in_the_text_of_an_account() -> None:
    assert WORDS not in repr(tell(bundle("spoken"), KEY))


def test_who_has_no_verdict_has_the_basis_of_the_policy() -> None:
    caller, agent = tell(bundle("hung_up"), KEY).persons
    assert (caller.verdict, caller.basis, agent.basis) == (NO_VERDICT, "consent", "consent")
    assert tell(bundle("three"), KEY).persons[2].listed is False


def test_the_language_is_the_last_one_spoken() -> None:
    steps = of(arrived(), asked("en"), asked("de"))
    assert tell(bundle_of(steps), KEY).language == "de"
    assert tell(bundle("hung_up"), KEY).language == "en"


@pytest.mark.parametrize("story", STORIES)
def test_of_a_changed_bundle_there_is_no_account(story: str) -> None:
    data = bundle(story)
    for place in range(0, len(data), 501):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(BundleInvalid):
            tell(changed, KEY)


def test_times_are_shifted_across_midnight() -> None:
    assert shifted("2026-11-24T23:59:59.990Z", 20) == "2026-11-25T00:00:00.010Z"
