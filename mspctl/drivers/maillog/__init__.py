"""
The logs, the queue and the Junk folders of a mail server that runs Postfix, Dovecot and rspamd, on the machine itself.

Logs are searched where they are: only lines with a customer's domains come over, and then those about the messages
that they name. Rotated files are read as far back as needed. What is shown to whom is not decided here (`mail_log/`).

Releasing is all that is written. Before that, the server's own mail log says who wanted it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from mspctl.driver import Access, Gauge, Measured, Unmeasured
from mspctl.drivers.maillog import native
from mspctl.drivers.maillog.lines import Stamps, facts
from mspctl.errors import Stale, TargetError
from mspctl.fields import Seconds, Text, Timezone, one_line, one_or_many
from mspctl.kinds import mail, shown
from mspctl.kinds.mail_log import Fact, Junk, Waiting, domain_of, folded
from mspctl.moments import timezone
from mspctl.transports import machine
from mspctl.transports.machine import Machine, Ran, Session

NEVER = datetime.min.replace(tzinfo=UTC)
LONGEST = 16 * 1024 * 1024  # bytes of what Postfix says of one message in the queue
_FAILED = 73  # exit code of the script below
# Prints what a program ("$@") prints, as far as fixed strings are in it: they are on standard input. Over SSH that is
# a socket, which cannot be opened by its name, so it is the program's output that grep opens.
_FILTERED = f"""
PATH="$PATH:/usr/sbin:/sbin"; option=$1; shift; exec 5<&0 4>&1
ends=$( {{ {{ "$@" 4>&- 5<&-; echo "made $?" >&3; }} |
  {{ grep -aF $option -f - -- /dev/fd/6 6<&0 <&5 >&4; echo "found $?" >&3; }}; }} 3>&1 )
case $ends in
  *"found "[2-9]*) exit 2 ;;
  *"made "[1-9]*) exit {_FAILED} ;;
esac
"""
_SBIN = ("sh", "-c", 'PATH="$PATH:/usr/sbin:/sbin"; exec "$@"', "sh")
_ID = re.compile(r"[0-9A-Za-z]{6,30}")  # of a message in the queue
_NO_USER = 67  # doveadm's exit code where there is no such mailbox
_WHO = 100  # characters
ATTEMPTS = 3  # at reading logs that are rotated meanwhile


def _absolute(value: Any) -> str:
    text = one_line(value)
    if not text.startswith("/"):
        raise ValueError(f"{shown(text)} is not a whole path (write /var/log/mail.log)")
    return text


PATH = {"type": "string", "pattern": "^/"}
Path = Annotated[str, BeforeValidator(_absolute), WithJsonSchema(PATH)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(one_or_many)]


class Settings(machine.Settings):
    """Where a mail server keeps what is read here."""

    files: Paths = ("/var/log/mail.log", "/var/log/rspamd/rspamd.log")  # no line in two of them; rotated ones are found
    timezone: Timezone = "UTC"  # of times in them that do not say it
    postfix: Path = "/etc/postfix"  # folder of its settings
    dovecot: Path = "/etc/dovecot/dovecot.conf"
    junk: Text = "Junk"  # folder of each mailbox
    look_back: Seconds = 14 * 86400  # how far back drift looks for log-ins of people who left
    timeout: Seconds = 120  # for connecting, and for how long a search may find nothing


class Reader:
    def __init__(self, access: Access) -> None:
        self.settings: Settings = access.settings
        self.machine = Machine(access.address, self.settings, access.secrets)

    # -- logs -----------------------------------------------------------------------------------------------------

    def facts(self, domains: Collection[str], since: datetime, most: int) -> Iterator[Fact]:
        with self.machine.session() as session:
            files = self._logs(session)
            needed = [file for file in files if file.entry.modified >= since]
            try:
                yield from self._facts(session, needed, domains, since, most)
            except TargetError:
                if not native.rotated(files, self._files(session)):
                    raise
                raise Stale(f"{session.name}: the logs were rotated while they were read") from None
            if native.rotated(files, self._files(session)):
                raise Stale(f"{session.name}: the logs were rotated while they were read")

    def _logs(self, session: Session) -> list[native.File]:
        if files := self._files(session):
            return files
        raise TargetError(f"{session.name}: there is none of {', '.join(self.settings.files)}")

    def _files(self, session: Session) -> list[native.File]:
        """Each log with its rotated ones, the oldest first."""
        paths = [PurePosixPath(path) for path in self.settings.files]
        folders = {path.parent: session.listed(str(path.parent)) for path in paths}
        return [file for path in paths for file in native.family(path, folders[path.parent])]

    def _facts(
        self, session: Session, files: Sequence[native.File], domains: Iterable[str], since: datetime, most: int
    ) -> Iterator[Fact]:
        """What names a domain and stands alone; then all that is said of the messages that were named so."""
        queue: dict[str, datetime] = {}
        for fact in self._search(session, files, [*native.spelled(domains)], "-i"):
            if not fact.queue:
                yield fact
            elif fact.at >= since:
                queue[fact.queue] = max(fact.at, queue.get(fact.queue, NEVER))
                if len(queue) > 2 * most:
                    yield _cut(queue, most)
        if len(queue) > most:
            yield _cut(queue, most)
        for fact in self._search(session, files, queue, ""):
            if fact.queue in queue:
                yield fact

    def _search(
        self, session: Session, files: Sequence[native.File], patterns: Collection[str], option: str
    ) -> Iterator[Fact]:
        given = _patterns(patterns)
        for file in files if patterns else ():
            ended: list[Ran] = []
            stamps = Stamps(timezone(self.settings.timezone), file.entry.modified)
            command = ["sh", "-c", _FILTERED, "sh", option, *file.printing]
            yield from facts(session.lines(command, given, ended=ended.append), stamps)
            if ended[0].code == _FAILED and file.is_packed:
                yield Fact(file.entry.modified, "damaged", said={"file": file.path})
            elif ended[0].code:
                raise TargetError(f"{session.name}: {file.path} cannot be searched: {ended[0].complaint}")

    # -- the queue, and Junk --------------------------------------------------------------------------------------

    def queue(self, domains: Collection[str]) -> Iterator[Waiting]:
        ended: list[Ran] = []
        command = ["sh", "-c", _FILTERED, "sh", "-i", "postqueue", "-c", self.settings.postfix, "-j"]
        with self.machine.session() as session:
            what = f"{session.name}: the queue"
            given = _patterns(native.spelled(domains))
            for line in session.lines(command, given, ended=ended.append, longest=LONGEST):
                yield native.read(line, what, native.waiting)
            if ended[0].code:
                raise TargetError(f"{what} cannot be read: {ended[0].complaint}")

    def measure(self, gauges: Sequence[Gauge]) -> Mapping[Gauge, Measured]:
        """Of domains: `queued_since`. Of mailboxes: `last_login`, as far back as `look_back` and the logs reach."""
        asked: dict[str, list[Gauge]] = {}
        for gauge in gauges:
            asked.setdefault(gauge.what, []).append(gauge)
        found: dict[Gauge, Measured] = {}
        for what, ask in ((mail.QUEUED_SINCE, self._queued_since), (mail.LAST_LOGIN, self._last_logins)):
            try:
                found |= ask(asked[what]) if what in asked else {}
            except TargetError as error:  # of what the other one says, nothing is lost
                found |= dict.fromkeys(asked[what], Unmeasured(str(error)))
        return found

    def _queued_since(self, asked: Sequence[Gauge]) -> dict[Gauge, Measured]:
        """What is held in quarantine does not wait."""
        wanted, oldest = {gauge.scope.name for gauge in asked}, dict[str, datetime]()
        for message in self.queue(wanted):
            for domain in () if message.held else wanted.intersection(map(domain_of, message.addresses)):
                oldest[domain] = min(message.since, oldest.get(domain, message.since))
        return {gauge: oldest.get(gauge.scope.name) for gauge in asked}

    def _last_logins(self, asked: Sequence[Gauge]) -> dict[Gauge, Measured]:
        addresses = {gauge: mail.address_of(gauge.id.name, gauge.scope.name) for gauge in asked}
        since = datetime.now(UTC) - timedelta(seconds=self.settings.look_back)
        with self.machine.session() as session:
            for _ in range(ATTEMPTS):
                files = self._logs(session)
                found = self._entered(session, [f for f in files if f.entry.modified >= since], {*addresses.values()})
                if not native.rotated(files, self._files(session)):
                    recent = {address: at for address, at in found.items() if at >= since}
                    return {gauge: recent.get(address) for gauge, address in addresses.items()}
        raise TargetError(f"{session.name}: the logs were rotated again and again while they were read")

    def _entered(self, session: Session, files: Sequence[native.File], people: set[str]) -> dict[str, datetime]:
        """When somebody logged in last. The newest files are first: of what was finished before, nothing is needed."""
        found: dict[str, datetime] = {}
        latest = sorted(files, key=lambda file: file.entry.modified, reverse=True)
        for file in latest:
            open_ = {each for each in people if found.get(each, NEVER) < file.entry.modified}
            for fact in self._search(session, [file], [*native.entering(open_)], "-i"):
                if fact.says == "damaged":
                    raise TargetError(f"{session.name}: {file.path} is damaged")
                user = folded(fact["login"] if fact.says == "begun" else fact["user"])
                if fact.says in ("begun", "entered") and user in open_:
                    found[user] = max(fact.at, found.get(user, NEVER))
        if people - found.keys() and not any(self._tells(session, file) for file in latest):
            days = self.settings.look_back // 86400
            raise TargetError(f"{session.name}: no log-in of anybody stands in the logs of the last {days} days")
        return found

    def _tells(self, session: Session, file: native.File) -> bool:
        """Whether log-ins stand in a file at all."""
        return any(fact.says == "entered" for fact in self._search(session, [file], native.ENTERED, ""))

    def junk(self, addresses: Collection[str], since: datetime) -> Iterator[Junk]:
        with self.machine.session() as session:
            for address in addresses:
                mask = f"*{address}" if address.startswith("@") else address
                found = self._fetched(session, mask, "since", str(int(since.timestamp())))
                yield from (each for each in found if each.since >= since)

    def _fetched(self, session: Session, mask: str, *criteria: str) -> list[Junk]:
        query = ["mailbox", self.settings.junk, *criteria]
        ran = session.run(self._doveadm("-f", "json", "fetch", "-u", mask, native.FETCHED, *query))
        if ran.code not in (0, _NO_USER):
            raise TargetError(f"{session.name}: {self.settings.junk} cannot be read: {ran.complaint}")
        return native.read(ran.out or b"[]", f"{session.name}: {self.settings.junk}", native.junk)

    def _doveadm(self, *words: str) -> list[str]:
        return ["doveadm", "-c", self.settings.dovecot, *words]


class Driver(Reader):
    """Lets messages go that are held; nothing else."""

    def release(self, message: Waiting | Junk, who: str) -> None:
        with self.machine.session() as session:
            told = _printable(who)[:_WHO]
            if isinstance(message, Waiting):
                self._from_queue(session, message, told)
            else:
                self._from_junk(session, message, told)

    def _from_queue(self, session: Session, message: Waiting, who: str) -> None:
        if not _ID.fullmatch(message.id):  # postsuper takes ALL for all of them
            raise TargetError(f"{session.name}: {shown(message.id)} is not a message in the queue")
        self._write_down(session, f"{message.id}: released by {who}")
        ran = session.run(self._postfix("postsuper", "-H", message.id))
        if ran.code:
            raise TargetError(f"{session.name}: {message.id} cannot be released: {ran.complaint}")
        if f"{message.id}: released from hold".encode() not in ran.err:
            raise Stale(f"{session.name}: {message.id} is not in quarantine any more")
        session.must(self._postfix("postqueue", "-i", message.id), what=f"{message.id} is released, and waits")

    def _from_junk(self, session: Session, message: Junk, who: str) -> None:
        criteria = ("uid", str(message.uid))
        if self._fetched(session, message.address, *criteria) != [message]:
            raise Stale(f"{session.name}: {message.id} is not in {self.settings.junk} any more")
        self._write_down(session, f"{message.id}: released by {who}")
        query = ("INBOX", "mailbox", self.settings.junk, *criteria)
        session.must(self._doveadm("move", "-u", message.address, *query), what=f"{message.id} cannot be moved")
        if self._fetched(session, message.address, *criteria):
            raise TargetError(f"{session.name}: {message.id} is still in {self.settings.junk}")

    def _write_down(self, session: Session, text: str) -> None:
        """In the server's mail log, wherever Postfix writes it."""
        command = self._postfix("postlog", "-p", "info", "-t", "postfix/mspctl", text)
        session.must(command, what="who wanted it cannot be written down, so nothing was released")

    def _postfix(self, program: str, *words: str) -> list[str]:
        return [*_SBIN, program, "-c", self.settings.postfix, *words]


def _patterns(texts: Iterable[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _cut(queue: dict[str, datetime], most: int) -> Fact:
    """Keep the latest `most` of them, and say from when on they are."""
    kept = sorted(queue.items(), key=lambda item: item[1])[-most:]
    queue.clear()
    queue.update(kept)
    return Fact(kept[0][1], "cut")
