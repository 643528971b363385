"""`mspctl notify`, with Apprise, to servers on loopback: who is told what, once; what fails; that all is well."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from mspctl.cli import workspace
from tests.cli.test_main_job import ZONE, replace
from tests.conftest import Run
from tests.servers.databases import free_port

TOKEN = "T0ken-that-nobody-may-see"  # in the path of the address, as services have it
CUSTOMERS = ("officine-brenta", "studio-dentistico-sala", "studio-legale-ferri")


class Service:
    """Takes what Apprise posts, and what pings; it can be told to refuse."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.pings: list[str] = []
        self.status = 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if service.status == 200:
                    service.got.append(body)
                self._answer()

            def do_GET(self) -> None:
                service.pings.append(self.path)
                self._answer()

            def _answer(self) -> None:
                self.send_response(service.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def said(self) -> tuple[str, str]:
        """The one message that came since the last call."""
        (only,) = self.got
        self.got.clear()
        return only["title"], only["message"]


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def tell(run: Run, repository: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Drift of the example is recorded, and then told."""
    monkeypatch.setenv("MSPCTL_SECRET_CHAT", f"json://127.0.0.1:{service.port}/{TOKEN}")
    monkeypatch.setenv("MSPCTL_SECRET_ALIVE", f"http://127.0.0.1:{service.port}/ping/{TOKEN}")
    who(repository, "team: {url: CHAT, alive: never}")
    applied = run("apply")
    assert applied.code == 0, applied

    def command(*arguments: str) -> Any:
        run("drift", "-s", "dns", "--record", "--exit-zero", "--report", "drift.json")
        return run("notify", "drift.json", *arguments)

    return command


def who(repository: Path, *lines: str, more: str = "") -> None:
    said = "".join(f"  {line}\n" for line in lines)
    (repository / "inventory/notify.yaml").write_text(f"notify:\n{said}{more}")


def edit(repository: Path, name: str = "voip") -> None:
    replace(repository / ZONE, f"{name} 3600 IN A 192.0.2.8", f"{name} 3600 IN A 203.0.113.6")


def test_what_is_new_is_told_once(tell: Run, repository: Path, service: Service) -> None:
    said = tell()
    assert (said.code, said.out, service.got) == (0, "team: nothing is new\n", [])
    edit(repository)
    said = tell()
    assert (said.code, said.out) == (0, "team: told (1 new)\n")
    title, text = service.said()
    assert title == "mspctl drift: 1 new"
    assert "• officine-brenta: dns brenta.example on ns-1: changed outside voip A values: Git says 192.0.2.85" in text
    assert "3 customers read. 1 resource changed outside" in text
    assert tell().out == "team: nothing is new\n"
    edit(repository, "vpn")
    tell()
    title, text = service.said()
    assert title == "mspctl drift: 1 new, 1 known"
    assert "vpn A" in text
    assert "voip A" not in text
    assert TOKEN not in said.out + said.err


def test_what_went_away_and_came_back_is_told_again(tell: Run, run: Run, repository: Path, service: Service) -> None:
    for _ in range(2):
        edit(repository)
        tell()
        assert service.said()[0] == "mspctl drift: 1 new"
        assert run("apply", "--revert").code == 0
        tell()
        assert service.got == []


def test_what_was_not_delivered_is_told_by_the_next_run(
    tell: Run, repository: Path, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MSPCTL_SECRET_AWAY", f"json://user:{TOKEN}@127.0.0.1:9/{TOKEN}")
    who(repository, "away: {url: AWAY}", "nobody: {url: NOT_SET}", "odd: {url: ODD}", "team: {url: CHAT}")
    monkeypatch.setenv("MSPCTL_SECRET_ODD", f"no-such-service://{TOKEN}")
    edit(repository)
    said = tell()
    assert said.code == 3
    assert said.out == "team: told (1 new)\n"  # one that fails stops no other
    assert said.err.splitlines() == [
        "error: away: it was not delivered: the service refused it or gave no answer",
        "error: nobody: secret NOT_SET (nobody of inventory/notify.yaml) is not set: looked in the environment "
        "(MSPCTL_SECRET_NOT_SET, MSPCTL_SECRET_NOT_SET_FILE), inventory/secrets.yaml (no such file)",
        "error: odd: secret ODD holds no address that Apprise knows (slack://…, mailtos://…)",
    ]
    who(repository, "team: {url: CHAT, alive: never}", "away: {url: CHAT, alive: never}")
    service.got.clear()
    service.status = 403
    refused = tell()
    assert refused.code == 3
    assert "gave no answer (it answered 403)" in refused.err
    service.status = 200
    assert tell().out == "team: nothing is new\naway: told (1 new)\n"
    assert service.said()[0] == "mspctl drift: 1 new"
    assert TOKEN not in said.out + said.err + refused.out + refused.err + caplog.text
    assert not any(TOKEN in str(record.__dict__) for record in caplog.records)


def test_who_is_told_of_some_customers_hears_of_no_other(tell: Run, repository: Path, service: Service) -> None:
    who(repository, f"team: {{url: CHAT, customers: [{CUSTOMERS[1]}], alive: never}}")
    edit(repository)
    assert tell().out == "team: nothing is new\n"
    assert service.got == []
    who(repository, f"team: {{url: CHAT, customers: [{CUSTOMERS[0]}], alive: never, tell: everything}}")
    for known in ("1 new", "0 new, 1 known"):
        tell()
        title, text = service.said()
        assert title == f"mspctl drift: {known}"
        assert "1 customer read" in text
        assert "voip A" in text


def test_a_sign_of_life_comes_when_nothing_was_said_for_long(
    tell: Run, repository: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime, timedelta

    who(repository, "team: {url: CHAT, alive: week}", more="ping: ALIVE\n")
    assert tell().out == "team: told (nothing new, all is well)\n"
    title, text = service.said()
    assert title == "mspctl drift: nothing new, all is well"
    assert text == "3 customers read. Nothing was changed outside."
    assert service.pings == [f"/ping/{TOKEN}"]
    assert tell().out == "team: nothing is new\n"
    start = datetime.now(UTC)
    monkeypatch.setattr(workspace, "now", lambda: start + timedelta(days=6, hours=23))
    edit(repository)
    tell()
    service.got.clear()
    monkeypatch.setattr(workspace, "now", lambda: start + timedelta(days=14))
    assert tell().out == "team: told (nothing new, 1 thing known)\n"
    assert len(service.pings) == 4


def test_a_job_that_did_not_report_is_told_and_not_pinged(tell: Run, repository: Path, service: Service) -> None:
    who(repository, "team: {url: CHAT, alive: never}", more="ping: ALIVE\n")
    assert tell("--of", "2").code == 0
    assert service.said()[1].startswith("Only 1 of 2 jobs reported: ")
    assert service.pings == []


def test_that_no_job_reported_is_told_once(
    run: Run, repository: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSPCTL_SECRET_CHAT", f"json://127.0.0.1:{service.port}/{TOKEN}")
    monkeypatch.setenv("MSPCTL_SECRET_ALIVE", f"http://127.0.0.1:{service.port}/ping/{TOKEN}")
    who(repository, "team: {url: CHAT, alive: never}", more="ping: ALIVE\n")
    glob = "reports/*.json"  # what a shell leaves of a pattern that fits nothing
    assert (said := run("notify", glob, "--of", "2")).code == 0, said.err
    assert service.said()[1].startswith("Only 0 of 2 jobs reported: ")
    assert run("notify", glob, "--of", "2").out == "team: nothing is new\n"
    assert service.pings == []
    assert "is not a report that mspctl kept" in run("notify", glob).err


def test_a_ping_that_nobody_answers_is_told(tell: Run, repository: Path, service: Service) -> None:
    who(repository, "team: {url: CHAT, alive: never}", more="ping: ALIVE\n")
    service.status = 404
    said = tell()
    assert (said.code, said.err) == (3, "error: ping: the address answered 404\n")


def test_a_live_value_mentions_nobody(tell: Run, repository: Path, service: Service) -> None:
    replace(repository / ZONE, "voip 3600 IN A 192.0.2.85", 'voip 3600 IN TXT "@everyone <!channel> `x`"')
    tell()
    _, text = service.said()
    assert "@everyone" not in text
    assert "<!channel" not in text


def test_mail_arrives(tell: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Keep:
        def __init__(self) -> None:
            self.mails: list[bytes] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            self.mails.append(envelope.content)
            return "250 kept"

    logging.getLogger("mail.log").setLevel(logging.ERROR)
    server = Controller(keep := Keep(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        address = f"mailto://127.0.0.1:{server.port}?from=mspctl@msp.example&to=team@msp.example"
        monkeypatch.setenv("MSPCTL_SECRET_MAIL", address)
        who(repository, "team: {url: MAIL, alive: never}")
        edit(repository)
        assert tell().out == "team: told (1 new)\n"
    finally:
        server.stop()
    (mail,) = (message_from_bytes(each, policy=policy.default) for each in keep.mails)
    assert (mail["Subject"], mail["To"]) == ("mspctl drift: 1 new", "team@msp.example")
    body = mail.get_body(("plain",))
    assert body is not None
    assert "changed outside voip A" in body.get_content()


def test_a_test_says_so_and_nothing_else(tell: Run, run: Run, repository: Path, service: Service) -> None:
    edit(repository)
    assert run("notify", "--test").out == "team: told (a test)\n"
    assert service.said()[0] == "mspctl: a test"
    tell("-n")
    assert service.got == []
    tell()
    assert service.said()[0] == "mspctl drift: 1 new"
    assert run("notify").code == 64
    assert run("notify", "--test", "drift.json").code == 64
    (repository / "inventory/notify.yaml").unlink()
    assert run("notify", "drift.json").out == "Nobody is to be told: inventory/notify.yaml names no one.\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("notify: {team: {url: 'slack://a/b/c'}}", "notify.yaml:1:22: notify.team.url: is not the name of a secret"),
        ("notify: {team: {}}", "notify.yaml:1:16: notify.team.url: is missing"),
        ("notify: {team: {url: CHAT, alive: daily}}", "notify.yaml:1:35: notify.team.alive: "),
        ("notify: {team: {url: CHAT, customers: [nobody]}}", "notify.team.customers[0]: there is no customer nobody"),
        ("notify: {team: {url: CHAT, customer: x}}", "notify.team.customer: unknown key"),
        ("ping: https://hc.example/1", "notify.yaml:1:7: ping: is not the name of a secret"),
    ],
    ids=str,
)
def test_a_slip_in_the_file_is_told_with_its_place(run: Run, repository: Path, text: str, said: str) -> None:
    (repository / "inventory/notify.yaml").write_text(text + "\n")
    found = run("validate")
    assert found.code == 1
    assert said in found.err, found.err
    assert len(found.err.splitlines()) == 2
