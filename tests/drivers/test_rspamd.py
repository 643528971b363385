"""rspamd's lists, limits and keys: the contract, and what a real rspamd makes of them."""

from __future__ import annotations

import grp
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any, ClassVar, cast

import dkim
import pytest

from mspctl.driver import Access
from mspctl.drivers import rspamd as driven
from mspctl.kinds import filter as filters
from mspctl.kinds import mail
from mspctl.plan import REVERT, Standing
from mspctl.resource import Cause, Id, Resource, Scope
from mspctl.secrets import Secrets
from mspctl.transports import machine
from tests.drivers.contract import DriverContract, Rig, Sample, read
from tests.drivers.workbench import Workbench
from tests.servers import name_servers, rspamd, sshd
from tests.servers.mail_stack import MailStack, made, wait

NAMES = ("acme.example", "beta.example", "xn--perch-fsa.example")
SCOPES = [Scope("mail-1", filters.FACET, name, "acme") for name in NAMES]
SCOPE = SCOPES[0]
WHY = 'ordini respinti, "ticket" 4711 \\ ${DBDIR} ü'


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


class Names:
    """What DNS says of some senders, whose keys we have; and of keys that are on the mail server."""

    signers = ("fornitore.example", "person.example")
    spf_client = "203.0.113.10"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = {name: folder / f"{name}.key" for name in ("old", "new")}
        for path in self.keys.values():
            openssl("genrsa", "-out", path, "2048")
        self.key = self.keys["old"]  # of those who write to us, too

    def text(self, key: Path) -> str:
        strings = ["v=DKIM1; k=rsa; p=", *openssl("pkey", "-in", key, "-pubout").splitlines()[1:-1]]
        return " ".join(f'"{each}"' for each in strings)

    def zones(self, keys: Mapping[str, Sequence[str]]) -> dict[str, Path]:
        """Zone files; `keys` are selectors of further zones, which are names of keys here."""
        said = {name: [f"sig._domainkey TXT {self.text(self.key)}"] for name in self.signers}
        said |= {"spf.example": [f'@ TXT "v=spf1 ip4:{self.spf_client} -all"']}
        for zone, selectors in keys.items():
            said[zone] = [f"{name}._domainkey TXT {self.text(self.keys[name])}" for name in selectors]
        for zone, lines in said.items():
            text = "$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n"
            (self.folder / f"{zone}.zone").write_text(text + "\n".join(lines) + "\n")
        return {zone: self.folder / f"{zone}.zone" for zone in said}

    def signed(self, message: EmailMessage, domain: str) -> EmailMessage:
        raw = message.as_bytes(policy=policy.SMTP)
        signature = dkim.sign(raw, b"sig", domain.encode(), self.key.read_bytes(), include_headers=[b"from", b"to"])
        found: EmailMessage = message_from_bytes(signature + raw, policy=policy.SMTP)
        return found


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Names:
    return Names(tmp_path_factory.mktemp("names"))


@pytest.fixture(scope="module")
def server(names: Names) -> Iterator[MailStack]:
    """One whose keys `old` and `new` of two domains are there; DNS has not yet the newer one of the first."""
    seen = {NAMES[0]: ["old"], NAMES[1]: ["old", "new"]}
    with name_servers.nsd(names.folder, names.zones(seen)) as port, rspamd.running(dns=port) as running:
        folder = running.etc / "rspamd/dkim"
        folder.mkdir(mode=0o750)
        shutil.chown(folder, group="_rspamd")
        for path in (folder / f"{zone}.{name}.key" for zone in seen for name in names.keys):
            shutil.copy(names.keys[path.name.split(".")[-2]], path)
            path.chmod(0o640)
            shutil.chown(path, group="_rspamd")
        yield running


class RspamdRig(Rig):
    scopes = SCOPES

    def __init__(self, server: MailStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.server = server
        self.config = server.etc / "rspamd"
        self.folder = self.config / "mspctl"
        self.told: dict[str, object] = {"via": "local", "config": str(self.config)}
        self.told |= {"data": str(server.rspamd_data), "timeout": "20s"}
        settings = driven.Settings.model_validate(self.told)
        self.access = Access("mail-1", "127.0.0.1", settings, Secrets({}), tmp_path)
        self.monkeypatch, self.programs = monkeypatch, tmp_path / "programs"
        shutil.rmtree(self.folder, ignore_errors=True)  # keys stay: a domain's first test makes them for all

    def settings(self, **said: object) -> None:
        """Other settings of the driver."""
        self.told |= said
        self.access = replace(self.access, settings=driven.Settings.model_validate(self.told))

    def reader(self) -> driven.Reader:
        return driven.Reader(self.access)

    def driver(self) -> driven.Driver:
        return driven.Driver(self.access)

    def file(self, scope: Scope) -> Path:
        return self.folder / f"{scope.name}.json"

    def said(self, scope: Scope) -> dict[str, Any]:
        if not self.file(scope).exists():
            return {}
        lines = self.file(scope).read_text().splitlines()
        return dict(json.loads("\n".join(line for line in lines if not line.startswith("#"))))

    def put(self, scope: Scope, said: dict[str, Any]) -> None:
        """As somebody with an editor: in place."""
        self.folder.mkdir(exist_ok=True)
        self.file(scope).write_text(json.dumps(said))

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        said, name = self.said(scope), id_.kind.rpartition(".")[2]
        if id_.kind in filters.LISTS:
            said.setdefault(name, {}).pop(id_.name, None)
            if resource:
                said[name][id_.name] = resource.fields
        elif resource is None:
            said.pop(name, None)
        else:
            plain = {n: sorted(v) if isinstance(v, frozenset) else v for n, v in resource.fields.items()}
            said[name] = plain.get("names", plain)
        self.put(scope, said)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        away = self.config.with_name("away")
        self.config.rename(away)
        yield
        away.rename(self.config)

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        """The disk is full when this file is put in place."""
        script = f'case "$*" in *{self.file(scope)}) echo "mv: No space left on device" >&2; exit 1;; esac\n'
        with self.monkeypatch.context() as patch:
            self.shim(patch, "mv", script)
            yield

    def shim(self, patch: pytest.MonkeyPatch, name: str, script: str) -> None:
        """A program that runs a script before the real one of its name."""
        self.programs.mkdir(exist_ok=True)
        (self.programs / name).write_text(f'#!/bin/sh\n{script}exec {shutil.which(name)} "$@"\n')
        (self.programs / name).chmod(0o755)
        patch.setenv("PATH", f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin")

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        before = self.file(scope).read_bytes()
        self.file(scope).write_bytes(before[:-20])
        yield
        self.file(scope).write_bytes(before)

    def shuffle(self, scope: Scope) -> None:
        said = {name: each for name, each in reversed(self.said(scope).items())}
        self.put(scope, {n: dict(reversed(v.items())) if isinstance(v, dict) else v[::-1] for n, v in said.items()})

    def native(self, scope: Scope) -> object:
        keys = {path.name: path.read_bytes() for path in (self.config / "dkim").glob(f"{scope.name}.*")}
        return self.file(scope).read_bytes() if self.file(scope).exists() else b"", keys


@pytest.fixture
def rig(server: MailStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RspamdRig:
    return RspamdRig(server, monkeypatch, tmp_path)


def allowed(sender: str = "fornitore.example", /, **fields: str) -> Resource:
    said = {"why": WHY, "must_pass": "dkim", "until": "2027-06-30T22:00:00Z", "asked_by": "maria", "ticket": "4711"}
    return filters.entry(filters.ALLOW, sender, **said | fields, source="customers/acme/mail.yaml:7")


def blocked(sender: str = "198.51.100.0/24", /, **fields: str) -> Resource:
    said = {"why": "spam", "until": "", "asked_by": "", "ticket": ""} | fields
    return filters.entry(filters.BLOCK, sender, **said, source="customers/acme/mail.yaml:9")


class TestRspamd(DriverContract):
    removes_scopes = True
    samples = (
        Sample(
            allowed(),
            [
                allowed(why="another reason"),
                allowed(must_pass="spf"),
                allowed(until="2027-07-31T22:00:00Z"),
                allowed(asked_by=""),
                allowed(ticket="4712"),
            ],
        ),
        Sample(filters.limits(25 * 2**20, "200/1h"), [filters.limits(0, "200/1h"), filters.limits(25 * 2**20, "")]),
        Sample(
            filters.signing("mail", ["acme.it"]),
            [filters.signing("k2", ["acme.it"]), filters.signing("mail", ["acme.it", "x.example"])],
        ),
        Sample(filters.alias_domains(["acme.it"]), [filters.alias_domains(["acme.it", "acme.net"])]),
        Sample(filters.key("mail"), []),
    )
    impossible = ((mail.alias("tutti", ["a@b.example"]), "rspamd holds no mail.alias"),)
    many = tuple(blocked(f"198.51.{n // 256}.{n % 256}") for n in range(1000))


# -- what rspamd makes of it ------------------------------------------------------------------------------------


@pytest.fixture
def bench(rig: RspamdRig) -> Workbench:
    return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)


class Mail:
    """Mail as it comes to, or goes out of, a server whose lists are known to be in force."""

    marks: ClassVar = itertools.count(1)

    def __init__(self, rig: RspamdRig, bench: Workbench) -> None:
        self.server, self.bench = rig.server, bench

    def declare(self, scope: Scope, *resources: Resource) -> Resource:
        """Apply, and wait until rspamd knows of it: a sender of no other use tells. Returns that one's entry."""
        number = next(self.marks)
        mark = blocked(f"198.18.{number // 250}.{number % 250}")
        self.bench.declare(scope, *resources, mark)
        self.bench.converge()
        wait(lambda: self.verdict(f"x@{scope.name}", client=mark.id.name) == "block", "the new list")
        return mark

    def scan(self, *to: str, client: str = "203.0.113.5", **more: Any) -> dict[str, Any]:
        message = more.pop("message", None) or letter(more.pop("sender", "a@sender.example"), *to)
        envelope = more.pop("envelope", None) or parseaddr(str(message["From"]))[1]
        return self.server.scan(message, client, envelope, to, **more)

    def verdict(self, *to: str, **more: Any) -> str:
        symbols = self.scan(*to, **more)["symbols"]
        return next((name for name in ("allow", "block") if f"MSPCTL_{name.upper()}" in symbols), "")


def letter(sender: str, *to: str, body: str = "hello\n") -> EmailMessage:
    return made(sender, to or ["x@elsewhere.example"], "hello", body)


@pytest.fixture
def mail_of(rig: RspamdRig, bench: Workbench) -> Mail:
    return Mail(rig, bench)


def test_a_list_holds_for_its_own_domain_and_no_other(mail_of: Mail) -> None:
    mail_of.declare(SCOPES[1], allowed("203.0.113.66", must_pass="", until=""))
    mail_of.declare(
        SCOPE,
        allowed("203.0.113.66", must_pass="", until=""),
        allowed("198.51.100.0/24", must_pass="", until=""),
        blocked("2001:db8:bad::/48"),
        blocked("bad.example"),
        blocked("one@mixed.example"),
        filters.alias_domains(["acme.it"]),
    )
    to, other = "paolo@acme.example", "anna@beta.example"
    assert mail_of.verdict(to, client="198.51.100.77") == "allow"
    assert mail_of.verdict("paolo@ACME.it", client="198.51.100.77") == "allow"
    assert mail_of.verdict(to, client="198.51.101.77") == ""
    assert mail_of.verdict(other, client="198.51.100.77") == ""
    assert mail_of.verdict(to, client="2001:db8:bad::1") == "block"
    assert mail_of.verdict(to, sender="x@mail.BAD.example") == "block"
    assert mail_of.verdict(to, sender="x@ok.example", envelope="y@bad.example") == "block"
    assert mail_of.verdict(to, sender="x@notbad.example") == ""
    assert mail_of.verdict(to, sender="one@mixed.example") == "block"
    assert mail_of.verdict(to, sender="two@mixed.example") == ""
    assert mail_of.verdict(to, sender="x@bad.example", client="198.51.100.77") == "block"
    # One message to two customers: only what both say, so that neither decides for the other.
    assert mail_of.verdict(to, other, client="203.0.113.66") == "allow"
    assert mail_of.verdict(to, other, client="198.51.100.77") == ""
    assert mail_of.verdict(to, other, sender="x@bad.example") == ""
    # Who has logged in is one of ours.
    assert mail_of.verdict(to, sender="x@bad.example", user="x@bad.example") == ""


def test_an_entry_ends_at_its_time_though_nobody_applies_anything(mail_of: Mail) -> None:
    ended, runs = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    said = f"{ended:%Y-%m-%dT%H:%M:%SZ}", f"{runs:%Y-%m-%dT%H:%M:%SZ}"
    mail_of.declare(SCOPE, blocked("198.51.100.1", until=said[0]), blocked("198.51.100.2", until=said[1]))
    assert mail_of.verdict("x@acme.example", client="198.51.100.1") == ""
    assert mail_of.verdict("x@acme.example", client="198.51.100.2") == "block"


def test_a_name_is_allowed_only_by_what_the_message_proves(mail_of: Mail, names: Names) -> None:
    to = "paolo@acme.example"
    mail_of.declare(
        SCOPE,
        allowed("fornitore.example", until=""),
        allowed("spf.example", must_pass="spf", until=""),
        allowed("boss@person.example", until=""),
    )

    def dkim_of(sender: str, signer: str, tamper: str = "") -> str:
        message = names.signed(letter(sender, to), signer)
        if tamper:
            message.set_payload(tamper)
        return mail_of.verdict(to, message=message)

    assert dkim_of("ordini@fornitore.example", "fornitore.example") == "allow"
    assert dkim_of("ordini@mail.fornitore.example", "fornitore.example") == "allow"
    assert dkim_of("boss@person.example", "person.example") == "allow"
    assert dkim_of("other@person.example", "person.example") == ""
    assert dkim_of("ordini@fornitore.example", "person.example") == ""
    assert dkim_of("ordini@fornitore.example", "fornitore.example", tamper="pay here\n") == ""
    assert mail_of.verdict(to, sender="ordini@fornitore.example") == ""
    assert mail_of.verdict(to, sender="ordini@fornitore.example", client=names.spf_client) == ""

    assert mail_of.verdict(to, sender="x@spf.example", client=names.spf_client) == "allow"
    assert mail_of.verdict(to, sender="x@spf.example") == ""
    assert mail_of.verdict(to, sender="x@spf.example", envelope="x@person.example", client=names.spf_client) == ""
    assert mail_of.verdict(to, sender="x@person.example", envelope="x@spf.example", client=names.spf_client) == ""


def test_of_two_senders_in_one_message_none_is_allowed(mail_of: Mail, names: Names) -> None:
    to = "paolo@acme.example"
    mail_of.declare(SCOPE, allowed("fornitore.example", until=""))
    message = names.signed(letter("a@fornitore.example", to), "fornitore.example")
    assert mail_of.verdict(to, message=message) == "allow"
    message = made("a@fornitore.example, b@evil.example", [to], "hello", "hello\n")
    assert mail_of.verdict(to, message=names.signed(message, "fornitore.example"), envelope="a@x.example") == ""


def test_messages_that_are_too_large_are_refused(mail_of: Mail) -> None:
    mail_of.declare(SCOPE, filters.limits(20_000, ""), filters.alias_domains(["acme.it"]))
    large = letter("a@sender.example", body="x" * 70 + "\n" + ("x" * 70 + "\n") * 300)
    said = mail_of.scan("x@acme.example", message=large)
    assert (said["action"], said["messages"]) == (
        "reject",
        {"smtp_message": "acme.example takes messages of at most 20000 bytes"},
    )
    assert mail_of.scan("x@acme.it", message=large)["action"] == "reject"
    assert mail_of.scan("x@acme.example")["action"] != "reject"
    assert mail_of.scan("x@beta.example", message=large)["action"] != "reject"
    assert mail_of.scan("x@acme.example", "x@beta.example", message=large)["action"] != "reject"
    assert mail_of.scan("x@elsewhere.example", message=large, user="paolo@acme.example")["action"] == "reject"
    assert mail_of.scan("x@elsewhere.example", message=large, user="anna@beta.example")["action"] != "reject"


def test_a_domain_sends_so_much_and_no_more(mail_of: Mail) -> None:
    mail_of.declare(SCOPES[2], filters.limits(0, "5/1h"))
    mail_of.declare(SCOPE, filters.limits(0, "5/1h"))

    def send(user: str, *to: str) -> str:
        return str(mail_of.scan(*(to or ["x@elsewhere.example"]), sender=user, user=user)["action"])

    assert send("a@acme.example", "x@elsewhere.example", "y@elsewhere.example") == "no action"
    assert send("b@acme.example", "x@elsewhere.example", "y@elsewhere.example") == "no action"
    assert send("c@acme.example", "x@elsewhere.example", "y@elsewhere.example") == "soft reject"
    assert send("c@acme.example") == "no action"
    said = mail_of.scan("x@elsewhere.example", sender="c@acme.example", user="c@acme.example")
    assert (said["action"], said["messages"]["smtp_message"]) == (
        "soft reject",
        "acme.example may send 5/1h messages; try again later",
    )
    assert send("a@beta.example") == "no action"
    assert send("a@xn--perch-fsa.example") == "no action"
    assert mail_of.scan("paolo@acme.example")["action"] != "soft reject"  # what comes in is not counted


# -- keys -------------------------------------------------------------------------------------------------------


def signer(said: dict[str, Any], message: EmailMessage, keys: Mapping[str, str]) -> str:
    """The selector of the signature that rspamd would add, once it was verified; "" for none."""
    signature = said.get("dkim-signature", "")
    if not signature:
        return ""
    raw = b"DKIM-Signature: " + signature.encode() + b"\r\n" + message.as_bytes(policy=policy.SMTP)

    def ask(name: bytes, timeout: int = 5) -> bytes | None:
        selector = name.decode().partition(".")[0]
        return keys[f"dkim {selector}"].encode() if f"dkim {selector}" in keys else None

    assert dkim.verify(raw, dnsfunc=ask), signature
    assert not dkim.verify(raw.replace(b"hello", b"hellO"), dnsfunc=ask)
    return str(re.findall(r"\bs=([a-z0-9-]+)", signature)[0])


def test_a_key_is_made_there_and_signs_for_those_who_may(mail_of: Mail, rig: RspamdRig) -> None:
    mail_of.declare(SCOPE, filters.key("mail"), filters.signing("mail", ["acme.it"]))
    outputs = read(rig, SCOPE).outputs
    assert outputs.keys() == {"dkim mail"}
    assert mail_of.bench.outputs()[SCOPE] == outputs

    def signed(sender: str = "paolo@acme.example", **more: Any) -> str:
        message = letter(sender)
        said = mail_of.scan("x@elsewhere.example", message=message, **more)
        return signer(said, message, cast(dict[str, str], outputs))

    assert signed(user="paolo@acme.example") == "mail"
    assert signed(user="Paolo@Acme.It") == "mail"
    assert signed(client="127.0.0.1") == "mail"
    assert signed(user="anna@beta.example") == ""
    assert signed(user="paolo") == ""
    assert signed() == ""  # somebody out there who only says so
    assert signed("anna@beta.example", user="paolo@acme.example") == ""
    assert signed("x@sub.acme.example", user="paolo@acme.example") == ""


def test_the_private_key_is_for_rspamd_and_stays_there(rig: RspamdRig, bench: Workbench) -> None:
    bench.declare(SCOPE, filters.key("mail"))
    outcome = bench.converge()
    path = rig.config / "dkim/acme.example.mail.key"
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    found = path.stat(), path.parent.stat()
    assert [(s.st_uid, s.st_mode & 0o7777, grp.getgrgid(s.st_gid).gr_name) for s in found] == [
        (0, 0o640, "_rspamd"), (0, 0o750, "_rspamd")
    ]  # fmt: skip
    secret = path.read_text().splitlines()[1]
    assert secret not in f"{outcome} {read(rig, SCOPE)} {bench.ledger.recorded()}"


def test_a_key_that_is_there_is_used_and_never_written_over(rig: RspamdRig, bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    made = tmp_path / "keys/acme.example.mail.key"
    openssl("genrsa", "-out", made, "1024")
    before = made.read_bytes()
    rig.settings(keys=str(tmp_path / "keys"))
    bench.declare(SCOPE, filters.key("mail"))
    bench.converge()
    assert made.read_bytes() == before
    text = str(read(rig, SCOPE).outputs["dkim mail"])
    assert text.partition("p=")[2] == "".join(openssl("rsa", "-in", made, "-pubout").splitlines()[1:-1])


def test_a_key_takes_over_when_everybody_can_see_it(mail_of: Mail, rig: RspamdRig, names: Names) -> None:
    """In DNS, acme.example has its old key only, beta.example both."""
    for scope in SCOPES[:2]:
        mail_of.declare(scope, filters.key("old"), filters.key("new"), filters.signing("new"))
    for scope, selector in zip(SCOPES, ("old", "new"), strict=False):
        message = letter(f"paolo@{scope.name}")
        said = mail_of.scan("x@elsewhere.example", message=message, user=f"paolo@{scope.name}")
        assert signer(said, message, cast(dict[str, str], read(rig, scope).outputs)) == selector


def test_an_old_key_goes_when_it_is_named_and_says_so(rig: RspamdRig, bench: Workbench) -> None:
    bench.approved = False
    bench.declare(SCOPE, filters.key("mail"), filters.signing("mail"))
    bench.converge()
    bench.declare(SCOPE, filters.key("k2"), filters.signing("k2"))
    bench.apply()
    (step,) = bench.plan()[SCOPE].steps
    assert (step.change.id, step.change.verb, step.standing) == (filters.key_id("mail"), "delete", Standing.APPROVAL)
    assert (rig.config / "dkim/acme.example.mail.key").exists()
    assert read(rig, SCOPE).outputs.keys() == {"dkim k2", "dkim mail"}
    bench.approved = True
    bench.converge()
    assert not (rig.config / "dkim/acme.example.mail.key").exists()
    assert bench.outputs()[SCOPE]["dkim mail"] == ""
    assert read(rig, SCOPE).outputs.keys() == {"dkim k2"}


def test_a_key_that_is_gone_is_drift_and_its_text_stays_known(rig: RspamdRig, bench: Workbench) -> None:
    bench.declare(SCOPE, filters.key("mail"), blocked())
    bench.converge()
    before = bench.outputs()[SCOPE]
    (rig.config / "dkim/acme.example.mail.key").unlink()
    assert bench.causes(SCOPE) == {"mail._domainkey": Cause.DRIFT}
    assert bench.outputs()[SCOPE] == before
    bench.declare(SCOPE, filters.key("mail"), blocked(why="other"))
    assert bench.apply().landed == 1
    bench.converge(causes=REVERT)
    assert bench.outputs()[SCOPE]["dkim mail"] not in ("", before["dkim mail"])


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is not an RSA key"), (b"hello", "is not an RSA key"), (None, "is not an RSA key")],
)
def test_a_key_that_is_none_is_one_line(rig: RspamdRig, bench: Workbench, content: bytes | None, why: str) -> None:
    bench.declare(SCOPE, filters.key("mail"))
    bench.declare(SCOPES[1], blocked())
    bench.converge()
    path = rig.config / "dkim/acme.example.mail.key"
    kept = path.read_bytes()
    if content is None:
        openssl("genpkey", "-algorithm", "ed25519", "-out", path)
    else:
        path.write_bytes(content)
    plans = bench.plan()
    path.write_bytes(kept)
    assert why in plans[SCOPE].error
    assert "\n" not in plans[SCOPE].error
    assert not plans[SCOPES[1]].error


# -- the rule, and what goes wrong ------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RspamdRig]:
    """A server on which mspctl was never."""
    with rspamd.running(rspamd={"redis.conf": ""}) as running:
        yield RspamdRig(running, monkeypatch, tmp_path)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_first_apply_installs_the_rule_and_nothing_else(fresh: RspamdRig) -> None:
    bench = Workbench(lambda scope: fresh.reader(), lambda scope: fresh.driver())
    (fresh.config / "plugins.d").mkdir()
    (fresh.config / "plugins.d/theirs.lua").write_text("-- theirs\n")
    before = tree(fresh.config)
    bench.declare(SCOPE)
    assert bench.apply().landed == 0
    assert tree(fresh.config) == before
    mail_of = Mail(fresh, bench)
    mail_of.declare(SCOPE)
    after = tree(fresh.config)
    new = {"mspctl/acme.example.json", "plugins.d/mspctl.lua", "modules.d/mspctl.conf"}
    assert after.keys() - before.keys() == new
    assert before.items() <= after.items()
    assert all(b"Written by mspctl" in after[name].splitlines()[0] for name in new)
    assert b"customers/acme/mail.yaml" in after["mspctl/acme.example.json"].splitlines()[0]

    # An older rule works as it does, and makes room when something is written.
    rule = fresh.config / "plugins.d/mspctl.lua"
    rule.write_text(rule.read_text() + "-- of an older version\n")
    fresh.server.reload("rspamd")
    wait(lambda: bench.causes(SCOPE) == {}, "the older rule")
    mark = mail_of.declare(SCOPE, blocked())
    assert rule.read_bytes() == after["plugins.d/mspctl.lua"]

    # Without Redis nothing can be counted, which is told before anything is written.
    before = tree(fresh.config)
    bench.declare(SCOPE, filters.limits(0, "5/1h"))
    (end,) = bench.apply().unfinished
    assert end.error == "sending_rate needs Redis, and rspamd was told of none (local.d/redis.conf: servers)"
    assert tree(fresh.config) == before

    # Without the rule nothing is in force; what lay there comes back whole, with what was not ours.
    fresh.by_hand(SCOPE, blocked("198.51.100.9").id, blocked("198.51.100.9"))
    rule.unlink()
    bench.declare(SCOPE, blocked(), mark)
    reading = read(fresh, SCOPE)
    assert (reading.resources, reading.exists) == ((), False)
    bench.approved = True
    bench.converge(causes=REVERT)
    assert {r.id.name for r in read(fresh, SCOPE).resources} == {"198.51.100.0/24", "198.51.100.9", mark.id.name}


def test_a_rule_that_rspamd_does_not_load_is_taken_out_again(fresh: RspamdRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driven.server, "LOADING", 1.0)
    bench = Workbench(lambda scope: fresh.reader(), lambda scope: fresh.driver())
    (fresh.config / "local.d/mspctl.conf").write_text("enabled = false;\n")
    before = tree(fresh.config)
    bench.declare(SCOPE, blocked())
    (end,) = bench.apply().unfinished
    assert "rspamd does not load mspctl.lua, which is out again; its log says why" in end.error
    assert tree(fresh.config) == before
    (fresh.config / "local.d/mspctl.conf").unlink()
    monkeypatch.setattr(driven.server, "LOADING", 30.0)
    Mail(fresh, bench).declare(SCOPE)

    fresh.server.stop_one("rspamd")
    before = tree(fresh.config)
    bench.declare(SCOPE, blocked(why="other"))
    (end,) = bench.apply().unfinished
    assert "rspamd does not run, so nothing was written (" in end.error
    assert "\n" not in end.error
    assert tree(fresh.config) == before


def test_a_folder_that_cannot_be_written_is_one_line(rig: RspamdRig, bench: Workbench) -> None:
    bench.declare(SCOPE, blocked())
    bench.converge()
    bench.declare(SCOPE, blocked(why="other"), filters.key("fresh"))
    before = tree(rig.folder)
    with rig.monkeypatch.context() as patch:
        rig.shim(patch, "mktemp", 'echo "mktemp: Read-only file system" >&2; exit 1\n')
        (end,) = bench.apply().unfinished
    assert "Read-only file system" in end.error
    assert "\n" not in end.error
    assert tree(rig.folder) == before
    bench.converge()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"allow": []}', "allow: Input should be a valid dictionary"),
        ('{"allow": {"Fornitore.example": {}}}', "Fornitore.example is spelled fornitore.example"),
        ('{"allow": {"a b": {}}}', "'a b' is not a sender"),
        ('{"block": {"a.example": {"until": "tomorrow"}}}', "'tomorrow' is not a time"),
        ('{"block": {"a.example": {}, "a.example": {}}}', "a key is there twice"),
        ('{"block": {"a.example": {"when": ""}}}', "Extra inputs are not permitted"),
        ('{"dkim": {"mail": "a\\nb"}}', "is not the path of a key"),
        ('{"limits": {"sending_rate": "5/60m"}}', "5/60m is spelled 5/1h"),
        ("[1", "Expecting"),
        ("", "Expecting value"),
        ('"\xff', "is not UTF-8 text"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line(rig: RspamdRig, bench: Workbench, text: str, why: str) -> None:
    bench.declare(SCOPE, blocked())
    bench.converge()
    rig.file(SCOPE).write_bytes(text.encode("latin-1"))
    error = bench.plan()[SCOPE].error
    assert why in error
    assert "acme.example.json" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    "text", ["{", '"x"', '{"allow": 5}', '{"allow": {"a.example": 5}}', '{"signing": {"senders": 1}}']
)
def test_a_file_that_makes_no_sense_costs_nobody_their_lists(mail_of: Mail, rig: RspamdRig, text: str) -> None:
    mail_of.declare(SCOPE, blocked())
    log = rig.server.rspamd_log
    told = len(log.read_text())
    rig.file(SCOPE).write_text(text)
    wait(lambda: f"{rig.file(SCOPE)} cannot be read" in log.read_text()[told:], "a word about it")
    mail_of.bench.forget(SCOPE)
    mail_of.declare(SCOPES[1], blocked())
    for scope in SCOPES[:2]:
        assert mail_of.verdict(f"x@{scope.name}", client="198.51.100.7") == "block"


HOSTILE = [
    'x"}}, "block": {"0.0.0.0/0": {}}} #',
    "x'); os.execute('touch /tmp/mspctl-was-here') --",
    'x\n}\n.include(try=false) "/etc/passwd"\n"block" {',
    "${DBDIR} $HOME `id` $(id) \\u0022 \\\\ \\",
    "]] .. [[ \x01 \x7f \x85 \u2028 é 日本 🙂",
]


@pytest.mark.parametrize("why", HOSTILE)
def test_what_a_reason_says_does_nothing(mail_of: Mail, why: str) -> None:
    mail_of.declare(SCOPE, blocked(why=why, ticket=why, asked_by=why), allowed("203.0.113.66", must_pass="", until=""))
    assert mail_of.verdict("x@acme.example", client="198.51.100.7") == "block"
    assert mail_of.verdict("x@acme.example", client="203.0.113.66") == "allow"
    assert mail_of.verdict("x@acme.example") == ""
    assert not Path("/tmp/mspctl-was-here").exists()  # noqa: S108


def test_two_at_once_lose_nothing(rig: RspamdRig) -> None:
    """Customers' applies, time after time; two of one domain wait for each other by mspctl's own locks."""
    benches = [Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True) for _ in SCOPES]
    with ThreadPoolExecutor(len(SCOPES)) as executor:
        for turn in range(5):
            for bench, scope in zip(benches, SCOPES, strict=True):
                bench.declare(scope, *(blocked(f"198.51.100.{number}") for number in range(turn + 1)))
            assert [o.landed for o in executor.map(Workbench.apply, benches)] == [1, 1, 1]
    assert [len(read(rig, scope).resources) for scope in SCOPES] == [5, 5, 5]


def test_two_first_applies_at_once(fresh: RspamdRig) -> None:
    benches = [Workbench(lambda scope: fresh.reader(), lambda scope: fresh.driver()) for _ in SCOPES]
    for bench, scope in zip(benches, SCOPES, strict=True):
        bench.declare(scope, blocked())
    with ThreadPoolExecutor(len(SCOPES)) as executor:
        assert [o.landed for o in executor.map(Workbench.apply, benches)] == [1, 1, 1]
    for bench in benches:
        bench.converge()


def test_what_is_read_takes_two_programs_however_much_it_is(rig: RspamdRig, bench: Workbench) -> None:
    for scope in SCOPES:
        bench.declare(scope, filters.key("mail"), blocked())
    bench.converge()
    ran: list[Sequence[str]] = []
    kept = machine._Here._run

    def counted(self: Any, words: Sequence[str], given: bytes) -> Any:
        ran.append(words)
        return kept(self, words, given)

    rig.monkeypatch.setattr(machine._Here, "_run", counted)
    many = [*SCOPES, *(Scope("mail-1", filters.FACET, f"d{number}.example") for number in range(200))]
    assert len([*rig.reader().read(many, {})]) == len(many)
    assert len(ran) == 2


def test_over_ssh_it_is_the_same(rig: RspamdRig) -> None:
    with sshd.running() as there:
        said = {"via": "ssh", "user": there.user, "port": str(there.port), "host_key": there.host_key}
        rig.settings(**said)
        rig.access = replace(rig.access, secrets=Secrets.given({"ssh_key": there.client_key}))
        bench = Workbench(lambda scope: rig.reader(), lambda scope: rig.driver(), approved=True)
        bench.declare(SCOPE, *(s.resource for s in TestRspamd.samples))
        bench.converge()
        rig.settings(host_key=there.host_key[:-9] + "AAAAAAAAA")
        assert "shows another host key" in bench.plan()[SCOPE].error


@pytest.mark.parametrize("path", ["etc/rspamd", "/etc/../etc", ""])
def test_settings_name_whole_paths(path: str) -> None:
    with pytest.raises(ValueError, match=r"is not an absolute path|is empty"):
        driven.Settings.model_validate({"via": "local", "config": path})
