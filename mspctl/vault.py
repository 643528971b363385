"""
Encrypted files in the format of ansible-vault, and where the secrets of a repository are looked for.

`inventory/secrets.yaml` holds the secrets of targets, `customers/<name>/secrets.yaml` those of one customer.
`ansible-vault edit` opens them. Inside stands one level of YAML:

    PDNS_1_API_KEY: 0123456789                   # text stays as typed and becomes UTF-8
    BACKUP_1_KEY: |                              # a block keeps its line ends, the last one too; |- drops that
      first line
      second line
    FW_1_CERTIFICATE: {base64: MIIC/w==}         # bytes that are not text
    FW_1_PASSWORD: {value: x, bound_to: [198.51.100.1]}    # where it may be sent, and nowhere else; so with base64

The password is in the file named by `MSPCTL_VAULT_PASSWORD_FILE`, else in `MSPCTL_VAULT_PASSWORD`. Blanks around it
do not count, as for ansible-vault; unlike there, a file that is a program is not run. One password opens all files.

The format, 1.1 and 1.2 (which adds a label): a header line, then hex in lines of 80. Decoded, three lines of hex:
salt, HMAC-SHA256 of the ciphertext, ciphertext. PBKDF2-HMAC-SHA256 makes from password and salt, in 10,000 rounds,
32 bytes for AES-256, 32 for the HMAC and 16 to start the counter (CTR, with PKCS#7 padding all the same).
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mspctl import strict_yaml
from mspctl.errors import SecretError
from mspctl.secrets import NAME, Environment, Secret, Secrets, read_secret

MAGIC = b"$ANSIBLE_VAULT"
MAX_BYTES = 16 * 1024 * 1024
PASSWORD, PASSWORD_FILE = "MSPCTL_VAULT_PASSWORD", "MSPCTL_VAULT_PASSWORD_FILE"
FILES = ("inventory/secrets.yaml", "customers/*/secrets.yaml", "customers/*/hand-over.yaml")
PATIENCE = 30.0  # seconds that we wait for another process

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


def label_of(text: bytes) -> str:
    """The label of a vault file, which stays what it is when the file is written anew; "" where there is none."""
    parts = text.partition(b"\n")[0].decode("utf-8", "replace").split(";")
    return parts[3].strip() if len(parts) == 4 else ""


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


class VaultFile:
    """
    One encrypted file. Whoever changes it is alone with it, and writes it whole: a run that is killed leaves what was
    there, or what was to be.
    """

    def __init__(self, root: Path, name: str, password: Callable[[], Secret]) -> None:
        self.name = name  # relative to the repository, and so in messages: "inventory/secrets.yaml"
        self._root = root
        self._path = root / name
        self._password = password

    def exists(self) -> bool:
        return self._path.exists()

    def read(self) -> bytes:
        """What is inside; nothing when there is no such file. Raises SecretError."""
        text = self._text()
        if text is None:
            return b""
        check(text, self.name)  # first, because a file in plain text is worse than a missing password
        return decrypt(text, self._key("decrypted"), self.name)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process changes the file meanwhile. Raises SecretError."""
        try:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise SecretError(f"{self.name} cannot be kept ({error.strerror})") from None
        try:
            self._wait(folder)
            yield
        finally:
            os.close(folder)

    def write(self, plain: bytes) -> None:
        """Within `alone`. What stands beside the file meanwhile is encrypted too. Raises SecretError."""
        if self._path.is_symlink():
            raise SecretError(f"{self.name} is a link (put the file itself there)")
        old = self._text()
        key = self._key("encrypted")
        if old is None:
            self._check_password(key)
        draft = self._path.with_name(f".{self._path.name}")
        try:
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                opened.write(encrypt(plain, key, label_of(old or b"")))
                opened.flush()
                os.fsync(opened.fileno())
            os.replace(draft, self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise SecretError(f"{self.name} cannot be written ({error.strerror})") from None

    def _wait(self, folder: int) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise SecretError(f"{self.name} is being changed by another process (try again later)") from None
                time.sleep(0.02)

    def _text(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SecretError(f"{self.name} cannot be read ({error.strerror})") from None
        if len(text) > MAX_BYTES:
            raise SecretError(f"{self.name} is larger than {MAX_BYTES // 1024**2} MiB")
        return text

    def _key(self, what: str) -> bytes:
        try:
            return self._password().reveal()
        except SecretError as error:
            raise SecretError(f"{self.name} cannot be {what}: {error}") from None

    def _check_password(self, key: bytes) -> None:
        """A new file under a password that opens no other one would be a trap."""
        others = (path for pattern in FILES for path in sorted(self._root.glob(pattern)))
        for path in others:
            name = path.relative_to(self._root).as_posix()
            text = path.read_bytes()
            if text.startswith(MAGIC):
                try:
                    decrypt(text, key, name)
                except SecretError:
                    why = f"the password does not open {name}, and there is one for all"
                    raise SecretError(f"{self.name} cannot be made: {why}") from None
                return


def _sync(folder: Path) -> None:
    """What was put in place there stays so when the machine loses its power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Vault:
    """The secrets in one encrypted file, which is opened when a name is asked for, and once."""

    def __init__(self, file: VaultFile) -> None:
        self._file = file
        self._values: dict[str, Secret] | None = None
        self._lock = threading.Lock()

    def find(self, name: str) -> Secret | None:
        with self._lock:
            if self._values is None:
                self._values = values(self._file.read(), self._file.name)
        return self._values.get(name)

    def where(self, name: str) -> str:
        return self._file.name if self._file.exists() else f"{self._file.name} (no such file)"


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
        value, bound = _bound(value)
        raw = None if bound is None else _bytes(value)
        if raw is None or bound is None or not NAME.fullmatch(name):
            raise _malformed(file, data.marks[name].line)
        found[name] = Secret(name, raw, bound)
    return found


def _bound(value: strict_yaml.Data) -> tuple[strict_yaml.Data, list[str] | None]:
    """A value, and where it may be sent; None when that is no list of addresses."""
    if not isinstance(value, strict_yaml.Map) or not {"value", "bound_to"} & value.keys():
        return value, []
    rest = strict_yaml.Map()
    rest.update((key, each) for key, each in value.items() if key != "bound_to")
    addresses = value.get("bound_to")
    listed = [addresses] if isinstance(addresses, str) else addresses
    if not isinstance(listed, list) or not listed or not all(isinstance(each, str) and each for each in listed):
        return value, None
    return rest["value"] if rest.keys() == {"value"} else rest, [str(each) for each in listed]


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
    form = "NAME: value, {base64: value} or {value: value, bound_to: [address]}"
    form += " (a name is A-Z, 0-9 and _; quote a value that YAML misreads)"
    return SecretError(f"{file}: line {line} of its decrypted text is not {form}")


class Store:
    """Where the secrets of one repository are looked for. One for a whole run, because it opens each file once."""

    def __init__(self, root: Path, environ: Mapping[bytes, bytes] | None = None) -> None:
        self.root = root
        self.password = Password(environ)
        self._environment = Environment(environ)
        self._vaults: dict[str, Vault] = {}

    def for_target(self, target: str, names: Mapping[str, str], addresses: Iterable[str] = ()) -> Secrets:
        """`names` as targets.yaml has them: role → NAME. `addresses` are those at which the target is reached."""
        return Secrets(names, (self._environment, self._vault("inventory/secrets.yaml")), target, addresses)

    def for_customer(self, customer: str, names: Mapping[str, str]) -> Secrets:
        """`customer` is the name of a folder. Another customer's file is never looked into."""
        if not re.fullmatch(r"[\w-][\w.-]*", customer):
            raise SecretError(f"{customer!r} cannot be the name of a customer's folder")
        vault = self._vault(f"customers/{customer}/secrets.yaml")
        return Secrets(names, (self._environment, vault), customer)

    def _vault(self, file: str) -> Vault:
        return self._vaults.setdefault(file, Vault(self.file(file)))

    def file(self, name: str) -> VaultFile:
        """An encrypted file of the repository, to be changed."""
        return VaultFile(self.root, name, self.password)
