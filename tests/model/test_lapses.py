"""What is over is told at its line, and once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from mspctl.errors import Problem
from mspctl.load import load
from tests.estate import estate

LAST = datetime(2027, 3, 15, 12, tzinfo=ZoneInfo("Europe/Rome"))
CUSTOMER = "name: Acme\ntimezone: Europe/Rome\nsites: {office: 10.20.0.0/22}\n"
HOSTS = """defaults: {os: debian-12}
hosts:
  srv-1: {site: office}
software:
  allowed: {teamviewer*: {why: ticket 7, until: 2027-03-15}}
"""
PATCHING = """policy: {what: all, window: sun 02:00-05:00}
roles:
  db: {holds: {postgresql-15: {why: ticket 4, until: "2027-03-15 18:00"}}}
"""
ANTIVIRUS = """policy:
  product: clamav
  exclude:
    /opt/x: {why: ticket 1, until: 2027-03-15}
    /opt/y: {why: ticket 1, until: 2027-03-16}
"""


def over(tmp_path: Path, now: datetime) -> list[Problem]:
    texts = {"customer": CUSTOMER, "hosts": HOSTS, "antivirus": ANTIVIRUS, "patching": PATCHING}
    root = estate(tmp_path, {f"customers/acme/{name}.yaml": text for name, text in texts.items()})
    return [each for each in load(root, now=now).warnings if each.is_over]


def test_what_is_over_is_told_at_its_line(tmp_path: Path) -> None:
    assert over(tmp_path, LAST) == []
    assert [(p.path, p.line) for p in over(tmp_path, LAST + timedelta(hours=8))] == [
        ("roles.db.holds.postgresql-15.until", 3)
    ]
    said = over(tmp_path, LAST + timedelta(days=1))
    assert {(p.file.rpartition("/")[2], p.path, p.line) for p in said} == {
        ("antivirus.yaml", "policy.exclude./opt/x.until", 4),
        ("hosts.yaml", "software.allowed.teamviewer*.until", 5),
        ("patching.yaml", "roles.db.holds.postgresql-15.until", 3),
    }
    assert {p.text for p in said if p.file.endswith("hosts.yaml")} == {"2027-03-15 is over (take the line out)"}
