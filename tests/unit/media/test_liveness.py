"""Whether a far end is there: audio while it is due, an answer while it is not."""

from gateway.media.liveness import Liveness, Sign

LIMIT_S = 30.0


class Watch:
    """Looks once a second at a leg that began at 1,000 s; its clock is the test's."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.packets: int | None = 0
        self.leg = Liveness()
        self.leg.begin(self.now)
        self.leg.look(self.now, 0, audio_due=True, limit_s=LIMIT_S)

    def until(
        self, sign: Sign, *, audio_due: bool, sends: int = 0, answers: bool = False, most_s: int = 200
    ) -> int | None:
        """Go on until the leg gives *sign*: after how many seconds, None: never. *sends*: packets each second."""
        for second in range(1, most_s + 1):
            self.now += 1.0
            if self.packets is not None:
                self.packets += sends
            seen = self.leg.look(self.now, self.packets, audio_due=audio_due, limit_s=LIMIT_S)
            if seen == sign:
                return second
            if seen == "ask" and answers:
                self.leg.spoke(self.now + 0.1)
        return None


def test_a_far_end_that_sends_is_there() -> None:
    assert Watch().until("lost", audio_due=True, sends=50) is None


def test_a_far_end_that_owes_audio_and_sends_none_is_lost_whatever_it_says() -> None:
    watch = Watch()
    assert watch.until("ask", audio_due=True, most_s=29) is None
    watch.leg.spoke(watch.now)
    assert watch.until("lost", audio_due=True) == 2


def test_where_packets_cannot_be_counted_the_far_end_is_asked() -> None:
    watch = Watch()
    watch.packets = None
    assert watch.until("ask", audio_due=True) == 16
    assert watch.until("lost", audio_due=True) == 16
    answering = Watch()
    answering.packets = None
    assert answering.until("lost", audio_due=True, answers=True, most_s=600) is None


def test_a_far_end_on_hold_that_answers_is_there_for_as_long_as_it_likes() -> None:
    assert Watch().until("lost", audio_due=False, answers=True, most_s=7_200) is None


def test_a_far_end_on_hold_is_asked_at_half_the_limit_and_lost_at_the_whole() -> None:
    watch = Watch()
    assert watch.until("ask", audio_due=False) == 16
    assert watch.until("lost", audio_due=False) == 16


def test_a_far_end_on_hold_that_vanishes_later_is_lost_as_late_after_its_last_answer() -> None:
    watch = Watch()
    watch.until("lost", audio_due=False, answers=True, most_s=3_600)
    assert 16 <= (watch.until("lost", audio_due=False) or 0) <= 32


def test_a_far_end_is_asked_before_it_is_given_up_however_seldom_somebody_looks() -> None:
    watch = Watch()
    watch.now += 100
    assert watch.until("ask", audio_due=False, most_s=1) == 1


def test_music_on_hold_is_proof_enough() -> None:
    assert Watch().until("ask", audio_due=False, sends=50) is None


def test_a_return_from_hold_has_the_whole_limit_for_its_first_packet() -> None:
    watch = Watch()
    watch.until("lost", audio_due=False, most_s=29)
    watch.leg.begin(watch.now)
    assert watch.until("lost", audio_due=True) == 31


def test_a_stream_that_counts_anew_is_alive() -> None:
    watch = Watch()
    watch.packets = 5_000
    watch.until("lost", audio_due=True, sends=50, most_s=25)
    watch.packets = 0
    assert watch.until("lost", audio_due=True) == 32
