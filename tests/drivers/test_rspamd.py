"""rspamd's lists, limits and keys: the contract, and what a real rspamd makes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mspctl.driver import Access
from mspctl.drivers import rspamd as driven
from mspctl.kinds import filter as filters
from mspctl.kinds import mail
from mspctl.resource import Id, Resource, Scope
from mspctl.secrets import Secrets
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.servers import rspamd
from tests.servers.mail_stack import MailStack

NAMES = ("acme.example", "beta.example", "xn--perch-fsa.example")
SCOPES = [Scope("mail-1", filters.FACET, name, "acme") for name in NAMES]
SCOPE = SCOPES[0]
WHY = 'ordini respinti, "ticket" 4711 \\ ${DBDIR} ü'


@pytest.fixture(scope="module")
def server() -> Iterator[MailStack]:
    with rspamd.running() as running:
        yield running


class RspamdRig(Rig):
    scopes = SCOPES

    def __init__(self, server: MailStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.server = server
        self.config = server.etc / "rspamd"
        self.folder = self.config / "mspctl"
        said = {"via": "local", "config": str(self.config), "data": str(server.rspamd_data), "timeout": "20s"}
        settings = driven.Settings.model_validate(said)
        self.access = Access("mail-1", "127.0.0.1", settings, Secrets({}), tmp_path)
        self.monkeypatch, self.programs = monkeypatch, tmp_path / "programs"
        shutil.rmtree(self.folder, ignore_errors=True)  # keys stay: a domain's first test makes them for all

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
        Sample(
            blocked(),
            [
                blocked(why="much spam"),
                blocked(until="2028-01-01T00:00:00Z"),
                blocked(asked_by="maria"),
                blocked(ticket="1"),
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
