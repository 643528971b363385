"""
The main job from end to end, on the example customers, in a scratch folder: plan, apply, nothing pending, somebody
edits a zone file by hand, drift names it, `adopt` ends it; another edit, `apply --revert` ends that. Then people: a
password is handed over, a forward that nobody declared is found and undone, and somebody leaves.

Every step is the real command line. The targets are folders of zone files, and PostfixAdmin's tables in an SQLite file.
Run it with `make demo`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MSPCTL = Path(sys.executable).with_name("mspctl")
MAIL = "scratch/mail.db"
ENVIRON = {**os.environ, "MSPCTL_VAULT_PASSWORD": "of all encrypted files here"}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mspctl-demo-") as folder:
        scratch = Path(folder)
        prepare(scratch)
        zones(scratch)
        people(scratch)
    say("That was a scratch folder; it is gone. Your own repository begins with: mspctl init DIR")
    return 0


def prepare(scratch: Path) -> None:
    for name in ("customers", "inventory"):
        shutil.copytree(ROOT / name, scratch / name)
    for name in ("ns-1", "ns-lab"):
        (scratch / "scratch" / name).mkdir(parents=True)
    with closing(sqlite3.connect(scratch / MAIL)) as db:
        db.executescript((ROOT / "scripts/mail.sql").read_text())
    (scratch / ".gitignore").write_text("/scratch/\n")
    git(scratch, "init", "--quiet")
    commit(scratch, "Three customers")


def zones(scratch: Path) -> None:
    say("A new ledger: the memory of what was applied.")
    run(scratch, 0, "ledger", "init")
    say("What would an apply do?")
    run(scratch, 2, "plan")
    say("Do it.")
    run(scratch, 0, "apply", "--reason", "first import")
    say("Nothing is pending.")
    run(scratch, 0, "plan")

    say("Saturday night: somebody edits a zone file by hand.")
    edit(scratch, "www 3600 IN CNAME brenta.example.", "www 3600 IN CNAME somewhere-else.example.")
    run(scratch, 2, "drift")
    say("A merge would not touch it, because nobody changed Git:")
    run(scratch, 0, "apply")
    say("It was meant so: Git takes over the live value.")
    run(scratch, 0, "adopt", "officine-brenta")
    commit(scratch, "www has moved")
    run(scratch, 0, "drift")

    say("Sunday: another one, and this one is wrong.")
    edit(scratch, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.66")
    run(scratch, 2, "drift")
    say("Back to what Git says.")
    run(scratch, 0, "apply", "--revert", "--reason", "ticket 4711")
    run(scratch, 0, "drift")


def people(scratch: Path) -> None:
    say("Mailboxes came with passwords, which wait for their owners, encrypted.")
    run(scratch, 0, "secret", "hand-over", "officine-brenta")
    say("Maria fetches that of Paolo. It is shown once; here is no terminal, so we have to insist.")
    run(scratch, 0, "secret", "hand-over", "officine-brenta", "paolo", "--to", "Maria Rossi", "--print")
    run(scratch, 0, "secret", "hand-over", "officine-brenta")

    say("Monday: somebody has got hold of an account, and its mail goes outside as well.")
    forward(scratch, "paolo@brenta.example", "paolo@brenta.example,someone@elsewhere.example")
    run(scratch, 2, "drift")
    say("Nobody declared that. Back to what Git says.")
    run(scratch, 0, "apply", "--revert", "--reason", "ticket 4712")
    run(scratch, 0, "drift")

    say("Luca leaves, and Acquisti gets his mail. What needs an approval is named in the same edit.")
    leave = ("mail", "leave", "officine-brenta", "luca", "--copy-to", "acquisti", "--approve", "ticket 4719")
    run(scratch, 0, *leave, "--reply", "Luca is no longer with us. Please write to acquisti@brenta.example")
    commit(scratch, "Luca leaves")
    run(scratch, 0, "apply", "--reason", "ticket 4719")
    run(scratch, 0, "plan")
    run(scratch, 0, "show", "officine-brenta", "--history")


def forward(scratch: Path, address: str, to: str) -> None:
    with closing(sqlite3.connect(scratch / MAIL)) as db, db:
        db.execute("UPDATE alias SET goto = ? WHERE address = ?", (to, address))
    print(f"  mail.db: {address} → {to}", flush=True)


def edit(scratch: Path, old: str, new: str) -> None:
    path = scratch / "scratch/ns-1/brenta.example.zone"
    text = path.read_text()
    if old not in text:
        raise SystemExit(f"the zone file does not hold: {old}")
    path.write_text(text.replace(old, new))
    print(f"  {path.name}: - {old}\n  {path.name}: + {new}", flush=True)


def run(scratch: Path, expected: int, *arguments: str) -> None:
    """One command, shown and checked: a demonstration that goes wrong says so."""
    print(f"$ mspctl {shlex.join(arguments)}", flush=True)
    done = subprocess.run([MSPCTL, *arguments], cwd=scratch, stdin=subprocess.DEVNULL, env=ENVIRON, check=False)
    if done.returncode != expected:
        raise SystemExit(f"mspctl {' '.join(arguments)} ended with {done.returncode}, not {expected}")


def commit(scratch: Path, message: str) -> None:
    git(scratch, "add", "--all")
    author = ("-c", "user.name=Demo", "-c", "user.email=demo@msp.example")
    git(scratch, *author, "commit", "--quiet", "--message", message)


def git(scratch: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=scratch, check=True)


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
