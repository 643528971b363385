"""One proof of one mail domain, as it is made."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal

from mspctl.errors import TargetError
from mspctl.kinds import authres, dkim, dns
from mspctl.kinds.answers import NameQuestion, Status
from mspctl.model.inventory import Endpoint
from mspctl.proof import Trial
from mspctl.proofs import Making, Trying
from mspctl.proofs.mail import Wanted
from mspctl.secrets import Secret
from mspctl.targets import Targets
from mspctl.transports import mail_client
from mspctl.transports.mail_client import Found, Imap, Reply, Server, Smtp

MARK = "mspctl-proof"  # in the Message-ID of all that we send
ELSEWHERE = "mspctl-proof@example.net"  # somebody at a domain that is nobody's
OLD = timedelta(days=2)  # messages of ours that no run awaits any more
GREYLISTS = re.compile(r"gr[ea]y-?list|(?:try|come) (?:again|back)|later", re.IGNORECASE)
PAUSE, LONGEST = 1.0, 30.0  # seconds until such a server is asked again: twice as many each time
PORTS = {"smtp": 25, "submission": 587, "imap": 993}
TLS: dict[str, Literal["starttls", "tls"]] = {"smtp": "starttls", "submission": "starttls", "imap": "tls"}


class Run:
    def __init__(self, trial: Trial, targets: Targets, making: Making) -> None:
        wanted: Wanted = trial.what
        self.trial, self.targets, self.making, self.wanted = trial, targets, making, wanted
        self.access = wanted.access
        self.domain = trial.scope.name
        self.sender = self.access.sender

    def make(self) -> None:
        self.at_the_door()
        self.comes_in()
        if self.access.submission:
            self.goes_out(self.access.submission)

    # -- who is refused -----------------------------------------------------------------------------------------

    def at_the_door(self) -> None:
        if not self.wanted.takes_all:
            with self.making.step("an address that is not there is refused") as step:
                nobody = f"{MARK}-{secrets.token_hex(6)}@{self.domain}"
                self._is_refused(step, self.access.smtp, "smtp", nobody)
        with self.making.step("mail to elsewhere is refused") as step:
            self._is_refused(step, self.access.smtp, "smtp", ELSEWHERE)
            if self.access.submission and not step.said:
                self._is_refused(step, self.access.submission, "submission", ELSEWHERE)

    def _is_refused(self, step: Trying, endpoint: Endpoint, what: str, recipient: str) -> None:
        """Without a log-in; up to the recipient and no further."""

        def ask() -> Reply:
            with Smtp.open(self._server(endpoint, what)) as smtp:
                return smtp.offered(self.sender, recipient)

        reply, waited = self._finally(ask)
        if reply.taken:
            step.failed(f"{endpoint.host} takes mail to {recipient} from anybody")
        elif not reply.refused:
            step.unknown(f"{endpoint.host} wants to be asked later: {reply}{waited}")

    def _finally(self, ask: Callable[[], Reply]) -> tuple[Reply, str]:
        """
        What a server says in the end, and after what wait, in words; "" without one. It greylists who is new to it, so
        it is asked again, as any mail server would, for as long as a message may take.
        """
        begun, pause = time.monotonic(), PAUSE
        while True:
            reply, past = ask(), time.monotonic() - begun
            left = self.wanted.within - past
            if reply.taken or reply.refused or not GREYLISTS.search(reply.said) or left <= 0:
                return reply, f" (asked for {past:.0f} s)" if pause > PAUSE else ""
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST)

    # -- in -----------------------------------------------------------------------------------------------------

    def comes_in(self) -> None:
        found: Found | None = None
        with self.making.step("a message comes in") as step, self._mailbox() as imap:
            found = self._through(step, imap, self._server(self.access.smtp, "smtp"), self.sender, self.wanted.address)
        if found and self.access.authserv:
            with self.making.step("its sender is believed") as step:
                _judge(step, found.content, self.access.authserv, _domain(self.sender), ("spf", "dmarc"))

    # -- out ----------------------------------------------------------------------------------------------------

    def goes_out(self, submission: Endpoint) -> None:
        """To somebody else's server where one is to judge, else to the test mailbox itself."""
        found: Found | None = None
        judge, server = self.access.judge, self._server(submission, "submission")
        where = f"to {_domain(judge.address)} " if judge else ""
        with self.making.step(f"a message that is sent {where}arrives") as step, self._reading() as imap:
            recipient = judge.address if judge else self.wanted.address
            found = self._through(step, imap, server, self.wanted.address, recipient, self._password)
        if found and judge:
            with self.making.step("it is believed there") as step:
                _judge(step, found.content, judge.authserv, self.domain, ("spf", "dkim", "dmarc"))
        if found and self.wanted.signs:
            with self.making.step("its signature holds") as step:
                self._signature(step, found.content)

    def _through(
        self, step: Trying, imap: Imap, server: Server, sender: str, recipient: str, password: Secret | None = None
    ) -> Found | None:
        """Hand a message in, read it, and take it away; what is measured is the time from being taken to being read."""
        imap.sweep(MARK, (datetime.now(UTC) - OLD).date())
        message, id_ = self._message(sender, recipient)

        def hand_in() -> Reply:
            with Smtp.open(server) as smtp:
                if password:
                    smtp.login(sender, password)
                return smtp.sent(sender, recipient, message)

        reply, waited = self._finally(hand_in)
        begun = time.monotonic()
        if not reply.taken:
            (step.failed if reply.refused else step.unknown)(f"it is not taken: {reply}{waited}")
            return None
        found = imap.awaited(id_, begun + self.wanted.within)
        step.seconds = time.monotonic() - begun
        if found is None:
            step.failed(f"it was taken, and is not there after {self.wanted.within} s")
            return None
        imap.remove(found)
        if found.is_junk:
            step.failed(f"it was taken for spam, and lay in {found.folder}")
        return found

    def _signature(self, step: Trying, message: bytes) -> None:
        """At least one signature of the domain's, with the key that the DNS has."""
        signers = dkim.signers(message)
        mine = [number for number, (domain, _) in enumerate(signers) if _within(self.domain, domain)]
        if not mine:
            step.failed("it is not signed" + (f" by {self.domain}" if signers else ""))
            return
        names = [dkim.key_name(signers[number][1], signers[number][0]) for number in mine]
        keys = self._keys(names)
        if not any(keys.values()):
            step.failed(f"no key is published at {names[0].rstrip('.')}")
            return
        try:
            reasons = [dkim.why_not(message, keys, number) for number in mine]
        except ModuleNotFoundError:
            raise TargetError("dkimpy is not installed (pip install 'mspctl[mail]')") from None
        if all(reasons):
            step.failed(reasons[0])

    def _keys(self, names: Sequence[str]) -> dict[str, str]:
        from mspctl.transports.resolver import look_up

        answers = look_up([NameQuestion(name, "TXT") for name in dict.fromkeys(names)], self.targets.asking)
        for question, answer in answers.items():
            if answer.status is Status.UNKNOWN:
                raise TargetError(f"the key {question.name.rstrip('.')} could not be looked up ({answer.why})")
        texts = {q.name: [dns.content(value).decode("latin-1") for value in a.values] for q, a in answers.items()}
        return {name: next(filter(dkim.is_key, found), "") for name, found in texts.items()}

    # -- who talks ----------------------------------------------------------------------------------------------

    def _mailbox(self) -> AbstractContextManager[Imap]:
        return Imap.open(self._server(self.access.imap, "imap"), self.wanted.address, self._password)

    def _reading(self) -> AbstractContextManager[Imap]:
        """Where what is sent out can be read."""
        judge = self.access.judge
        if judge is None:
            return self._mailbox()
        password = self.targets.secrets_at(self.trial.scope.target)["judge"]
        return Imap.open(self._server(judge.imap, "imap"), judge.address, password)

    @property
    def _password(self) -> Secret:
        role = f"the password of {self.wanted.address}"
        return self.targets.secrets_of(self.trial.scope.customer, {role: self.wanted.secret})[role]

    def _server(self, endpoint: Endpoint, what: str) -> Server:
        ca = self.targets.estate.root / endpoint.ca if endpoint.ca else None
        return Server(endpoint.host, endpoint.port or PORTS[what], endpoint.tls or TLS[what], ca)

    def _message(self, sender: str, recipient: str) -> tuple[bytes, str]:
        """A message, and its Message-ID."""
        id_ = f"<{MARK}.{secrets.token_hex(12)}@{_domain(sender)}>"
        message = EmailMessage()
        message["From"], message["To"], message["Message-ID"] = sender, recipient, id_
        message["Subject"] = f"Test of {self.domain}"
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Auto-Submitted"] = "auto-generated"  # nobody's holiday reply answers
        message.set_content("This message proves that mail works. It is taken away again by itself.\n")
        return message.as_bytes(policy=SMTP), id_


def _judge(step: Trying, message: bytes, authserv: str, domain: str, methods: Sequence[str]) -> None:
    """What the server that took a message found out about who sent it."""
    found = authres.results(mail_client.headers(message, "Authentication-Results"), authserv)
    if found is None:
        step.failed(f"there are no Authentication-Results of {authserv}")
        return
    wrong = [f"{method} {said}" for method in methods if (said := _result(found, method, domain)) != "pass"]
    if wrong:
        step.failed(f"{authserv} says: {', '.join(wrong)}")


def _result(found: Sequence[authres.Result], method: str, domain: str) -> str:
    """Of the signatures, one of the domain's has to hold; of everything else there is one result."""
    said = authres.of(found, method)
    if method == "dkim":
        said = [r for r in said if r.result != "pass" or _within(domain, r.properties.get("header.d", domain))]
        said.sort(key=lambda result: result.result != "pass")
    return said[0].result if said else "is not there"


def _within(domain: str, signer: str) -> bool:
    """Whether a signature of `signer` speaks for a domain: its own, or one above it."""
    return bool(signer) and (domain == signer or domain.endswith(f".{signer}"))


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
