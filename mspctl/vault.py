"""
Encrypted files in the format of ansible-vault, and where the secrets of a repository are looked for.

`inventory/secrets.yaml` holds the secrets of targets, `customers/<name>/secrets.yaml` those of one customer.
`ansible-vault edit` opens them. Inside stands one level of YAML:

    PDNS_1_API_KEY: 0123456789                   # text stays as typed and becomes UTF-8
    BACKUP_1_KEY: |                              # a block keeps its line ends, the last one too; |- drops that
      first line
      second line
    FW_1_CERTIFICATE: {base64: MIIC/w==}         # bytes that are not text

The password is in the file named by `MSPCTL_VAULT_PASSWORD_FILE`, else in `MSPCTL_VAULT_PASSWORD`. Blanks around it
do not count, as for ansible-vault; unlike there, a file that is a program is not run. One password opens all files.

The format, 1.1 and 1.2 (which adds a label): a header line, then hex in lines of 80. Decoded, three lines of hex:
salt, HMAC-SHA256 of the ciphertext, ciphertext. PBKDF2-HMAC-SHA256 makes from password and salt, in 10,000 rounds,
32 bytes for AES-256, 32 for the HMAC and 16 to start the counter (CTR, with PKCS#7 padding all the same).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from mspctl import strict_yaml
from mspctl.errors import SecretError
from mspctl.secrets import NAME, Environment, Secret, Secrets, read_secret

MAGIC = b"$ANSIBLE_VAULT"
MAX_BYTES = 16 * 1024 * 1024
PASSWORD, PASSWORD_FILE = "MSPCTL_VAULT_PASSWORD", "MSPCTL_VAULT_PASSWORD_FILE"

_LABEL = re.compile(r"[^\s;][^;\r\n]*(?<!\s)")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def encrypt(data: bytes, password: bytes, label: str = "") -> bytes:
    """The text of a vault file. A label (ansible-vault's vault id) makes it format 1.2."""
    if not password:
        raise SecretError("an empty password protects nothing")
    if label and not _LABEL.fullmatch(label):
        raise SecretError(f"{label!r} cannot be a vault label (no semicolons, line ends or blanks around it)")
    salt = os.urandom(32)
    key, mac_key, counter = _keys(password, salt)
    ciphertext = _encipher(data, key, counter)
    mac = hmac.digest(mac_key, ciphertext, "sha256")
    body = b"\n".join(part.hex().encode() for part in (salt, mac, ciphertext)).hex().encode()
    header = b";".join((MAGIC, b"1.2", b"AES256", label.encode()) if label else (MAGIC, b"1.1", b"AES256"))
    return b"".join(line + b"\n" for line in (header, *(body[at : at + 80] for at in range(0, len(body), 80))))


def decrypt(text: bytes, password: bytes, file: str = "the vault") -> bytes:
    """What `encrypt` was given. Raises SecretError that names `file`. Nothing is deciphered before the HMAC fits."""
    salt, mac, ciphertext = _parts(text, file)
    key, mac_key, counter = _keys(password, salt)
    if not hmac.compare_digest(hmac.digest(mac_key, ciphertext, "sha256"), mac):
        raise SecretError(f"{file} cannot be decrypted: the password is wrong or the file is damaged")
    try:
        return _decipher(ciphertext, key, counter)
    except ValueError:
        raise SecretError(f"{file} cannot be decrypted: its padding is wrong") from None


def check(text: bytes, file: str) -> None:
    """Raises SecretError when this is no vault file that we could read. Needs no password."""
    _parts(text, file)


def _parts(text: bytes, file: str) -> tuple[bytes, bytes, bytes]:
    """Salt, HMAC and ciphertext."""
    if not text.startswith(MAGIC):
        raise SecretError(f"{file} is not encrypted; run ansible-vault encrypt {file}")
    header, *body = text.splitlines()
    _, version, cipher, *_ = (*(part.strip().decode("ascii", "replace") for part in header.split(b";")), "", "")
    if version not in ("1.1", "1.2"):
        raise SecretError(f"{file} has vault format {version!r} (1.1 and 1.2 can be read)")
    if cipher != "AES256":
        raise SecretError(f"{file} is encrypted with {cipher!r} (AES256 can be read)")
    try:
        salt, mac, ciphertext = map(binascii.unhexlify, binascii.unhexlify(b"".join(body)).split(b"\n"))
    except ValueError:
        raise SecretError(f"{file} is damaged: cut off, or changed by hand") from None
    return salt, mac, ciphertext


def _keys(password: bytes, salt: bytes) -> tuple[bytes, bytes, bytes]:
    """For the cipher, for the HMAC, and the first counter."""
    made = hashlib.pbkdf2_hmac("sha256", password, salt, 10_000, 80)
    return made[:32], made[32:64], made[64:]


def _encipher(data: bytes, key: bytes, counter: bytes) -> bytes:
    from cryptography.hazmat.primitives.padding import PKCS7

    padder = PKCS7(128).padder()
    return _aes(padder.update(data) + padder.finalize(), key, counter)


def _decipher(ciphertext: bytes, key: bytes, counter: bytes) -> bytes:
    """Raises ValueError when the padding is wrong."""
    from cryptography.hazmat.primitives.padding import PKCS7

    unpadder = PKCS7(128).unpadder()
    return unpadder.update(_aes(ciphertext, key, counter)) + unpadder.finalize()


def _aes(data: bytes, key: bytes, counter: bytes) -> bytes:
    """In this mode the same both ways. The import is late, because most commands need no secret."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    context = Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor()
    return context.update(data) + context.finalize()


class Vault:
    """One encrypted file, opened when a name is asked for, and once."""

    def __init__(self, path: Path, file: str, password: Callable[[], Secret]) -> None:
        self._path = path
        self._file = file  # its name in messages: "inventory/secrets.yaml"
        self._password = password
        self._values: dict[str, Secret] | None = None
        self._lock = threading.Lock()

    def find(self, name: str) -> Secret | None:
        with self._lock:
            if self._values is None:
                self._values = self._open()
        return self._values.get(name)

    def where(self, name: str) -> str:
        return self._file if self._path.exists() else f"{self._file} (no such file)"

    def _open(self) -> dict[str, Secret]:
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SecretError(f"{self._file} cannot be read ({error.strerror})") from None
        if len(text) > MAX_BYTES:
            raise SecretError(f"{self._file} is larger than {MAX_BYTES // 1024**2} MiB")
        check(text, self._file)  # first, because a file in plain text is worse than a missing password
        return values(decrypt(text, self._password_for(), self._file), self._file)

    def _password_for(self) -> bytes:
        try:
            return self._password().reveal()
        except SecretError as error:
            raise SecretError(f"{self._file} cannot be decrypted: {error}") from None


class Password:
    """The password of all vaults of a repository; read once, when the first of them is opened."""

    def __init__(self, environ: Mapping[bytes, bytes] | None = None) -> None:
        self._environ = os.environb if environ is None else environ
        self._secret: Secret | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Secret:
        with self._lock:
            self._secret = self._secret or self._read()
        return self._secret

    def _read(self) -> Secret:
        if named := self._environ.get(PASSWORD_FILE.encode()):
            path = Path(os.fsdecode(named))
            value = read_secret(path).strip()
            if value.startswith(b"#!"):
                raise SecretError(f"{path}, named by {PASSWORD_FILE}, is a program (put its output into {PASSWORD})")
            place = f"{path}, named by {PASSWORD_FILE},"
        elif value := self._environ.get(PASSWORD.encode(), b"").strip():
            place = PASSWORD
        else:
            raise SecretError(f"set {PASSWORD_FILE} or {PASSWORD}")
        if not value:
            raise SecretError(f"{place} is empty")
        return Secret(PASSWORD, value)


def values(plain: bytes, file: str) -> dict[str, Secret]:
    """The secrets in a decrypted file. Raises SecretError that gives a line and never what stands there."""
    text = plain.decode("utf-8", "surrogateescape")  # the usual error would carry the text along
    if wrong := _NOT_UTF8.search(text):
        raise _malformed(file, text.count("\n", 0, wrong.start()) + 1)
    problems = strict_yaml.Problems()
    data = strict_yaml.parse(text, file, problems)
    if problems:
        raise _malformed(file, problems[0].line)
    if data is None:
        return {}
    if not isinstance(data, strict_yaml.Map):
        raise _malformed(file, 1)
    found: dict[str, Secret] = {}
    for name, value in data.items():
        raw = _bytes(value)
        if raw is None or not NAME.fullmatch(name):
            raise _malformed(file, data.marks[name].line)
        found[name] = Secret(name, raw)
    return found


def _bytes(value: strict_yaml.Data) -> bytes | None:
    """None when it is neither text nor {base64: …}. Where nothing was written, nothing is set."""
    match value:
        case None:
            return b""
        case str():
            return value.encode()
        case {"base64": str(text), **rest} if not rest:
            try:
                return base64.b64decode("".join(text.split()), validate=True)
            except ValueError:
                return None
    return None


def _malformed(file: str, line: int) -> SecretError:
    form = "NAME: value or NAME: {base64: value} (a name is A-Z, 0-9 and _; quote a value that YAML misreads)"
    return SecretError(f"{file}: line {line} of its decrypted text is not {form}")


class Store:
    """Where the secrets of one repository are looked for. One for a whole run, because it opens each file once."""

    def __init__(self, root: Path, environ: Mapping[bytes, bytes] | None = None) -> None:
        self.root = root
        self.password = Password(environ)
        self._environment = Environment(environ)
        self._vaults: dict[str, Vault] = {}

    def for_target(self, target: str, names: Mapping[str, str]) -> Secrets:
        """`names` as targets.yaml has them: role → NAME."""
        return Secrets(names, (self._environment, self._vault("inventory/secrets.yaml")), target)

    def for_customer(self, customer: str, names: Mapping[str, str]) -> Secrets:
        """`customer` is the name of a folder. Another customer's file is never looked into."""
        if not re.fullmatch(r"[\w-][\w.-]*", customer):
            raise SecretError(f"{customer!r} cannot be the name of a customer's folder")
        vault = self._vault(f"customers/{customer}/secrets.yaml")
        return Secrets(names, (self._environment, vault), customer)

    def _vault(self, file: str) -> Vault:
        return self._vaults.setdefault(file, Vault(self.root / file, file, self.password))
