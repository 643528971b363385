"""HTTP for drivers, against stand-ins on loopback that behave well, badly, and not at all."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mspctl.errors import TargetError, Unreachable
from mspctl.secrets import Secret
from mspctl.transports import http
from mspctl.transports.http import Http, Refused, Settings
from tests.servers import require
from tests.servers.http_stand_in import OK, StandIn, standing_in
from tests.servers.name_servers import free_port

KEY = "correct-horse-battery-staple"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standing_in() as stand_in:
        yield stand_in


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes time."""
    pauses: list[float] = []
    monkeypatch.setattr("mspctl.transports.http.time", Clock(pauses))
    return pauses


class Clock:
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def __init__(self, pauses: list[float]) -> None:
        self.sleep = pauses.append


def client(address: str, root: Path = Path(), key: str = KEY, **settings: object) -> Http:
    said = {name: str(value) for name, value in settings.items()}
    secret = Secret("API_KEY", key.encode())
    return Http(address, lambda: {"X-API-Key": secret.reveal_text()}, Settings.model_validate(said), root)


# -- what is sent ---------------------------------------------------------------------------------------------


def test_asks_below_its_address_with_its_key(server: StandIn) -> None:
    assert client(f"{server.address}/dns/").call("GET", "/zones?a=b") == {"fine": True}
    ((method, path, headers, body),) = server.asked
    assert (method, path, body) == ("GET", "/dns/zones?a=b", b"")
    assert headers["X-API-Key"] == KEY
    assert headers["User-Agent"] == "mspctl"


def test_sends_json_without_blanks_and_takes_an_empty_answer(server: StandIn) -> None:
    server.answers = [(204, {}, b"")]
    assert client(server.address).call("PATCH", "/", {"a": ["è", 1]}) is None
    ((_, _, headers, body),) = server.asked
    assert body == '{"a":["è",1]}'.encode()
    assert headers["Content-Type"] == "application/json"


def test_nothing_is_asked_and_no_secret_looked_up_before_the_first_call() -> None:
    def never() -> dict[str, str]:
        raise AssertionError("nobody asked for it")

    Http("https://nowhere.invalid", never, Settings(), Path())


def test_proxies_of_the_environment_are_not_used(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client(server.address).call("GET", "/") == {"fine": True}


# -- connections ----------------------------------------------------------------------------------------------


def test_a_connection_is_kept_and_used_again(server: StandIn) -> None:
    http_ = client(server.address)
    for _ in range(5):
        http_.call("GET", "/")
    assert len(set(server.peers)) == 1


def test_a_connection_that_was_closed_meanwhile_is_made_anew_also_for_a_write(server: StandIn) -> None:
    http_ = client(server.address)
    server.answers = [(200, {"Connection": "close"}, b"1"), OK]
    for method in ("GET", "PATCH", "PATCH"):
        http_.call(method, "/")
    assert len(set(server.peers)) == 2

    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1")
        handler.end_headers()
        handler.wfile.write(b"1")  # and closes without having said so

    server.answers = [hang_up, OK]
    http_.call("GET", "/")
    time.sleep(0.05)
    assert http_.call("PATCH", "/") == {"fine": True}


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_connections_than_the_settings_allow(server: StandIn, most: int) -> None:
    server.seconds = 0.02
    http_ = client(server.address, connections=most)
    threads = [threading.Thread(target=http_.call, args=("GET", "/")) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 12
    assert server.most_at_once == most


def test_time_spent_in_the_queue_is_not_the_targets(server: StandIn) -> None:
    server.seconds = 0.4
    http_ = client(server.address, connections=1, timeout=1)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(http_.call("GET", "/"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"fine": True}] * 4


# -- answers that are none ------------------------------------------------------------------------------------


def unreachable(http_: Http, method: str = "GET") -> str:
    with pytest.raises(Unreachable) as caught:
        http_.call(method, "/zones")
    return said(caught.value)


def refused(http_: Http, method: str = "GET") -> Refused:
    with pytest.raises(Refused) as caught:
        http_.call(method, "/zones")
    assert not isinstance(caught.value, Unreachable)
    said(caught.value)
    return caught.value


def said(error: Exception) -> str:
    text = str(error)
    assert text.isprintable()
    assert len(text) < 700
    assert KEY not in text
    return text


def test_nobody_listens(waited: list[float]) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert unreachable(client(address)) == f"{address} cannot be reached (Connection refused)"
    assert waited == [0.5, 1.0]
    assert "what PATCH asked for may have been done" in unreachable(client(address), "PATCH")


def test_a_name_that_does_not_exist() -> None:
    assert "https://nowhere.invalid:443 cannot be reached (" in unreachable(client("https://nowhere.invalid"))


def test_a_server_that_says_nothing() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        http_ = client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=1)
        assert unreachable(http_, "POST").endswith(
            "gives no answer within 1 seconds; what POST asked for may have been done"
        )


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_an_answer_that_comes_byte_by_byte_holds_nobody_up(server: StandIn, start: bytes) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        for _ in range(40):
            try:
                handler.wfile.write(b"a")
            except OSError:
                return
            time.sleep(0.1)

    server.answers = [drip]
    began = time.monotonic()
    assert "gives no answer within 1 seconds" in unreachable(client(server.address, timeout=1), "POST")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "bytes_",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "cut off", "not HTTP", "broken chunks", "many headers", "long header"],
)
def test_an_answer_that_is_not_whole_is_asked_for_again_and_then_given_up(server: StandIn, bytes_: bytes) -> None:
    def broken(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(bytes_)

    server.answers = [broken]
    unreachable(client(server.address))
    assert len(server.asked) == 3
    server.answers = [broken, OK]
    assert client(server.address).call("GET", "/") == {"fine": True}


def test_an_answer_without_end(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER", 1 << 20)

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            pass

    server.answers = [flood]
    with pytest.raises(TargetError, match="answers more than 1 MiB"):
        client(server.address).call("GET", "/")
    assert len(server.asked) == 1


@pytest.mark.parametrize("content", [b"<html>oops</html>", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN'])
def test_an_answer_that_is_no_json(server: StandIn, content: bytes) -> None:
    server.answers = [(200, {}, content)]
    with pytest.raises(TargetError) as caught:
        client(server.address).call("GET", "/")
    assert "answers no JSON: " in said(caught.value)


# -- repeating ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_reads_are_repeated_while_a_server_is_busy(server: StandIn, waited: list[float], status: int) -> None:
    server.answers = [(status, {}, b""), (status, {"Retry-After": "7"}, b""), OK]
    assert client(server.address).call("GET", "/") == {"fine": True}
    assert waited == [0.5, 7.0]


def test_a_write_that_came_too_soon_is_asked_for_again(server: StandIn, waited: list[float]) -> None:
    server.answers = [(429, {"Retry-After": "0"}, b""), (429, {"Retry-After": "59"}, b""), OK]
    assert client(server.address).call("PATCH", "/", {"a": 1}) == {"fine": True}
    assert [(method, body) for method, _, _, body in server.asked] == [("PATCH", b'{"a":1}')] * 3
    assert waited == [0.5, 59.0]


def test_the_third_time_it_is_given_up(server: StandIn) -> None:
    server.answers = [(503, {}, b"maintenance")]
    assert unreachable(client(server.address)) == f"{server.address} is busy (503 Service Unavailable)"
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("after", "pauses"),
    [
        ("3600", []),
        ("nonsense", [0.5, 1.0]),
        ("0", [0.5, 1.0]),
        (format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True), [0.5, 1.0]),
        ("9" * 400, []),
    ],
)
def test_how_long_a_server_may_keep_us_waiting(
    server: StandIn, waited: list[float], after: str, pauses: list[float]
) -> None:
    server.answers = [(429, {"Retry-After": after}, b"")]
    unreachable(client(server.address))
    assert waited == pauses
    assert len(server.asked) == len(pauses) + 1


def test_a_retry_after_can_be_a_date(server: StandIn, waited: list[float]) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    server.answers = [(503, {"Retry-After": moment}, b""), OK]
    client(server.address).call("GET", "/")
    assert 15 < waited[0] <= 20


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_write_of_which_nobody_knows_is_never_repeated(server: StandIn, status: int) -> None:
    server.answers = [(status, {}, b"")]
    with pytest.raises(TargetError):
        client(server.address).call("PATCH", "/")
    assert len(server.asked) == 1


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key(server: StandIn, status: int) -> None:
    server.answers = [(status, {}, b"Unauthorized")]
    error = refused(client(server.address))
    assert (error.status, error.content) == (status, b"Unauthorized")
    assert f"does not take our key ({status} " in str(error)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_a_redirect_is_not_followed_wherever_it_leads(server: StandIn, status: int) -> None:
    with standing_in() as elsewhere:
        for place in (f"{elsewhere.address}/steal", f"{server.address}/other", "//evil.example\x1b[31m", None):
            server.answers = [(status, {"Location": place} if place else {}, b"")]
            error = refused(client(server.address))
            assert "a key is for its own address only" in str(error)
        assert elsewhere.asked == []
    assert {path for _, path, _, _ in server.asked} == {"/zones"}


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 501, 600, 999])
def test_any_other_refusal_says_what_the_server_said(server: StandIn, status: int) -> None:
    server.answers = [(status, {}, b'{"error": "no\n\t such \x1b[31mzone"}')]
    error = refused(client(server.address), "POST")
    assert error.status == status
    assert str(error).endswith('): {"error": "no such [31mzone"}')


def test_a_page_that_repeats_our_key_does_not_give_it_away(server: StandIn) -> None:
    page = f"<html>{'x' * 200} X-API-Key: {KEY} {'y' * 5000}</html>".encode()
    for status in (200, 404, 401):
        server.answers = [(status, {}, page)]
        with pytest.raises(TargetError) as caught:
            client(server.address).call("GET", "/")
        said(caught.value)
    server.answers = [(302, {"Location": f"/?key={KEY}"}, b"")]
    assert "<secret API_KEY>" in str(refused(client(server.address)))


@pytest.mark.parametrize("key", ["example\nof-a-key", "example\rof-a-key", "beispiel-schlüssel", "example-of-a-key\0"])
def test_a_key_that_cannot_be_sent_is_not_shown(server: StandIn, key: str) -> None:
    with pytest.raises(TargetError, match="cannot stand in the header X-API-Key") as caught:
        client(server.address, key=key).call("GET", "/")
    assert key not in str(caught.value)
    assert server.asked == []


# -- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "", "pdns.example", "pdns.example:8081", "ftp://pdns.example", "https://", "https://:8443", "https://a:b:c",
        "https://pdns.example:99999", "https://pdns.example/?a=b", "https://pdns.example/#a", "https://pdns.ex ample",
        "https://pdns.example\r\nX: y", "https://[::1", "file:///etc/passwd", "https://pdns.exämple",
    ],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(TargetError, match="is no URL"):
        client(address)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(TargetError, match="holds a user or a password") as caught:
        client("https://paolo:s3cr3t@pdns.example")
    assert "s3cr3t" not in str(caught.value)


def test_without_tls_only_this_machine_is_spoken_to_unless_the_settings_say_so() -> None:
    for address in ("http://pdns.example:8081", "http://192.0.2.1", "http://0.0.0.0", "http://localhost.example"):
        with pytest.raises(TargetError, match="sends the key readable for all"):
            client(address)
        assert client(address, allow_plain_http="true").name.startswith("http://")
    for address in ("http://127.0.0.1:8081", "http://[::1]:8081", "http://localhost", "https://192.0.2.1"):
        client(address)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://PDNS.example", "https://pdns.example:443"),
        ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
        ("https://[2001:db8::1]:8443/pdns//", "https://[2001:db8::1]:8443/pdns"),
    ],
)
def test_how_an_address_is_called_in_messages(address: str, name: str) -> None:
    assert client(address).name == name


@pytest.mark.parametrize(
    "settings", [{"connections": "0"}, {"connections": "many"}, {"timeout": "soon"}, {"verify": "false"}]
)
def test_settings_are_strict_and_know_no_way_around_certificates(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(settings)


# -- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[StandIn]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with standing_in(tls) as stand_in:
        yield stand_in


def over_tls(server: StandIn, host: str = "127.0.0.1") -> str:
    return f"https://{host}:{server.port}"


def test_a_certificate_that_nobody_vouches_for(secure: StandIn, waited: list[float]) -> None:
    assert "has no certificate that is trusted (self-signed certificate)" in unreachable(client(over_tls(secure)))
    assert (secure.asked, waited) == ([], [])


def test_a_certificate_of_our_own_authority(secure: StandIn, certificate: Path) -> None:
    http_ = client(over_tls(secure), certificate.parent, ca_file="server.crt")
    for _ in range(3):
        assert http_.call("GET", "/") == {"fine": True}
    assert len(set(secure.peers)) == 1


def test_a_certificate_for_another_name(secure: StandIn, certificate: Path) -> None:
    http_ = client(over_tls(secure, "localhost"), certificate.parent, ca_file="server.crt")
    assert "has no certificate that is trusted (Hostname mismatch" in unreachable(http_)
    assert secure.asked == []


def test_tls_where_there_is_none(server: StandIn) -> None:
    assert "cannot be reached (" in unreachable(client(over_tls(server)))


@pytest.mark.parametrize("name", ["missing.crt", "server.pem.txt"])
def test_a_ca_file_that_is_none(secure: StandIn, tmp_path: Path, name: str) -> None:
    (tmp_path / "server.pem.txt").write_text("no certificate")
    with pytest.raises(TargetError, match=f"ca_file {name} cannot be used"):
        client(over_tls(secure), tmp_path, ca_file=name).call("GET", "/")


def test_headers_can_be_anything_that_a_driver_makes_of_a_secret(server: StandIn) -> None:
    calls: list[Any] = []

    def headers() -> dict[str, str]:
        calls.append(1)
        return {"Authorization": "token abcdef"}

    http_ = Http(server.address, headers, Settings(), Path())
    for _ in range(3):
        http_.call("GET", "/")
    assert len(calls) == 1
    assert [headers["Authorization"] for _, _, headers, _ in server.asked] == ["token abcdef"] * 3
