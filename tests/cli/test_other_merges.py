"""`apply FILE --base`: runs of merges in any order do what is theirs, and nobody takes back what a newer one did."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl import cli
from mspctl.other_merges import EARLIER, NEWER
from tests.cli.test_main_job import replace
from tests.conftest import Run, Said
from tests.estate import one_zone

YAML, ZONE = "customers/acme/dns/acme.example.yaml", "zones/acme.example.zone"
VOIP, DEPOT, SIP = "voip: {A: 192.0.2.85}\n", "depot: {A: 198.51.100.20}\n", "sip: {A: 192.0.2.88}\n"
VOIP_86, VOIP_87, DEPOT_99 = VOIP.replace("85", "86"), VOIP.replace("85", "87"), DEPOT.replace("20}", "99}")
Edit = tuple[str, str]


class Merges:
    """Pull requests that were planned and merged, one on the other; none is applied yet."""

    def __init__(self, root: Path, run: Run) -> None:
        self.root, self.command, self.made = root, run, list[str]()
        subprocess.run(["git", "init", "--quiet", root], check=True)
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", root / "remote.git"], check=True)
        (root / ".gitignore").write_text("zones/\nremote.git/\n*.plan.json\n")
        self.git("remote", "add", "origin", str(root / "remote.git"))
        self.start = self.commit()
        self.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
        applied = [run("ledger", "init"), run("apply")]
        assert [said.code for said in applied] == [0, 0], applied

    def git(self, *args: str) -> str:
        who = ["-c", "user.name=Paolo", "-c", "user.email=paolo@msp.example"]
        done = subprocess.run(["git", *who, *args], cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def merge(self, *edits: Edit, planned_on: str = "", planned: Sequence[Edit] | None = None) -> None:
        """
        Edits of the zone, planned on a commit (main as it was at the start), and merged into main as it is. `planned`:
        what of it was there when it was planned.
        """
        self.git("checkout", "--quiet", "--detach", planned_on or self.start)
        for old, new in edits if planned is None else planned:
            replace(self.root / YAML, old, new)
        plan = f"{len(self.made)}.plan.json"
        self.command("plan", "--exit-zero", "--save", plan)
        self.git("checkout", "--quiet", "--force", self.made[-1] if self.made else self.start)
        for old, new in edits:
            replace(self.root / YAML, old, new)
        self.made.append(self.commit())
        self.git("push", "--quiet", "origin", "HEAD:refs/heads/main")

    def applied(self, number: int) -> Said:
        """What the run of a merge says."""
        self.git("checkout", "--quiet", "--force", self.made[number])
        return self.command("apply", f"{number}.plan.json", "--base", "HEAD^1", "--yes")

    def are_done(self) -> None:
        self.git("checkout", "--quiet", "--force", self.made[-1])
        assert self.command("plan").code == 0


@pytest.fixture
def merges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Merges:
    one_zone(tmp_path, f"apex: {{NS: [ns1.msp.example.]}}\n{VOIP}{DEPOT}{SIP}")
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = cli.run([*arguments])
        said = capsys.readouterr()
        return Said(code, re.sub(" +", " ", said.out), said.err)

    return Merges(tmp_path, command)


IN_ANY_ORDER = pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in turn", "newer first"])


@IN_ANY_ORDER
def test_two_merges_of_one_zone(merges: Merges, order: tuple[int, int]) -> None:
    merges.merge((VOIP, VOIP_86))
    merges.merge((DEPOT, DEPOT_99))
    first, second = (merges.applied(number) for number in order)
    assert (first.code, second.code) == (0, 0), first.out + second.out
    if order == (1, 0):  # the first sees what the other one has to do, the last what the other one did
        assert f"elsewhere voip A 192.0.2.85 → 192.0.2.86 [{EARLIER}]" in first.out
        assert f"elsewhere depot A 198.51.100.99 → 198.51.100.20 [{NEWER}]" in second.out
        assert "1 change landed. 1 change left to other runs." in first.out
    merges.are_done()
    assert "voip 3600 IN A 192.0.2.86" in (merges.root / ZONE).read_text()


@IN_ANY_ORDER
def test_a_newer_merge_that_says_otherwise_of_the_same_record_wins(merges: Merges, order: tuple[int, int]) -> None:
    merges.merge((VOIP, VOIP_86))
    merges.merge((VOIP_86, VOIP_87), planned_on=merges.made[0])
    said = {number: merges.applied(number) for number in order}
    assert (said[0].code, said[1].code) == (0, 0)
    assert f"[{NEWER}]" in said[0].out
    for nothing in ("is due", "was changed"):
        assert f"Nothing {nothing}. 1 change left to other runs." in said[0].out
    assert "1 change landed. Nothing is pending." in said[1].out
    merges.are_done()


@IN_ANY_ORDER
def test_what_was_taken_back_before_it_was_applied_is_not_applied(merges: Merges, order: tuple[int, int]) -> None:
    """Something else than before, something new, something gone."""
    edits = [(VOIP, VOIP_86), (DEPOT, f"{DEPOT}neu: {{A: 192.0.2.99}}\n"), (SIP, "")]
    merges.merge(*edits)
    merges.merge((VOIP_86, f"{VOIP}{SIP}"), (edits[1][1], DEPOT), planned_on=merges.made[0])
    before = (merges.root / ZONE).read_text()
    assert [merges.applied(number).code for number in order] == [0, 0]
    assert (merges.root / ZONE).read_text() == before
    merges.are_done()


def test_what_the_merge_itself_declares_and_nobody_reviewed_is_held(merges: Merges) -> None:
    merges.merge((VOIP, VOIP_86), (DEPOT, DEPOT_99), planned=[(VOIP, VOIP_86)])
    said = merges.applied(0)
    assert said.code == 3
    assert "198.51.100.20 → 198.51.100.99 [not in the plan that was reviewed]" in said.out
    assert "1 change landed. 1 change held." in said.out


def test_what_an_approval_of_the_merge_lets_through_is_its_own(merges: Merges) -> None:
    """The record is declared as before, and nobody has reviewed that Git wins over a hand."""
    replace(merges.root / ZONE, "depot 3600 IN A 198.51.100.20", "depot 3600 IN A 203.0.113.5")
    merges.merge((DEPOT, DEPOT_99))
    end = f"{datetime.now(UTC) + timedelta(days=5):%Y-%m-%d}"
    approval = f"approvals:\n- {{resource: dns/acme.example/depot A, why: ours, until: {end}}}\n"
    (merges.root / "customers/acme/approvals.yaml").write_text(approval)
    merges.merge((VOIP, VOIP_86))
    said = merges.applied(1)
    assert said.code == 3
    assert "voip 3600 IN A 192.0.2.86" in (merges.root / ZONE).read_text()
    assert "depot 3600 IN A 203.0.113.5" in (merges.root / ZONE).read_text()


def test_what_somebody_changed_by_hand_is_not_another_merges(merges: Merges) -> None:
    merges.merge((VOIP, VOIP_86))
    merges.merge((DEPOT, DEPOT_99))
    replace(merges.root / ZONE, "voip 3600 IN A 192.0.2.85", "voip 3600 IN A 203.0.113.5")
    for number in (0, 1):
        said = merges.applied(number)
        assert said.code == 3
        assert "1 difference not without an approval" in said.out
    assert "voip 3600 IN A 203.0.113.5" in (merges.root / ZONE).read_text()


def test_a_base_is_a_commit_and_of_a_plan(merges: Merges) -> None:
    merges.merge((VOIP, VOIP_86))
    assert merges.command("apply", "--base", "HEAD").err.splitlines()[-1].endswith("(mspctl apply FILE)")
    wrong = merges.command("apply", "0.plan.json", "--base", "nowhere", "--yes")
    assert wrong.code == 1
    assert "'nowhere' is no commit that is here" in wrong.err
    lost = merges.command("apply", "0.plan.json", "--base", "HEAD^1", "--into", "nowhere", "--yes")
    assert lost.code == 1
    assert "nothing is applied before it is known what nowhere says now: couldn't find remote ref" in lost.err
    # Before the first commit there was nothing that could be another merge's.
    first = merges.command("apply", "0.plan.json", "--base", "0" * 40, "--yes")
    assert first.code == 0, first.err


@pytest.mark.parametrize("again", ["a zone", "a customer", "by another"])
def test_what_main_declares_again_does_not_go(merges: Merges, again: str) -> None:
    """What left Git, and an approval let go, came back before the run that was to take it away."""
    folder, zone = merges.root / "customers/acme", merges.root / ZONE
    end = f"{datetime.now(UTC) + timedelta(days=5):%Y-%m-%d}"
    approval = f"approvals:\n- {{resource: dns/acme.example, target: files, why: moved, until: {end}}}\n"
    if again == "a customer":
        shutil.copytree(folder, folder.with_name("brenta"))
        (folder.with_name("brenta") / "dns.yaml").unlink()
        shutil.rmtree(folder.with_name("brenta") / "dns")
        shutil.rmtree(folder)
        (merges.root / "inventory/approvals.yaml").write_text(approval)
    else:
        (folder / "dns.yaml").unlink()
        shutil.rmtree(folder / "dns")
        (folder / "approvals.yaml").write_text(approval)
    assert merges.command("plan", "--exit-zero", "--save", "0.plan.json").code == 0
    merges.made.append(merges.commit())
    merges.git("revert", "--no-edit", "HEAD")
    if again == "by another":
        other = folder.with_name("brenta")
        shutil.copytree(folder, other)
        (folder / "dns.yaml").unlink()
        shutil.rmtree(folder / "dns")
        merges.commit()
    merges.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    before = zone.read_text()
    said = merges.applied(0)
    assert zone.exists(), said.out
    assert (zone.read_text(), said.code) == (before, 0)
    assert f"[{NEWER}]" in said.out


def test_what_is_not_in_main_takes_back_nothing(merges: Merges) -> None:
    """Main was set back, and went another way."""
    merges.merge((VOIP, VOIP_86))
    merges.git("checkout", "--quiet", "--detach", merges.start)
    replace(merges.root / YAML, DEPOT, DEPOT_99)
    merges.commit()
    merges.git("push", "--quiet", "--force", "origin", "HEAD:refs/heads/main")
    before = (merges.root / ZONE).read_text()
    said = merges.applied(0)
    assert (merges.root / ZONE).read_text() == before, said.out
    assert f"[{NEWER}]" in said.out
