"""Zone files: the contract, what stays untouched in a hand-written file, and what real name servers say of ours."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dns.name
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.zone
import pytest
from pydantic import ValidationError

from mspctl.driver import Access, Failed, Reading
from mspctl.drivers import zonefile
from mspctl.errors import TargetError, Unreachable
from mspctl.exits import Exit
from mspctl.kinds import dns as kind
from mspctl.resource import Cause, Id, Resource, Scope
from mspctl.secrets import Secrets
from tests.drivers.contract import DriverContract, Rig, Sample
from tests.drivers.workbench import Workbench
from tests.servers import name_servers, require

ZONE = "acme.example"
SCOPE = Scope("files", "dns", ZONE, "acme")
NAME_SERVERS = ("ns1.msp.example.", "ns2.msp.example.")


def rrset(owner: str, rtype: str, *values: str, ttl: int = 3600) -> Resource:
    folded = [kind.fold_value(rtype, value, lambda name: f"{name}.{ZONE}.") for value in values]
    return kind.rrset(owner, rtype, ttl, folded, f"customers/acme/dns/{ZONE}.yaml:3")


def access(root: Path, *nameservers: str) -> Access:
    said = {"directory": "zones", "nameservers": [*nameservers], "check_names": "true"}
    settings = zonefile.Settings.model_validate(said)
    return Access("files", "", settings, Secrets.given({}), root)


class FilesRig(Rig):
    def __init__(self, root: Path, *nameservers: str) -> None:
        self.root = root
        self.directory = root / "zones"
        self.directory.mkdir()
        self.access = access(root, *nameservers)
        self.today = datetime(2027, 3, 5, 9, tzinfo=UTC)
        names = (ZONE, "brenta.example", "0/25.2.0.192.in-addr.arpa")
        self.scopes = [Scope("files", "dns", name, "acme") for name in names]

    def reader(self) -> zonefile.Reader:
        return zonefile.Reader(self.access)

    def driver(self) -> zonefile.Driver:
        return zonefile.Driver(self.access, lambda: self.today)

    def path(self, scope: Scope) -> Path:
        return self.directory / f"{scope.name.replace('/', '%2F')}.zone"

    def by_hand(self, scope: Scope, id_: Id, resource: Resource | None) -> None:
        """Through another program's eyes, in its own layout."""
        zone = dns.zone.from_text(self.path(scope).read_text(), scope.name, check_origin=False)
        owner, rtype = kind.owner_type(id_)
        zone.delete_rdataset(owner, rtype)
        if resource is not None:
            rdatas = [kind.to_rdata(rtype, value) for value in kind.values_of(resource)]
            zone.replace_rdataset(owner, dns.rdataset.from_rdata_list(kind.ttl_of(resource), rdatas))
        self.path(scope).write_text(zone.to_text(want_comments=True))

    def touch(self, scope: Scope, resource: Resource) -> str:
        self.by_hand(scope, resource.id, resource)
        return ""

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.directory.rename(self.root / "away")
        yield
        (self.root / "away").rename(self.directory)

    @contextmanager
    def breaking(self, scope: Scope, after: int) -> Iterator[None]:
        with full_disk(self.path(scope)):
            yield

    @contextmanager
    def garbled(self, scope: Scope) -> Iterator[None]:
        before = self.path(scope).read_bytes()
        self.path(scope).write_bytes(before[: len(before) // 2] + b" (")
        yield
        self.path(scope).write_bytes(before)

    def shuffle(self, scope: Scope) -> None:
        lines = self.path(scope).read_text().splitlines()
        soa = next(number for number, line in enumerate(lines) if " SOA " in line) + 1
        self.path(scope).write_text("\n".join([*lines[:soa], *reversed(lines[soa:]), ""]))

    def native(self, scope: Scope) -> object:
        return self.path(scope).read_bytes()


@contextmanager
def full_disk(path: Path, replace: Callable[..., None] = os.replace) -> Iterator[None]:
    """Meanwhile nothing can be put in the place of one file."""

    def refuse(source: str | Path, target: str | Path) -> None:
        if Path(target) == path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mspctl.drivers.zonefile.os.replace", refuse)
        yield


WWW, MX, TXT = rrset("www", "A", "192.0.2.1", "192.0.2.2"), rrset("@", "MX", "10 mx1"), rrset("@", "TXT", "v=spf1 -all")


ODD_HOSTS = (
    rrset("a_b", "A", "192.0.2.1"),
    rrset("-a", "AAAA", "2001:db8::1"),
    rrset("b-", "MX", "10 mx1"),
    rrset("a.*", "A", "192.0.2.1"),
    rrset("sub", "NS", "ns_1.example.net."),
    rrset("@", "MX", "10 mx1", "20 mx_2"),
)


class TestZonefile(DriverContract):
    removes_scopes = True
    remembers = "file"
    samples = (
        Sample(WWW, [rrset("www", "A", "192.0.2.9"), rrset("www", "A", "192.0.2.1", "192.0.2.2", ttl=60)]),
        Sample(MX, [rrset("@", "MX", "20 mx1", "10 mx2"), rrset("@", "MX", "10 mx1", ttl=0)]),
        Sample(TXT, [rrset("@", "TXT", "v=spf1 mx -all"), rrset("@", "TXT", "v=spf1 -all", ttl=2**31 - 1)]),
    )
    impossible = (
        (kind.rrset("@", "ALIAS", 300, ["cdn.example.net."], "dns.yaml:4"), "cannot hold ALIAS records .write A and"),
        (rrset("@", "CNAME", "elsewhere"), "a CNAME cannot stand at the zone's own name"),
        (Resource(Id("mail.mailbox", "paolo"), {"quota": 1}), "a zone file cannot hold mail.mailbox"),
        (rrset("www", "CNAME", "a", "b"), "a name has one CNAME record, not 2"),
        *((resource, "BIND loads no zone with the host name ") for resource in ODD_HOSTS),
    )
    swap = (rrset("shop", "A", "192.0.2.7"), rrset("shop", "CNAME", "www"))
    many = tuple(rrset(f"host-{number}", "A", f"198.51.100.{number % 250}") for number in range(500))

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return FilesRig(tmp_path, *NAME_SERVERS)


# -- files that somebody wrote by hand ------------------------------------------------------------------------

BY_HAND = f"""; the zone of ACME,   kept by hand since 1998
$ORIGIN {ZONE}.
$TTL 1h
@\t\tIN SOA ns1.msp.example. (
\t\t\thostmaster.msp.example. ; who to write to
\t\t\t2027010100 7200 3600 2w 1h )
   IN  NS ns1.msp.example.
   IN  NS NS2.msp.example.
        MX   10   MX1
WWW   300  IN A 192.0.2.1 ; the web server
      300  IN  A   192.0.2.2

$ORIGIN shop.{ZONE}.
api\tCNAME  www.{ZONE}.
@   TXT ( "one" "two"
          "three" )   ; in three pieces
$ORIGIN example.
acme  3600 A 192.0.2.80
"""
ON_FILE = [
    rrset("@", "A", "192.0.2.80"),
    rrset("@", "MX", "10 mx1"),
    rrset("@", "NS", *NAME_SERVERS),
    rrset("api.shop", "CNAME", "www"),
    rrset("shop", "TXT", "onetwothree"),
    rrset("www", "A", "192.0.2.1", "192.0.2.2", ttl=300),
]


@pytest.fixture
def rig(tmp_path: Path) -> FilesRig:
    return FilesRig(tmp_path)


@pytest.fixture
def bench(rig: FilesRig) -> Workbench:
    return Workbench(lambda scope: rig.reader(), lambda scope: rig.driver())


@pytest.fixture
def file(rig: FilesRig) -> Path:
    """A zone that was written by hand."""
    rig.path(SCOPE).write_text(BY_HAND)
    return rig.path(SCOPE)


def read(rig: FilesRig) -> Reading:
    (answer,) = rig.reader().read([SCOPE], {})
    assert isinstance(answer, Reading), answer
    return answer


def refused(rig: FilesRig) -> TargetError:
    (answer,) = rig.reader().read([SCOPE], {})
    assert isinstance(answer, Failed), answer
    return answer.error


def serial(path: Path) -> int:
    zone = dns.zone.from_text(path.read_text(), ZONE, check_origin=False)
    found: int = zone.get_soa().serial
    return found


def edit(bench: Workbench, address: str = "192.0.2.99") -> None:
    """Git knows the file, then says something else."""
    if SCOPE not in bench.ledger.recorded():
        bench.declare(SCOPE, *ON_FILE)
        bench.converge()
    bench.declare(SCOPE, *ON_FILE[:-1], rrset("www", "A", address, ttl=300))
    bench.converge()


def test_a_hand_written_file_is_read_whole(rig: FilesRig, file: Path) -> None:
    assert {r.id: r.fields for r in read(rig).resources} == {r.id: r.fields for r in ON_FILE}


def test_a_run_without_a_change_leaves_a_hand_written_file_byte_for_byte(bench: Workbench, file: Path) -> None:
    before = file.stat()
    bench.declare(SCOPE, *ON_FILE)
    assert bench.converge().landed == 0
    assert file.read_text() == BY_HAND
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir(file.parent) == [file.name]


def test_a_change_keeps_the_hand_written_file_beside(bench: Workbench, file: Path) -> None:
    file.chmod(0o640)
    edit(bench)
    copy = file.with_name(f"{file.name}.before-mspctl")
    assert copy.read_text() == BY_HAND
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640
    assert sorted(os.listdir(file.parent)) == [file.name, copy.name]
    edit(bench, "192.0.2.100")
    assert copy.read_text() == BY_HAND


def test_the_start_of_authority_is_the_files_own(bench: Workbench, file: Path) -> None:
    edit(bench)
    assert (
        "@ 3600 IN SOA ns1.msp.example. hostmaster.msp.example. 2027030500 7200 3600 1209600 3600\n" in file.read_text()
    )


def test_what_is_not_declared_survives_a_change(bench: Workbench, rig: FilesRig, file: Path) -> None:
    bench.declare(SCOPE, rrset("new", "A", "192.0.2.5"))
    assert bench.converge().landed == 1
    assert {r.id: r.fields for r in read(rig).resources} == {
        r.id: r.fields for r in [*ON_FILE, rrset("new", "A", "192.0.2.5")]
    }


def test_the_file_keeps_its_mode_and_its_owner(bench: Workbench, file: Path) -> None:
    file.chmod(0o664)
    owner = (os.geteuid(), os.getegid())
    if owner[0] == 0:  # only root can give a file away
        owner = (1234, 2345)
        os.chown(file, *owner)
    edit(bench)
    after = file.stat()
    assert (stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == (0o664, *owner)


def test_a_zone_without_a_file_is_not_there_yet(bench: Workbench, rig: FilesRig) -> None:
    assert not read(rig).exists
    bench.declare(SCOPE, *ON_FILE)
    assert not bench.plan()[SCOPE].exists
    bench.converge()
    assert read(rig).exists


def test_a_new_file_can_be_read_by_the_name_server(bench: Workbench, rig: FilesRig) -> None:
    bench.declare(SCOPE, *ON_FILE)
    bench.converge()
    assert stat.S_IMODE(rig.path(SCOPE).stat().st_mode) == 0o644


def test_a_link_stays_a_link(bench: Workbench, rig: FilesRig, file: Path) -> None:
    elsewhere = rig.root / "masters" / "acme.zone"
    elsewhere.parent.mkdir()
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    edit(bench)
    assert file.is_symlink()
    assert "192.0.2.99" in elsewhere.read_text()


# -- serials --------------------------------------------------------------------------------------------------


def test_the_serial_is_the_day_and_increases(bench: Workbench, rig: FilesRig, file: Path) -> None:
    edit(bench, "192.0.2.10")
    assert serial(file) == 2027030500
    edit(bench, "192.0.2.11")
    assert serial(file) == 2027030501
    rig.today = datetime(2027, 3, 6, tzinfo=UTC)
    edit(bench, "192.0.2.12")
    assert serial(file) == 2027030600


def test_the_serial_increases_though_the_clock_went_back(bench: Workbench, rig: FilesRig, file: Path) -> None:
    edit(bench, "192.0.2.10")
    rig.today = datetime(2001, 1, 1, tzinfo=UTC)
    edit(bench, "192.0.2.11")
    assert serial(file) == 2027030501


@pytest.mark.parametrize(
    ("before", "after"),
    [(7, 2027030500), (2027030500, 2027030501), (2999123199, 2999123200), (2**32 - 2, 2**32 - 1), (2**32 - 1, 1)],
)
def test_the_serial_increases_on_its_circle(bench: Workbench, file: Path, before: int, after: int) -> None:
    """RFC 1982: a serial is newer when it is less than half of the circle ahead."""
    file.write_text(BY_HAND.replace("2027010100", str(before)))
    edit(bench)
    assert serial(file) == after
    assert 0 < (after - before) % 2**32 < 2**31


def test_the_serial_stays_when_nothing_changes(bench: Workbench, rig: FilesRig, file: Path) -> None:
    edit(bench)
    before = file.read_bytes()
    rig.today = datetime(2030, 1, 1, tzinfo=UTC)
    bench.converge()
    assert file.read_bytes() == before


# -- what goes wrong ------------------------------------------------------------------------------------------


def test_a_crash_before_the_file_is_in_place_leaves_the_old_one_whole(bench: Workbench, file: Path) -> None:
    bench.declare(SCOPE, rrset("new", "A", "192.0.2.5"))
    with full_disk(file):
        outcome = bench.apply()
    assert outcome.scopes[SCOPE].error == f"{file} cannot be written (No space left on device)"
    assert file.read_text() == BY_HAND
    assert [name for name in os.listdir(file.parent) if name.startswith(".")] == []
    bench.converge()


def test_a_killed_write_leaves_the_old_file_whole(
    bench: Workbench, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(descriptor: int) -> None:
        raise Killed

    bench.declare(SCOPE, rrset("new", "A", "192.0.2.5"))
    with monkeypatch.context() as patch:
        patch.setattr("mspctl.drivers.zonefile.os.fsync", kill)
        with pytest.raises(Killed):
            bench.apply()
    assert file.read_text() == BY_HAND
    assert os.listdir(file.parent) == [file.name]
    bench.converge()


def test_a_folder_that_is_not_there_is_unreachable_and_never_empty(bench: Workbench, rig: FilesRig) -> None:
    rig.directory.rmdir()
    bench.declare(SCOPE, *ON_FILE)
    for make in (lambda: None, lambda: rig.directory.write_text("a file where the folder should be")):
        make()
        assert isinstance(refused(rig), Unreachable)
        assert bench.apply().exit_code is Exit.UNREACHABLE
        with pytest.raises(Unreachable):
            rig.reader().scopes()


def test_a_file_that_cannot_be_read_is_unreachable(rig: FilesRig) -> None:
    rig.path(SCOPE).mkdir()
    assert isinstance(refused(rig), Unreachable)
    assert "cannot be read (Is a directory)" in str(refused(rig))


def test_a_file_that_cannot_be_written_says_so(bench: Workbench, file: Path) -> None:
    file.with_name(f"{file.name}.before-mspctl").mkdir()
    bench.declare(SCOPE, rrset("new", "A", "192.0.2.5"))
    assert "cannot be written (Is a directory)" in bench.apply().scopes[SCOPE].error
    assert file.read_text() == BY_HAND


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "has no SOA record, so it is not a whole zone"),
        (b"; only a comment\n", "has no SOA record"),
        (b"www 300 IN A 192.0.2.1\n", "has no SOA record"),
        (BY_HAND.encode() + b"other.example. 300 IN A 192.0.2.1\n", r"\.zone:19: .*outside the zone"),
        (BY_HAND.encode() + b"www 300 IN A 192.0.2\n", r"\.zone:19: is not a zone file"),
        (BY_HAND.encode() + b"$INCLUDE other.zone\n", r"\.zone:19: is not a zone file"),
        (BY_HAND.encode() + b'www TXT "never closed\n', r"\.zone:19: is not a zone file"),
        (BY_HAND.encode()[:150], "is not a zone file"),
        (BY_HAND.replace(f"ORIGIN {ZONE}", "ORIGIN other.example").encode(), "is this another zone's file"),
        (BY_HAND.encode() + b"www TXT \xff\n", "is not UTF-8 text"),
    ],
)
def test_what_is_not_a_whole_zone_is_an_error_and_never_empty(
    bench: Workbench, rig: FilesRig, file: Path, text: bytes, why: str
) -> None:
    bench.declare(SCOPE, *ON_FILE)
    bench.converge()
    file.write_bytes(text)
    with pytest.raises(TargetError, match=why):
        raise refused(rig)
    assert not isinstance(refused(rig), Unreachable)
    bench.declare(SCOPE, ON_FILE[0])
    assert bench.apply().exit_code is Exit.ERROR
    assert file.read_bytes() == text


def test_a_signed_zone_is_read_and_not_written(bench: Workbench, rig: FilesRig, file: Path) -> None:
    """Its signatures would be lost, and with them the zone for whoever checks them."""
    key = "@ DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=="
    file.write_text(BY_HAND.replace("$ORIGIN example.", f"{key}\n$ORIGIN example."))
    before = file.read_text()
    assert len(read(rig).resources) == len(ON_FILE)
    bench.declare(SCOPE, *ON_FILE, rrset("new", "A", "192.0.2.5"))
    outcome = bench.apply()
    assert "holds DNSKEY records, which would be lost (is it signed?)" in outcome.scopes[SCOPE].error
    assert file.read_text() == before


def test_a_file_that_was_removed_meanwhile_is_not_made_anew_from_a_part(bench: Workbench, file: Path) -> None:
    bench.declare(SCOPE, rrset("new", "A", "192.0.2.5"))
    shown = bench.plan()
    file.unlink()
    outcome = bench.apply(first=shown)
    assert "was removed since it was read" in outcome.scopes[SCOPE].error
    assert not file.exists()


@pytest.mark.parametrize(
    ("resources", "why"),
    [
        ([WWW], "has no name servers .declare apex NS, or give the target nameservers"),
        ([rrset("@", "NS", "ns1")], r"name server ns1\.acme\.example\. has no address in acme\.example"),
        (
            [rrset("@", "NS", "ns.x.example."), WWW, rrset("www", "CNAME", "x")],
            r"www\.acme.* would hold a CNAME beside A$",
        ),
    ],
)
def test_what_no_server_would_load_is_not_written(
    bench: Workbench, rig: FilesRig, resources: list[Resource], why: str
) -> None:
    bench.declare(SCOPE, *resources)
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(bench.apply().scopes[SCOPE].error)
    assert not rig.path(SCOPE).exists()


def test_a_name_server_below_a_delegation_needs_no_address_here(bench: Workbench) -> None:
    bench.declare(SCOPE, rrset("@", "NS", "ns1.sub"), rrset("sub", "NS", "ns.x.example."))
    bench.converge()


@pytest.mark.parametrize("resource", ODD_HOSTS, ids=lambda resource: str(resource.id))
def test_host_names_that_a_server_minds_can_be_let_pass(tmp_path: Path, resource: Resource) -> None:
    settings = zonefile.Settings.model_validate({"directory": "zones"})
    reader = zonefile.Reader(Access("files", "", settings, Secrets.given({}), tmp_path))
    assert reader.accept(resource) == resource


def test_a_dname_hides_what_is_below_it(bench: Workbench, rig: FilesRig) -> None:
    server, dname = rrset("@", "NS", "ns.x.example."), rrset("old", "DNAME", "new")
    bench.declare(SCOPE, server, dname, rrset("old", "A", "192.0.2.1"))
    bench.converge()
    for below in (rrset("www.old", "A", "192.0.2.1"), rrset("@", "DNAME", "new.example.net.")):
        bench.declare(SCOPE, server, dname, rrset("old", "A", "192.0.2.1"), below)
        assert "would hold a DNAME above other names" in bench.apply().scopes[SCOPE].error
    assert "www.old" not in rig.path(SCOPE).read_text()


# -- name servers that the target fills in --------------------------------------------------------------------


@pytest.fixture
def filling(tmp_path: Path) -> FilesRig:
    return FilesRig(tmp_path / "filling" if (tmp_path / "zones").exists() else tmp_path, *NAME_SERVERS)


def test_zones_that_declare_no_name_servers_get_those_of_the_target(filling: FilesRig) -> None:
    bench = Workbench(lambda scope: filling.reader(), lambda scope: filling.driver(), approved=True)
    bench.declare(SCOPE, WWW)
    bench.converge()
    assert filling.path(SCOPE).read_text().count(" IN NS ns") == 2
    assert [r.id.name for r in read(filling).resources] == ["www A"]


@pytest.mark.parametrize("ttl", [3600, 60])
def test_name_servers_go_into_git_and_out_of_it_again(filling: FilesRig, ttl: int) -> None:
    """What we filled in ourselves is not somebody else's, so nobody has to approve that Git takes it over."""
    bench = Workbench(lambda scope: filling.reader(), lambda scope: filling.driver())
    same, other = rrset("@", "NS", *NAME_SERVERS, ttl=ttl), rrset("@", "NS", "ns.x.example.", ttl=ttl)
    for declared in ([WWW], [WWW, same], [WWW, same, TXT], [WWW, other]):
        bench.declare(SCOPE, *declared)
        bench.converge()
    assert filling.path(SCOPE).read_text().count(" IN NS ns.x") == 1
    bench.approved = True  # the last name server of the zone leaves Git
    for declared in ([WWW], [WWW, other], [WWW, same], [WWW]):
        bench.declare(SCOPE, *declared)
        bench.converge()
    assert filling.path(SCOPE).read_text().count("@ 3600 IN NS ns") == 2
    assert [r.id.name for r in read(filling).resources] == ["www A"]


def test_name_servers_that_somebody_else_wrote_are_not_taken_over_in_passing(filling: FilesRig) -> None:
    filling.path(SCOPE).write_text(BY_HAND)
    bench = Workbench(lambda scope: filling.reader(), lambda scope: filling.driver())
    bench.declare(SCOPE, rrset("@", "NS", "ns.x.example."))
    assert bench.causes(SCOPE)["@ NS"] is Cause.TAKE_OVER


def test_name_servers_changed_by_hand_are_seen(filling: FilesRig) -> None:
    bench = Workbench(lambda scope: filling.reader(), lambda scope: filling.driver(), approved=True)
    bench.declare(SCOPE, WWW)
    bench.converge()
    filling.by_hand(SCOPE, Id(kind.KIND, "@ NS"), rrset("@", "NS", "ns.evil.example."))
    assert bench.causes(SCOPE) == {"@ NS": Cause.UNMANAGED}


def test_names_in_the_settings_are_absolute_with_and_without_their_dot() -> None:
    said = {"directory": "zones", "nameservers": "NS1.msp.example", "soa": {"rname": "hostmaster.msp.example"}}
    settings = zonefile.Settings.model_validate(said)
    assert settings.nameservers == ("ns1.msp.example.",)
    assert settings.soa.rname == "hostmaster.msp.example."


@pytest.mark.parametrize("rname", ["hostmaster@msp.example", "a b", "a..b", ""])
def test_what_would_break_a_zone_is_refused_in_the_settings(rname: str) -> None:
    with pytest.raises(ValidationError):
        zonefile.Settings.model_validate({"directory": "zones", "soa": {"rname": rname}})


def test_other_files_in_the_folder_are_no_zones(rig: FilesRig, file: Path) -> None:
    for name in (".hidden.zone", f"{ZONE}.zone.before-mspctl", "notes.txt", ".mspctl-1234"):
        (rig.directory / name).write_text("")
    (rig.directory / "0%2F25.2.0.192.in-addr.arpa.zone").write_text("")
    assert rig.reader().scopes() == ["0/25.2.0.192.in-addr.arpa", ZONE]


# -- real name servers ----------------------------------------------------------------------------------------

LONG = "".join(f"{number:03d}:" for number in range(200))
EVERY_TYPE = [
    rrset("@", "NS", *NAME_SERVERS),
    rrset("@", "A", "192.0.2.1"),
    rrset("@", "AAAA", "2001:db8::1", "2001:db8::2"),
    rrset("@", "CAA", '0 issue "ca.example"', '128 iodef "mailto:caa@acme.example"'),
    rrset("@", "MX", "10 mx1", "20 mx.provider.example."),
    rrset("@", "TXT", "v=spf1 mx -all", 'quotes " and \\ and ; and  blanks', "perché così", "", LONG),
    rrset("@", "SPF", "v=spf1 -all"),
    rrset("mx1", "A", "192.0.2.25", ttl=60),
    rrset("www", "CNAME", "@.acme.example.".removeprefix("@.")),
    rrset("*.wild", "A", "192.0.2.3"),
    rrset("*.wild", "MX", "0 ."),
    rrset("_sip._tcp", "SRV", "10 5 5060 sip.example.net.", "0 0 0 ."),
    rrset("_443._tcp", "TLSA", "3 1 1 " + "ab" * 32),
    rrset("_http._tcp", "URI", '10 1 "https://acme.example/"'),
    rrset("host", "SSHFP", "4 2 " + "cd" * 32),
    rrset("host", "LOC", "45 26 0.000 N 11 54 0.000 E 20.00m 1m 10000m 10m"),
    rrset("phone", "NAPTR", '100 10 "U" "E2U+sip" "!^.*$!sip:info@acme.example!" .'),
    rrset("10", "PTR", "host"),
    rrset("svc", "SVCB", "1 . alpn=h2 port=8443"),
    rrset("web", "HTTPS", "1 . alpn=h2,h3 ipv4hint=192.0.2.1"),
    rrset("old", "DNAME", "new.example.net."),
    rrset("sub", "NS", "ns1.sub", "ns.provider.example."),
    rrset("sub", "DS", "12345 13 2 " + "ef" * 32),
    rrset("ns1.sub", "A", "192.0.2.53"),
    rrset("odd", "TYPE65280", "\\# 4 01020304"),
    rrset(kind.fold("perché"), "A", "192.0.2.4"),
    rrset("_a_b", "TXT", "c", ttl=0),
    rrset("long", "A", "192.0.2.6", ttl=2**31 - 1),
]
COMMON = {rtype for rtype in kind.COMMON if rtype not in kind.PSEUDO}


@pytest.fixture
def written(rig: FilesRig, bench: Workbench) -> Path:
    """A zone with every record type, written by the driver."""
    bench.declare(SCOPE, *EVERY_TYPE)
    bench.converge()
    return rig.path(SCOPE)


def test_the_samples_hold_every_record_type_that_a_person_meets() -> None:
    assert {kind.owner_type(r.id)[1] for r in EVERY_TYPE} >= COMMON


@pytest.mark.parametrize(
    "command",
    [["named-checkzone", "-i", "local"], ["nsd-checkzone"], ["kzonecheck", "-o"]],
    ids=lambda command: command[0],
)
def test_what_we_write_is_loaded_by_name_servers(written: Path, command: list[str]) -> None:
    program = [require(command[0]), *command[1:], ZONE, str(written)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


REFUSED = [
    *ODD_HOSTS,
    rrset("@", "CNAME", "elsewhere"),
    rrset("www", "CNAME", "a", "b"),
    rrset("mx1", "CNAME", "a"),
    rrset("x.old", "A", "192.0.2.1"),
    rrset("@", "NS", "nobody"),
]


@pytest.mark.parametrize("resource", REFUSED, ids=lambda resource: f"{resource.id.name}: {kind.values_of(resource)}")
def test_what_we_refuse_is_refused_by_a_name_server_too(written: Path, resource: Resource) -> None:
    owner, rtype = kind.owner_type(resource.id)
    lines = [f"{owner} 3600 IN {rtype} {value}\n" for value in kind.values_of(resource)]
    written.write_text(written.read_text() + "".join(lines))
    programs = (["named-checkzone", "-i", "local", "-k", "fail"], ["kzonecheck", "-o"])
    said = [
        subprocess.run([require(p[0]), *p[1:], ZONE, str(written)], capture_output=True, timeout=60) for p in programs
    ]
    assert any(done.returncode != 0 for done in said)


@pytest.mark.parametrize("server", [name_servers.bind, name_servers.nsd])
def test_a_real_server_answers_what_git_says(
    tmp_path: Path, written: Path, server: Callable[..., AbstractContextManager[int]]
) -> None:
    with server(tmp_path, {ZONE: written}) as port:
        held_serial, held = name_servers.transferred(port, ZONE)
        assert held_serial == serial(written)
        assert {name: r.fields for name, r in held.items()} == {r.id.name: r.fields for r in EVERY_TYPE}
        (answer,) = name_servers.ask(port, f"www.{ZONE}", "A").answer[:1]
        assert answer.to_text() == f"www.{ZONE}. 3600 IN CNAME {ZONE}."
        (answer,) = name_servers.ask(port, f"anything.wild.{ZONE}", "A").answer
        assert answer.to_text() == f"anything.wild.{ZONE}. 3600 IN A 192.0.2.3"
        assert name_servers.ask(port, f"nobody.{ZONE}", "A").rcode() == dns.rcode.NXDOMAIN
