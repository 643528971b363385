"""
What a stranger or an attacker writes: each failure at its property, one line, and no secret in it or in a state.

It is about Check and Read alone, so no server is needed: nothing wrong comes any further.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pulumi.runtime.proto import provider_pb2 as pb

from mspctl.provider import shapes, values
from tests.provider.wire import Json, Wire, by_pulumi, provider, refused, struct, urn

ROOT = Path(__file__).resolve().parents[2]
HOST, ZONE, FIREWALL = "mspctl:hosts:Host", "mspctl:dns:Zone", "mspctl:firewall:Firewall"
CLEAR = "hunter2-hunter2"  # a secret that somebody writes where its name belongs


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with provider(tmp_path_factory.mktemp("nowhere"), configured=False) as made:
        yield made


@pytest.fixture(scope="module")
def estates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The example with hosts, and that with a firewall and mail; both are Pulumi's."""
    found = {}
    for example in ("hosts", "firewall"):
        folder = tmp_path_factory.mktemp(example)
        for name in ("customers", "inventory"):
            shutil.copytree(ROOT / "examples" / example / name, folder / name)
        for each in (folder / "customers").iterdir():
            by_pulumi(folder, each.name)
        found[example] = folder
    return found


@pytest.fixture
def hosts(process: Wire, estates: dict[str, Path]) -> Wire:
    process.configure(estates["hosts"])
    return process


def host(section: str, of: str = "srv-1", /, **resources: Json) -> Json:
    return {
        "customer": "carrozzeria-riva",
        "target": "servers",
        "name": f"carrozzeria-riva/{of}/{section}",
        "resources": resources,
    }


JOB: Json = {
    "program": "restic",
    "paths": ["/srv/"],
    "exclude": [],
    "repository": "https://backup.msp.example:8000/riva/srv-1/",
    "append_only": True,
    "host_key": "",
    "password": "RIVA_RESTIC rev 1",
    "login": "",
    "key": "",
    "schedule": "mon-fri 22:30",
    "timezone": "Europe/Rome",
    "keep": [],
    "upload": 0,
    "dumps": [],
    "check": 0,
    "read": 0,
}
ENGINE: Json = {
    "on_access": ["/srv/"],
    "exclude": [],
    "own": [],
    "action": "report",
    "mirror": "",
    "alert": "",
    "max_file": 100,
    "max_scan": 400,
    "depth": 17,
    "every": 14400,
    "prevent": True,
    "official": True,
}
THINNING: Json = {"program": "restic", "folder": "/srv/", "password": "A rev 1", "schedule": "03:00", "timezone": "UTC"}
SCAN: Json = {"paths": ["/srv"], "schedule": "sun 03:00", "timezone": "Europe/Rome"}
REPORT: Json = {"files": "/srv/x/*.json", "format": "veeam", "about": ""}


def test_a_program_writes_of_a_host_what_it_wants_and_not_what_is_found(hosts: Wire) -> None:
    made = hosts.checked(HOST, host("backup", job={"night": JOB}))["resources"]["job"]["night"]
    assert (made["paths"], made["repository"]) == (["/srv"], "https://backup.msp.example:8000/riva/srv-1")
    assert made["amiss"] == []
    made = hosts.checked(HOST, host("antivirus", engine={"clamav": ENGINE}))["resources"]["engine"]["clamav"]
    assert made["on_access"] == ["/srv"]


@pytest.mark.parametrize(
    ("section", "kind", "name", "right", "wrong"),
    [
        (
            "backup",
            "job",
            "night",
            JOB,
            {
                "program": "rsync",
                "paths": ["srv"],
                "repository": "ftp://ada:hunter2-hunter2@nas",
                "upload": -1,
                "password": CLEAR,
                "login": CLEAR,
                "key": CLEAR,
                "host_key": "ssh-rsa",
                "schedule": "at night",
                "timezone": "Rome",
                "keep": ["daily all"],
                "dumps": ["oracle crm"],
                "read": 101,
                "check": -1,
                "amiss": ["it is not there"],
            },
        ),
        (
            "backup",
            "thinning",
            "vault",
            {**THINNING, "keep": ["daily 7"]},
            {
                "program": "x",
                "folder": "../x",
                "password": CLEAR,
                "keep": ["never 1"],
                "schedule": "25:00",
                "timezone": "",
            },
        ),
        ("backup", "report", "veeam", REPORT, {"files": "x", "format": "html"}),
        (
            "antivirus",
            "engine",
            "clamav",
            ENGINE,
            {
                "on_access": ["/"],
                "exclude": ["/srv/a b"],
                "own": ["../x"],
                "action": "delete",
                "max_file": 0,
                "mirror": "https://ada:hunter2-hunter2@av",
                "alert": "javascript:x",
                "every": 5,
                "depth": 0,
            },
        ),
        (
            "antivirus",
            "agent",
            "eset",
            {"packages": ["efs"], "services": []},
            {"packages": ["-y x"], "services": ["x"]},
        ),
        ("antivirus", "scan", "weekly", SCAN, {"paths": ["/srv/../etc"], "schedule": "x", "timezone": "x"}),
        ("patching", "policy", "policy", {"what": "all", "reboot": "never"}, {"what": "none", "reboot": "always"}),
        (
            "patching",
            "window",
            "window",
            {"hours": "02:00-05:00", "timezone": "UTC"},
            {"hours": "2-5", "timezone": "CET+1"},
        ),
        ("patching", "hold", "postgresql-15", {"held": True}, {"held": False}),
    ],
)
def test_what_is_wrong_of_a_host_is_said_of_its_field(
    hosts: Wire, section: str, kind: str, name: str, right: Json, wrong: Json
) -> None:
    assert hosts.failures(HOST, host(section, **{kind: {name: right}})) == {}
    found = hosts.failures(HOST, host(section, **{kind: {name: right | wrong}}))
    assert set(found) == {values.spelled(("resources", kind, name, field)) for field in wrong}
    assert "hunter2" not in str(found)
    assert set(hosts.failures(HOST, host(section, **{kind: {"../x": right}}))) == {f'resources.{kind}["../x"]'}


def test_a_scope_of_a_host_is_of_its_customer_and_has_its_sections_kinds(hosts: Wire) -> None:
    hold = {"hold": {"vim": {"held": True}}}
    assert hosts.failures(HOST, host("patching", **hold)) == {}
    foreign = host("patching", **hold) | {"name": "somebody/srv-1/patching"}
    assert hosts.failures(HOST, foreign) == {
        "name": "is not of carrozzeria-riva (write carrozzeria-riva/srv-1/patching)"
    }
    assert "there is no host srv-9" in hosts.failures(HOST, host("patching", "srv-9", **hold))["name"]
    assert "hosts have no section dns" in hosts.failures(HOST, host("dns"))["name"]
    assert "is of another section of a host: patching" in hosts.failures(HOST, host("backup", **hold))["resources.hold"]


@pytest.mark.parametrize(
    ("id_", "why"),
    [
        ("servers", "(write TARGET/CUSTOMER/HOST/SECTION)"),
        ("servers/", "(write TARGET/CUSTOMER/HOST/SECTION)"),
        ("servers/srv-1", "is not the name of such a scope"),
        ("servers/../../etc", "is not the name of such a scope"),
        ("nowhere/carrozzeria-riva/srv-1/patching", "target nowhere is not in inventory/targets.yaml"),
        ("", "(write TARGET/CUSTOMER/HOST/SECTION)"),
        ("x" * 10_000, "…"),
    ],
)
def test_an_id_that_somebody_typed_is_judged(hosts: Wire, id_: str, why: str) -> None:
    with refused() as said:
        hosts.read(HOST, id_)
    assert why in said[0].text
    assert len(said[0].text) < 300
    assert "a defect" not in said[0].text


def test_one_scope_is_one_resource(hosts: Wire) -> None:
    wanted = struct(host("patching"))
    for name, failures in (("first", 0), ("second", 1), ("first", 0)):
        answer = hosts.stub.Check(pb.CheckRequest(urn=urn(HOST, name), news=wanted), timeout=30)
        assert len(answer.failures) == failures
    answer = hosts.stub.Check(pb.CheckRequest(urn=urn(HOST, "second"), news=wanted), timeout=30)
    assert "is first already" in answer.failures[0].reason


@pytest.mark.parametrize(
    ("token", "news", "at"),
    [
        (ZONE, {}, {"customer", "target", "name", "resources"}),
        (
            FIREWALL,
            {"customer": "", "target": 5, "name": ["x"], "resources": []},
            {"customer", "target", "name", "resources"},
        ),
        (
            FIREWALL,
            {"customer": None, "target": "x" * 100_000, "name": "é\n", "resources": "x"},
            {"customer", "resources"},
        ),
        (HOST, host("patching", hold={"é" * 50_000: {"held": True}}), {f'resources.hold["{"é" * 50_000}"]'}),
        (HOST, host("patching", hold={"vim": None}), {"resources.hold.vim"}),
        (HOST, host("patching", hold={"vim": {"held": None}}), {"resources.hold.vim.held"}),
        (HOST, host("patching", hold={"vim": {"held": float("inf")}}), {"resources.hold.vim.held"}),
        (
            HOST,
            host("patching", window={"window": {}}),
            {f"resources.window.window.{f}" for f in ("hours", "timezone")},
        ),
    ],
)
def test_what_is_no_resource_at_all(hosts: Wire, token: str, news: Json, at: set[str]) -> None:
    found = hosts.failures(token, news)
    assert set(found) == at
    assert max(map(len, found.values())) < 400


def fields_of_secrets() -> list[tuple[str, str, str]]:
    """Of all kinds there are, the fields that say which secret is meant."""
    names = ("password", "login", "preshared")
    return [
        (token, word, field)
        for token, shape in shapes.shapes().items()
        for word, kind in shape.kinds.items()
        for field in shape.known(kind)
        if field in names or (field == "key" and kind in ("backup.job", "vpn.tunnel"))
    ]


def test_a_secret_itself_stands_in_no_field_and_no_message(process: Wire, estates: dict[str, Path]) -> None:
    """So none comes into a state: where a secret belongs, its name is all that is taken."""
    found = fields_of_secrets()
    assert {field for _, _, field in found} == {"password", "login", "key", "preshared"}
    for token, word, field in found:
        scope: Json = {"customer": "officine-brenta", "target": "x", "name": "acme.example"}
        if token == HOST:
            scope = host("backup")
        elif token == FIREWALL:
            scope["name"] = "sede"
        process.configure(estates["hosts" if token == HOST else "firewall"])
        said = process.failures(token, scope | {"resources": {word: {"x": {field: CLEAR}}}})
        assert f"resources.{word}.x.{field}" in said, (token, word, field)
        assert CLEAR not in str(said)
