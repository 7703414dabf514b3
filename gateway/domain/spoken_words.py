"""The words of an answer, language by language: data for `gateway.domain.spoken`.

All in lower case, without punctuation, accents kept: the form in which `spoken.said` leaves a text. Phrases are whole
answers, written once (a repetition is folded before). A phrase that is in no list is nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product


def _phrases(text: str) -> frozenset[str]:
    """Return the phrases of *text*, one between two bars, or two lines."""
    parts = (" ".join(part.split()) for line in text.splitlines() for part in line.split("|"))
    return frozenset(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What counts as an answer in one language.

    *yes*: the closed list; each says more than a yes-word and a courtesy, so that no other word is easily taken for it
    ("yesterday" is heard as "yes, okay", "yes, three" as "yes, please"). *weak*: also a yes, but a word people murmur
    while they listen, or one that recognisers put where there is none; it has to be confirmed. Both have what nobody
    says, but recognisers write for it ("um, yes" becomes "I'm yes", "yes, I consent" "yes, I can send"). *no*:
    refusals even where they have a yes-word in them. *hedges*: no-words that refuse nothing, and doubts; whoever says
    one has not answered.
    *yes_words*, *no_words*: any of them anywhere; a word with one of *no_endings* or *no_beginnings* is a no-word too.
    *fillers*: left out. *noise*: what recognisers write for silence, music and noise.
    """

    yes: frozenset[str]
    weak: frozenset[str]
    no: frozenset[str]
    hedges: frozenset[str]
    yes_words: frozenset[str]
    no_words: frozenset[str]
    fillers: frozenset[str]
    noise: frozenset[str]
    no_endings: tuple[str, ...] = ()
    no_beginnings: tuple[str, ...] = ()


_NONE: frozenset[str] = frozenset()
NO_WORDS = Vocabulary(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE)
"""Of a language without a vocabulary."""


def _joined(*parts: frozenset[str]) -> frozenset[str]:
    """Return each phrase made of one of each of *parts*; a part may have nothing in it."""
    return frozenset(" ".join(" ".join(words).split()) for words in product(*parts))


_NOTHING = frozenset({""})
_ENGLISH_AGREES = _phrases("""
    i agree | i do agree | i consent | i do consent | i accept | i agree to the recording | i agree to be recorded
    i agree to being recorded | i consent to the recording | that's fine | that is fine | that's okay | that is okay
    that's ok | that's all right | that's alright | that's fine with me | that's okay with me | i'm okay with that
    i'm fine with that | go ahead | please go ahead | please do | of course | you may | you may record
    you may record it | you may record this call | you may record the call
""")
_ENGLISH_AGREES_IN_A_WORD = _phrases("agree | absolutely | definitely")
"""Only with a clear "yes". Not "please": "yes, please" is what a recogniser makes of "yes, three" and "guess who"."""
_ENGLISH_YES = _joined(_phrases("yes | okay yes | ok yes"), _ENGLISH_AGREES | _ENGLISH_AGREES_IN_A_WORD) | _joined(
    _phrases("yeah | yep"), _ENGLISH_AGREES
)
_ENGLISH_LEADS = _NOTHING | _phrases("well | so | and | i'm | i am | a | on")
"""What people begin with, and what recognisers write for their "um" and "uh"."""
_ENGLISH_ENDS = _NOTHING | _phrases("thank you | thanks | please")

ENGLISH = Vocabulary(
    yes=_joined(_ENGLISH_LEADS, _ENGLISH_YES, _ENGLISH_ENDS),
    weak=_phrases("""
        yes | yeah | yep | yup | ye | yah | yes i can send | yes i can sense | yes i would agree | yes i'd agree
        yeah i'd agree | yeah agree | yes please | yes please thank you
        okay | ok | okay yes | ok yes | yeah okay | yeah ok | yeah please
        yeah fine | sure | sure yes | yep sure | sure go ahead | of course | of course yes | of course you can
        of course you may | certainly | absolutely | definitely | fine | that's fine | that is fine | that's okay
        that's ok | it's fine | it's okay | all right | alright | go ahead | please do | you may | you can | i do
        agree | i agree | i do agree | i'd agree | i consent | i accept | agreed | i agree yes | i'm okay with that
        i'm fine with that | i am fine with that | fine with me | that's fine with me | i agree to the recording
        i consent to the recording | i agree to be recorded | yes sir | yes ma'am | yes that's right
        yes that's correct | yes correct | correct | that's correct | that's right | yes okay | yes ok | yes fine
        yes sure | yes thanks | yes thank you | yes i do | yes you can | yeah sure | yes it's fine | yes it's okay
        yes agreed | yes certainly | yes you can record | yes you can record it | yes you can record this call
        yes you can record the call
    """),
    no=_phrases("""
        i don't agree | i do not agree | don't agree | do not agree | we don't agree | we do not agree | don't consent
        do not consent | no i don't agree | no i do not agree | i don't consent | i do not consent | no i don't consent
        no i do not consent | i don't accept | i do not accept | no i don't accept | no i do not accept | no i disagree
        not okay | not ok | that's not okay | that's not ok | that is not okay | that's not fine | that is not fine
        no that's not okay | no that's not ok | no that's not fine | no it's not okay | not agreed | i can't agree
        i cannot agree | i won't agree | i will not agree | i don't agree to that | i do not agree to that
        no i don't agree to that | i don't agree to be recorded | i don't agree to the recording
        i do not agree to the recording | i don't consent to the recording | i do not consent to the recording
        absolutely not | definitely not | certainly not | of course not | no absolutely not | no definitely not
        no certainly not | stop | stop recording | please stop | stop the recording
    """),
    hedges=_phrases("""
        no problem | no worries | no idea | no matter | no wonder | no doubt | no objection | no objections | no issue
        no issues | no one | don't know | do not know | didn't know | don't mind | do not mind | wouldn't mind
        would not mind | won't mind | don't care | do not care | not sure | not certain | not really sure
        don't understand | do not understand | didn't understand | did not understand | don't hear | didn't hear
        did not hear | didn't catch | did not catch | didn't get that | can't hear | cannot hear | why not
        can't complain | not yet | not bad | not a problem | not an issue | isn't a problem | never mind | don't worry
        do not worry
    """),
    yes_words=_phrases("""
        yes | yeah | yep | yup | ye | yah | okay | ok | sure | certainly | absolutely | definitely | fine | alright
        agree | agreed | consent | accept | course
    """),
    no_words=_phrases("""
        no | nope | nah | not | never | none | neither | nor | nothing | nobody | cannot | dont | wont | cant | didnt
        refuse | decline | disagree | against
    """),
    fillers=_phrases("uh | um | er | erm | hm | hmm | hum | mm | mmm | ah | oh | eh | uhm"),
    noise=_phrases("""
        you | thank you | thanks | thank you very much | thank you so much | thanks for watching
        thank you for watching | bye | bye bye | goodbye | the | so | i | a | and | please subscribe | subscribe
        music | silence | blank audio | applause | laughter | beep | huh | i'm sorry
    """),
    no_endings=("n't",),
)

GERMAN = Vocabulary(
    yes=_phrases("""
        ja gerne | ja ich stimme zu | ja ich stimme dem zu | ja ich bin einverstanden
        ja ich bin damit einverstanden | ja einverstanden | ja das ist in ordnung | ja ist in ordnung | ja in ordnung
        ja das ist okay | ja das ist ok | ja selbstverständlich | ja sie dürfen | ja dürfen sie | ja das dürfen sie
        ja das können sie | ja sie dürfen aufzeichnen | ja sie dürfen das gespräch aufzeichnen | ja ich willige ein
    """),
    weak=_phrases("""
        ja | ja bitte
        jawohl | jo | okay | ok | klar | gerne | gern | sicher | natürlich | selbstverständlich | einverstanden
        in ordnung | das ist in ordnung | ist in ordnung | das ist okay | ist okay | geht klar | von mir aus
        ich stimme zu | ich bin einverstanden | ich bin damit einverstanden | ich willige ein | stimme zu
        ja das stimmt | ja richtig | richtig | genau | ja genau | okay ja | na klar | ja okay | ja ok | ja klar
        ja sicher | ja danke | ja gern | ja natürlich
    """),
    no=_phrases("""
        ich stimme nicht zu | ich stimme dem nicht zu | nein ich stimme nicht zu | ich bin nicht einverstanden
        nein ich bin nicht einverstanden | ich bin damit nicht einverstanden | nein ich bin damit nicht einverstanden
        nicht einverstanden | nein nicht einverstanden | nicht okay | das ist nicht okay | das ist nicht in ordnung
        nicht in ordnung | natürlich nicht | nein natürlich nicht | sicher nicht | ganz sicher nicht | sicherlich nicht
        ich willige nicht ein | nein das ist nicht okay | nein das ist nicht in ordnung | ich lehne ab
        ich lehne das ab | auf gar keinen fall
    """),
    hedges=_phrases("""
        kein problem | keine ahnung | keine sorge | keine einwände | keine ursache | kein ding | kein thema
        weiß nicht | weiß ich nicht | weiß es nicht | weiss nicht | nicht sicher | nicht ganz sicher | warum nicht
        wieso nicht | macht nichts | nichts dagegen | nicht dagegen | nicht verstanden | verstehe nicht
        verstehe sie nicht | versteh nicht | nicht gehört | höre nicht | höre sie nicht | nicht schlimm | noch nicht
        jetzt nicht | stört nicht | stört mich nicht
    """),
    yes_words=_phrases("""
        ja | jawohl | jo | okay | ok | klar | gerne | gern | sicher | natürlich | selbstverständlich | einverstanden
        stimme | ordnung | willige | richtig | genau
    """),
    no_words=_phrases("""
        nein | nicht | nee | ne | nö | nie | niemals | kein | keine | keinen | keinem | keiner | keines | keinesfalls
        keineswegs | nichts | niemand | verweigere | ablehnen | lehne
    """),
    fillers=_phrases("äh | ähm | öh | öhm | hm | hmm | mh | mhm | ach | oh | ah | eh"),
    noise=_phrases("""
        danke | danke schön | vielen dank | tschüss | auf wiedersehen | auf wiederhören | musik | applaus | so | und
        ich | untertitel der amara org community | untertitelung des zdf 2020 | bis zum nächsten mal | bis bald
        untertitel im auftrag des zdf für funk 2017 | vielen dank fürs zuschauen
    """),
)

SPANISH = Vocabulary(
    yes=_phrases("""
        sí estoy de acuerdo | sí de acuerdo | sí acepto | sí lo acepto | sí por supuesto | sí está bien
        sí adelante | sí puede grabar | sí pueden grabar | sí pueden grabar la llamada | sí doy mi consentimiento
        sí claro que sí | sí autorizo
    """),
    weak=_phrases("""
        sí | si | sí por favor
        claro | claro que sí | vale | bueno | de acuerdo | estoy de acuerdo | acepto | por supuesto | ok
        okay | está bien | adelante | si estoy de acuerdo | si acepto | si por favor | si claro | correcto
        sí correcto | autorizo | vale sí | si de acuerdo | sí claro | sí vale | sí gracias | sí puede | sí pueden
    """),
    no=_phrases("""
        no estoy de acuerdo | no no estoy de acuerdo | no acepto | no lo acepto | claro que no | por supuesto que no
        no de acuerdo | no está bien | no autorizo | no doy mi consentimiento | no puede | no pueden | sí que no
    """),
    hedges=_phrases("""
        no sé | no lo sé | no se | no hay problema | ningún problema | no pasa nada | no importa | no me importa
        no estoy seguro | no estoy segura | no entiendo | no le entiendo | no entendí | no he entendido | no oigo
        no le oigo | no le escucho | por qué no | cómo no | todavía no | ahora no | aún no | no tengo inconveniente
        no me molesta | nada
    """),
    yes_words=_phrases("""
        sí | si | claro | vale | bueno | acuerdo | acepto | supuesto | ok | okay | bien | adelante | correcto
        autorizo | consentimiento
    """),
    no_words=_phrases("""
        no | nunca | jamás | tampoco | ni | nada | nadie | ningún | ninguno | ninguna | rechazo | niego
    """),
    fillers=_phrases("eh | em | mm | mmm | hm | ah | oh | este | uh | um"),
    noise=_phrases("""
        gracias | muchas gracias | adiós | hasta luego | música | aplausos | y | que
        subtítulos por la comunidad de amara org | subtítulos realizados por la comunidad de amara org
        gracias por ver el video | suscríbete | chau
    """),
)

FRENCH = Vocabulary(
    yes=_phrases("""
        oui je suis d'accord | oui d'accord | oui j'accepte | oui bien sûr | oui vous pouvez
        oui vous pouvez enregistrer | oui vous pouvez enregistrer cet appel | oui allez y | oui c'est bon
        oui tout à fait | oui absolument | oui volontiers | oui je consens | oui avec plaisir | oui ça me va
        oui c'est d'accord | oui je suis tout à fait d'accord
    """),
    weak=_phrases("""
        oui | oui s'il vous plaît
        ouais | d'accord | je suis d'accord | j'accepte | bien sûr | ok | okay | c'est bon | tout à fait
        absolument | certainement | volontiers | allez y | vous pouvez | je consens | ça me va | oui c'est ça
        c'est ça | exact | d'accord oui | oui merci | oui certainement
    """),
    no=_phrases("""
        je ne suis pas d'accord | non je ne suis pas d'accord | je suis pas d'accord | pas d'accord | non pas d'accord
        je n'accepte pas | non je n'accepte pas | je ne consens pas | bien sûr que non | absolument pas
        certainement pas | non absolument pas | ça ne me va pas | non merci je ne suis pas d'accord
    """),
    hedges=_phrases("""
        pas de problème | pas de soucis | pas de souci | aucun problème | aucun souci | ne sais pas | sais pas
        pas sûr | pas sûre | pas certain | pourquoi pas | ne comprends pas | comprends pas | pas compris | pas entendu
        n'entends pas | n'ai pas entendu | pas encore | pas maintenant | pas grave | rien contre | dérange pas
        n'importe | pas d'objection | aucune objection | aucune idée | de rien
    """),
    yes_words=_phrases("""
        oui | ouais | d'accord | j'accepte | accepte | ok | okay | sûr | bon | absolument | certainement | volontiers
        consens | exact
    """),
    no_words=_phrases("non | nan | ne | pas | jamais | aucun | aucune | rien | ni | personne | refuse | sans"),
    fillers=_phrases("euh | heu | hum | hm | mm | mmm | ah | oh | ben | bah | eh"),
    noise=_phrases("""
        merci | merci beaucoup | au revoir | musique | applaudissements | et | c'est | je | à bientôt | bonne journée
        sous titres réalisés par la communauté d'amara org | sous titrage st 501 | sous titrage société radio canada
        merci d'avoir regardé cette vidéo | abonnez vous
    """),
    no_beginnings=("n'",),
)

ITALIAN = Vocabulary(
    yes=_phrases("""
        sì sono d'accordo | sì d'accordo | sì accetto | sì va bene | sì potete | sì potete registrare
        sì può registrare | sì potete registrare la chiamata | sì acconsento | sì assolutamente | sì volentieri
        sì do il mio consenso
    """),
    weak=_phrases("""
        sì | si | sì per favore
        certo | certamente | va bene | d'accordo | sono d'accordo | accetto | acconsento | ok | okay
        volentieri | assolutamente sì | certo che sì | si sono d'accordo | si accetto | si grazie | si certo
        si va bene | esatto | corretto | sì esatto | ok sì | si d'accordo | sì certo | sì grazie | sì prego | sì può
        sì certamente
    """),
    no=_phrases("""
        non sono d'accordo | no non sono d'accordo | non accetto | no non accetto | non acconsento | no non acconsento
        certo che no | certamente no | assolutamente no | no assolutamente no | non va bene | no non va bene
        non d'accordo
    """),
    hedges=_phrases("""
        non lo so | non so | boh | nessun problema | non c'è problema | non ci sono problemi | non importa
        non mi importa | non sono sicuro | non sono sicura | non capisco | non ho capito | perché no | non sento
        non la sento | non ho sentito | non ancora | niente in contrario | non ora | nessuna obiezione
        non mi dispiace | di niente
    """),
    yes_words=_phrases("""
        sì | si | certo | certamente | bene | d'accordo | accetto | acconsento | ok | okay | volentieri | assolutamente
        esatto | corretto
    """),
    no_words=_phrases("""
        no | non | mai | niente | nulla | nessun | nessuno | nessuna | nemmeno | neanche | né | rifiuto
    """),
    fillers=_phrases("eh | ehm | uhm | mm | mmm | hm | ah | oh | beh | mah | um"),
    noise=_phrases("""
        grazie | grazie mille | grazie a tutti | arrivederci | ciao | musica | applausi | e | che
        iscrivetevi al canale | sottotitoli creati dalla comunità amara org | sottotitoli e revisione a cura di qtss
        buona giornata
    """),
)

PORTUGUESE = Vocabulary(
    yes=_phrases("""
        sim concordo | sim eu concordo | sim estou de acordo | sim de acordo | sim aceito
        sim eu aceito | sim pode gravar | sim podem gravar | sim tudo bem | sim podem gravar a ligação
        sim pode gravar a ligação | sim com certeza | sim está bem | sim autorizo | sim eu autorizo
        sim dou o meu consentimento
    """),
    weak=_phrases("""
        sim | sim por favor
        claro | claro que sim | pode | podem | pode gravar | podem gravar | concordo | eu concordo | aceito
        eu aceito | de acordo | estou de acordo | tudo bem | com certeza | ok | okay | pode ser | está bem | autorizo
        eu autorizo | certo | correto | sim correto | isso | isso mesmo | ok sim | sim claro | sim pode | sim podem
        sim obrigado | sim obrigada
    """),
    no=_phrases("""
        não concordo | eu não concordo | não eu não concordo | não não concordo | não estou de acordo | não aceito
        eu não aceito | não não aceito | não eu não aceito | claro que não | com certeza não | não pode | não podem
        não autorizo | eu não autorizo | não de acordo | não está bem | discordo
    """),
    hedges=_phrases("""
        não sei | não tem problema | sem problema | sem problemas | não há problema | nenhum problema | não faz mal
        não importa | não me importo | não tenho certeza | não entendi | não entendo | não percebi | não ouvi
        não ouço | por que não | porque não | porquê não | pois não | ainda não | agora não | de nada | não me incomoda
    """),
    yes_words=_phrases("""
        sim | claro | pode | podem | concordo | aceito | acordo | bem | certeza | ok | okay | autorizo | certo
        correto | isso
    """),
    no_words=_phrases("não | nao | nunca | jamais | nem | nada | ninguém | nenhum | nenhuma | recuso | discordo"),
    fillers=_phrases("eh | é | hum | hm | mm | mmm | ah | oh | ahn | um"),
    noise=_phrases("""
        obrigado | obrigada | muito obrigado | muito obrigada | tchau | adeus | música | aplausos | e | que | até logo
        legendas pela comunidade amara org | legendas pela comunidade das legendas da amara org | até a próxima
        inscreva se no canal
    """),
)

VOCABULARIES: Mapping[str, Vocabulary] = {
    "de": GERMAN,
    "en": ENGLISH,
    "es": SPANISH,
    "fr": FRENCH,
    "it": ITALIAN,
    "pt": PORTUGUESE,
}
"""By primary language tag. A language that is not here is answered by key only."""
