"""Another address wherever one stands: what changes, what stays, and what is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspctl import cli
from mspctl.replace_ip import address, replaced
from tests.conftest import Said
from tests.estate import estate

OLD, NEW = "192.0.2.81", "198.51.100.9"
TARGETS = """\
targets:
  files: {facets: {dns: {driver: zonefile, directory: zones, nameservers: [ns1.msp.example.]}}}
  mail-1: {publish: {mx: 10 mail.acme.example., spf: "ip4:192.0.2.81"}, facets: {}}   # at 192.0.2.81
"""
RECORDS = """\
# mail is 192.0.2.81, for years
apex: {A: [192.0.2.80, 192.0.2.81], TXT: ["v=spf1 ip4:192.0.2.81/32 ip4:192.0.2.0/24 -all", "net 192.0.2.81/24"]}
mail: {A: 192.0.2.81, ttl: 2h}   # the server
www: {A: 192.0.2.8}
six: {AAAA: "2001:db8::81"}
"""
FILES = {
    "inventory/targets.yaml": TARGETS,
    "customers/acme/dns.yaml": "zones: {acme.example: {target: files}}\n",
    "customers/acme/dns/acme.example.yaml": RECORDS,
    "customers/birch/dns.yaml": "zones: {birch.example: {target: files}}\n",
    "customers/birch/dns/birch.example.yaml": "www: {A: 192.0.2.81}\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    estate(tmp_path, FILES)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    assert cli.run(["-C", str(tmp_path), "ledger", "init"]) == 0
    return tmp_path


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = cli.run(["-C", str(root), *arguments])
        return Said(code, *capsys.readouterr())

    return command


def zone(root: Path, customer: str = "acme") -> str:
    return (root / f"customers/{customer}/dns/{customer}.example.yaml").read_text()


def test_it_stands_everywhere_and_comments_stay(root: Path, run) -> None:  # type: ignore[no-untyped-def]
    said = run("replace-ip", OLD, NEW)
    assert said.code == 0
    assert zone(root) == (
        RECORDS.replace("[192.0.2.80, 192.0.2.81]", f"[192.0.2.80, {NEW}]")
        .replace("ip4:192.0.2.81/32", f"ip4:{NEW}/32")
        .replace("A: 192.0.2.81,", f"A: {NEW},")
    )
    assert zone(root, "birch") == f"www: {{A: {NEW}}}\n"
    assert f'spf: "ip4:{NEW}"' in (root / "inventory/targets.yaml").read_text()
    assert "# at 192.0.2.81" in (root / "inventory/targets.yaml").read_text()
    assert "192.0.2.81/24 is more than the one address, and stays" in said.err
    assert "PLAN 2 customers" in said.out
    assert "for as long as its TTL was (mail.acme.example A, 2h): until " in said.out


def test_one_customer_only(root: Path, run) -> None:  # type: ignore[no-untyped-def]
    assert run("replace-ip", OLD, NEW, "-c", "birch").code == 0
    assert zone(root) == RECORDS
    assert (root / "inventory/targets.yaml").read_text() == TARGETS
    assert zone(root, "birch") == f"www: {{A: {NEW}}}\n"


def test_a_dry_run_writes_nothing(root: Path, run) -> None:  # type: ignore[no-untyped-def]
    said = run("replace-ip", OLD, NEW, "-n")
    assert f"+mail: {{A: {NEW}, ttl: 2h}}" in said.out
    assert "PLAN" not in said.out
    assert zone(root) == RECORDS


def test_first_the_ttls_then_the_address(root: Path, run) -> None:  # type: ignore[no-untyped-def]
    said = run("replace-ip", OLD, NEW, "--lower-ttl-first")
    assert "mail: {A: 192.0.2.81, ttl: 5m}   # the server" in zone(root)
    assert NEW not in zone(root)
    assert "ttl: 5m" in zone(root, "birch")
    assert "(mail.acme.example A, 2h): until " in said.out
    assert said.out.rstrip().endswith(f"Then: mspctl replace-ip {OLD} {NEW}")
    again = run("replace-ip", OLD, NEW, "--lower-ttl-first")
    assert again.out.startswith("The TTLs are short already")
    second = run("replace-ip", OLD, NEW)
    assert f"mail: {{A: {NEW}, ttl: 5m}}" in zone(root)
    assert "TTL was (acme.example A, 5m)" in second.out or "TTL was (mail.acme.example A, 5m)" in second.out


def test_an_address_of_the_other_kind(root: Path, run) -> None:  # type: ignore[no-untyped-def]
    assert run("replace-ip", "2001:0DB8::0081", "2001:db8::9").code == 0
    assert 'six: {AAAA: "2001:db8::9"}' in zone(root)
    said = run("replace-ip", OLD, "2001:db8::9")
    assert said.code == 1
    assert said.err.startswith(f"NEW: 2001:db8::9 is IPv6, and {OLD} is IPv4 (one cannot replace it)\n")


@pytest.mark.parametrize(
    ("old", "said"), [("192.0.2", "OLD: '192.0.2' is not an address (write 192.0.2.81)\n1 error, 0 warnings\n")]
)
def test_bad_input_is_one_line(root: Path, run, old: str, said: str) -> None:  # type: ignore[no-untyped-def]
    found = run("replace-ip", old, NEW)
    assert (found.code, found.out, found.err) == (1, "", said)


def test_what_stands_nowhere(root: Path, run) -> None:  # type: ignore[no-untyped-def]
    assert run("replace-ip", "203.0.113.1", NEW).out == "203.0.113.1 stands nowhere.\n"


def test_edits_that_would_be_refused_leave_every_file_as_it_was(root: Path, run) -> None:  # type: ignore[no-untyped-def]
    """The zone's own SPF is what the inventory publishes, and only the customer's files are asked for."""
    (root / "customers/acme/mail.yaml").write_text(
        "domains: {acme.example: {target: mail-1, publish: {leave_out: mx}}}\n"
    )
    records = 'mail: {A: 192.0.2.81}\napex: {TXT: "v=spf1 ip4:192.0.2.81 ~all"}\n'
    (root / "customers/acme/dns/acme.example.yaml").write_text(records)
    said = run("replace-ip", OLD, NEW, "-c", "acme")
    assert said.code == 1
    assert "customers/acme/dns/acme.example.yaml:2:1: @ TXT: contradicts the TXT that follows from" in said.err
    assert zone(root) == records
    assert run("replace-ip", OLD, NEW).code == 0


def test_zone_files_are_named_and_not_edited(root: Path, run) -> None:  # type: ignore[no-untyped-def]
    (root / "customers/birch/dns/birch.example.yaml").unlink()
    file = root / "customers/birch/dns/birch.example.zone"
    text = "$ORIGIN birch.example.\n@ 3600 IN NS ns1.msp.example.\n; was 192.0.2.81\nwww 60 IN A 192.0.2.81\n"
    file.write_text(text)
    said = run("replace-ip", OLD, NEW, "-c", "birch")
    assert "customers/birch/dns/birch.example.zone:4: is a zone file, which mspctl does not edit" in said.err
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("192.0.2.81:443", f"{NEW}:443"),
        ("v=spf1 ip4:192.0.2.81 ~all", f"v=spf1 ip4:{NEW} ~all"),
        ("192.0.2.81/32", f"{NEW}/32"),
        ("192.0.2.811", "192.0.2.811"),
        ("1192.0.2.81", "1192.0.2.81"),
        ("a-192.0.2.81.example.", "a-192.0.2.81.example."),
        ("192.0.2.81-192.0.2.90", "192.0.2.81-192.0.2.90"),
        ("192.0.2.70 - 192.0.2.81", "192.0.2.70 - 192.0.2.81"),
    ],
)
def test_an_address_ends_where_it_ends(text: str, new: str) -> None:
    assert replaced(text, address(OLD, ""), address(NEW, ""))[0] == new


@given(st.text(alphabet="0123456789.:/-abcdefip ", max_size=60), st.ip_addresses(), st.ip_addresses())
def test_any_text_is_read(text: str, old: object, new: object) -> None:
    one, other = address(str(old), ""), address(str(new), "")
    if one.version == other.version:
        assert replaced(f"{text} {one}", one, other)[0].count(str(other)) >= (text.strip()[-1:] not in ("-",))
