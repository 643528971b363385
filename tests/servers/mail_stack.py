"""
A mail server as an MSP runs it: Postfix, Dovecot, rspamd and Redis from Debian's packages, on PostfixAdmin's tables.

It lives in a short private folder in /tmp, on loopback ports of its own, and starts in about two seconds. All that it
sends out goes to a sink on this machine. Its settings are the templates in `mail/`; @words@ in them are filled in here.
Tests speak to it as other people's programs would, never through mspctl.
"""

from __future__ import annotations

import base64
import email
import email.policy
import imaplib
import json
import os
import platform
import poplib
import re
import secrets
import shutil
import signal
import smtplib
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.servers import databases, postfixadmin, require
from tests.servers.processes import Held, group

HOST = "127.0.0.1"
SECONDS = 20.0  # until something is there
TEMPLATES = Path(__file__).parent / "mail"
RSPAMD = Path("/etc/rspamd")  # as the package brings it
HOSTNAME = "mx.msp.example"
DOVEADM_KEY = "an example key of doveadm"
RSPAMD_PASSWORD = "an example password of rspamd"
OWNER = 5000  # of all mail; nobody has this number
# What asks the Internet, or learns: none of it belongs to a test machine.
OFF = "asn bayes_expiry bimi fuzzy_check greylist mx_check neural phishing rbl rspamd_update surbl"
SUFFIXES = "com\nnet\norg\nexample\ntest\nuk\nco.uk\n"

REPLIES = "autoreply.example"  # vacation_domain, where automatic replies are made
# As PostfixAdmin's own manual has it, but for the name server.
VACATION_PIPE = """\
vacation unix - n n - - pipe
  flags=Rq user=nobody directory={etc}/postfix
  argv=/usr/bin/env RES_NAMESERVERS=127.0.0.1 RES_OPTIONS=port:{dns}
  /usr/bin/perl {script} -f ${{sender}} -- ${{recipient}}
"""
VACATION = """\
@replies@
$vacation_domain = '@replies_domain@';
$smtp_server_port = @smtp_port@; $smtp_client = '127.0.0.1'; $smtp_ssl = 0; $smtp_timeout = 10;
1;
"""

T = TypeVar("T")


@dataclass(frozen=True)
class Ports:
    smtp: int
    submission: int
    imap: int
    pop3: int
    doveadm: int  # its HTTP API
    milter: int
    rspamd: int  # the scanner's HTTP, /checkv2
    controller: int  # rspamd's HTTP API
    redis: int
    sink: int  # where mail goes that is for elsewhere
    dns: int  # which rspamd asks; nothing is there unless a test starts it


@dataclass(frozen=True)
class Reply:
    """The last word of an SMTP server on one message."""

    code: int
    text: str

    @property
    def taken(self) -> bool:
        return self.code == 250


@dataclass(frozen=True)
class Sent:
    """A message that left this server."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    raw: bytes  # as it went over the wire


class Refused(Exception):
    """An answer of doveadm's API that is no success."""


def free_ports(count: int) -> list[int]:
    """
    Ports where nobody listens.

    None of those that the system gives to clients: a daemon that starts later than others would find one taken. Each
    process of a test run has its own twelfth: another one's daemon may be about to listen.
    """
    found: list[int] = []
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 12
    while len(found) < count:
        port = 20000 + 1000 * worker + secrets.randbelow(1000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def wait(ask: Callable[[], T], what: str = "it", seconds: float = SECONDS) -> T:
    """The first answer that is true. Fails when none comes."""
    over = time.monotonic() + seconds
    while True:
        if answer := ask():
            return answer
        if time.monotonic() > over:
            raise AssertionError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.03)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


@dataclass
class _Daemon:
    """One program in the foreground, in a process group of its own."""

    command: Sequence[str]
    output: Path
    ports: Sequence[int]
    user: str = ""
    pid_file: Path | None = None  # of what leaves our process group for one of its own
    process: subprocess.Popen[bytes] | None = None
    leader: Held | None = None  # of its process group
    family: list[Held] = field(default_factory=list)  # all of them, when they were told to end

    def start(self) -> None:
        who: dict[str, Any] = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/", **who
            )

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.command[0]} ended:\n{self.output.read_text()[-3000:]}"
        return all(_listens(port) for port in self.ports) and self._led()

    def _led(self) -> bool:
        """Take hold of what leads the process group, while its number can be nobody else's."""
        assert self.process is not None
        if self.leader is None and self.process.poll() is None:
            with suppress(OSError, ValueError):
                self.leader = Held(int(self.pid_file.read_text()) if self.pid_file else self.process.pid)
        return self.leader is not None

    def signal(self, number: signal.Signals) -> None:
        assert self.leader is not None, f"{self.command[0]} does not run"
        self.leader.send(number)

    def end(self) -> None:
        """Ask it to; `gone` sees to it."""
        assert self.process is not None
        if self.process.poll() is None:
            self.family += group(self.process.pid)
        if self._led() and self.leader and self.leader.runs():
            self.family += group(self.leader.pid)
            self.signal(signal.SIGTERM)

    def gone(self) -> None:
        """Wait until it is; what is left of it is ended."""
        if self.process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        for one in self.family:
            one.send(signal.SIGKILL)
            one.release()
        self.process.wait(5)
        if self.leader:
            self.leader.release()
        self.process, self.leader, self.family = None, None, []
        if self.pid_file:
            self.pid_file.unlink(missing_ok=True)


class Tables:
    """PostfixAdmin's tables: where they are, for whoever is told of them, and what they hold."""

    maps: str  # what Postfix and Dovecot call such a database
    words: Mapping[str, str]  # in their settings

    replies = ""  # Perl that tells vacation.pl of them, where it can use them

    def put(self, folder: Path) -> None:
        """Make what has to be in the mail server's folder; before `words` are asked for."""

    def facet(self) -> str:
        """As targets.yaml says it to mspctl."""
        raise NotImplementedError

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Values stand as ? in the statement."""
        raise NotImplementedError

    def names(self) -> list[str]:
        raise NotImplementedError


class SqliteTables(Tables):
    """A copy of a file with empty tables. Nobody is answered by itself: vacation.pl knows no SQLite."""

    maps = "sqlite"

    def __init__(self, empty: Path) -> None:
        self.empty = self.file = empty

    def put(self, folder: Path) -> None:
        """Postfix reads, and Dovecot writes how full a mailbox is; a lock that waits would end Postfix's programs."""
        self.file = folder / "db/postfixadmin.db"
        self.file.parent.mkdir()
        shutil.copy(self.empty, self.file)
        with closing(sqlite3.connect(self.file)) as db:
            db.execute("PRAGMA journal_mode=WAL")
        for path, mode in ((self.file.parent, 0o2770), (self.file, 0o660)):
            shutil.chown(path, "dovecot", "postfix")
            path.chmod(mode)
        self.words = {"connect": str(self.file), "tables": f"dbpath = {self.file}"}

    def facet(self) -> str:
        return f"database: sqlite, file: {self.file}"

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file, timeout=10)) as db, db:
            return db.execute(statement, values).fetchall()

    def names(self) -> list[str]:
        return [name for (name,) in self.run("SELECT name FROM sqlite_master WHERE type = 'table'")]


class PostgresqlTables(Tables):
    """Those on a server; Postfix, Dovecot and vacation.pl have a user of their own."""

    maps = "pgsql"
    user, password = "mailserver", "an-example-of-a-password"

    def __init__(self, server: databases.Postgresql) -> None:
        self.server = server
        with server.connect() as db:
            db.execute(f"CREATE USER {self.user} PASSWORD '{self.password}'")
            db.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {self.user}")
        who, name = f"user={self.user} password={self.password}", databases.NAME
        postfix = f"hosts = inet:{HOST}:{server.port}\nuser = {self.user}\npassword = {self.password}\n"
        self.words = {
            "connect": f"host={HOST} port={server.port} dbname={name} {who}",
            "tables": f"{postfix}dbname = {name}",
        }
        where = f"$db_type = 'Pg'; $db_host = '{HOST};port={server.port}'; $db_name = '{name}';"
        self.replies = f"{where} $db_username = '{self.user}'; $db_password = '{self.password}';"

    def facet(self) -> str:
        return f"database: postgresql, host: {HOST}, port: {self.server.port}"

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.server.connect() as db:
            cursor = db.execute(statement.replace("?", "%s") if values else statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def names(self) -> list[str]:
        return [name for (name,) in self.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]


@dataclass
class MailStack:
    """
    One mail server.

    `rspamd` are further files of rspamd's local.d, by name; they are templates too. `auth_cache` is how much Dovecot
    remembers of its tables ("10M"; "0": nothing, so a row that a test writes holds at once). `dns` is the port of a
    name server, if there is one; vacation.pl asks it where to hand in its answers.
    """

    folder: Path
    tables: Tables
    rspamd: Mapping[str, str] = field(default_factory=dict)
    auth_cache: str = "0"
    dns: int = 0

    def __post_init__(self) -> None:
        ports = Ports(*free_ports(len(fields(Ports))))
        self.ports = replace(ports, dns=self.dns) if self.dns else ports
        self.doveadm_key, self.rspamd_password = DOVEADM_KEY, RSPAMD_PASSWORD
        self.hostname = HOSTNAME
        self.etc = self.folder / "etc"
        self.vmail = self.folder / "vmail"
        # A folder of its own for each daemon: Linux lets nobody open another's file where all may write.
        self.mail_log = self.folder / "log/postfix/mail.log"
        self.dovecot_log = self.folder / "log/dovecot/dovecot.log"
        self.rspamd_log = self.folder / "log/rspamd/rspamd.log"
        self.rspamd_local = self.etc / "rspamd/local.d"
        self.rspamd_data = self.folder / "rspamd"
        self.outbox = self.folder / "sink"
        self._daemons: dict[str, _Daemon] = {}
        self._make()

    @property
    def database(self) -> Path:
        """The file with the tables, where it is one."""
        assert isinstance(self.tables, SqliteTables)
        return self.tables.file

    # -- files --------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        for name in (
            "etc/postfix", "etc/dovecot", "postfix/queue", "postfix/data", "dovecot/state",
            "log/postfix", "log/dovecot", "log/rspamd", "vmail", "rspamd", "redis", "sink",
        ):  # fmt: skip
            (self.folder / name).mkdir(parents=True)
        self.tables.put(self.folder)
        for name in ("postfix", "dovecot"):
            for template in (TEMPLATES / name).iterdir():
                self._write(self.etc / name / template.name, template.read_text())
        shutil.copytree(RSPAMD, self.etc / "rspamd")
        if self.tables.replies:
            self._write(self.etc / "postfix/vacation.conf", VACATION)
        for name in OFF.split():
            self._write(self.rspamd_local / f"{name}.conf", "enabled = false;\n")
        for template in (TEMPLATES / "rspamd").iterdir():
            self._write(self.rspamd_local / template.name, template.read_text())
        for file, text in self.rspamd.items():
            self._write(self.rspamd_local / file, text)
        (self.etc / "rspamd/suffixes").write_text(SUFFIXES)
        owners = {"log/rspamd": "_rspamd", "rspamd": "_rspamd", "redis": "redis", "postfix/data": "postfix"}
        for name, owner in owners.items():
            shutil.chown(self.folder / name, owner, owner)
        shutil.chown(self.outbox, "postfix")
        os.chown(self.vmail, OWNER, OWNER)
        subprocess.run([require("sievec"), "-c", self.etc / "dovecot/dovecot.conf", self.etc / "dovecot/before.sieve"],
                       check=True, timeout=30, capture_output=True)  # fmt: skip

    def _write(self, path: Path, template: str) -> None:
        words: dict[str, object] = {f"{name}_port": port for name, port in vars(self.ports).items()}
        words |= {"maps": self.tables.maps, **self.tables.words}
        words |= {"folder": self.folder, "etc": self.etc, "auth_cache": self.auth_cache}
        words |= {"replies": self.tables.replies, "replies_domain": REPLIES, "vacation": "", "transports": ""}
        if self.tables.replies:
            words["vacation"] = VACATION_PIPE.format(script=postfixadmin.vacation(), etc=self.etc, dns=self.ports.dns)
            words["transports"] = f"inline:{{ {{ {REPLIES} = vacation: }} }}"
        words |= {name: getattr(self, name) for name in ("hostname", "mail_log", "dovecot_log", "rspamd_password")}
        words["doveadm_key"] = self.doveadm_key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"@([a-z0-9_]+)@", lambda found: str(words[found[1]]), template))

    # -- starting and stopping ------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """All of it, or only some."""
        made = (self._redis(), self._rspamd(), self._dovecot(), self._sink(), self._postfix())
        self._daemons = dict(zip(("redis", "rspamd", "dovecot", "sink", "postfix"), made, strict=True))
        for name in names or self._daemons:
            self._daemons[name].start()
        for name in names or self._daemons:
            self._until_ready(name)

    def stop(self) -> None:
        running = [daemon for daemon in self._daemons.values() if daemon.process]
        for daemon in running:
            daemon.end()
        for daemon in running:
            daemon.gone()

    def stop_one(self, name: str) -> None:
        """One of redis, rspamd, dovecot, sink, postfix."""
        self._daemons[name].end()
        self._daemons[name].gone()

    def start_one(self, name: str) -> None:
        self._daemons[name].start()
        self._until_ready(name)

    def reload(self, name: str) -> None:
        """Let it read its settings again. It may take some seconds before they hold."""
        self._daemons[name].signal(signal.SIGHUP)

    def _until_ready(self, name: str) -> None:
        try:
            wait(self._daemons[name].ready, f"{name}'s answer")
        except AssertionError:
            self.stop()
            raise

    def _daemon(self, name: str, ports: str, program: str, *arguments: object) -> _Daemon:
        command = [require(program), *(str(argument) for argument in arguments)]
        found = [getattr(self.ports, port) for port in ports.split()]
        return _Daemon(command, self.folder / f"log/{name}.out", found)

    def _redis(self) -> _Daemon:
        where = ("--bind", HOST, "--port", self.ports.redis, "--dir", self.folder / "redis", "--save", "")
        daemon = self._daemon("redis", "redis", "redis-server", *where)
        daemon.user = "redis"
        return daemon

    def _rspamd(self) -> _Daemon:
        config, data = self.etc / "rspamd", self.rspamd_data
        places = {"CONFDIR": config, "LOCAL_CONFDIR": config, "LOGDIR": self.rspamd_log.parent}
        places |= {"DBDIR": data, "RUNDIR": data}
        said = [f"--var={name}={path}" for name, path in places.items()]
        who = ("-f", "-u", "_rspamd", "-g", "_rspamd", "-c", config / "rspamd.conf")
        return self._daemon("rspamd", "milter rspamd controller", "rspamd", *who, *said)

    def _dovecot(self) -> _Daemon:
        return self._daemon("dovecot", "imap pop3 doveadm", "dovecot", "-F", "-c", self.etc / "dovecot/dovecot.conf")

    def _sink(self) -> _Daemon:
        where = ("-u", "postfix", "-d", f"{self.outbox}/%s.", f"{HOST}:{self.ports.sink}", 100)
        return self._daemon("sink", "sink", "smtp-sink", *where)

    def _postfix(self) -> _Daemon:
        daemon = self._daemon("postfix", "smtp submission", "postfix", "-c", self.etc / "postfix", "start-fg")
        daemon.pid_file = self.folder / "postfix/queue/pid/master.pid"
        return daemon

    # -- mail in ----------------------------------------------------------------------------------------------------

    def deliver(
        self,
        to: str | Iterable[str],
        subject: str = "hello",
        body: str | EmailMessage = "hello\n",
        *,
        sender: str = "someone@sender.example",
        client: str = "",
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
    ) -> Reply:
        """
        Hand in a message by SMTP and say what came of it.

        `client` is the address that it comes from, as far as Postfix and rspamd know; with `login`, it is handed in at
        the port for users. Of several recipients, those that are taken get it; the reply is the last refusal, if any.
        """
        recipients = [to] if isinstance(to, str) else [*to]
        message = body if isinstance(body, EmailMessage) else made(sender, recipients, subject, body, headers)
        with smtplib.SMTP(HOST, self.ports.submission if login else self.ports.smtp, timeout=SECONDS) as smtp:
            smtp.ehlo("test.sender.example")
            if client:
                smtp.docmd("XCLIENT", f"ADDR={client} NAME=[UNAVAILABLE]")
                smtp.ehlo("test.sender.example")
            try:
                if login:
                    smtp.login(*login)
                refused = smtp.sendmail(sender, recipients, message.as_bytes(policy=email.policy.SMTP))
            except smtplib.SMTPRecipientsRefused as error:
                refused = error.recipients
            except smtplib.SMTPResponseException as error:
                return _reply(error.smtp_code, error.smtp_error)
        return _reply(*[*refused.values()][-1]) if refused else Reply(250, "")

    def submit(self, user: str, password: str, to: str | Iterable[str], subject: str = "hello", **more: Any) -> Reply:
        """Hand in a message as a user's mail program does."""
        return self.deliver(to, subject, sender=user, login=(user, password), **more)

    # -- mail out ---------------------------------------------------------------------------------------------------

    def imap(self, user: str, password: str) -> imaplib.IMAP4:
        """A session. Raises imaplib.IMAP4.error when the log-in is refused."""
        session = imaplib.IMAP4(HOST, self.ports.imap, timeout=SECONDS)
        try:
            session.login(user, password)
        except BaseException:
            session.shutdown()
            raise
        return session

    def pop3(self, user: str, password: str) -> poplib.POP3:
        """A session. Raises poplib.error_proto when the log-in is refused."""
        session = poplib.POP3(HOST, self.ports.pop3, timeout=SECONDS)
        try:
            session.user(user)
            session.pass_(password)
        except BaseException:
            session.close()
            raise
        return session

    def logs_in(self, user: str, password: str) -> bool:
        try:
            session = self.imap(user, password)
        except imaplib.IMAP4.error:
            return False
        session.logout()
        return True

    def ended(self, session: imaplib.IMAP4 | poplib.POP3) -> bool:
        """Whether the server has closed a session, or does so within a second."""
        over = time.monotonic() + 1
        try:
            while time.monotonic() < over:
                session.noop()
                time.sleep(0.03)
        except (imaplib.IMAP4.abort, poplib.error_proto, OSError):
            return True
        return False

    def messages(self, user: str, password: str, folder: str = "INBOX", subject: str = "") -> list[EmailMessage]:
        """What its owner finds in a folder; with `subject`, only messages in whose subject that is."""
        session = self.imap(user, password)
        try:
            said, _ = session.select(f'"{folder}"', readonly=True)
            if said != "OK":
                return []
            criteria = ["SUBJECT", f'"{subject}"'] if subject else ["ALL"]
            numbers = session.search(None, *criteria)[1][0].split()
            return [_message(session.fetch(number.decode(), "(BODY.PEEK[])")[1]) for number in numbers]
        finally:
            session.logout()

    def wait_for(self, user: str, password: str, subject: str, folder: str = "INBOX") -> EmailMessage:
        """The first message with this subject, as soon as it is there."""
        what = f"{subject!r} for {user}"
        return wait(lambda: self.messages(user, password, folder, subject), what)[0]

    def sent(self, subject: str = "") -> list[Sent]:
        """What went out to other servers; with `subject`, only messages in whose subject that is."""
        found = (_sent(path.read_bytes()) for path in sorted(self.outbox.iterdir()))
        return [each for each in found if each and subject in str(each.message["Subject"])]

    def wait_for_sent(self, subject: str) -> Sent:
        return wait(lambda: self.sent(subject), f"{subject!r} at the sink")[0]

    def scan(
        self, message: EmailMessage, client: str, sender: str, recipients: Sequence[str], user: str = ""
    ) -> dict[str, Any]:
        """What rspamd says of a message, without the others; with `user`, somebody of this name has logged in."""
        headers = [("IP", client), ("From", sender), *(("Rcpt", each) for each in recipients), ("Pass", "all")]
        headers += [("User", user)] if user else []
        body = message.as_bytes(policy=email.policy.SMTP)
        with closing(HTTPConnection(HOST, self.ports.rspamd, timeout=SECONDS)) as connection:
            connection.putrequest("POST", "/checkv2")
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                connection.putheader(name, value)
            connection.endheaders(body)
            said: dict[str, Any] = json.loads(connection.getresponse().read())
        return said

    # -- the queue, and doveadm -------------------------------------------------------------------------------------

    def queue(self) -> list[dict[str, Any]]:
        """What Postfix has not delivered yet, as `postqueue -j` tells it."""
        said = self.run("postqueue", "-c", self.etc / "postfix", "-j")
        return [json.loads(line) for line in said.splitlines()]

    def settle(self) -> None:
        """Wait until nothing is on its way any more."""
        wait(lambda: not self.queue(), "an empty queue")

    def flush(self) -> None:
        """Let Postfix try again at once."""
        self.run("postqueue", "-c", self.etc / "postfix", "-f")

    def run(self, program: str, *arguments: str | Path) -> str:
        """What a program of the server prints."""
        command = [require(program), *(str(argument) for argument in arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    def doveadm(self, command: str, **parameters: object) -> list[dict[str, Any]]:
        """What doveadm's HTTP API answers to a command. Raises Refused."""
        key = base64.b64encode(self.doveadm_key.encode()).decode()
        headers = {"Authorization": f"X-Dovecot-API {key}", "Content-Type": "application/json"}
        with closing(HTTPConnection(HOST, self.ports.doveadm, timeout=SECONDS)) as connection:
            connection.request("POST", "/doveadm/v1", json.dumps([[command, parameters, "tag"]]), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status != 200:
            raise Refused(f"{answer.status} {text}")
        kind, said, *beside, _ = json.loads(text)[0]
        if kind == "error":
            raise Refused(str(said))
        return [*said, *beside]  # where `who` puts rows after the first

    # -- the tables -------------------------------------------------------------------------------------------------

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read or change PostfixAdmin's tables behind mspctl's back; values stand as ?."""
        return self.tables.run(statement, *values)

    def clear(self) -> None:
        """Nothing in the tables, the queue, the mailboxes and the sink any more; the logs go on."""
        if self.queue():
            self.run("postsuper", "-c", self.etc / "postfix", "-d", "ALL")
        if self.doveadm("who"):
            self.doveadm("kick", mask=["*"])
        for name in self.tables.names():
            if name not in ("config", "admin") and not name.startswith("sqlite_"):
                self.sql(f"DELETE FROM {name}")  # noqa: S608
        for entry in self.vmail.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for entry in self.outbox.iterdir():
            entry.unlink()


# -- messages -------------------------------------------------------------------------------------------------------


def made(
    sender: str, to: Sequence[str], subject: str, body: str, headers: Mapping[str, str] | None = None
) -> EmailMessage:
    """A plain message."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, ", ".join(to), subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    for name, value in (headers or {}).items():
        message[name] = value
    message.set_content(body)
    return message


def _reply(code: int, text: bytes | str) -> Reply:
    return Reply(code, text.decode(errors="replace") if isinstance(text, bytes) else text)


def _parsed(text: bytes) -> EmailMessage:
    plain = text.replace(b"\r\n", b"\n")
    found: EmailMessage = email.message_from_bytes(plain, policy=email.policy.default)
    return found


def _message(fetched: list[Any]) -> EmailMessage:
    return _parsed(next(part[1] for part in fetched if isinstance(part, tuple)))


def _sent(text: bytes) -> Sent | None:
    """A file of the sink, once it is complete: what SMTP said, then the message, then an empty line."""
    head, end, rest = text.partition(b" (smtp-sink) with ")
    if not end or not rest.endswith(b"\n\n"):
        return None
    said = dict[str, list[str]]()
    for line in head.decode().splitlines():
        name, colon, value = line.partition(": ")
        if colon:
            said.setdefault(name, []).append(value)
    addresses = {name: [re.sub(r"^<|>.*$", "", each) for each in values] for name, values in said.items()}
    raw = rest.partition(b";\n")[2].partition(b"\n")[2].removesuffix(b"\n").replace(b"\n", b"\r\n")
    return Sent(addresses["X-Mail-Args"][0], addresses["X-Rcpt-Args"], _parsed(raw), raw)


# -- fixtures -------------------------------------------------------------------------------------------------------


def possible() -> None:
    """Skip where it cannot be: it wants root, and Dovecot 2.3 (2.4, in Debian 13, has other settings)."""
    if os.geteuid() != 0:
        pytest.skip("Postfix, Dovecot and rspamd start as root only")
    system = platform.freedesktop_os_release()
    if (system["ID"], system.get("VERSION_ID")) != ("debian", "12"):
        pytest.skip(f"the mail server's settings are those of Debian 12, and this is {system['PRETTY_NAME']}")
    for program in ("postfix", "dovecot", "sievec", "rspamd", "redis-server", "smtp-sink"):
        require(program)


@contextmanager
def running(
    tables: Path | databases.Postgresql,
    *,
    rspamd: Mapping[str, str] | None = None,
    auth_cache: str = "0",
    dns: int = 0,
) -> Iterator[MailStack]:
    """A mail server on PostfixAdmin's tables: a copy of a file with empty ones, or a server's own. See MailStack."""
    possible()
    folder = Path(tempfile.mkdtemp(prefix="mail-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        there = SqliteTables(tables) if isinstance(tables, Path) else PostgresqlTables(tables)
        stack = MailStack(folder, there, rspamd or {}, auth_cache, dns)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
