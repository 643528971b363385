"""
Passwords as mail servers keep them: a scheme in braces, and what crypt(3) would make of the password.

Made are BLF-CRYPT (bcrypt) and SHA512-CRYPT (“Unix crypt using SHA-256 and SHA-512”, U. Drepper, 0.6; Python 3.13 has
no crypt any more, and passlib has no keeper).
"""

from __future__ import annotations

import hashlib
import secrets
import string
from typing import Literal

from mspctl.errors import SecretError
from mspctl.secrets import Secret

Scheme = Literal["BLF-CRYPT", "SHA512-CRYPT"]

COST = 10  # of bcrypt, as a power of two: 50 ms each log-in
ROUNDS = 5000  # of SHA512-CRYPT: what everybody takes unless the hash says otherwise
LONGEST = {"BLF-CRYPT": 72, "SHA512-CRYPT": 1024}  # octets; bcrypt would drop the rest in silence

_ALPHABET = "./" + string.digits + string.ascii_uppercase + string.ascii_lowercase
# Letters and digits that nobody takes for each other, read aloud from paper or in any font; of each kind at least one,
# because many servers want it so.
_KINDS = ("abcdefghijkmnpqrstuvwxyz", "ABCDEFGHJKLMNPQRSTUVWXYZ", "23456789")


def made(length: int = 20) -> bytes:
    """A password that a person can type: letters and digits in groups of five. 20 of them are some 114 bits."""
    chosen = [secrets.choice(kind) for kind in _KINDS]
    chosen += [secrets.choice("".join(_KINDS)) for _ in range(length - len(chosen))]
    secrets.SystemRandom().shuffle(chosen)
    return "-".join("".join(chosen[at : at + 5]) for at in range(0, length, 5)).encode()


def hashed(password: Secret, scheme: Scheme) -> str:
    """`{SCHEME}hash`, with a new salt each time. Raises SecretError for a password that the scheme cannot hold."""
    value = password.reveal()
    if not value or len(value) > LONGEST[scheme] or b"\0" in value:
        most = LONGEST[scheme]
        raise SecretError(f"secret {password.name} is no password for {scheme} (1 to {most} octets, none of them zero)")
    if scheme == "BLF-CRYPT":
        import bcrypt

        return f"{{{scheme}}}{bcrypt.hashpw(value, bcrypt.gensalt(COST)).decode()}"
    salt = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    return f"{{{scheme}}}{sha512_crypt(value, salt)}"


def nobody() -> str:
    """A hash in the right form that no password is known for: nobody can log in."""
    return "{BLF-CRYPT}$2b$10$" + "".join(_ALPHABET[octet & 63] for octet in secrets.token_bytes(20)) + "." * 33


def sha512_crypt(password: bytes, salt: str, rounds: int = ROUNDS) -> str:
    """`$6$salt$hash`; `salt` is at most 16 characters long."""
    salted = salt.encode()
    alternate = hashlib.sha512(password + salted + password).digest()
    first = hashlib.sha512(password + salted + _stretched(alternate, len(password)))
    bits = len(password)
    while bits:
        first.update(alternate if bits & 1 else password)
        bits >>= 1
    digest = first.digest()
    p = _stretched(hashlib.sha512(password * len(password)).digest(), len(password))
    s = _stretched(hashlib.sha512(salted * (16 + digest[0])).digest(), len(salted))
    for number in range(rounds):
        odd = number & 1
        text = (p if odd else digest) + (s if number % 3 else b"") + (p if number % 7 else b"") + (digest if odd else p)
        digest = hashlib.sha512(text).digest()
    said = "" if rounds == ROUNDS else f"rounds={rounds}$"
    return f"$6${said}{salt}${_spelled(digest)}"


def _stretched(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _spelled(digest: bytes) -> str:
    """Three octets become four characters, least significant first; which three go together goes round."""
    parts = []
    for number in range(21):
        a, b, c = number, number + 21, number + 42
        for _ in range(number % 3):
            a, b, c = b, c, a
        parts.append(_characters(digest[a] << 16 | digest[b] << 8 | digest[c], 4))
    return "".join(parts) + _characters(digest[63], 2)


def _characters(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 6 * place & 63] for place in range(count))
