"""Repositories with one mail domain, which lives on a real server that the world knows."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import bcrypt

from mspctl import proofs
from mspctl.desired import Selection
from mspctl.load import load
from mspctl.proof import Proof
from mspctl.targets import Targets
from tests.estate import estate
from tests.servers.mail_stack import MailStack
from tests.servers.mail_world import World

NOW = datetime(2027, 3, 5, 3, 10, tzinfo=UTC)
WORD = 'a word för “prova”: $\\"'
READER = "a plain word of the tests"


class Post:
    """Repositories with one mail domain on the real server, and their proof."""

    def __init__(self, world: World, root: Path) -> None:
        self.world, self.stack, self.root = world, world.stack, root
        self.doors = world.doors

    def mailbox(self, domain: str, local: str = "prova", word: str = WORD) -> None:
        make_mailbox(self.stack, domain, local, word)

    def write(self, domain: str = "acme.example", /, mail: str = "", signs: bool = True, **access: str) -> None:
        """A repository; `signs`: with a filter. `access` are keys of the target's `mail`, as YAML."""
        ports = self.stack.ports
        said = {
            "smtp": plain(ports.smtp),
            "submission": plain(ports.submission),
            "imap": plain(ports.imap),
            "sender": "probe@sender.example",
            "authserv": self.stack.hostname,
        } | access
        lines = "".join(f"      {key}: {value}\n" for key, value in said.items() if value)
        files: dict[str, str | bytes] = {
            "inventory/targets.yaml": f"""targets:
  files: {{facets: {{dns: {{driver: zonefile, directory: zones}}}}}}
  mail-1:
    publish: {{mx: 10 mx.msp.example.}}
    secrets: {{judge: JUDGE}}
    mail:
{lines}    facets:
      mailboxes: {{driver: postfixadmin, database: sqlite, file: {self.stack.database}}}
{"      filter: {driver: rspamd, via: local}" if signs else ""}
""",
            "inventory/checks.yaml": f"dns: {{resolvers: '127.0.0.1:{self.world.dns}', timeout: 1s}}\n",
            "customers/acme/dns.yaml": f"zones: {{{domain}: {{target: files}}}}\n",
            f"customers/acme/dns/{domain}.yaml": "{}\n",
            "customers/acme/mail.yaml": f"""domains:
  {domain}:
    target: mail-1
    publish: {{}}
    mailboxes: {{prova: {{password: {{secret: PROVA, rev: 1}}}}}}
    proof: {{mailbox: prova, within: 10s}}
"""
            + mail,
        }
        shutil.rmtree(self.root / "customers", ignore_errors=True)
        estate(self.root, files)

    def prove(self) -> Proof:
        """Without the command line."""
        found = load(self.root)
        (trial,) = proofs.trials(found, Selection())
        return proofs.make(trial, Targets(found), NOW)


def make_mailbox(stack: MailStack, domain: str, local: str, word: str) -> None:
    stack.sql("INSERT OR IGNORE INTO domain (domain, description, transport) VALUES (?, '', 'virtual')", domain)
    address = f"{local}@{domain}"
    hashed = "{BLF-CRYPT}" + bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()
    stack.sql(
        "INSERT INTO mailbox (username, password, name, maildir, local_part, domain, quota)"
        " VALUES (?, ?, '', ?, ?, ?, 0)",
        address, hashed, f"{domain}/{local}/", local, domain,
    )  # fmt: skip
    stack.sql("INSERT INTO alias (address, goto, domain) VALUES (?1, ?1, ?2)", address, domain)


def plain(port: int) -> str:
    return f"{{host: 127.0.0.1, port: {port}, tls: none}}"
