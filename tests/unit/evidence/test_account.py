"""What a bundle says, arranged."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.evidence import canonical
from gateway.evidence.account import NO_VERDICT, shifted, tell
from gateway.evidence.consent_record import consent_records
from gateway.evidence.errors import BundleInvalid
from gateway.evidence.receipt import receipt
from gateway.evidence.vcon import build_vcon, verify_vcon
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


# --- whatever a log says -------------------------------------------------------------------------------------


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8).filter(_encodable),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "party", "a"]), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(story=st.sampled_from(sorted(STORIES)), data=st.data())
def test_whatever_facts_a_log_holds_every_form_is_written_or_refused(story: str, data: st.DataObject) -> None:
    """A stranger converts bundles of logs he does not know: a fact of the wrong type is no reason to crash."""
    steps = [(kind, dict(facts)) for kind, facts in STORIES[story]]
    for _ in range(data.draw(st.integers(1, 3))):
        facts = data.draw(st.sampled_from([facts for _, facts in steps if facts]))
        facts[data.draw(st.sampled_from(sorted(facts)))] = data.draw(ANYTHING)
    made_at = datetime(2026, 11, 25, tzinfo=UTC)
    bundled = bundle_of(steps, others=0)
    try:
        account = tell(bundled, KEY)
        vcon = build_vcon(bundled, KEY, made_at=made_at)
        consent_records(account, made_at=made_at)
        receipt(account, party=account.persons[0].name)
    except BundleInvalid:
        return
    verify_vcon(canonical.dump(vcon), KEY)
