"""
DKIM keys as the DNS publishes them, and signatures made with them (RFC 6376). Pure: who has keys hands them in.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Mapping

TESTING = "y"  # a flag of a key: receivers shall not act on it


def key_name(selector: str, domain: str) -> str:
    """Where a key is published: "mail._domainkey.acme.example."."""
    return f"{selector}._domainkey.{domain.rstrip('.')}."


def tags(text: str) -> dict[str, str]:
    """The tags of a key or a signature; white space within values says nothing."""
    parts = (part.partition("=") for part in text.split(";"))
    return {name.strip(): re.sub(r"\s+", "", value) for name, equals, value in parts if equals}


def is_key(text: str) -> bool:
    """Whether a TXT record is one, and not a stray one beside it."""
    found = tags(text)
    return "p" in found and found.get("v", "DKIM1") == "DKIM1"


def same_key(one: str, other: str) -> bool:
    """Whether two records hold the same public key, however they are spelled."""
    first, second = tags(one), tags(other)
    return first.get("p") == second.get("p") and first.get("k", "rsa") == second.get("k", "rsa")


def signers(message: bytes) -> list[tuple[str, str]]:
    """Domain and selector of each signature of a message, in the order in which they stand there."""
    headers = email.message_from_bytes(message, policy=email.policy.compat32).get_all("DKIM-Signature", [])
    found = (tags(str(header)) for header in headers)
    return [(each.get("d", "").lower(), each.get("s", "")) for each in found]


def why_not(message: bytes, keys: Mapping[str, str], number: int) -> str:
    """
    Why one signature of a message does not hold; "" when it does.

    `keys` are TXT records by name. Raises ModuleNotFoundError without dkimpy, which is an extra.
    """
    import dkim

    def published(name: bytes, timeout: int = 5) -> bytes:
        return keys.get(name.decode("ascii", "replace").rstrip(".") + ".", "").encode()

    try:
        verified = dkim.DKIM(message, minkey=1024).verify(number, dnsfunc=published)
    except dkim.DKIMException as error:
        return str(error) or type(error).__name__
    return "" if verified else "the signature is not that of this key, or the message was changed on the way"
