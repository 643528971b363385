"""A grown firewall comes under mspctl, by real SSH: imported, applied, the old tables gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.test_firewall import FILE, Desk, desk, firewall
from tests.servers.firewalls import HOSTS

__all__ = ["desk", "firewall"]

OLD = """\
table inet filter {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    ct state invalid drop
    iif lo accept
    iifname "office0" ip saddr 198.51.100.0/28 tcp dport PORT accept comment "us"
    iifname "lan0" udp dport 53 limit rate 100/second accept comment "dns"
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "lan0" oifname "wan0" tcp dport { 80, 443 } accept comment "browse"
    iifname "guest0" oifname "wan0" tcp dport { 80, 443 } accept
    iifname "wan0" ip saddr 203.0.113.9 ip daddr 10.20.0.9 tcp dport 443 accept
  }
}
table ip nat {
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname "wan0" ip daddr 203.0.113.1 tcp dport 8443 dnat to 10.20.0.9:443 comment "cameras"
  }
  chain postrouting {
    type nat hook postrouting priority 100;
    oifname "wan0" masquerade
  }
}
table ip mangle {
  chain forward {
    type filter hook forward priority -150;
    meta mark set 7
  }
}
"""
OWN = "customers/brenta/firewall.yaml"


@pytest.fixture
def grown(desk: Desk) -> Desk:
    (desk.root / FILE).unlink()
    (desk.root / FILE).parent.rmdir()
    until = datetime.now(UTC).date() + timedelta(days=5)
    said = f"approvals: [{{resource: firewall/main, why: taken over, until: {until}}}]\n"
    (desk.root / "customers/brenta/approvals.yaml").write_text(said)
    desk.firewall.nft("-f", "-", given=OLD.replace("PORT", str(desk.firewall.sshd.port)))
    return desk


def reached(desk: Desk) -> list[str]:
    ways = (
        ("wan", "203.0.113.1", 8443),
        ("lan", HOSTS["wan"], 443),
        ("lan", HOSTS["wan"], 4711),
        ("guest", HOSTS["lan"], 80),
    )
    return [desk.call(*way) for way in ways]


def test_from_old_tables_to_ours(grown: Desk) -> None:
    before = reached(grown)
    assert [each.partition(" ")[0] for each in before] == ["ok", "ok", "no", "no"]
    said = grown.run("import", "--from", "nftables", "-c", "brenta")
    assert said.code == 3, said.out + said.err
    assert "table ip mangle, forward: it works on every packet" in said.err
    assert "(left out: its old table has to stay for it)" in said.err
    assert "input-raw" not in said.err  # its comment names it
    assert "table inet filter, input: dns: warning: our language has no words for limit (kept as raw)" in said.err
    text = (grown.root / OWN).read_text()
    for words in (
        "id: cameras",
        "listen: wan:8443",
        "only_from: host-203-0-113-9",
        "why: browse",
        "services: {web: [tcp/80, tcp/443]}",
    ):
        assert words in text, text
    shown = grown.run("plan")
    assert shown.code == 2, shown.out + shown.err
    assert "approved" in shown.out or "approval" in shown.out
    grown.applied()
    assert reached(grown) == before
    for table in (("inet", "filter"), ("ip", "nat"), ("ip", "mangle")):
        grown.firewall.nft("delete", "table", *table)
    assert reached(grown) == before
    after = grown.run("plan")
    assert after.code == 0, after.out + after.err
    again = grown.run("import", "--from", "fw-sede", "-c", "brenta")
    assert again.code == 1
    assert "fw-sede has no rules but those that mspctl put there" in again.err


def test_what_cannot_be_imported_is_said(grown: Desk) -> None:
    nft = grown.firewall.nft
    said = grown.run("import", "--from", "fw-sede", "-c", "brenta", "--site", "Sede!")
    assert (said.code, "--site" in said.err) == (1, True)
    nft("-f", "-", given="add chain inet filter input { policy accept; }\nflush chain inet filter input\n")
    said = grown.run("import", "--from", "fw-sede", "-c", "brenta")
    assert said.code == 1
    assert "from where is the device administered? (write --management 198.51.100.0/28)" in said.err
    assert not (grown.root / OWN).exists()
    said = grown.run("import", "--from", "fw-sede", "-c", "brenta", "--management", "198.51.100.0/28", "--site", "sede")
    assert said.code in (0, 3), said.err
    assert (grown.root / FILE).exists()
    said = grown.run("import", "--from", "fw-sede", "-c", "brenta", "--management", "any", "--site", "other")
    assert (said.code, "half the world" in said.err) == (1, True)
