"""Several applies and a hand in the tables at once: nobody's change is lost, and whoever comes late is told."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults import mail_lab
from tests.faults.lab import leftovers, sound
from tests.faults.mail_lab import ACME, COST, FILE, MailLab
from tests.faults.test_together import Crowd, all_done, finished, owner

MB = 1_024_000
PAOLO = "mailboxes/acme.example/paolo"


@pytest.fixture(autouse=True)
def _words(_quiet: None) -> None:
    mail_lab.quiet()


@pytest.fixture
def lab(mail_template: MailLab, tmp_path: Path) -> MailLab:
    """Everything is applied."""
    return mail_template.again(tmp_path / "lab")


def quota(lab: MailLab, address: str = "paolo@acme.example") -> int:
    (row,) = lab.tables.run("SELECT quota FROM mailbox WHERE username = ?", address)
    mb: int = row["quota"] // MB
    return mb


def settled(lab: MailLab) -> None:
    assert lab.run("plan").code == 0
    assert leftovers(lab) == []
    assert sound(lab) == ""


# -- two applies and a hand -------------------------------------------------------------------------------------


class Hand:
    """Somebody who writes into the tables all the time: other mailboxes, and other columns of ours."""

    def __init__(self, lab: MailLab, size: int) -> None:
        self.tables, self.size = lab.tables, size
        self.said: dict[tuple[str, str], Any] = {}  # (address, column) → what was written last
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._write)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for n in range(3):
            columns = "username, password, name, maildir, local_part, domain"
            values = (f"hand{n}@acme.example", "x", "", "m/", f"hand{n}", "acme.example")
            self.tables.run(f"INSERT INTO mailbox ({columns}) VALUES (?, ?, ?, ?, ?, ?)", *values)  # noqa: S608
        self.thread.start()
        try:
            yield
        finally:
            self.over.set()
            self.thread.join(60)

    def _write(self) -> None:
        chance = random.Random(7)  # noqa: S311
        with closing(self.tables.connect()) as db:
            while not self.over.is_set():
                number = chance.randrange(1000)
                address, column = chance.choice(
                    [
                        (f"hand{number % 3}@acme.example", "quota"),
                        (f"{owner(number % self.size)}@acme.example", "phone"),
                    ]
                )
                self.tables.within(db, f"UPDATE mailbox SET {column} = ? WHERE username = ?", number, address)  # noqa: S608
                self.said[address, column] = number
                time.sleep(0.002)

    def lost(self) -> dict[tuple[str, str], Any]:
        """What is not as it was written; mailboxes that were not there yet have nothing to lose."""
        rows = self.tables.run("SELECT * FROM mailbox")
        held = {(row["username"], column): row[column] for row in rows for column in ("quota", "phone")}
        mine = {key: said for key, said in self.said.items() if key[1] == "quota"}
        ours = {key: said for key, said in self.said.items() if key[1] == "phone" and held[key] != ""}
        return {key: (said, held[key]) for key, said in (mine | ours).items() if str(held[key]) != str(said)}


@pytest.mark.parametrize("size", [2, pytest.param(12, marks=pytest.mark.soak)])
def test_each_its_own_mailbox_of_one_domain_and_a_hand(lab: MailLab, size: int) -> None:
    boxes = "".join(f"      {owner(n)}: {{password: generated, quota: 1 GiB}}\n" for n in range(size))
    lab.write(FILE, ACME.replace("    groups:\n", f"{boxes}    groups:\n").replace("mailboxes: 10", "mailboxes: 30"))
    crowd, hand = Crowd(lab, size), Hand(lab, size)
    with hand.at_work():
        for old, new in (("none", ""), ("quota: 1 GiB}", "quota: 2 GiB, forwards: [x@partner.example]}")):
            for member in crowd.members:
                (member.clone / FILE).write_text((member.clone / FILE).read_text().replace(old, new))
            paths = [f"mailboxes/acme.example/{owner(n)}" for n in range(size)]
            said = crowd.run([["apply", "-y", "-c", "acme", path] for path in paths], cost=[COST] * size)
            all_done(said)
    assert len(hand.said) >= 3
    assert hand.lost() == {}
    for n, member in enumerate(crowd.members):
        words = MailLab(member.root, lab.tables)
        words.clone = member.clone
        assert lab.opens(f"{owner(n)}@acme.example", words.waiting()[f"{owner(n)}@acme.example 1"])
    made = [r["data"] for r in lab.tables.run("SELECT data FROM log WHERE action = 'create_mailbox'")]
    assert all(made.count(f"{owner(n)}@acme.example") == 1 for n in range(size))
    lab.write(FILE, (crowd.members[0].clone / FILE).read_text())
    assert lab.run("apply").code == 0  # the limit, which nobody was asked to apply
    settled(lab)


# -- who comes second -------------------------------------------------------------------------------------------


def waits(path: Path) -> None:
    """Until it is there; bounded."""
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")


@contextmanager
def at_the_gate(lab: MailLab, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An apply that has read the tables in its transaction, and not written yet; at the end it goes on."""
    gate = lab.root / "gate"
    gate.mkdir()
    process = lab.start(*arguments, gate=str(gate), cost=COST, run="first")
    try:
        waits(gate / "at")
        yield process
    finally:
        (gate / "go").touch()


def test_two_pull_requests_about_one_mailbox(lab: MailLab) -> None:
    """The second was planned before the first was applied: it is told, and has changed nothing."""
    crowd = Crowd(lab, 2)
    for member, size in zip(crowd.members, ("12", "14"), strict=True):
        (member.clone / FILE).write_text(ACME.replace("quota: 10 GiB", f"quota: {size} GiB"))
    first, second = (MailLab(member.root, lab.tables) for member in crowd.members)
    first.clone, second.clone = (member.clone for member in crowd.members)
    with at_the_gate(first, "apply", "-y", "-c", "acme") as one:
        other = second.start("apply", "-y", "-c", "acme", "--wait", "60", run="second")
        assert other.stdout is not None
        shown = ""  # the plan is, before anybody waits for locks
        while "1 to change" not in shown:
            line = other.stdout.readline()
            assert line, shown
            shown += line
    said = [finished(process, time.monotonic() + 60) for process in (one, other)]
    assert said[0].code == 0, said[0]
    assert said[1].code == 3, said[1]
    assert "not as it was when the plan was reviewed" in said[1].out
    assert quota(lab) == 12583
    assert lab.run("plan").code == 2


def test_a_hand_in_between_makes_us_stale(lab: MailLab) -> None:
    """It writes after we looked for the last time; where it has to wait for us, it comes after us."""
    lab.write(FILE, ACME.replace("quota: 10 GiB", "quota: 12 GiB"))
    waiting = threading.Thread(
        target=lab.tables.run, args=("UPDATE mailbox SET quota = 7 * 1024000 WHERE username = 'paolo@acme.example'",)
    )
    with at_the_gate(lab, "apply", "-y", PAOLO) as process:
        waiting.start()
        if lab.tables.kind != "sqlite":
            waiting.join(30)
    said = finished(process, time.monotonic() + 60)
    waiting.join(30)
    assert quota(lab) == 7
    if lab.tables.kind == "sqlite":
        assert said.code == 0 or "reading back shows otherwise" in said.out
    else:
        assert said.code == 1, said
        assert "paolo@acme.example was changed in the database since it was read" in said.out
    after = lab.run("drift")
    assert after.code == 2
    assert "paolo" in after.out
