"""What the voices of the corpus say, language by language: yes, no, and what is neither.

`yes.phrase`: what the prompts ask for, and its like; `yes.word`: a single word, or a phrase without one of them, which
the rule asks back; `yes.free`: a yes in words of the speaker's own. Nothing below `other` must ever be a yes. Left out,
as people would not agree on them: "one" (the key for yes), "uh-huh", and a "yes, of course" meant for somebody else.

The English texts of `yes.free`, `no` and `other` were written before anything was measured with them, and the lists of
`gateway.domain.spoken_words` were not changed for them.
"""

from collections.abc import Mapping
from typing import Final


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


ENGLISH: Final = {
    "yes.phrase": _lines("""
        Yes, I agree.
        Yes. I agree.
        Um, yes, I agree.
        Yes, please.
        Yes, that's fine.
        Yes, I consent.
        Yes, go ahead.
        Yes, of course.
        Yeah, I agree.
    """),
    "yes.word": _lines("""
        Yes.
        Yeah.
        Yes, yes.
        Okay.
        Sure.
        I agree.
    """),
    "yes.free": _lines("""
        Yes, you have my permission.
        Yes, I'm happy with that.
        Yes, no problem at all.
    """),
    "no": _lines("""
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
    "other.yes, but": _lines("""
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
    "other.polite": _lines("""
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
    "other.question": _lines("""
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
    "other.sounds like it": _lines("""
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
    "other.somebody else": _lines("""
        Yes, darling, I'm on the phone.
        Mum, it's for you.
        Yes, I'm coming.
        Put it over there, please.
        Can you turn the television down?
        And now the weather for tomorrow.
        Yes! What a goal!
        The committee has agreed to the plan.
    """),
    "other.business": _lines("""
        I want to talk to somebody about my bill.
        Sales, please.
        Representative.
        My number is four, five, six.
        Two.
        I'm calling about the invoice from last month.
        I have been waiting for half an hour.
    """),
    "other.machine": _lines("""
        You have reached the voicemail of John Smith. Please leave a message after the tone.
        The person you are calling is not available.
        Hi, this is Anna. I can't take your call right now.
        Please hold. Your call is important to us.
    """),
}

GERMAN: Final = {
    "yes.phrase": _lines("""
        Ja, ich stimme zu.
        Ja, bitte.
        Ja, ich bin einverstanden.
    """),
    "yes.word": _lines("""
        Ja.
        Einverstanden.
        Ich stimme zu.
    """),
    "no": _lines("""
        Nein.
        Nein, danke.
        Nein, ich stimme nicht zu.
        Lieber nicht.
        Ich möchte nicht aufgezeichnet werden.
    """),
    "other.yes, but": _lines("""
        Ja, aber nicht die Aufzeichnung.
        Ja und nein.
        Ja, wenn es sein muss.
    """),
    "other.polite": _lines("""
        Kein Problem.
        Ich weiß.
        Warum nicht?
        Danke schön.
    """),
    "other.question": _lines("""
        Wie bitte?
        Ja?
        Hallo?
        Muss ich zustimmen?
        Was passiert, wenn ich ja sage?
    """),
    "other.sounds like it": _lines("""
        Jahr.
        Da.
        Jammer.
        Ich stimme ab.
        Ja, ich stimme nie zu.
    """),
    "other.somebody else": _lines("""
        Ja, Schatz, ich bin am Telefon.
        Mach bitte den Fernseher leiser.
        Und nun das Wetter.
    """),
    "other.business": _lines("""
        Ich möchte jemanden wegen meiner Rechnung sprechen.
        Zwei.
        Guten Tag, hier ist Müller.
    """),
}

SPANISH: Final = {
    "yes.phrase": _lines("""
        Sí, estoy de acuerdo.
        Sí, por favor.
        Sí, acepto.
    """),
    "yes.word": _lines("""
        Sí.
        De acuerdo.
        Acepto.
    """),
    "no": _lines("""
        No.
        No, gracias.
        No, no estoy de acuerdo.
        Mejor no.
        No quiero que me graben.
    """),
    "other.yes, but": _lines("""
        Sí, pero no la grabación.
        Sí y no.
        Sí, si no hay más remedio.
    """),
    "other.polite": _lines("""
        No hay problema.
        Ya lo sé.
        ¿Por qué no?
        Muchas gracias.
    """),
    "other.question": _lines("""
        ¿Cómo dice?
        ¿Sí?
        ¿Dígame?
        ¿Tengo que aceptar?
        ¿Qué pasa si digo que sí?
    """),
    "other.sounds like it": _lines("""
        Aquí.
        Seis.
        Así.
        Casi.
        Sí, estoy en desacuerdo.
    """),
    "other.somebody else": _lines("""
        Sí, cariño, estoy al teléfono.
        Baja la televisión, por favor.
        Y ahora el tiempo.
    """),
    "other.business": _lines("""
        Quiero hablar con alguien sobre mi factura.
        Dos.
        Buenos días, soy García.
    """),
}

FRENCH: Final = {
    "yes.phrase": _lines("""
        Oui, je suis d'accord.
        Oui, s'il vous plaît.
        Oui, j'accepte.
    """),
    "yes.word": _lines("""
        Oui.
        D'accord.
        J'accepte.
    """),
    "no": _lines("""
        Non.
        Non merci.
        Non, je ne suis pas d'accord.
        Je préfère pas.
        Je ne veux pas être enregistré.
    """),
    "other.yes, but": _lines("""
        Oui, mais pas l'enregistrement.
        Oui et non.
        Oui, s'il le faut.
    """),
    "other.polite": _lines("""
        Pas de problème.
        Je sais.
        Pourquoi pas ?
        Merci beaucoup.
    """),
    "other.question": _lines("""
        Pardon ?
        Oui ?
        Allô ?
        Je dois accepter ?
        Que se passe-t-il si je dis oui ?
    """),
    "other.sounds like it": _lines("""
        Huit.
        Ouïe.
        Louis.
        Nuit.
        Oui, je suis en désaccord.
    """),
    "other.somebody else": _lines("""
        Oui, chéri, je suis au téléphone.
        Baisse la télévision, s'il te plaît.
        Et maintenant la météo.
    """),
    "other.business": _lines("""
        Je voudrais parler à quelqu'un de ma facture.
        Deux.
        Bonjour, ici Madame Martin.
    """),
}

ITALIAN: Final = {
    "yes.phrase": _lines("""
        Sì, sono d'accordo.
        Sì, per favore.
        Sì, accetto.
    """),
    "yes.word": _lines("""
        Sì.
        Va bene.
        Accetto.
    """),
    "no": _lines("""
        No.
        No, grazie.
        No, non sono d'accordo.
        Meglio di no.
        Non voglio essere registrato.
    """),
    "other.yes, but": _lines("""
        Sì, ma non la registrazione.
        Sì e no.
        Sì, se proprio devo.
    """),
    "other.polite": _lines("""
        Nessun problema.
        Lo so.
        Perché no?
        Grazie mille.
    """),
    "other.question": _lines("""
        Come, scusi?
        Sì?
        Pronto?
        Devo accettare?
        Che cosa succede se dico di sì?
    """),
    "other.sounds like it": _lines("""
        Sei.
        Qui.
        Così.
        Quasi.
        Sì, sono in disaccordo.
    """),
    "other.somebody else": _lines("""
        Sì, tesoro, sono al telefono.
        Abbassa la televisione, per favore.
        E adesso il meteo.
    """),
    "other.business": _lines("""
        Vorrei parlare con qualcuno della mia bolletta.
        Due.
        Buongiorno, sono Rossi.
    """),
}

PORTUGUESE: Final = {
    "yes.phrase": _lines("""
        Sim, concordo.
        Sim, por favor.
        Sim, aceito.
    """),
    "yes.word": _lines("""
        Sim.
        Concordo.
        Aceito.
    """),
    "no": _lines("""
        Não.
        Não, obrigado.
        Não, não concordo.
        Melhor não.
        Não quero ser gravado.
    """),
    "other.yes, but": _lines("""
        Sim, mas não a gravação.
        Sim e não.
        Sim, se for preciso.
    """),
    "other.polite": _lines("""
        Não tem problema.
        Eu sei.
        Por que não?
        Muito obrigado.
    """),
    "other.question": _lines("""
        Como?
        Sim?
        Alô?
        Tenho que aceitar?
        O que acontece se eu disser sim?
    """),
    "other.sounds like it": _lines("""
        Assim.
        Cinco.
        Fim.
        Sem.
        Sim, discordo.
    """),
    "other.somebody else": _lines("""
        Sim, querida, estou no telefone.
        Abaixa a televisão, por favor.
        E agora o tempo.
    """),
    "other.business": _lines("""
        Quero falar com alguém sobre a minha conta.
        Dois.
        Bom dia, aqui é o Silva.
    """),
}

TEXTS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "de": GERMAN,
    "en": ENGLISH,
    "es": SPANISH,
    "fr": FRENCH,
    "it": ITALIAN,
    "pt": PORTUGUESE,
}
"""By language, then by kind: `LABEL` or `LABEL.WHAT`."""
