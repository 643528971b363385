"""How many of something, in words: one way for every line that says so."""

from __future__ import annotations


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 box`, `1,200 boxes`. `plural`: where an s at the end is not it."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
