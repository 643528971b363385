"""
A mail server that the world knows: names in the DNS, a key that it signs with, certificates, and doors that are badly
kept. It is `mail_stack` with a `named` beside it; each zone is wrong in one way, or not at all.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers import mail_stack, name_servers, require
from tests.servers.mail_stack import MailStack, SqliteTables, free_ports

SIGNED = ("acme.example", "wrong.example", "bare.example")  # domains whose mail is signed
SOA = "@ 300 IN SOA ns hostmaster 1 7200 3600 1209600 300\n@ 300 IN NS ns\nns 300 IN A 127.0.0.1\n"
SPF, NOBODY = '@ 300 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n', '@ 300 IN TXT "v=spf1 -all"\n'
DMARC = '_dmarc 300 IN TXT "v=DMARC1; p=reject"\n'

RSPAMD = {
    # Usually nobody on the same machine is judged.
    "spf.conf": "check_local = true; check_authed = true;\n",
    "dkim.conf": "check_local = true; check_authed = true;\n",
    "dmarc.conf": "check_local = true; check_authed = true;\n",
    "dkim_signing.conf": "sign_local = true; sign_authenticated = true; use_domain = 'header'; use_esld = false;"
    " allow_username_mismatch = true; check_pubkey = false;\ndomain {\n"
    + "".join(f'  {name} {{ path = "@folder@/rspamd/dkim.key"; selector = "mail"; }}\n' for name in SIGNED)
    + "}\n",
}
# Postfix's own words for each door beside the usual ones.
DOORS = {
    "relay": "-o mynetworks=127.0.0.1/32",
    "takes-all": "-o mynetworks=127.0.0.1/32 -o smtpd_reject_unlisted_recipient=no -o smtpd_recipient_restrictions=",
    "holds": "-o smtpd_client_restrictions=static:HOLD",
    "later": "-o smtpd_recipient_restrictions=static:defer",
    "greylists": "-o { smtpd_recipient_restrictions ="
    " reject_unlisted_recipient, check_policy_service inet:127.0.0.1:POLICY }",
    "starttls": "-o smtpd_tls_security_level=may",
    "tls": "-o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes -o smtpd_tls_auth_only=yes",
}


@dataclass(frozen=True)
class World:
    stack: MailStack
    dns: int  # port of a name server
    key: str  # what its DKIM key is published as
    doors: Mapping[str, int]  # ports
    imaps: int
    policy: int  # where the door `greylists` asks; nobody is there unless a test is
    ca: Path  # which signed the certificate of localhost


@contextmanager
def running(tables: Path, folder: Path) -> Iterator[World]:
    """`folder` takes what is no part of the mail server."""
    mail_stack.possible()
    place = Path(tempfile.mkdtemp(prefix="mail-", dir="/tmp"))
    place.chmod(0o755)
    try:
        private, public = _key()
        with name_servers.bind(folder, _zones(folder, public)) as dns:
            stack = MailStack(place, SqliteTables(tables), RSPAMD, dns=dns)
            ca = _certificate(stack, folder)
            *ports, imaps, policy = free_ports(len(DOORS) + 2)
            doors = dict(zip(DOORS, ports, strict=True))
            _open(stack, doors, imaps, policy)
            _remember_log_ins(stack)
            _put_key(stack, private)
            try:
                stack.start()
                yield World(stack, dns, public, doors, imaps, policy, ca)
            finally:
                stack.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _zones(folder: Path, key: str) -> dict[str, Path]:
    published, other = _published(key), _published(_key()[1])
    listed = '2.0.0.127 300 IN A 127.0.0.2\n25.2.0.192 300 IN A 127.0.0.4\n25.2.0.192 300 IN TXT "sends spam"\n'
    zones = {
        "acme.example": SPF + DMARC + published,
        "wrong.example": SPF + DMARC + other,
        "bare.example": SPF + DMARC,
        "unsigned.example": SPF + DMARC + published,
        "sender.example": SPF + DMARC,
        "stranger.example": NOBODY + DMARC,
        "bl.example": listed,
        "dead.example": "",
    }
    found = {}
    for name, records in zones.items():
        found[name] = folder / f"{name}.zone"
        found[name].write_text(f"$ORIGIN {name}.\n{SOA}{records}")
    return found


def _published(key: str) -> str:
    parts = " ".join(f'"{key[start : start + 200]}"' for start in range(0, len(key), 200))
    return f"mail._domainkey 300 IN TXT ( {parts} )\n"


def _key() -> tuple[bytes, str]:
    """A private key, and the public one as the DNS has it."""
    made = rsa.generate_private_key(65537, 2048)
    plain = serialization.NoEncryption()
    private = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    public = base64.b64encode(made.public_key().public_bytes(serialization.Encoding.DER, info)).decode()
    return private, f"v=DKIM1; k=rsa; p={public}"


def _put_key(stack: MailStack, private: bytes) -> None:
    """Where rspamd was told of it, and where mspctl's own rule looks for it."""
    (stack.rspamd_data / "dkim.key").write_bytes(private)
    (stack.rspamd_data / "dkim.key").chmod(0o644)
    folder = stack.etc / "rspamd/dkim"
    folder.mkdir()
    for name in SIGNED:
        (folder / f"{name}.mail.key").write_bytes(private)
        (folder / f"{name}.mail.key").chmod(0o640)
        shutil.chown(folder / f"{name}.mail.key", "_rspamd", "_rspamd")


def _certificate(stack: MailStack, folder: Path) -> Path:
    """One that signed itself, of localhost."""
    cert, key = stack.etc / "cert.pem", stack.etc / "key.pem"
    command = [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "3", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=30)
    return Path(shutil.copy(cert, folder / "ca.pem"))


def _open(stack: MailStack, doors: Mapping[str, int], imaps: int, policy: int) -> None:
    """Doors of Postfix and Dovecot; through the usual ones, nobody on this machine relays."""
    tls = f"smtpd_tls_cert_file = {stack.etc}/cert.pem\nsmtpd_tls_key_file = {stack.etc}/key.pem\n"
    main, master = stack.etc / "postfix/main.cf", stack.etc / "postfix/master.cf"
    text = main.read_text()
    assert "mynetworks = 127.0.0.1/32" in text
    main.write_text(text.replace("mynetworks = 127.0.0.1/32", "mynetworks = 192.0.2.1/32") + tls)
    lines = [
        f"127.0.0.1:{port} inet n - n - - smtpd {DOORS[name].replace('POLICY', str(policy))}\n"
        for name, port in doors.items()
    ]
    master.write_text(master.read_text() + "".join(lines))
    dovecot = stack.etc / "dovecot/dovecot.conf"
    text = dovecot.read_text()
    assert "ssl = no" in text
    text = text.replace("ssl = no", f"ssl = yes\nssl_cert = <{stack.etc}/cert.pem\nssl_key = <{stack.etc}/key.pem")
    listener = f"service imap-login {{\n  inet_listener imaps {{\n    port = {imaps}\n    ssl = yes\n  }}\n}}\n"
    dovecot.write_text(
        text.replace("inet_listener imaps {\n    port = 0", "inet_listener unused {\n    port = 0") + listener
    )


def _remember_log_ins(stack: MailStack) -> None:
    """Dovecot's plugin last_login writes a table; and disabled mailboxes are still known to it, only nobody logs in."""
    stack.sql("CREATE TABLE last_login (username TEXT PRIMARY KEY, last_login INTEGER)")
    (stack.etc / "dovecot/last_login.conf").write_text(
        f"connect = {stack.database}\nmap {{\n  pattern = shared/last-login/$user\n  table = last_login\n"
        "  value_field = last_login\n  value_type = uint\n  fields {\n    username = $user\n  }\n}\n"
    )
    more = "protocol imap {\n  mail_plugins = $mail_plugins last_login\n}\n"
    more += "plugin {\n  last_login_dict = proxy::last_login\n  last_login_key = last-login/%u\n}\n"
    more += f"dict {{\n  last_login = sqlite:{stack.etc}/dovecot/last_login.conf\n}}\n"
    with (stack.etc / "dovecot/dovecot.conf").open("a") as file:
        file.write(more)
    sql = stack.etc / "dovecot/sql.conf"
    lines = sql.read_text().splitlines()
    kept = [line.replace(" AND m.active = '1'", "") if line.startswith("user_query") else line for line in lines]
    assert kept != lines
    sql.write_text("\n".join(kept) + "\n")
