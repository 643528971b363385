"""The archive of configurations on real Git repositories: encrypted, bounded, told apart, opened only by who may."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyrage import x25519

from mspctl import archive
from mspctl.archive import Archive, Page
from mspctl.cli.showing_config import shown
from mspctl.driver import Configuration
from mspctl.errors import InputError, LedgerError, SecretError
from mspctl.ledger_page import path_of
from mspctl.load import load
from mspctl.record import Run
from mspctl.resource import Scope
from mspctl.secrets import Secret
from tests.estate import estate

RUN = Run("r1", "Paolo Zen <paolo@msp.example>", "c0ffee")
NOW = datetime(2027, 3, 5, 3, 10, tzinfo=UTC)
SEDE, LAB = Scope("fw-1", "firewall", "sede", "acme"), Scope("fw-2", "firewall", "lab", "acme")
WORD = b"hunter2-of-the-line"
PARTS = {"/etc/network/interfaces": b"auto eth0\n  password " + WORD + b"\n", "nft list ruleset": b"table inet a {}\n"}
ONE, OTHER = x25519.Identity.generate(), x25519.Identity.generate()
KEYS = {"ARCHIVE_OFFICE": str(ONE.to_public()), "ARCHIVE_SAFE": str(OTHER.to_public())}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    subprocess.run(["git", "init", "-q", "--template=", "--bare", tmp_path / "remote.git"], check=True)
    subprocess.run(["git", "init", "-q", "--template=", tmp_path / "here"], check=True)
    where = ["remote", "add", "origin", str(tmp_path / "remote.git")]
    subprocess.run(["git", "-C", tmp_path / "here", *where], check=True)
    return tmp_path / "here"


def keep(root: Path, parts: dict[str, bytes], day: int = 0, keys: dict[str, str] = KEYS, most: int = 40) -> bool:
    found = Archive.fetched(root).record(RUN, [Configuration(SEDE, parts)], keys, most, NOW + timedelta(days=day))
    return found[SEDE]


def page(root: Path) -> Page:
    return Archive.fetched(root).pages([SEDE, LAB])[SEDE]


def everything(root: Path) -> bytes:
    """All that Git holds, whatever holds it."""
    ids = subprocess.run(
        ["git", "-C", root, "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True
    )
    return ids.stdout


def test_any_of_the_keys_opens_it_and_nothing_is_in_clear(root: Path) -> None:
    assert keep(root, PARTS)
    kept = Archive.fetched(root)
    (version,) = page(root).versions
    for key in (ONE, OTHER):
        assert archive.opened(kept.sealed(SEDE, version), Secret("KEY", f"# made\n{key}\n".encode())) == PARTS
    assert dict(version.keys) == KEYS
    for where in (root, root.parent / "remote.git"):
        for word in (WORD, b"auto eth0", b"table inet", str(ONE).encode()):
            assert word not in everything(where)
    stranger = Secret("KEY", str(x25519.Identity.generate()).encode())
    with pytest.raises(SecretError, match="KEY does not open this version"):
        archive.opened(kept.sealed(SEDE, version), stranger)
    with pytest.raises(SecretError, match="KEY is no private key of age"):
        archive.opened(kept.sealed(SEDE, version), Secret("KEY", b"AGE-SECRET-KEY-1"))


def test_a_version_is_kept_only_when_something_changed(root: Path) -> None:
    assert keep(root, PARTS)
    assert not keep(root, dict(reversed(PARTS.items())), day=1)
    assert page(root).seen == NOW + timedelta(days=1)
    assert keep(root, PARTS | {"nft list ruleset": b""}, day=2)
    assert keep(root, PARTS, day=3)
    assert [version.taken.day for version in page(root).versions] == [5, 7, 8]
    assert page(root).at(NOW + timedelta(days=1, hours=1)) == 0
    assert page(root).at(None) == 2
    with pytest.raises(LookupError):
        page(root).at(NOW - timedelta(days=1))
    assert keep(root, PARTS, day=4, keys={"ARCHIVE_SAFE": KEYS["ARCHIVE_SAFE"]})  # whoever lost the key reads no more


def test_it_does_not_grow_for_ever(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LONGEST", 5)
    for day in range(9):
        assert keep(root, {"nft list ruleset": str(day).encode()}, day, most=3)
    found = Archive.fetched(root)
    assert len([path for path in found.branch.paths() if path.endswith(".age")]) == 3
    assert [version.taken.day for version in page(root).versions] == [11, 12, 13]
    assert found.branch.length() <= 6


def test_what_is_damaged_is_told(root: Path) -> None:
    keep(root, PARTS)
    kept = Archive.fetched(root)
    (version,) = page(root).versions
    key = Secret("KEY", str(ONE).encode())
    with pytest.raises(SecretError, match="or it is damaged"):
        archive.opened(kept.sealed(SEDE, version)[:-1] + b"x", key)
    with pytest.raises(LedgerError, match="a version is not what we wrote"):
        archive.opened(archive.seal(b"{", KEYS), key)
    with pytest.raises(LedgerError, match="is missing"):
        kept.sealed(LAB, version)
    content = archive.rendered(page(root))
    assert archive.parsed(content) == page(root)
    changes: list[dict[str, object]] = [{"format": 2}, {"salt": "no"}, {"versions": [{}]}, {"seen": "no"}, {"more": 1}]
    for change in changes:
        assert archive.parsed(json.dumps(json.loads(content) | change).encode()) is None
    assert archive.parsed(b"[") is None
    assert path_of(SEDE) in kept.branch.paths()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keys: {}", "keys is empty"),
        ("", "keys"),
        ("keys: {OFFICE: age1abc}", "is not a public key of age"),
        (f"keys: {{OFFICE: {ONE}}}", "a private key is not a public key of age"),
        (f"keys: {{office: {KEYS['ARCHIVE_SAFE']}}}", "is not the name of a secret"),
        (f"keys: {{OFFICE: {KEYS['ARCHIVE_SAFE']}}}\nkeep: 0", "keep"),
    ],
)
def test_keys_are_public_and_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError) as refused:
        load(estate(tmp_path, {"inventory/archive.yaml": text}))
    said = "\n".join(map(str, refused.value.problems))
    assert said.startswith("inventory/archive.yaml:")
    assert problem in said
    assert str(ONE) not in said


def test_a_key_with_a_slip_in_it_is_told_before_anything_is_kept(root: Path) -> None:
    key = KEYS["ARCHIVE_SAFE"]
    with pytest.raises(SecretError, match="no public key of age"):
        keep(root, PARTS, keys={"OFFICE": key[:-1] + ("q" if key[-1] != "q" else "p")})
    assert not Archive.fetched(root).branch.paths()


def test_a_device_writes_nothing_on_a_terminal() -> None:
    assert shown(b"a\tb\n\x1b[2Jc\x00\xff") == "a\tb\n\\x1b[2Jc\\x00\ufffd"
