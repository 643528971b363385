"""`affected`: what changed files come to, and how customers are shared among jobs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspctl import cli
from mspctl.affected import Touched, share, touched
from tests.conftest import Run, Said
from tests.estate import estate

FILES = {
    "inventory/targets.yaml": "targets:\n"
    "  ns-1: {jobs: 1, facets: {dns: {driver: zonefile, directory: a}}}\n"
    "  ns-2: {facets: {dns: {driver: zonefile, directory: b}}}\n",
    "inventory/baselines/gold.yaml": "dns: {defaults: {ttl: 1h}}\n",
    **{
        f"customers/{name}/{file}": text.replace("NAME", name)
        for name in ("alpha", "beta", "gamma", "delta")
        for file, text in {
            "dns.yaml": f"zones: {{NAME.example: {{target: {'ns-1' if name < 'c' else 'ns-2'}}}}}\n",
            "dns/NAME.example.yaml".replace("NAME", name): "www: {A: 192.0.2.1}\n",
        }.items()
    },
    "customers/beta/customer.yaml": "name: Beta\nbaseline: gold\n",
}


def git(root: Path, *args: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@msp.example"]
    return subprocess.run(["git", *who, *args], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def commit(root: Path) -> str:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "change")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    estate(tmp_path, FILES)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    git(tmp_path, "tag", "base")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return tmp_path


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*args: str) -> Said:
        capsys.readouterr()
        return Said(cli.run(["affected", *args]), *capsys.readouterr())

    return command


def told(run: Run, *args: str) -> list[str]:
    said = run("--base", "base", *args)
    assert said.code == 0, said.err
    return said.out.splitlines()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("customers/acme/dns/acme.example.yaml", Touched(frozenset({"acme"}))),
        ("customers/README.md", Touched()),
        ("customers/ACME/dns.yaml", Touched(program=["customers/ACME/dns.yaml"])),
        ("customers/stray", Touched(program=["customers/stray"])),
        ("inventory/baselines/gold.yaml", Touched(baselines=frozenset({"gold"}))),
        ("inventory/targets.yaml", Touched(everybody=True)),
        ("inventory/baselines/gold", Touched(everybody=True)),
        ("inventory/README.md", Touched()),
        ("README.md", Touched()),
        ("docs/x/y.png", Touched()),
        (".schemas/dns.schema.json", Touched()),
        *(
            (path, Touched(program=[path]))
            for path in (".github/workflows/plan.yml", "playbooks/x.md", "stacks/a.py", "requirements/mspctl.txt")
        ),
        *((path, Touched(program=[path])) for path in (".gitattributes", "../x", ".gitlab-ci.yml", "customers")),
    ],
)
def test_what_a_path_touches(path: str, expected: Touched) -> None:
    found = touched([path])
    assert (found.customers, found.baselines, found.everybody, [*found.program]) == (
        *(expected.customers, expected.baselines, expected.everybody),
        [*expected.program],
    )


def test_nothing_is_touched_by_nothing(run: Run) -> None:
    assert told(run) == ["No customer is touched."]
    said = ['matrix={"include":[]}', "jobs=0", "parallel=1", "any=false", "program=false"]
    assert told(run, "--matrix")[:5] == said


def test_files_a_baseline_a_rename_and_what_runs(root: Path, run: Run) -> None:
    (root / "customers/gamma").rename(root / "customers/omega")
    (root / "inventory/baselines/gold.yaml").write_text("dns: {defaults: {ttl: 2h}}\n")
    (root / "playbooks").mkdir()
    (root / "playbooks/odd\nname.sh").touch()
    commit(root)
    assert told(run) == ["beta", "omega", "gamma left Git", "changes what runs: 'playbooks/odd\\nname.sh'"]
    document = json.loads("\n".join(told(run, "-o", "json")))
    assert (document["customers"], document["gone"]) == (["beta", "omega"], ["gamma"])


def test_only_what_is_not_on_the_base_yet_counts(root: Path, run: Run) -> None:
    """A pull request touches nothing by being behind."""
    git(root, "checkout", "--quiet", "-b", "change")
    (root / "customers/alpha/dns/alpha.example.yaml").write_text("www: {A: 192.0.2.9}\n")
    commit(root)
    git(root, "checkout", "--quiet", "main")
    (root / "customers/beta/dns/beta.example.yaml").write_text("www: {A: 192.0.2.9}\n")
    commit(root)
    git(root, "checkout", "--quiet", "change")
    assert run("--base", "main").out == "alpha\n"


def test_the_matrix_has_a_runner_of_the_base_and_keeps_a_target_in_its_jobs(root: Path, run: Run) -> None:
    own = "name: D\nrunner: [self-hosted, delta]\n"
    (root / "customers/delta/customer.yaml").write_text(own)
    (root / "inventory/contracts.yaml").write_text("contracts: {}\n")  # touches everybody
    commit(root)
    name, _, said = told(run, "--matrix")[0].partition("=")
    jobs = json.loads(said)["include"]
    assert name == "matrix"
    assert [job["options"] for job in jobs] == ["-c alpha -c beta", "-c delta", "-c gamma"]
    assert {job["runner"][0] for job in jobs} == {"ubuntu-latest"}
    merged = json.loads(told(run, "--matrix", "--merged", "--runner", "debian")[0].partition("=")[2])["include"]
    assert {job["options"]: job["runner"] for job in merged} == {
        "-c alpha -c beta": ["debian"],
        "-c gamma": ["debian"],
        "-c delta": ["self-hosted", "delta"],
    }


def test_in_a_folder_of_a_larger_repository_what_lies_beside_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = tmp_path / "msp"
    inner.mkdir()
    estate(inner, FILES)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    (tmp_path / "Makefile").write_text("all:\n")
    (inner / "customers/alpha/dns/alpha.example.yaml").write_text("www: {A: 192.0.2.9}\n")
    commit(tmp_path)
    assert cli.run(["-C", str(inner), "affected", "--base", "HEAD~1"]) == 0
    assert capsys.readouterr().out == "alpha\nchanges what runs: ../Makefile\n"


@pytest.mark.parametrize("base", ["nobody", "--help-me", "0" * 39 + "1", "HEAD^{tree}"])
def test_a_base_that_is_no_commit_is_told_in_one_line(run: Run, base: str) -> None:
    said = run(f"--base={base}")
    assert said.code == 1
    assert "is no commit that is here" in said.err


def test_before_the_first_commit_everybody_is_touched(run: Run) -> None:
    assert run("--base", "0" * 40).out == "alpha\nbeta\ndelta\ngamma\n"


def test_wrong_files_and_labels_are_told_with_their_place(root: Path, run: Run) -> None:
    (root / "customers/alpha/customer.yaml").write_text('name: A\nrunner: ["$(id)"]\n')
    commit(root)
    said = run("--base", "base")
    assert said.code == 1
    assert "customers/alpha/customer.yaml:2:" in said.err
    assert "is not a label of a runner" in said.err


def test_shards_cost_about_the_same() -> None:
    costs = {f"c{n:02}": 100 - n for n in range(24)}
    shards = share(costs, {name: () for name in costs}, {}, 4)
    sums = [sum(costs[name] for name in shard) for shard in shards]
    assert max(sums) - min(sums) <= max(costs.values()) * 0.1


names = st.text("abcdefgh", min_size=1, max_size=2)
targets = st.sets(st.sampled_from("tuv"), max_size=3)


@given(
    st.dictionaries(names, st.tuples(st.integers(1, 99), targets), max_size=20), st.integers(1, 6), st.integers(1, 3)
)
def test_every_customer_is_in_one_shard_and_no_target_in_too_many(
    said: dict[str, tuple[int, set[str]]], at_most: int, limit: int
) -> None:
    uses = {name: used for name, (_, used) in said.items()}
    shards = share({name: cost for name, (cost, _) in said.items()}, uses, {"t": limit, "u": 1}, at_most)
    assert sorted(name for shard in shards for name in shard) == sorted(said)
    assert len(shards) <= at_most
    assert all(shards)
    for target, most in {"t": limit, "u": 1}.items():
        assert sum(any(target in uses[name] for name in shard) for shard in shards) <= most
