"""English texts and voices that a measurement showed, and that the rule and its margins were changed on since.

They are there to try things on (`python -m bench speech --seen`): what they say about the rule of today is too good.
"""

from typing import Final

from bench.speech.texts import lines
from bench.speech.voices import Voice, kokoro

TEXTS: Final = {
    "yes.phrase": lines("""
        Yes, I agree.
        Yes. I agree.
        Um, yes, I agree.
        Yes, that's fine.
        Yes, I consent.
        Yes, go ahead.
        Yes, of course.
        Yeah, I agree.
    """),
    "yes.word": lines("""
        Yes.
        Yeah.
        Yes, yes.
        Yes, please.
        Okay.
        Sure.
        I agree.
    """),
    "yes.free": lines("""
        Yes, you have my permission.
        Yes, I'm happy with that.
        Yes, no problem at all.
    """),
    "no": lines("""
        No.
        No, thank you.
        No, I don't agree.
        I don't agree.
        Nope.
        No, I'd rather not.
        No, please don't record this.
        I do not want to be recorded.
        No, I disagree.
        Absolutely not.
    """),
    "other.yes, but": lines("""
        Yes, but not the recording.
        Yes, but only if it stays with you.
        Yes, if I must.
        Yes and no.
        Well yes, but I don't really want to.
        Okay, but what do you do with it?
        Yes, I agree, but not to that.
        Yes, wait, no.
        Sure, whatever, just connect me.
    """),
    "other.polite": lines("""
        No problem.
        No worries.
        I don't mind.
        Why not?
        I guess so.
        I know.
        I know, I know.
        Right, I see.
        Thank you.
        Mm-hmm.
    """),
    "other.question": lines("""
        What?
        Yes?
        Hello?
        Sorry, what did you say?
        Can you repeat that, please?
        Is this being recorded?
        Do I have to agree?
        What happens if I say yes?
        Why would you want to record me?
        You want me to say yes, I agree?
    """),
    "other.sounds like it": lines("""
        Guess.
        Jess.
        Chess.
        Yet.
        Yesterday.
        Yes, I'm Greek.
        Yes, a grey one.
        Lesley agreed.
        Yes, I disagree.
        Yesterday I agreed.
        I agreed last time.
        Unless I agree.
    """),
    "other.somebody else": lines("""
        Yes, darling, I'm on the phone.
        Mum, it's for you.
        Yes, I'm coming.
        Put it over there, please.
        Can you turn the television down?
        And now the weather for tomorrow.
        Yes! What a goal!
        The committee has agreed to the plan.
    """),
    "other.business": lines("""
        I want to talk to somebody about my bill.
        Sales, please.
        Representative.
        My number is four, five, six.
        Two.
        I'm calling about the invoice from last month.
        I have been waiting for half an hour.
    """),
    "other.machine": lines("""
        You have reached the voicemail of John Smith. Please leave a message after the tone.
        The person you are calling is not available.
        Hi, this is Anna. I can't take your call right now.
        Please hold. Your call is important to us.
    """),
}

VOICES: Final = (
    *kokoro(
        "af_bella+bf_emma af_nicole+af_sky am_adam+bm_daniel am_michael+am_puck af_heart+bf_alice"
        " am_fenrir+bm_lewis af_kore+bf_lily am_onyx+am_liam af_sarah+am_eric bf_isabella+bm_george"
        " af_nova+af_jessica am_echo+bm_fable",
        "en-us",
        "en-us",
        "en-gb",
    ),
    Voice("piper", "joe", "en-us"),
    Voice("festival", "ked_diphone", "en-us"),
    Voice("festival", "cmu_us_slt_arctic_hts", "en-us"),
    *kokoro(
        "ef_dora em_alex ff_siwis hf_alpha hm_omega if_sara im_nicola jf_alpha jm_kumo pf_dora pm_alex zf_xiaobei"
        " zm_yunjian zm_yunxi",
        "en-us",
        "en-us",
        "en-gb",
        native=False,
    ),
)
