"""What the page says around values, in Italian; what is not here is said as it is."""

from __future__ import annotations

import re

WORDS = {
    "Drift": "Scostamenti",
    "Customers": "Clienti",
    "Customer": "Cliente",
    "Proofs": "Prove",
    "proof": "prova",
    "result": "esito",
    "age": "età",
    "as declared": "come dichiarato",
    "not part of it": "non previsto",
    "Everything is as declared, as far as it was read.": "Tutto è come dichiarato, per quanto si è letto.",
    "What is wrong is said above, with other customers.": "Ciò che non va è detto sopra, insieme ad altri clienti.",
    "changed outside": "modificato da fuori",
    "Changed outside": "Modificato da fuori",
    "came back": "ricomparso",
    "conflict": "conflitto",
    "take-over": "da prendere in carico",
    "unmanaged": "non gestito",
    "declared": "dichiarate",
    "unknown": "sconosciute",
    "not read": "non letto",
    "unreachable": "irraggiungibile",
    "error": "errore",
    "Errors": "Errori",
    "severe": "grave",
    "Severe": "Gravi",
    "warning": "avviso",
    "not checked": "non verificato",
    "info": "nota",
    "accepted": "accettato",
    "expired": "scaduto",
    "not yet applied": "non ancora applicato",
    "Not applied yet": "Non ancora applicato",
    "create": "da creare",
    "change": "da cambiare",
    "delete": "da togliere",
    "held": "in attesa",
    "needs approval": "da approvare",
    "approvals": "approvazioni",
    "retired": "uscito da Git",
    "later": "più tardi",
    "findings": "rilievi",
    "proofs": "prove",
    "passed": "superata",
    "failed": "fallita",
    "not made": "non eseguita",
    "never made": "mai eseguita",
    "never": "mai",
    "more": "altre",
    "line": "riga",
    "lines": "righe",
    "ends soon": "in scadenza",
    "end it": "come chiuderlo",
    "End it:": "Come chiuderlo:",
    "To do:": "Da fare:",
    "today": "oggi",
    "days": "giorni",
    "day": "giorno",
    "new": "nuovo",
}
_DAY = r"\d{4}-\d\d-\d\d"
_TIME = rf"{_DAY} \d\d:\d\d"
# Parts of sentences; values between them stay.
PARTS = (
    (r"\bGit says\b", "Git dice"),
    (r"\blive is\b", "dal vivo è"),
    (r"\bis live again, though it was deleted", "è di nuovo presente, benché fosse stato tolto"),
    (r"\bdeleted; ", "tolto; "),
    (r": live, not in Git; left alone", ": presenti, non in Git; lasciati stare"),
    (rf"(; | \()last touched by ([^\n]{{1,200}}?), ({_TIME} UTC)(?=\)|;| \(|$)", r"\1toccato per ultimo da \2, il \3"),
    (rf"(; | \()last touched ({_TIME} UTC)(?=\)|;| \(|$)", r"\1toccato l’ultima volta il \2"),
    (rf"; file written ({_TIME} UTC)(?=;| \(|$)", r"; file scritto il \1"),
    (r"\(since (\d{4}-\d\d-\d\d \d\d:\d\d)\)", r"(dal \1)"),
    (r"\(new: not seen on (\d{4}-\d\d-\d\d \d\d:\d\d)\)", r"(nuovo: non c’era il \1)"),
    (r"\bas it is until (\S+), by ", r"lasciato com’è fino al \1, da "),
    (r"\bNothing was changed outside\.", "Nulla è stato modificato da fuori."),
    (r"(\d[\d,]*) resources? changed outside", r"modifiche da fuori: \1"),
    (r"(\d[\d,]*) unmanaged", r"non gestite: \1"),
    (r"(\d[\d,]*) declared", r"dichiarate: \1"),
    (r"(\d[\d,]*) unknown", r"sconosciute: \1"),
    (r"(\d[\d,]*) not yet applied", r"non ancora applicate: \1"),
    (r"(\d[\d,]*) findings?\b", r"rilievi: \1"),
    (r"(\d[\d,]*) checks? could not be made", r"verifiche non eseguite: \1"),
    (r"(\d[\d,]*) severe\b", r"gravi: \1"),
    (r"\((\d[\d,]*) new\)", r"(nuove: \1)"),
    (r"\bNot read:", "Non letti:"),
    (
        r"^Emergency apply by (.+?) on (\d{4}-\d\d-\d\d) (\d\d:\d\d) UTC: ",
        r"Applicato d’emergenza da \1 il \2 alle \3 UTC: ",
    ),
    (r"; (\d[\d,]*) changes?; not yet in Git's main: (\S+)$", r"; modifiche: \1; non ancora nel ramo main di Git: \2"),
    (r": an emergency apply left it so \(merge (\S+) first\)$", r": lasciato così d’emergenza (prima si unisca \1)"),
    (r"^are given by name, in (?=\S+$)", "si danno per nome, in "),
    (
        r"^left Git; nothing there is touched until an approval names (.+)$",
        r"uscito da Git; non si tocca nulla finché un’approvazione non nomina \1",
    ),
    (r"(\d[\d,]*) scopes? unreachable", r"ambiti irraggiungibili: \1"),
    (r"(\d[\d,]*) scopes? with errors", r"ambiti con errori: \1"),
    (r"(\d[\d,]*) scopes? on (\d[\d,]*) targets?", r"ambiti: \1, sistemi: \2"),
    (r"(\d[\d,]*) customers?\b", r"clienti: \1"),
    (r"(\d[\d,]*) as seen before", r"come visti prima: \1"),
    (r"\bas seen (\d{4})", r"come visto il \1"),
    (r"^read (\d\d:\d\d)", r"letto \1"),
    (r"^not checked from outside$", "non verificato da fuori"),
    (r"^checked from outside$", "verificato da fuori"),
    (r"^line (\d+)$", r"riga \1"),
    (rf"^until (?={_DAY})", "fino al "),
    (rf"^kept until (?={_DAY})", "conservato fino al "),
    (rf"^its line was taken out: kept until (?={_DAY})", "tolto dal file: conservato fino al "),
    (rf"^leaves (?={_DAY})", "se ne va il "),
    (rf" left out until (?={_DAY})", " escluso fino al "),
    (r"\(in (\d+) days\)$", r"(tra \1 giorni)"),
    (r"\(in 1 day\)$", "(tra 1 giorno)"),
    (r"\(in (\d+) hours\)$", r"(tra \1 ore)"),
    (r"\(in 1 hour\)$", "(tra 1 ora)"),
    (r"\(within the hour\)$", "(entro un’ora)"),
)
_DAYS = dict(zip("Mon Tue Wed Thu Fri Sat Sun".split(), "lun mar mer gio ven sab dom".split(), strict=True))
_MONTHS = dict(
    zip(
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(),
        "gen feb mar apr mag giu lug ago set ott nov dic".split(),
        strict=True,
    )
)


def _closes(found: re.Match[str]) -> str:
    after, day, number, month = found.groups()
    return f"si chiude da sé {'dopo ' if after else ''}{_DAYS[day]} {number} {_MONTHS[month]}"


_PARTS = [(re.compile(pattern), said) for pattern, said in PARTS]
_CLOSES = re.compile(rf"^closes itself (after )?({'|'.join(_DAYS)}) (\d+) ({'|'.join(_MONTHS)})(?= )")


def word(text: str) -> str:
    return WORDS.get(text, text)


def sentence(text: str) -> str:
    text = _CLOSES.sub(_closes, text)
    for pattern, said in _PARTS:
        text = pattern.sub(said, text)
    return text
