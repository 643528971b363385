"""Matches and values in the words of nft."""

from __future__ import annotations

from typing import Any

from mspctl.drivers.nftables.grown.listed import elements


def spoken_match(left: Any, right: Any, op: str = "") -> str:
    """A match in the words of nft, where it is a plain one."""
    if isinstance(left, dict) and "concat" in left and isinstance(right, dict) and "concat" in right:
        return " ".join(spoken_match(a, b) for a, b in zip(left["concat"], right["concat"], strict=True))
    if isinstance(left, dict) and "concat" in left:
        return " ".join(w for w in (" . ".join(spoken_match(part, "") for part in left["concat"]), op, str(right)) if w)
    ((kind, said),) = left.items() if isinstance(left, dict) else ((str(left), {}),)
    words = [said.get("protocol"), said.get("field")] if kind == "payload" else [kind, said.get("key")]
    if not isinstance(said, dict):
        words = [kind]
    if kind == "meta" and words[1] in ("iifname", "oifname", "iif", "oif"):
        words = [words[1].replace("iif", "iifname").replace("oif", "oifname").replace("namename", "name")]
        right = f'"{right}"' if isinstance(right, str) else right
    if kind == "fib":
        words = ["fib", *map(str, said.get("flags", [])), str(said.get("result"))]
    return " ".join(str(w) for w in (*words, op, spoken_value(right)) if w)


def spoken_value(said: Any) -> str:
    if isinstance(said, dict) and "set" in said:
        return "{ " + ", ".join(map(spoken_value, elements(said["set"]))) + " }"
    if isinstance(said, dict) and "range" in said:
        return "-".join(map(str, said["range"]))
    if isinstance(said, dict) and "prefix" in said:
        return f"{said['prefix']['addr']}/{said['prefix']['len']}"
    if isinstance(said, dict) and "concat" in said:
        return " . ".join(map(spoken_value, said["concat"]))
    return ",".join(map(spoken_value, said)) if isinstance(said, list) else str(said)


def matches_of(text: str) -> str:
    """The text of a rule without where it goes, and without what it counts."""
    for word in (" jump ", " goto "):
        text = f" {text}".partition(word)[0]
    return text.replace(" counter", "").strip()
