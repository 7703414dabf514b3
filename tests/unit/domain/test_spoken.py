"""What a spoken answer amounts to: every row of the tables, and what no text and no score may ever bring about."""

import doctest
import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import spoken
from gateway.domain.spoken import (
    AGREEMENT,
    ALONE,
    CERTAIN_NO_SPEECH,
    CERTAIN_SCORE,
    CLOSE,
    DECISIONS,
    MAXIMUM_NO_SPEECH,
    MAXIMUM_REPETITIONS,
    MINIMUM_SCORE,
    OUTCOMES,
    READINGS,
    WORTH_A_LOOK,
    Decision,
    Hearing,
    Hypothesis,
    Meaning,
    Question,
    decide,
    interpret,
    read,
    read_text,
    said,
    wants_another_look,
    wants_another_pass,
)
from gateway.domain.spoken_words import ENGLISH, VOCABULARIES

YES, CLOSE_YES, MAYBE, FAINT, HINTS_YES = Meaning.YES, Meaning.CLOSE, Meaning.MAYBE, Meaning.FAINT, Meaning.HINTS_YES
NO, HINTS_NO, UNCLEAR, NOTHING = Meaning.NO, Meaning.HINTS_NO, Meaning.UNCLEAR, Meaning.NOTHING
SOME_YES = {YES, CLOSE_YES, MAYBE, FAINT}
LANGUAGES = sorted(VOCABULARIES)


def heard(*texts: str, score: float = -0.3, no_speech: float = 0.1, window_ms: int = 8_000) -> Hearing:
    return Hearing(window_ms, no_speech, tuple(Hypothesis(text, score) for text in texts))


def ranked(*texts: tuple[str, float]) -> Hearing:
    return Hearing(8_000, 0.1, tuple(Hypothesis(*each) for each in texts))


TEXTS: list[tuple[str, Meaning, str]] = [
    ("", NOTHING, "is_empty"),
    (" ... ", NOTHING, "is_empty"),
    ("Uh, um...", NOTHING, "is_empty"),
    ("Mm-hmm.", NOTHING, "is_empty"),
    ("Yes?", UNCLEAR, "is_question"),
    ("No?", UNCLEAR, "is_question"),
    ("Yes, I agree?", UNCLEAR, "is_question"),
    ("What?", UNCLEAR, "is_question"),
    ("What is this about?", UNCLEAR, "is_question"),
    ("Thank you.", NOTHING, "is_noise"),
    ("you", NOTHING, "is_noise"),
    ("Bye.", NOTHING, "is_noise"),
    ("Bye-bye.", NOTHING, "is_noise"),
    ("Thanks for watching!", NOTHING, "is_noise"),
    ("[Music]", NOTHING, "is_noise"),
    ("I don't agree.", NO, "is_refusal"),
    ("I don’t agree.", NO, "is_refusal"),
    ("Do not agree.", NO, "is_refusal"),
    ("No, I do not agree.", NO, "is_refusal"),
    ("Absolutely not.", NO, "is_refusal"),
    ("Of course not!", NO, "is_refusal"),
    ("That's not okay.", NO, "is_refusal"),
    ("Stop recording.", NO, "is_refusal"),
    ("No problem.", UNCLEAR, "hedges"),
    ("No, no problem.", UNCLEAR, "hedges"),
    ("No worries, mate.", UNCLEAR, "hedges"),
    ("I don't know.", UNCLEAR, "hedges"),
    ("I don't mind.", UNCLEAR, "hedges"),
    ("I'm not sure.", UNCLEAR, "hedges"),
    ("Why not.", UNCLEAR, "hedges"),
    ("Yes and no.", UNCLEAR, "has_both"),
    ("Yes, but not the recording.", UNCLEAR, "has_both"),
    ("No... yes, fine.", UNCLEAR, "has_both"),
    ("If I must, yes, but I'd rather not.", UNCLEAR, "has_both"),
    ("No.", NO, "has_no_word"),
    ("Nope!", NO, "has_no_word"),
    ("NO NO NO NO NO NO", NO, "has_no_word"),
    ("No, thank you.", NO, "has_no_word"),
    ("Please don't.", NO, "has_no_word"),
    ("I disagree.", NO, "has_no_word"),
    ("I don't want that.", NO, "has_no_word"),
    ("Yes. Yes. Yes. Yes.", NOTHING, "loops"),
    ("yes yes yes yes yes yes yes yes", NOTHING, "loops"),
    ("Yes, I agree. Yes, I agree. Yes, I agree. Yes, I agree.", NOTHING, "loops"),
    ("Yes, I agree.", YES, "is_yes"),
    ("Uh, yes, I agree.", YES, "is_yes"),
    ("Yes, yes, I agree!", YES, "is_yes"),
    ("Yes, that's okay, thank you.", YES, "is_yes"),
    ("Well, yeah, I do agree.", YES, "is_yes"),
    ("A yes, agree.", YES, "is_yes"),
    ("Yes, please.", MAYBE, "is_weak_yes"),
    ("YES GO AHEAD YES GO AHEAD", YES, "is_yes"),
    ("Yes, that's fine.", YES, "is_yes"),
    ("Yes.", MAYBE, "is_weak_yes"),
    ("Yes, yes, yes.", MAYBE, "is_weak_yes"),
    ("Oh, yes.", MAYBE, "is_weak_yes"),
    ("Yeah.", MAYBE, "is_weak_yes"),
    ("Okay.", MAYBE, "is_weak_yes"),
    ("Yes, okay.", MAYBE, "is_weak_yes"),
    ("Yes, you can.", MAYBE, "is_weak_yes"),
    ("I agree.", MAYBE, "is_weak_yes"),
    ("Yes, but...", UNCLEAR, "anything_else"),
    ("Yes, maybe.", UNCLEAR, "anything_else"),
    ("Yes, I guess.", UNCLEAR, "anything_else"),
    ("Yes, who is this", UNCLEAR, "anything_else"),
    ("Yes, hello, this is Anna.", UNCLEAR, "anything_else"),
    ("Okay, bye.", UNCLEAR, "anything_else"),
    ("I know.", UNCLEAR, "anything_else"),
    ("Yesterday.", UNCLEAR, "anything_else"),
    ("Please leave a message after the tone.", UNCLEAR, "anything_else"),
    ("Guess.", UNCLEAR, "anything_else"),
    ("Si", UNCLEAR, "anything_else"),
    ("はい", UNCLEAR, "anything_else"),
]


@pytest.mark.parametrize(("text", "meaning", "because"), TEXTS)
def test_a_text_means(text: str, meaning: Meaning, because: str) -> None:
    reading = read_text(text, "en")
    assert (reading.meaning, reading.because) == (meaning, because)


def test_every_reading_is_in_the_table_above() -> None:
    assert {test.__name__ for test, _ in READINGS} == {because for _, _, because in TEXTS}


OTHERS: list[tuple[str, str, Meaning]] = [
    ("de", "Ja, ich stimme zu.", YES),
    ("de", "Ja.", MAYBE),
    ("de", "Nein, danke.", NO),
    ("de", "Ich bin nicht einverstanden.", NO),
    ("de", "Kein Problem.", UNCLEAR),
    ("de", "Ja, aber nicht aufzeichnen.", UNCLEAR),
    ("de-AT", "Weiß ich nicht.", UNCLEAR),
    ("de", "Untertitel der Amara.org-Community", NOTHING),
    ("es", "Sí, de acuerdo.", YES),
    ("es", "Si.", MAYBE),
    ("es", "No, gracias.", NO),
    ("es", "No hay problema.", UNCLEAR),
    ("es", "¿Sí?", UNCLEAR),
    ("fr", "Oui, d'accord.", YES),
    ("fr", "D’accord.", MAYBE),
    ("fr", "Je n'accepte pas.", NO),
    ("fr", "Je n'autorise.", NO),
    ("fr", "Pas d'accord.", NO),
    ("fr", "Pas de problème.", UNCLEAR),
    ("it", "Sì, va bene.", YES),
    ("it", "Non sono d'accordo.", NO),
    ("it", "Non lo so.", UNCLEAR),
    ("pt-BR", "Sim, pode gravar.", YES),
    ("pt", "Não.", NO),
    ("pt", "Não tem problema.", UNCLEAR),
    ("nl", "Ja, ik ga akkoord.", UNCLEAR),
    ("", "Yes, I agree.", UNCLEAR),
]


@pytest.mark.parametrize(("language", "text", "meaning"), OTHERS)
def test_a_text_means_in_the_prompts_language(language: str, text: str, meaning: Meaning) -> None:
    assert read_text(text, language).meaning is meaning


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_means_what_its_list_says(language: str) -> None:
    words = VOCABULARIES[language]
    lists = [(words.yes, YES), (words.weak, MAYBE), (words.no, NO), (words.hedges, UNCLEAR), (words.noise, NOTHING)]
    for phrases, meaning in lists:
        assert {phrase: read_text(phrase, language).meaning for phrase in phrases} == dict.fromkeys(phrases, meaning)
    assert all(words.no_words and words.yes_words and phrases for phrases, _ in lists)


def test_the_doctests_hold() -> None:
    result = doctest.testmod(spoken)
    assert result.failed == 0 and result.attempted > 2


# --- scores and passes ---

PASSES: list[tuple[Hearing, Meaning, str]] = [
    (heard("Yes, I agree."), YES, "is_yes"),
    (heard("Yes, I agree.", score=CERTAIN_SCORE), FAINT, "uncertain"),
    (heard("Yes, I agree.", no_speech=CERTAIN_NO_SPEECH), FAINT, "uncertain"),
    (heard("Yes, I agree.", score=MINIMUM_SCORE), NOTHING, "low_score"),
    (heard("Yes."), MAYBE, "is_weak_yes"),
    (heard("Yes.", score=CERTAIN_SCORE), FAINT, "uncertain"),
    (heard("Yes.", no_speech=CERTAIN_NO_SPEECH), FAINT, "uncertain"),
    (ranked(("Yes, I agree.", -CLOSE), ("Yes, I'm Greek.", -2 * CLOSE)), YES, "is_yes"),
    (ranked(("Yes, I agree.", -0.25), ("Yes, I'm Greek.", -0.24 - CLOSE)), CLOSE_YES, "close"),
    (ranked(("Yes, I agree.", -0.25), ("Yes, please.", -0.3), ("Yes.", -0.3)), YES, "is_yes"),
    (ranked(("Yes, I agree.", -0.25), ("Yes, I agree?", -0.3)), CLOSE_YES, "close"),
    (ranked(("Yes, I agree.", -0.65), ("Yes, I'm Greek.", math.nan)), YES, "is_yes"),
    (ranked(("Yes.", -0.3), ("Yesterday.", -0.3)), MAYBE, "is_weak_yes"),
    (heard("Yes, I agree.", score=math.nan), NOTHING, "low_score"),
    (heard("Yes, I agree.", no_speech=MAXIMUM_NO_SPEECH), NOTHING, "no_speech"),
    (heard("Yes, I agree.", no_speech=math.nan), NOTHING, "no_speech"),
    (heard(), NOTHING, "no_text"),
    (heard("Yes.", "No."), UNCLEAR, "perhaps_no"),
    (heard("Yes, I agree.", "Yes, I do agree."), YES, "is_yes"),
    (heard("Yes, I agree.", "Yes, I don't agree."), UNCLEAR, "perhaps_no"),
    (heard("I agree.", "I agreed.", "I disagree."), UNCLEAR, "perhaps_no"),
    (Hearing(8_000, 0.1, (Hypothesis("Yes.", -0.3), Hypothesis("No.", MINIMUM_SCORE))), MAYBE, "is_weak_yes"),
    (heard("No.", "Yes."), NO, "has_no_word"),
    (heard("No.", score=MINIMUM_SCORE), NOTHING, "low_score"),
    (heard("Guess.", "Yes."), HINTS_YES, "anything_else"),
    (heard("Yes, I'm Greek.", "Yes, I agree."), HINTS_YES, "anything_else"),
    (heard("Noah.", "No."), HINTS_NO, "anything_else"),
    (heard("Noah.", "No.", "Yes."), UNCLEAR, "anything_else"),
    (heard("Guess.", "Press."), UNCLEAR, "anything_else"),
    (ranked(("Guess.", -0.3), ("Yes.", MINIMUM_SCORE)), UNCLEAR, "anything_else"),
]


@pytest.mark.parametrize(("hearing", "meaning", "because"), PASSES)
def test_a_pass_means(hearing: Hearing, meaning: Meaning, because: str) -> None:
    reading = read(hearing, "en")
    assert (reading.meaning, reading.because) == (meaning, because)
    assert wants_another_pass(hearing, "en") is (meaning is NOTHING)
    assert wants_another_look(hearing, "en") is (meaning not in (YES, NO, UNCLEAR))


OF = {
    YES: heard("Yes, I agree."),
    CLOSE_YES: heard("Yes, I agree.", "Yes, I'm Greek."),
    MAYBE: heard("Okay."),
    FAINT: heard("Okay.", score=-1.0),
    HINTS_YES: heard("Guess.", "Yes."),
    NO: heard("No."),
    HINTS_NO: heard("Noah.", "No."),
    UNCLEAR: heard("Hang on a second."),
    NOTHING: heard("you"),
}


@pytest.mark.parametrize("meaning", OF)
def test_one_look_amounts_to(meaning: Meaning) -> None:
    assert read(OF[meaning], "en").meaning is meaning
    assert interpret([OF[meaning]], "en").meaning is ALONE[meaning]


def test_alone_only_a_clear_phrase_is_a_yes_and_no_word_confirms_one() -> None:
    assert set(ALONE) == set(OF)
    assert [meaning for meaning, amounts in ALONE.items() if amounts is YES] == [YES]
    assert [meaning for meaning, amounts in ALONE.items() if amounts is MAYBE] == [CLOSE_YES]
    assert [meaning for meaning, amounts in ALONE.items() if amounts is NO] == [NO]


@pytest.mark.parametrize(("first", "second"), list(product(OF, repeat=2)))
def test_two_passes_amount_to(first: Meaning, second: Meaning) -> None:
    reading = interpret([OF[first], OF[second]], "en")
    assert reading.meaning is AGREEMENT[first, second] is AGREEMENT[second, first]
    assert reading.because


def test_looks_that_disagree_are_unclear_and_a_yes_takes_a_phrase_and_nothing_against_it() -> None:
    assert set(AGREEMENT) == set(product(OF, repeat=2))
    for (one, other), meaning in AGREEMENT.items():
        if {one, other} & SOME_YES and {one, other} & {NO, HINTS_NO, UNCLEAR}:
            assert meaning is UNCLEAR
        if meaning is YES:
            assert YES in (one, other) or one is other is CLOSE_YES
            assert {one, other} <= SOME_YES | {HINTS_YES}
        if meaning is MAYBE:
            assert {one, other} & {YES, CLOSE_YES} or one is other is MAYBE
        if meaning is NO:
            assert NO in (one, other) and {one, other} <= {NO, HINTS_NO, NOTHING}


def test_what_another_look_cannot_change_is_not_looked_at_again() -> None:
    """A yes, a no and words that are no answer stand; whatever is asked about could become something else."""
    assert set(OF) - WORTH_A_LOOK == {YES, NO, UNCLEAR}
    for first in WORTH_A_LOOK:
        assert len({AGREEMENT[first, second] for second in OF}) > 1


def test_more_than_two_looks_are_refused() -> None:
    with pytest.raises(ValueError, match="twice at most"):
        interpret([OF[YES]] * 3, "en")


def test_no_pass_is_nothing() -> None:
    assert interpret([], "en").meaning is NOTHING


# --- the dialogue ---

RULINGS: list[tuple[Question, Meaning, int, Decision]] = [
    (Question.ASK, YES, 1, Decision.YES),
    (Question.ASK, YES, 2, Decision.YES),
    (Question.ASK, MAYBE, 1, Decision.CONFIRM),
    (Question.ASK, MAYBE, 2, Decision.CONFIRM),
    (Question.ASK, FAINT, 1, Decision.CONFIRM),
    (Question.ASK, FAINT, 2, Decision.CONFIRM),
    (Question.ASK, NO, 1, Decision.NO),
    (Question.ASK, NO, 2, Decision.NO),
    (Question.ASK, UNCLEAR, 1, Decision.REPEAT),
    (Question.ASK, UNCLEAR, 2, Decision.GIVE_UP),
    (Question.ASK, NOTHING, 1, Decision.REPEAT),
    (Question.ASK, NOTHING, 3, Decision.GIVE_UP),
    (Question.ASK, Meaning.FAILED, 1, Decision.GIVE_UP),
    (Question.ASK, Meaning.FAILED, 2, Decision.GIVE_UP),
    (Question.CONFIRM, YES, 1, Decision.YES),
    (Question.CONFIRM, YES, 2, Decision.YES),
    (Question.CONFIRM, MAYBE, 2, Decision.YES),
    (Question.CONFIRM, MAYBE, 1, Decision.YES),
    (Question.CONFIRM, FAINT, 1, Decision.REPEAT),
    (Question.CONFIRM, FAINT, 2, Decision.GIVE_UP),
    (Question.CONFIRM, NO, 2, Decision.NO),
    (Question.CONFIRM, NO, 1, Decision.NO),
    (Question.CONFIRM, UNCLEAR, 1, Decision.REPEAT),
    (Question.CONFIRM, UNCLEAR, 2, Decision.GIVE_UP),
    (Question.CONFIRM, NOTHING, 1, Decision.REPEAT),
    (Question.CONFIRM, NOTHING, 2, Decision.GIVE_UP),
    (Question.CONFIRM, Meaning.FAILED, 1, Decision.GIVE_UP),
    (Question.CONFIRM, Meaning.FAILED, 2, Decision.GIVE_UP),
]


@pytest.mark.parametrize(("question", "meaning", "attempt", "decision"), RULINGS)
def test_what_is_done(question: Question, meaning: Meaning, attempt: int, decision: Decision) -> None:
    hearings = None if meaning is Meaning.FAILED else [OF[meaning]] * 2
    ruling = decide(hearings, "en", question, attempt)
    assert (ruling.decision, ruling.meaning) == (decision, meaning)


def test_every_decision_is_in_the_table_above() -> None:
    assert set(DECISIONS) == set(product(Question, OUTCOMES))
    assert {(question, meaning, attempt > 1) for question, meaning, attempt, _ in RULINGS} == {
        (*key, last) for key, last in product(DECISIONS, (False, True))
    }


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        decide([], "en", Question.ASK, 0)


# --- what must never be ---

LEXICON = sorted(
    {word for words in VOCABULARIES.values() for phrase in words.yes | words.weak | words.no for word in phrase.split()}
    | {"but", "guess", "the", "problem", "know", "recording", "hello", "uh", "thank", "you"}
)
SPEECH = st.lists(st.sampled_from(LEXICON), max_size=8).map(" ".join) | st.text(max_size=40)
PUNCTUATED = st.tuples(SPEECH, st.sampled_from(["", ".", "!", "...", ",", "?"])).map("".join)
SCORES = st.floats(-4, 0) | st.just(math.nan)
HEARINGS = st.builds(
    Hearing,
    st.just(8_000),
    st.floats(0, 1),
    st.lists(st.builds(Hypothesis, PUNCTUATED, SCORES), max_size=3).map(tuple),
)


@given(PUNCTUATED, st.sampled_from(LANGUAGES))
def test_only_the_closed_list_is_ever_a_yes(text: str, language: str) -> None:
    meaning = read_text(text, language).meaning
    words = VOCABULARIES[language]
    if meaning in (YES, MAYBE):
        assert said(text, words).phrase in words.yes | words.weak
        assert "?" not in text
    if meaning is YES:
        assert said(text, words).phrase in words.yes


@given(SPEECH, st.data(), st.sampled_from(LANGUAGES))
def test_no_text_with_a_no_word_is_ever_a_yes(text: str, data: st.DataObject, language: str) -> None:
    words = VOCABULARIES[language]
    yes = data.draw(st.sampled_from(sorted(words.yes | words.weak)))
    no = data.draw(st.sampled_from(sorted(words.no_words)))
    parts = data.draw(st.permutations([yes, no, text]))
    assert read_text(" ".join(parts), language).meaning not in (YES, MAYBE)


@given(st.sampled_from(LANGUAGES), st.data(), st.sampled_from(["but", "hello", "aber", "pero", "mais", "ma", "xyz"]))
def test_a_yes_with_anything_behind_it_is_none(language: str, data: st.DataObject, more: str) -> None:
    words = VOCABULARIES[language]
    yes = data.draw(st.sampled_from(sorted(words.yes | words.weak)))
    assert read_text(f"{yes}, {more}", language).meaning not in (YES, MAYBE)


@given(
    st.lists(HEARINGS, max_size=2), st.sampled_from([*LANGUAGES, "nl"]), st.sampled_from(Question), st.integers(1, 9)
)
def test_a_yes_was_believed_and_nothing_that_was_heard_is_against_it(
    hearings: list[Hearing], language: str, question: Question, attempt: int
) -> None:
    ruling = decide(hearings, language, question, attempt)
    if ruling.decision not in (Decision.YES, Decision.CONFIRM):
        return
    words = VOCABULARIES[language]
    meanings = {read(hearing, language).meaning for hearing in hearings}
    believed = [h for h in hearings if read(h, language).meaning in SOME_YES]
    assert believed and not meanings & {NO, HINTS_NO}
    for hearing in believed:
        best = hearing.hypotheses[0]
        assert best.score > MINIMUM_SCORE and hearing.no_speech < MAXIMUM_NO_SPEECH
        assert said(best.text, words).phrase in words.yes | words.weak
    certain = [h for h in believed if h.hypotheses[0].score > CERTAIN_SCORE and h.no_speech < CERTAIN_NO_SPEECH]
    phrases = [h for h in certain if said(h.hypotheses[0].text, words).phrase in words.yes]
    if ruling.decision is Decision.YES:
        assert phrases or len(certain) == 2
    if question is Question.ASK and ruling.decision is Decision.YES:
        assert phrases and not meanings & {UNCLEAR, NOTHING}


@given(st.lists(HEARINGS, max_size=2), st.sampled_from(LANGUAGES), st.sampled_from(Question), st.integers(1, 5))
def test_unclear_ends_in_keys_after_the_attempts_that_were_given(
    hearings: list[Hearing], language: str, question: Question, attempts: int
) -> None:
    decisions = [decide(hearings, language, question, each, attempts=attempts) for each in range(1, attempts + 3)]
    if decisions[0].meaning in (UNCLEAR, NOTHING):
        wanted = [Decision.REPEAT] * (attempts - 1) + [Decision.GIVE_UP] * 3
        assert [ruling.decision for ruling in decisions] == wanted


@given(st.lists(st.sampled_from(LEXICON), min_size=1, max_size=6), st.integers(1, 9))
def test_repetitions_are_folded_and_counted(words: list[str], times: int) -> None:
    once = said(" ".join(words), ENGLISH)
    folded = said(" ".join(words * times), ENGLISH)
    if once.words and once.times == 1:
        assert folded.times >= times
        assert folded.words == once.words
    if folded.times > MAXIMUM_REPETITIONS:
        assert read_text(" ".join(words * times), "en").meaning not in (YES, MAYBE)


@given(PUNCTUATED)
def test_no_word_of_the_callers_shows_in_a_repr_or_a_reason(text: str) -> None:
    secret = f"{text} hunter2"
    hearing = heard(secret)
    ruling = decide([hearing], "en", Question.ASK, 1)
    for shown in (repr(hearing), repr(hearing.hypotheses), repr(ruling), repr(said(secret, ENGLISH))):
        assert "hunter2" not in shown
