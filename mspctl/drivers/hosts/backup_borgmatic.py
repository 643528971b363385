"""
The configuration of borgmatic for a job, as its version 1.7 takes it: the one of Debian 12. Pure.

It is JSON, which is YAML too. The host has borgmatic itself validate a draft before it is put in place. Dumps, the key
to log in with, and when the repository is checked are the business of the job's own program (`files/backup_job.py`),
as they are with restic; so borgmatic's own hooks and frequencies are left out.
"""

from __future__ import annotations

import glob
import json
from typing import Any

from mspctl.resource import Fields, Value

ENDING = "borgmatic.yaml"
VALIDATE = ("validate-borgmatic-config", "--config")
CACHE = "/var/cache/mspctl-borg"
KEEP = {"last": "secondly"}  # what Borg calls otherwise
LOCKED = 1800  # seconds for which one job of a host waits for another, whose repository it shares


def configuration(name: str, folder: str, states: str, said: Fields) -> str:
    own = f"{states}/borg"
    dumps = [f"{states}/dumps/{name}"] if said["dumps"] else []
    made = {
        "location": {
            "source_directories": [*map(glob.escape, _sorted(said["paths"])), *dumps],
            "repositories": [said["repository"]],
            "exclude_patterns": [*map(pattern, [*_sorted(said["exclude"]), f"{own}/borgmatic"])],
            "borgmatic_source_directory": f"{own}/borgmatic",  # where it writes down when it checked
        },
        "storage": {
            "encryption_passcommand": f"tail -n 1 {folder}/{name}.password",
            "archive_name_format": name + ".{utcnow:%Y-%m-%dT%H:%M:%S.%f}",
            "borg_config_directory": own,
            "borg_cache_directory": CACHE,
            "lock_wait": LOCKED,
            **({"upload_rate_limit": said["upload"]} if said["upload"] else {}),
        },
        "retention": {"prefix": f"{name}.", **_kept(said["keep"])},
        "consistency": {"prefix": f"{name}.", "checks": [{"name": each} for each in _checks(said["read"])]},
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _sorted(value: Value) -> list[str]:
    return sorted(map(str, value)) if isinstance(value, frozenset) else []


def _kept(value: Value) -> dict[str, Any]:
    """`daily 14`, as borgmatic calls it."""
    each = [said.partition(" ") for said in _sorted(value)]
    return {f"keep_{KEEP.get(what, what)}": int(number) for what, _, number in each if number.isdecimal()}


def _checks(read: Value) -> list[str]:
    return ["repository", "data"] if read else ["repository", "archives"]  # data are archives, and read


def pattern(said: str) -> str:
    """
    What restic leaves out, for Borg: a name, or some with slashes between, wherever they are; from the root, if it
    begins with one. What follows a backslash is meant as it is.
    """
    plain = "".join(f"[{one[1]}]" if one[0] == "\\" else one for one in _pieces(said))
    return f"sh:{plain}" if plain.startswith("/") else f"sh:**/{plain}"


def _pieces(said: str) -> list[str]:
    found: list[str] = []
    letters = iter(said)
    for letter in letters:
        found.append(letter + next(letters, "\\") if letter == "\\" else letter)
    return found
