"""Passwords that are made, kept encrypted until they are handed over."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mspctl import vault
from mspctl.errors import SecretError
from mspctl.hand_over import HandOver, Passwords
from mspctl.vault import Store

KEY = b"the password of all vaults"
ENVIRON = {b"MSPCTL_VAULT_PASSWORD": KEY, b"MSPCTL_SECRET_PAOLO": b"his own"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "customers/acme").mkdir(parents=True)
    return tmp_path


def passwords(root: Path, environ: dict[bytes, bytes] | None = None) -> Passwords:
    store = Store(root, ENVIRON if environ is None else environ)
    return Passwords(store, HandOver(store), "mail-1")


def made(root: Path, *addresses: str, rev: int = 1) -> list[bytes]:
    wanted = [(address, f"generated rev {rev}") for address in addresses]
    return [secret.reveal() for secret in passwords(root).of("acme", wanted)]


def held(root: Path) -> dict[str, str]:
    text = (root / "customers/acme/hand-over.yaml").read_bytes()
    found: dict[str, str] = json.loads(vault.decrypt(text, KEY))["waiting"]
    return found


def test_one_is_made_once_and_found_again(root: Path) -> None:
    first = made(root, "a@acme.example", "b@acme.example")
    assert len({*first}) == 2
    assert made(root, "b@acme.example", "a@acme.example") == first[::-1]
    assert made(root, "a@acme.example", rev=2) != first[:1]
    assert held(root)["b@acme.example on mail-1 rev 1"].encode() == first[1]


def test_only_the_encrypted_file_is_left_and_nobody_else_can_read_it(root: Path) -> None:
    (word,) = made(root, "a@acme.example")
    (file,) = (root / "customers/acme").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert word not in file.read_bytes()


def test_one_that_has_a_name_is_looked_up(root: Path) -> None:
    (secret,) = passwords(root).of("acme", [("paolo@acme.example", "PAOLO rev 3")])
    assert secret.matches(b"his own")
    assert [*(root / "customers/acme").iterdir()] == []
    with pytest.raises(SecretError, match=r"secret ANNA \(the password of anna@acme\.example of acme\) is not set"):
        passwords(root).of("acme", [("anna@acme.example", "ANNA rev 1")])


@pytest.mark.parametrize("word", [b"his own\n", b"two\r\nlines", b"tab\there", b"del\x7f"])
def test_one_that_nobody_can_type_is_refused(root: Path, word: bytes) -> None:
    with pytest.raises(
        SecretError, match=r"^secret PAOLO \(the password of a@b.example.*\) holds a line break"
    ) as caught:
        passwords(root, {b"MSPCTL_SECRET_PAOLO": word}).of("acme", [("a@b.example", "PAOLO rev 1")])
    assert word.decode() not in str(caught.value)


def test_without_the_vaults_password_nothing_is_made(root: Path) -> None:
    with pytest.raises(SecretError, match=r"hand-over\.yaml cannot be encrypted: set MSPCTL_VAULT"):
        passwords(root, {}).of("acme", [("a@acme.example", "generated rev 1")])
    assert [*(root / "customers/acme").iterdir()] == []


def test_many_at_once_lose_none(root: Path) -> None:
    with ThreadPoolExecutor(8) as executor:
        found = [*executor.map(lambda number: made(root, f"m{number}@acme.example")[0], range(16))]
    assert sorted(held(root).values()) == sorted(word.decode() for word in found)


@pytest.mark.parametrize("text", [b"plain text", b""])
def test_a_file_that_somebody_changed_is_not_written_over(root: Path, text: bytes) -> None:
    file = root / "customers/acme/hand-over.yaml"
    file.write_bytes(vault.encrypt(text, KEY) if text else text)
    before = file.read_bytes()
    with pytest.raises(SecretError, match=r"customers/acme/hand-over\.yaml"):
        made(root, "a@acme.example")
    assert file.read_bytes() == before


def test_another_process_is_waited_for_and_then_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "PATIENCE", 0.05)
    file = Store(root, ENVIRON).file("customers/acme/hand-over.yaml")
    with file.alone(), pytest.raises(SecretError, match=r"hand-over\.yaml is being changed by another process"):
        made(root, "a@acme.example")
    assert len(made(root, "a@acme.example")) == 1


def test_a_link_is_not_written_through(root: Path, tmp_path: Path) -> None:
    (root / "customers/acme/hand-over.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretError, match=r"hand-over\.yaml is a link"):
        made(root, "a@acme.example")
    assert not (tmp_path / "elsewhere").exists()
