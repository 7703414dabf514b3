"""What the voices of the corpus say, language by language: yes, no, and what is neither.

`yes.asked`: what the prompts ask for, in English only; `yes.phrase`: its like; `yes.word`: a single word, one with a
courtesy, or a phrase without such a word, which the rule asks back; `yes.free`: a yes in words of the speaker's own.
Nothing below `other` must ever be a yes. Left out, as people would not agree on them: "one" (the key for yes),
"uh-huh", and a "yes, of course" meant for somebody else.

The English texts were written on 2026-11-28, before anything was measured with them; what the first run then changed is
in `docs/benchmarks.md`. Those of the day before, on which the rule was changed since, are in `bench.speech.seen`.
"""

from collections.abc import Mapping
from typing import Final


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


ENGLISH: Final = {
    "yes.asked": lines("""
        Yes, I agree.
        Yes. I agree.
        Yes I agree!
        Yes... I agree.
        Yes, yes, I agree.
    """),
    "yes.phrase": lines("""
        Yes, I do agree.
        Uh, yes, I agree.
        Yes, I agree, thank you.
        Yes, I consent.
        Yes, that's okay.
        Yes, you may record.
        Yes, please do.
        Yes, absolutely.
    """),
    "yes.word": lines("""
        Yes.
        Yep.
        Yeah, sure.
        All right.
        Okay, yes.
        I agree.
    """),
    "yes.free": lines("""
        Yes, I have no objection.
        Yes, record whatever you like.
        That's absolutely fine, yes.
    """),
    "no": lines("""
        No.
        No, thanks.
        No, I do not agree.
        No, I don't want that.
        Nah.
        I'd prefer not to.
        Please don't record me.
        I refuse.
        No way.
        Certainly not.
    """),
    "other.yes, but": lines("""
        Yes, but who can listen to it?
        Yes, but turn it off when I give you my card.
        Yes, unless it goes to the boss.
        Well, yes and no, really.
        Yes, I heard you, but I'm not sure.
        Okay, if you stop it later.
        Yes, I agree with my wife.
        Yes, hang on, no.
        Fine, but I don't like it.
    """),
    "other.polite": lines("""
        No bother.
        Not at all.
        It's all the same to me.
        Could be.
        I suppose.
        I know that.
        Ah, I see.
        Thanks a lot.
        Well, well.
    """),
    "other.question": lines("""
        Pardon?
        Yes, hello?
        Who is this?
        Sorry, could you say that again?
        Are you recording me now?
        Why do I have to say yes?
        Do you agree?
        What is it used for?
        How long will you keep it?
    """),
    "other.sounds like it": lines("""
        Bless.
        Less.
        Chest.
        Yes, a degree.
        Yes, I'm agreed with him.
        Jessie agrees.
        Guess who.
        Yes, hungry.
        He says I agree.
        Yes, three.
        Press.
        Yes, I argued.
    """),
    "other.somebody else": lines("""
        Yes, love, dinner's at seven.
        Dad, where are my shoes?
        Yes, in a minute.
        Close the door behind you.
        Sit. Good dog.
        And here is the traffic for this morning.
        Yes, two coffees, please.
        The minister agreed with the speaker.
    """),
    "other.business": lines("""
        I would like to change my address.
        Support, please.
        Operator.
        My order is six, two, nine.
        Three.
        It's about the order from Tuesday.
        I have called four times already.
    """),
    "other.machine": lines("""
        Hello, you've reached Mary and Tom. Speak after the beep.
        The number you have dialled has not been recognised.
        All our agents are busy at the moment.
        At the tone, please record your message.
    """),
}

GERMAN: Final = {
    "yes.phrase": lines("""
        Ja, ich stimme zu.
        Ja, ich bin einverstanden.
    """),
    "yes.word": lines("""
        Ja.
        Ja, bitte.
        Einverstanden.
        Ich stimme zu.
    """),
    "no": lines("""
        Nein.
        Nein, danke.
        Nein, ich stimme nicht zu.
        Lieber nicht.
        Ich möchte nicht aufgezeichnet werden.
    """),
    "other.yes, but": lines("""
        Ja, aber nicht die Aufzeichnung.
        Ja und nein.
        Ja, wenn es sein muss.
    """),
    "other.polite": lines("""
        Kein Problem.
        Ich weiß.
        Warum nicht?
        Danke schön.
    """),
    "other.question": lines("""
        Wie bitte?
        Ja?
        Hallo?
        Muss ich zustimmen?
        Was passiert, wenn ich ja sage?
    """),
    "other.sounds like it": lines("""
        Jahr.
        Da.
        Jammer.
        Ich stimme ab.
        Ja, ich stimme nie zu.
    """),
    "other.somebody else": lines("""
        Ja, Schatz, ich bin am Telefon.
        Mach bitte den Fernseher leiser.
        Und nun das Wetter.
    """),
    "other.business": lines("""
        Ich möchte jemanden wegen meiner Rechnung sprechen.
        Zwei.
        Guten Tag, hier ist Müller.
    """),
}

SPANISH: Final = {
    "yes.phrase": lines("""
        Sí, estoy de acuerdo.
        Sí, acepto.
    """),
    "yes.word": lines("""
        Sí.
        Sí, por favor.
        De acuerdo.
        Acepto.
    """),
    "no": lines("""
        No.
        No, gracias.
        No, no estoy de acuerdo.
        Mejor no.
        No quiero que me graben.
    """),
    "other.yes, but": lines("""
        Sí, pero no la grabación.
        Sí y no.
        Sí, si no hay más remedio.
    """),
    "other.polite": lines("""
        No hay problema.
        Ya lo sé.
        ¿Por qué no?
        Muchas gracias.
    """),
    "other.question": lines("""
        ¿Cómo dice?
        ¿Sí?
        ¿Dígame?
        ¿Tengo que aceptar?
        ¿Qué pasa si digo que sí?
    """),
    "other.sounds like it": lines("""
        Aquí.
        Seis.
        Así.
        Casi.
        Sí, estoy en desacuerdo.
    """),
    "other.somebody else": lines("""
        Sí, cariño, estoy al teléfono.
        Baja la televisión, por favor.
        Y ahora el tiempo.
    """),
    "other.business": lines("""
        Quiero hablar con alguien sobre mi factura.
        Dos.
        Buenos días, soy García.
    """),
}

FRENCH: Final = {
    "yes.phrase": lines("""
        Oui, je suis d'accord.
        Oui, j'accepte.
    """),
    "yes.word": lines("""
        Oui.
        Oui, s'il vous plaît.
        D'accord.
        J'accepte.
    """),
    "no": lines("""
        Non.
        Non merci.
        Non, je ne suis pas d'accord.
        Je préfère pas.
        Je ne veux pas être enregistré.
    """),
    "other.yes, but": lines("""
        Oui, mais pas l'enregistrement.
        Oui et non.
        Oui, s'il le faut.
    """),
    "other.polite": lines("""
        Pas de problème.
        Je sais.
        Pourquoi pas ?
        Merci beaucoup.
    """),
    "other.question": lines("""
        Pardon ?
        Oui ?
        Allô ?
        Je dois accepter ?
        Que se passe-t-il si je dis oui ?
    """),
    "other.sounds like it": lines("""
        Huit.
        Ouïe.
        Louis.
        Nuit.
        Oui, je suis en désaccord.
    """),
    "other.somebody else": lines("""
        Oui, chéri, je suis au téléphone.
        Baisse la télévision, s'il te plaît.
        Et maintenant la météo.
    """),
    "other.business": lines("""
        Je voudrais parler à quelqu'un de ma facture.
        Deux.
        Bonjour, ici Madame Martin.
    """),
}

ITALIAN: Final = {
    "yes.phrase": lines("""
        Sì, sono d'accordo.
        Sì, accetto.
    """),
    "yes.word": lines("""
        Sì.
        Sì, per favore.
        Va bene.
        Accetto.
    """),
    "no": lines("""
        No.
        No, grazie.
        No, non sono d'accordo.
        Meglio di no.
        Non voglio essere registrato.
    """),
    "other.yes, but": lines("""
        Sì, ma non la registrazione.
        Sì e no.
        Sì, se proprio devo.
    """),
    "other.polite": lines("""
        Nessun problema.
        Lo so.
        Perché no?
        Grazie mille.
    """),
    "other.question": lines("""
        Come, scusi?
        Sì?
        Pronto?
        Devo accettare?
        Che cosa succede se dico di sì?
    """),
    "other.sounds like it": lines("""
        Sei.
        Qui.
        Così.
        Quasi.
        Sì, sono in disaccordo.
    """),
    "other.somebody else": lines("""
        Sì, tesoro, sono al telefono.
        Abbassa la televisione, per favore.
        E adesso il meteo.
    """),
    "other.business": lines("""
        Vorrei parlare con qualcuno della mia bolletta.
        Due.
        Buongiorno, sono Rossi.
    """),
}

PORTUGUESE: Final = {
    "yes.phrase": lines("""
        Sim, concordo.
        Sim, aceito.
    """),
    "yes.word": lines("""
        Sim.
        Sim, por favor.
        Concordo.
        Aceito.
    """),
    "no": lines("""
        Não.
        Não, obrigado.
        Não, não concordo.
        Melhor não.
        Não quero ser gravado.
    """),
    "other.yes, but": lines("""
        Sim, mas não a gravação.
        Sim e não.
        Sim, se for preciso.
    """),
    "other.polite": lines("""
        Não tem problema.
        Eu sei.
        Por que não?
        Muito obrigado.
    """),
    "other.question": lines("""
        Como?
        Sim?
        Alô?
        Tenho que aceitar?
        O que acontece se eu disser sim?
    """),
    "other.sounds like it": lines("""
        Assim.
        Cinco.
        Fim.
        Sem.
        Sim, discordo.
    """),
    "other.somebody else": lines("""
        Sim, querida, estou no telefone.
        Abaixa a televisão, por favor.
        E agora o tempo.
    """),
    "other.business": lines("""
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
