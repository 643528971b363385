"""What hosts say of themselves, what is kept of it, and what is told of what changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mspctl import assets
from mspctl.drivers.hosts.assets import inspected
from mspctl.errors import InputError, Unreachable
from mspctl.model.assets import NEVER
from mspctl.model.customer import Customer
from tests.model.test_hosts import KEY, loaded

DAY, NEXT = date(2027, 3, 15), date(2027, 3, 16)
FACTS: dict[str, Any] = {
    "maker": "HPE",
    "model": "ProLiant DL20",
    "serial": "To be filled by O.E.M.",
    "cpu": {"count": 8, "model": "Xeon  E-2236"},
    "memory": 16_303_100,
    "disks": [{"name": "sda", "size": 480_103_981_056, "model": "INTEL SSD", "serial": "S1"}],
    "virtual": "none",
    "os": "debian-12",
    "kernel": "6.1.0-18-amd64",
    "packages": [["sudo", "1.9", True], ["libc6", "2.36", False], ["anydesk", "7.0", False], ["bash", "5.2", True]],
    "listening": [
        ["tcp", "0.0.0.0", 22, "sshd"],  # noqa: S104
        ["tcp", "::", 22, "sshd"],
        ["tcp", "127.0.0.53", 53, "resolved"],
        ["tcp", "10.20.1.10", 5432, "postgres"],
        ["udp", "*", 45_001, "avahi"],
        ["udp", "2001:db8::1", 123, "ntpd"],
    ],
    "links": [{"name": "eth0", "mac": "52:54:00:00:00:01", "addresses": ["10.20.1.10/22"]}],
    "neighbours": {"10.20.1.20": "52:54:00:00:00:02", "10.20.1.99": "52:54:00:00:00:99", "10.99.0.1": "AA:bb:cc:0:0:0"},
}
HOSTS = f"""hosts:
  srv-1: {{target: servers, address: 10.20.1.10, host_key: {KEY}}}
  nas: {{address: 10.20.1.20}}
  cam: {{address: 10.20.1.30}}
  far: {{address: 10.88.0.1}}
software: {{forbidden: {{"any*": {{why: no}}}}}}
"""


def customer(tmp_path: Path, hosts: str = HOSTS) -> Customer:
    (found,) = loaded(tmp_path, hosts).customers.values()
    return found


def test_what_is_kept_of_what_a_host_says() -> None:
    found = inspected(FACTS)
    assert found.machine == {
        "maker": "HPE",
        "model": "ProLiant DL20",
        "cpu": "8 × Xeon E-2236",
        "memory": "16 GiB",
        "disks": {"sda": "480 GB INTEL SSD S1"},
        "networks": {"eth0": "52:54:00:00:00:01 10.20.1.10/22"},
        "os": "debian-12",
        "kernel": "6.1.0-18-amd64",
        "listening": ["tcp *:22 sshd", "tcp 10.20.1.10:5432 postgres", "udp [2001:db8::1]:123 ntpd"],
        "packages": {"bash": "5.2", "sudo": "1.9"},
    }
    assert found.automatic == {"anydesk": "7.0", "libc6": "2.36"}
    assert (found.addresses, found.networks) == (("10.20.1.10",), ("10.20.0.0/22",))
    assert found.neighbours == {"10.20.1.20": "52:54:00:00:00:02", "10.20.1.99": "52:54:00:00:00:99"}


def test_a_host_may_say_little_and_may_say_anything() -> None:
    assert inspected({}).machine == {}
    odd = inspected({"maker": "a\n\x1b[31mb" + "c" * 500, "packages": [["x", "1", True]] * 6000, "virtual": "{{ 7 }}"})
    assert odd.machine == {"maker": ("a [31mb" + "c" * 500)[:120], "packages": {"x": "1"}}
    mistakes: list[dict[str, object]] = [
        {"packages": [["x"]]},
        {"links": [{}]},
        {"memory": "much"},
        {"neighbours": {"x": "y"}},
    ]
    for wrong in mistakes:
        with pytest.raises((TypeError, ValueError, KeyError)):
            inspected(wrong)


SILENT = Unreachable("it did not answer in time")


def test_the_file_is_in_a_stable_order_and_reads_back(tmp_path: Path) -> None:
    acme = customer(tmp_path)
    new = assets.collected(acme, None, {"srv-1": inspected(FACTS)}, DAY)
    (tmp_path / "inventory").mkdir(exist_ok=True)
    assert assets.write(tmp_path, "acme", new) == "inventory/assets/acme.yaml"
    text = (tmp_path / "inventory/assets/acme.yaml").read_text()
    assert text == EXPECTED
    assert assets.read(tmp_path, "acme") == new
    again = assets.collected(acme, new, {"srv-1": inspected(dict(reversed(FACTS.items())))}, NEXT)
    assert assets.as_text(again) == EXPECTED.replace("read: 2027-03-15", "read: 2027-03-16")
    assert [*assets.changes(new, again)] == [("cam", "gave no answer, as ever")]


EXPECTED = """# Written by mspctl inventory collect: the difference in Git is what changed.
read: 2027-03-15
hosts:
  cam:
    seen: never
  nas:
    mac: '52:54:00:00:00:02'
  srv-1:
    maker: HPE
    model: ProLiant DL20
    cpu: 8 × Xeon E-2236
    memory: 16 GiB
    disks:
      sda: 480 GB INTEL SSD S1
    networks:
      eth0: 52:54:00:00:00:01 10.20.1.10/22
    os: debian-12
    kernel: 6.1.0-18-amd64
    listening:
      - tcp *:22 sshd
      - tcp 10.20.1.10:5432 postgres
      - udp [2001:db8::1]:123 ntpd
    packages:
      anydesk: '7.0'
      bash: '5.2'
      sudo: '1.9'
devices:
  10.20.1.99:
    mac: '52:54:00:00:00:99'
    since: 2027-03-15
"""


def test_who_gives_no_answer_keeps_what_was_known_with_its_day(tmp_path: Path) -> None:
    acme = customer(tmp_path)
    first = assets.collected(acme, None, {"srv-1": inspected(FACTS)}, DAY)
    second = assets.collected(acme, first, {"srv-1": SILENT}, NEXT)
    third = assets.collected(acme, second, {"srv-1": SILENT}, date(2027, 3, 20))
    for later in (second, third):
        assert later.hosts["srv-1"] == first.hosts["srv-1"].model_copy(update={"seen": DAY})
        assert later.hosts["nas"].seen == DAY  # nobody was there to ask
        assert later.hosts["cam"].seen == NEVER
        assert later.devices["10.20.1.99"].seen == DAY
    assert ("srv-1", "gave no answer; as of 2027-03-15") in assets.changes(first, second)
    back = assets.collected(acme, third, {"srv-1": inspected(FACTS)}, date(2027, 3, 21))
    assert back.hosts == first.hosts
    assert assets.collected(acme, None, {"srv-1": SILENT}, DAY).hosts["srv-1"].seen == NEVER
    assert not assets.collected(acme, third, {"srv-1": SILENT}, date(2027, 4, 20)).devices


def test_a_device_is_nobodys_until_it_is_written_down(tmp_path: Path) -> None:
    said = {"srv-1": inspected(FACTS)}
    first = assets.collected(customer(tmp_path), None, said, DAY)
    assert [*first.devices] == ["10.20.1.99"]
    declared = customer(tmp_path, HOSTS.replace("10.88.0.1", "10.20.1.99"))
    assert not assets.collected(declared, first, said, NEXT).devices
    phones = customer(tmp_path, HOSTS + 'others: {10.20.1.96/28: "telephones, which their maker looks after"}\n')
    assert not assets.collected(phones, first, said, NEXT).devices
    elsewhere = inspected(FACTS | {"neighbours": {"10.99.0.7": "52:54:00:00:00:03"}})
    assert [*assets.collected(customer(tmp_path), None, {"srv-1": elsewhere}, DAY).devices] == []


def test_what_changed_in_words(tmp_path: Path) -> None:
    acme = customer(tmp_path, HOSTS.partition("  nas")[0])
    old = assets.collected(acme, None, {"srv-1": inspected(FACTS)}, DAY)
    packages = [["sudo", "1.9-2", True], ["bash", "5.2", True], ["nginx", "1.22", True]]
    new = inspected(
        FACTS | {"kernel": "6.1.0-20-amd64", "packages": packages, "listening": [["tcp", "*", 80, "nginx"]]}
    )
    later = assets.collected(acme, old, {"srv-1": new}, NEXT)
    (said,) = [text for host, text in assets.changes(old, later)]
    assert said == (
        "kernel 6.1.0-18-amd64 → 6.1.0-20-amd64; "
        "listening: + tcp *:80 nginx, - tcp *:22 sshd, - tcp 10.20.1.10:5432 postgres, - udp [2001:db8::1]:123 ntpd; "
        "packages: sudo other, nginx new"
    )
    more = replace(new, machine={**new.machine, "packages": {f"p{n}": "1" for n in range(9)}})
    many = assets.collected(acme, later, {"srv-1": more}, NEXT)
    assert [text for _, text in assets.changes(later, many)] == ["packages: 9 new, 3 gone"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts: {}\n", "inventory/assets/acme.yaml: read: is missing"),
        ("read: soon\n", "'soon' is not a date"),
        ("read: 2027-03-15\nhosts: {srv-1: {seen: once}}\n", "'once' is not a date"),
        ("read: 2027-03-15\nhosts: {srv-1: {color: red}}\n", "unknown key"),
        ("<<<<<<< HEAD\nread: 2027-03-15\n", "inventory/assets/acme.yaml:"),
    ],
)
def test_a_file_that_is_broken_is_said_and_not_overwritten(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "inventory/assets").mkdir(parents=True)
    (tmp_path / "inventory/assets/acme.yaml").write_text(text)
    with pytest.raises(InputError, match=r"^inventory/assets/acme\.yaml:") as raised:
        assets.read(tmp_path, "acme")
    assert said in str(raised.value)


def test_nothing_was_collected(tmp_path: Path) -> None:
    assert assets.read(tmp_path, "acme") is None
