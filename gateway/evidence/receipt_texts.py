"""What a receipt says, in the six languages that callers are spoken to in. Names in braces are filled in.

`verdict` is about the caller's recording, `said` about one of the other `purposes`; `withdraw` depends on what the
recording rests on and on what he decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language. Keys of the mappings: verdicts; `key`, `code`, `speech`, `words`; bases; and so on."""

    title: str
    call: str
    when: str
    by: str
    you: str
    asked: str
    told: str
    cut_short: str
    answer: str
    how: Mapping[str, str]
    verdict: Mapping[str, str]
    purposes: Mapping[str, str]
    said: Mapping[str, str]
    later: str
    recorded: str
    nothing: str
    duration: str
    pauses: str
    destroyed: str
    open: str
    basis: str
    bases: Mapping[str, str]
    rights: str
    withdraw: Mapping[str, str]
    proof: str
    clock: str


TEXTS: Mapping[str, Texts] = {
    "de": Texts(
        title="Beleg über die Aufzeichnung Ihres Anrufs",
        call="Anruf",
        when="Zeit",
        by="Aufzeichnende Stelle",
        you="Ihre Nummer",
        asked="Sie wurden gefragt",
        told="Ihnen wurde gesagt",
        cut_short="die Ansage wurde nicht zu Ende gespielt",
        answer="Ihre Antwort",
        how={
            "key": "Taste {key}",
            "unknown": "eine Taste",
            "speech": "gesprochen",
            "words": "gesprochen, verstanden wurde: „{words}“",
        },
        verdict={
            "granted": "Sie haben der Aufzeichnung zugestimmt.",
            "refused": "Sie haben die Aufzeichnung abgelehnt.",
            "unanswered": "Sie haben nicht geantwortet. Das gilt nicht als Zustimmung.",
            "unclear": "Ihre Antwort war nicht eindeutig. Das gilt nicht als Zustimmung.",
            "withdrawn": "Sie haben Ihre Zustimmung zurückgenommen oder der Aufzeichnung widersprochen.",
            "not_required": "Ihre Zustimmung war nicht nötig. Sie wurden nicht darum gebeten.",
            "none": "Es wurde nichts entschieden. Das gilt nicht als Zustimmung.",
        },
        purposes={
            "transcription": "Umwandlung des Gesprächs in Text",
            "analysis": "Auswertung des Gesprächs",
            "sharing": "Weitergabe des Gesprächs",
        },
        said={
            "granted": "zugestimmt",
            "refused": "abgelehnt",
            "unanswered": "keine Antwort, das gilt nicht als Zustimmung",
            "unclear": "keine eindeutige Antwort, das gilt nicht als Zustimmung",
        },
        later="Danach",
        recorded="Aufgezeichnet",
        nothing="Es wurde nichts aufgezeichnet.",
        duration="ab {began}, {seconds} Sekunden Ton",
        pauses="Pausen: {count}, zusammen {seconds} Sekunden ohne Ton",
        destroyed="Diese Aufzeichnung wurde vernichtet.",
        open="Das Ende dieser Aufzeichnung steht noch nicht fest.",
        basis="Rechtsgrundlage",
        bases={
            "consent": "Ihre Einwilligung (Art. 6 Abs. 1 Buchst. a DSGVO)",
            "contract": "ein Vertrag mit Ihnen (Art. 6 Abs. 1 Buchst. b DSGVO)",
            "legal_obligation": "eine gesetzliche Pflicht (Art. 6 Abs. 1 Buchst. c DSGVO)",
            "vital_interests": "lebenswichtige Interessen (Art. 6 Abs. 1 Buchst. d DSGVO)",
            "public_task": "eine öffentliche Aufgabe (Art. 6 Abs. 1 Buchst. e DSGVO)",
            "legitimate_interests": "berechtigte Interessen (Art. 6 Abs. 1 Buchst. f DSGVO)",
        },
        rights="Ihre Rechte",
        withdraw={
            "consent": "Sie können Ihre Zustimmung jederzeit zurücknehmen. "
            "Schreiben Sie an {by} und nennen Sie den Anruf {call}. Was bis dahin geschah, bleibt rechtmäßig.",
            "object": "Sie können der Verarbeitung jederzeit widersprechen. "
            "Schreiben Sie an {by} und nennen Sie den Anruf {call}.",
            "ask": "Sie können Auskunft verlangen. Schreiben Sie an {by} und nennen Sie den Anruf {call}.",
            "nothing": "Sie müssen nichts weiter tun.",
        },
        proof="Nachweis",
        clock="Alle Zeiten sind UTC, nach der Uhr der Anlage.",
    ),
    "en": Texts(
        title="Receipt for the recording of your call",
        call="Call",
        when="Time",
        by="Recorded by",
        you="Your number",
        asked="You were asked",
        told="You were told",
        cut_short="it was not played to its end",
        answer="Your answer",
        how={
            "key": "key {key}",
            "unknown": "a key",
            "speech": "spoken",
            "words": 'spoken; what was understood: "{words}"',
        },
        verdict={
            "granted": "You agreed to the recording.",
            "refused": "You refused the recording.",
            "unanswered": "You gave no answer. That does not count as agreeing.",
            "unclear": "Your answer was not clear. That does not count as agreeing.",
            "withdrawn": "You took back your consent, or objected to the recording.",
            "not_required": "Your consent was not required, and you were not asked for it.",
            "none": "Nothing was decided. That does not count as agreeing.",
        },
        purposes={
            "transcription": "Turning the call into text",
            "analysis": "Evaluating the call",
            "sharing": "Passing the call on",
        },
        said={
            "granted": "you agreed",
            "refused": "you refused",
            "unanswered": "no answer, which does not count as agreeing",
            "unclear": "no clear answer, which does not count as agreeing",
        },
        later="After that",
        recorded="Recorded",
        nothing="Nothing was recorded.",
        duration="from {began}, {seconds} seconds of sound",
        pauses="pauses: {count}, {seconds} seconds in all without sound",
        destroyed="This recording was destroyed.",
        open="The end of this recording is not yet known.",
        basis="Legal basis",
        bases={
            "consent": "your consent (Article 6(1)(a) GDPR)",
            "contract": "a contract with you (Article 6(1)(b) GDPR)",
            "legal_obligation": "a legal obligation (Article 6(1)(c) GDPR)",
            "vital_interests": "vital interests (Article 6(1)(d) GDPR)",
            "public_task": "a public task (Article 6(1)(e) GDPR)",
            "legitimate_interests": "legitimate interests (Article 6(1)(f) GDPR)",
        },
        rights="Your rights",
        withdraw={
            "consent": "You may take back your consent at any time. "
            "Write to {by} and name the call {call}. What was done before remains lawful.",
            "object": "You may object at any time. Write to {by} and name the call {call}.",
            "ask": "You may ask what is held about you. Write to {by} and name the call {call}.",
            "nothing": "There is nothing you need to do.",
        },
        proof="Evidence",
        clock="All times are UTC, by the system's clock.",
    ),
    "es": Texts(
        title="Comprobante de la grabación de su llamada",
        call="Llamada",
        when="Hora",
        by="Responsable de la grabación",
        you="Su número",
        asked="Se le preguntó",
        told="Se le informó",
        cut_short="el mensaje no se reprodujo hasta el final",
        answer="Su respuesta",
        how={
            "key": "tecla {key}",
            "unknown": "una tecla",
            "speech": "de viva voz",
            "words": "de viva voz; se entendió: «{words}»",
        },
        verdict={
            "granted": "Usted aceptó la grabación.",
            "refused": "Usted rechazó la grabación.",
            "unanswered": "Usted no respondió. Eso no cuenta como consentimiento.",
            "unclear": "Su respuesta no fue clara. Eso no cuenta como consentimiento.",
            "withdrawn": "Usted retiró su consentimiento o se opuso a la grabación.",
            "not_required": "Su consentimiento no era necesario y no se le pidió.",
            "none": "No se decidió nada. Eso no cuenta como consentimiento.",
        },
        purposes={
            "transcription": "Transcripción de la llamada",
            "analysis": "Análisis de la llamada",
            "sharing": "Transmisión de la llamada a otros",
        },
        said={
            "granted": "aceptado",
            "refused": "rechazado",
            "unanswered": "sin respuesta, lo que no cuenta como consentimiento",
            "unclear": "sin respuesta clara, lo que no cuenta como consentimiento",
        },
        later="Después",
        recorded="Grabado",
        nothing="No se grabó nada.",
        duration="desde {began}, {seconds} segundos de sonido",
        pauses="pausas: {count}, en total {seconds} segundos sin sonido",
        destroyed="Esta grabación fue destruida.",
        open="Todavía no se conoce el final de esta grabación.",
        basis="Base jurídica",
        bases={
            "consent": "su consentimiento (artículo 6.1.a del RGPD)",
            "contract": "un contrato con usted (artículo 6.1.b del RGPD)",
            "legal_obligation": "una obligación legal (artículo 6.1.c del RGPD)",
            "vital_interests": "intereses vitales (artículo 6.1.d del RGPD)",
            "public_task": "una misión de interés público (artículo 6.1.e del RGPD)",
            "legitimate_interests": "intereses legítimos (artículo 6.1.f del RGPD)",
        },
        rights="Sus derechos",
        withdraw={
            "consent": "Puede retirar su consentimiento en cualquier momento. "
            "Escriba a {by} e indique la llamada {call}. Lo hecho antes sigue siendo lícito.",
            "object": "Puede oponerse en cualquier momento. Escriba a {by} e indique la llamada {call}.",
            "ask": "Puede pedir acceso a sus datos. Escriba a {by} e indique la llamada {call}.",
            "nothing": "No tiene que hacer nada más.",
        },
        proof="Prueba",
        clock="Todas las horas son UTC, según el reloj del sistema.",
    ),
    "fr": Texts(
        title="Reçu pour l'enregistrement de votre appel",
        call="Appel",
        when="Heure",
        by="Responsable de l'enregistrement",
        you="Votre numéro",
        asked="On vous a demandé",
        told="On vous a informé",
        cut_short="le message n'a pas été joué jusqu'au bout",
        answer="Votre réponse",
        how={
            "key": "touche {key}",
            "unknown": "une touche",
            "speech": "de vive voix",
            "words": "de vive voix ; ce qui a été compris : « {words} »",
        },
        verdict={
            "granted": "Vous avez accepté l'enregistrement.",
            "refused": "Vous avez refusé l'enregistrement.",
            "unanswered": "Vous n'avez pas répondu. Cela ne vaut pas accord.",
            "unclear": "Votre réponse n'était pas claire. Cela ne vaut pas accord.",
            "withdrawn": "Vous avez retiré votre accord ou vous êtes opposé à l'enregistrement.",
            "not_required": "Votre accord n'était pas nécessaire et ne vous a pas été demandé.",
            "none": "Rien n'a été décidé. Cela ne vaut pas accord.",
        },
        purposes={
            "transcription": "Transcription de l'appel",
            "analysis": "Analyse de l'appel",
            "sharing": "Transmission de l'appel à d'autres",
        },
        said={
            "granted": "accepté",
            "refused": "refusé",
            "unanswered": "sans réponse, ce qui ne vaut pas accord",
            "unclear": "sans réponse claire, ce qui ne vaut pas accord",
        },
        later="Ensuite",
        recorded="Enregistré",
        nothing="Rien n'a été enregistré.",
        duration="à partir de {began}, {seconds} secondes de son",
        pauses="pauses : {count}, au total {seconds} secondes sans son",
        destroyed="Cet enregistrement a été détruit.",
        open="La fin de cet enregistrement n'est pas encore connue.",
        basis="Base légale",
        bases={
            "consent": "votre consentement (article 6.1.a du RGPD)",
            "contract": "un contrat avec vous (article 6.1.b du RGPD)",
            "legal_obligation": "une obligation légale (article 6.1.c du RGPD)",
            "vital_interests": "des intérêts vitaux (article 6.1.d du RGPD)",
            "public_task": "une mission d'intérêt public (article 6.1.e du RGPD)",
            "legitimate_interests": "des intérêts légitimes (article 6.1.f du RGPD)",
        },
        rights="Vos droits",
        withdraw={
            "consent": "Vous pouvez retirer votre accord à tout moment. "
            "Écrivez à {by} en indiquant l'appel {call}. Ce qui a été fait avant reste licite.",
            "object": "Vous pouvez vous opposer à tout moment. Écrivez à {by} en indiquant l'appel {call}.",
            "ask": "Vous pouvez demander l'accès à vos données. Écrivez à {by} en indiquant l'appel {call}.",
            "nothing": "Vous n'avez rien d'autre à faire.",
        },
        proof="Preuve",
        clock="Toutes les heures sont UTC, selon l'horloge du système.",
    ),
    "it": Texts(
        title="Ricevuta per la registrazione della sua chiamata",
        call="Chiamata",
        when="Ora",
        by="Titolare della registrazione",
        you="Il suo numero",
        asked="Le è stato chiesto",
        told="È stato comunicato",
        cut_short="il messaggio non è stato riprodotto fino alla fine",
        answer="La sua risposta",
        how={
            "key": "tasto {key}",
            "unknown": "un tasto",
            "speech": "a voce",
            "words": "a voce; è stato capito: «{words}»",
        },
        verdict={
            "granted": "Ha acconsentito alla registrazione.",
            "refused": "Ha rifiutato la registrazione.",
            "unanswered": "Non ha risposto. Questo non vale come consenso.",
            "unclear": "La sua risposta non era chiara. Questo non vale come consenso.",
            "withdrawn": "Ha revocato il consenso o si è opposto alla registrazione.",
            "not_required": "Il suo consenso non era necessario e non le è stato chiesto.",
            "none": "Non è stato deciso nulla. Questo non vale come consenso.",
        },
        purposes={
            "transcription": "Trascrizione della chiamata",
            "analysis": "Analisi della chiamata",
            "sharing": "Trasmissione della chiamata ad altri",
        },
        said={
            "granted": "accettato",
            "refused": "rifiutato",
            "unanswered": "nessuna risposta, il che non vale come consenso",
            "unclear": "nessuna risposta chiara, il che non vale come consenso",
        },
        later="In seguito",
        recorded="Registrato",
        nothing="Non è stato registrato nulla.",
        duration="dalle {began}, {seconds} secondi di suono",
        pauses="pause: {count}, in tutto {seconds} secondi senza suono",
        destroyed="Questa registrazione è stata distrutta.",
        open="La fine di questa registrazione non è ancora nota.",
        basis="Base giuridica",
        bases={
            "consent": "il suo consenso (articolo 6.1.a del GDPR)",
            "contract": "un contratto con lei (articolo 6.1.b del GDPR)",
            "legal_obligation": "un obbligo di legge (articolo 6.1.c del GDPR)",
            "vital_interests": "interessi vitali (articolo 6.1.d del GDPR)",
            "public_task": "un compito di interesse pubblico (articolo 6.1.e del GDPR)",
            "legitimate_interests": "interessi legittimi (articolo 6.1.f del GDPR)",
        },
        rights="I suoi diritti",
        withdraw={
            "consent": "Può revocare il consenso in ogni momento. "
            "Scriva a {by} indicando la chiamata {call}. Quanto fatto prima resta lecito.",
            "object": "Può opporsi in ogni momento. Scriva a {by} indicando la chiamata {call}.",
            "ask": "Può chiedere l'accesso ai suoi dati. Scriva a {by} indicando la chiamata {call}.",
            "nothing": "Non deve fare altro.",
        },
        proof="Prova",
        clock="Tutti gli orari sono UTC, secondo l'orologio del sistema.",
    ),
    "pt": Texts(
        title="Comprovante da gravação da sua chamada",
        call="Chamada",
        when="Hora",
        by="Responsável pela gravação",
        you="O seu número",
        asked="Foi-lhe perguntado",
        told="Foi-lhe informado",
        cut_short="a mensagem não foi reproduzida até o fim",
        answer="A sua resposta",
        how={
            "key": "tecla {key}",
            "unknown": "uma tecla",
            "speech": "de viva voz",
            "words": "de viva voz; entendeu-se: “{words}”",
        },
        verdict={
            "granted": "Você aceitou a gravação.",
            "refused": "Você recusou a gravação.",
            "unanswered": "Você não respondeu. Isso não vale como consentimento.",
            "unclear": "A sua resposta não foi clara. Isso não vale como consentimento.",
            "withdrawn": "Você retirou o consentimento ou se opôs à gravação.",
            "not_required": "O seu consentimento não era necessário e não foi pedido.",
            "none": "Nada foi decidido. Isso não vale como consentimento.",
        },
        purposes={
            "transcription": "Transcrição da chamada",
            "analysis": "Análise da chamada",
            "sharing": "Transmissão da chamada a outros",
        },
        said={
            "granted": "aceito",
            "refused": "recusado",
            "unanswered": "sem resposta, o que não vale como consentimento",
            "unclear": "sem resposta clara, o que não vale como consentimento",
        },
        later="Depois",
        recorded="Gravado",
        nothing="Nada foi gravado.",
        duration="a partir de {began}, {seconds} segundos de som",
        pauses="pausas: {count}, no total {seconds} segundos sem som",
        destroyed="Esta gravação foi destruída.",
        open="O fim desta gravação ainda não é conhecido.",
        basis="Base legal",
        bases={
            "consent": "o seu consentimento (artigo 6.1.a do RGPD)",
            "contract": "um contrato com você (artigo 6.1.b do RGPD)",
            "legal_obligation": "uma obrigação legal (artigo 6.1.c do RGPD)",
            "vital_interests": "interesses vitais (artigo 6.1.d do RGPD)",
            "public_task": "uma missão de interesse público (artigo 6.1.e do RGPD)",
            "legitimate_interests": "interesses legítimos (artigo 6.1.f do RGPD)",
        },
        rights="Os seus direitos",
        withdraw={
            "consent": "Você pode retirar o consentimento a qualquer momento. "
            "Escreva para {by} e indique a chamada {call}. O que foi feito antes continua lícito.",
            "object": "Você pode se opor a qualquer momento. Escreva para {by} e indique a chamada {call}.",
            "ask": "Você pode pedir acesso aos seus dados. Escreva para {by} e indique a chamada {call}.",
            "nothing": "Você não precisa fazer mais nada.",
        },
        proof="Prova",
        clock="Todos os horários são UTC, pelo relógio do sistema.",
    ),
}
