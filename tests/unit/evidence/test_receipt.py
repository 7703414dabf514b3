"""Receipts: what a caller can read in his language."""

import string

import pytest

from gateway.domain.rules import Basis
from gateway.evidence.account import NO_VERDICT, tell
from gateway.evidence.errors import BundleInvalid
from gateway.evidence.receipt import LANGUAGES, receipt
from gateway.evidence.receipt_texts import TEXTS
from gateway.evidence.semantics import VERDICTS
from tests.unit.evidence.portable import NUMBER, STORIES, VALUES, WORDS, asked, bundle, key, of, recorded
from tests.unit.evidence.stories import CALL, KEY, ORIGIN, arrived, bundle_of, verdict


def text_of(story: str, language: str = "en", **more: bool) -> str:
    return receipt(tell(bundle(story, **more), KEY), language=language, controller="Example GmbH, Berlin")


def test_a_receipt_of_a_recorded_call() -> None:
    lines = text_of("granted").splitlines()
    assert lines[:6] == [
        "Receipt for the recording of your call",
        "",
        f"Call: {CALL}",
        "Time: 2026-11-24 16:00:00 UTC - 2026-11-24 16:00:19 UTC",
        "Recorded by: Example GmbH, Berlin",
        f"Your number: {NUMBER}",
    ]
    assert lines[7:11] == [
        "You were asked (2026-11-24 15:59:58 UTC): May we record?",
        "Your answer (2026-11-24 16:00:03 UTC): You agreed to the recording. (key 1)",
        "",
        "Recorded: from 2026-11-24 16:00:07 UTC, 2.6 seconds of sound; pauses: 1, 1.0 seconds in all without sound.",
    ]
    assert lines[12] == "Legal basis: your consent (Article 6(1)(a) GDPR)"
    assert "take back your consent at any time" in lines[13] and CALL in lines[13]
    assert lines[14].startswith(f"Evidence: {ORIGIN} #")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("story", STORIES)
def test_every_story_can_be_told_in_every_language(story: str, language: str) -> None:
    text = text_of(story, language)
    texts = TEXTS[language]
    account = tell(bundle(story), KEY)
    assert text.startswith(f"{texts.title}\n") and text.endswith(f"{texts.clock}\n")
    assert texts.verdict[account.persons[0].verdict] in text
    assert (texts.nothing in text) is not any(sound.state == "open" or sound.heard_ms for sound in account.sounds)
    assert "{" not in text and "}" not in text


def test_the_languages_say_the_same_things() -> None:
    """Each has every verdict and basis, and the same names to fill in."""

    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english = TEXTS["en"]
    for language, texts in TEXTS.items():
        assert texts.verdict.keys() == VERDICTS | {NO_VERDICT}, language
        assert texts.bases.keys() == {str(basis) for basis in Basis}, language
        for part in ("how", "withdraw"):
            ours, model = getattr(texts, part), getattr(english, part)
            assert {name: names(text) for name, text in ours.items()} == {
                name: names(text) for name, text in model.items()
            }, language
        for part in ("duration", "pauses", "title", "nothing"):
            assert names(getattr(texts, part)) == names(getattr(english, part)) and getattr(texts, part)
    assert set(LANGUAGES) == {"de", "en", "es", "fr", "it", "pt"}
    assert len({texts.title for texts in TEXTS.values()}) == len(TEXTS)


def test_it_is_written_in_the_language_he_was_asked_in() -> None:
    steps = of(arrived(), asked("de", "Dürfen wir aufzeichnen?"), key("2"), verdict("refused"))
    text = receipt(tell(bundle_of(steps), KEY))
    assert "Sie haben die Aufzeichnung abgelehnt. (Taste 2)" in text and "Es wurde nichts aufgezeichnet." in text
    assert "Dürfen wir aufzeichnen?" in text and ORIGIN in text
    other = of(arrived(), asked("nl", "Mogen wij opnemen?"))
    assert receipt(tell(bundle_of(other), KEY)).startswith(TEXTS["en"].title)


def test_what_was_heard_is_quoted_until_it_is_erased() -> None:
    assert f'understood: "{WORDS}"' in text_of("spoken")
    for story in STORIES:
        erased = text_of(story, erased=True)
        assert all(value not in erased for value in (*VALUES.values(), WORDS))
    assert "You agreed to the recording. (spoken)" in text_of("spoken", erased=True)


def test_a_withdrawal_and_a_destruction_are_told() -> None:
    text = text_of("withdrawn")
    assert "After that (2026-11-24 16:00:09 UTC): You took back your consent" in text and "(key *9)" in text
    assert "take back your consent at any time" not in text
    assert "This recording was destroyed." in text_of("destroyed")


@pytest.mark.parametrize(
    ("basis", "words"), [("legitimate_interests", "object at any time"), ("legal_obligation", "ask what is held")]
)
def test_his_rights_follow_from_the_basis(basis: str, words: str) -> None:
    assert words in receipt(tell(bundle_of(recorded(basis=basis)), KEY), language="en")


def test_nobody_writes_a_line_of_his_own() -> None:
    """A name comes from the caller's telephone, and a bundle of any log may be converted."""
    values = {"caller_number": "+49\n30\u202e1\x1b[2J"}
    account = tell(bundle_of(STORIES["refused"], personal=("caller_number",), values=values), KEY)
    text = receipt(account, controller="A\nB {call} {0}")
    assert "Your number: +49301[2J\n" in text and "Recorded by: AB {call} {0}\n" in text


def test_who_is_not_in_the_call_gets_no_receipt() -> None:
    with pytest.raises(BundleInvalid, match="no party 'nobody'"):
        receipt(tell(bundle(), KEY), party="nobody")
    assert "contract" in receipt(tell(bundle(), KEY), party="agent", language="en")


def test_a_receipt_tells_each_purpose_by_its_own_answer() -> None:
    lines = text_of("one_by_one").splitlines()
    said = [line.partition("): ")[2] for line in lines if line.startswith(("Your answer", "After that"))]
    assert said == [
        "You agreed to the recording. (key 1)",
        "Turning the call into text: you agreed (key 1)",
        "Evaluating the call: you refused (key 2)",
        "Passing the call on: no answer, which does not count as agreeing",
    ]
    assert sum(line.startswith("You were asked") for line in lines) == 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_words_for_every_purpose_and_answer(language: str) -> None:
    texts = TEXTS[language]
    assert set(texts.purposes) == {"transcription", "analysis", "sharing"}
    assert set(texts.said) == {"granted", "refused", "unanswered", "unclear"}
    assert len(set(texts.purposes.values())) == 3 and len(set(texts.said.values())) == 4
