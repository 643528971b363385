"""Hashes of passwords, held against what other programs make of them."""

from __future__ import annotations

import subprocess

import bcrypt
import pytest

from mspctl import hashes
from mspctl.errors import SecretError
from mspctl.secrets import Secret
from tests.servers import require

# From the specification, chapter 22.2.
SPECIFIED = [
    (b"Hello world!", "saltstring", 5000,
     "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
    (b"Hello world!", "saltstringsaltst", 10000,
     "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/"
     "YTBmSK6H9qs/y3RnOaw5v."),
]  # fmt: skip


@pytest.mark.parametrize(("password", "salt", "rounds", "expected"), SPECIFIED)
def test_sha512_crypt_as_it_is_specified(password: bytes, salt: str, rounds: int, expected: str) -> None:
    assert hashes.sha512_crypt(password, salt, rounds) == expected


@pytest.mark.parametrize("length", [1, 15, 16, 17, 63, 64, 65, 128, 200])
def test_sha512_crypt_as_openssl_makes_it(length: int) -> None:
    word = ("pàssword" * 30)[:length]
    program = [require("openssl"), "passwd", "-6", "-salt", "abc./9", "-stdin"]
    done = subprocess.run(program, input=f"{word}\n".encode(), capture_output=True, timeout=60, check=True)
    assert hashes.sha512_crypt(word.encode(), "abc./9") == done.stdout.decode().strip()


def test_schemes() -> None:
    word = Secret("WORD", b"a battery staple")
    blowfish = hashes.hashed(word, "BLF-CRYPT").removeprefix("{BLF-CRYPT}")
    assert bcrypt.checkpw(b"a battery staple", blowfish.encode())
    sha = hashes.hashed(word, "SHA512-CRYPT").removeprefix("{SHA512-CRYPT}")
    assert sha == hashes.sha512_crypt(b"a battery staple", sha.split("$")[2])
    assert hashes.hashed(word, "SHA512-CRYPT") != hashes.hashed(word, "SHA512-CRYPT")


@pytest.mark.parametrize("word", [b"", b"a\0b", b"a" * 73])
def test_what_would_be_cut_off_is_refused(word: bytes) -> None:
    with pytest.raises(SecretError, match=r"^secret WORD is no password for BLF-CRYPT \(1 to 72 octets, none of them"):
        hashes.hashed(Secret("WORD", word), "BLF-CRYPT")


def test_made_passwords_differ_and_can_be_typed() -> None:
    made = {hashes.made() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(word) == 23 and word.replace(b"-", b"").isalnum() for word in made)


def test_made_passwords_are_what_servers_demand() -> None:
    """One in thirty would lack a digit if it was left to chance."""
    for word in (hashes.made().decode() for _ in range(1000)):
        assert any(map(str.isdigit, word))
        assert any(map(str.islower, word))
        assert any(map(str.isupper, word))


def test_a_hash_that_nobody_has_the_password_of() -> None:
    assert not bcrypt.checkpw(b"x", hashes.nobody().removeprefix("{BLF-CRYPT}").encode())
    assert hashes.nobody() != hashes.nobody()
