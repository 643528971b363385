"""Which reader or driver a scope gets, and what that gets to know."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mspctl import drivers
from mspctl.driver import Access, Driver, Reader
from mspctl.drivers import zonefile
from mspctl.errors import SecretError, TargetError
from mspctl.load import load
from mspctl.resource import Scope
from mspctl.targets import Targets
from tests.estate import estate

TWO = """targets:
  files: {facets: {dns: {driver: zonefile, directory: zones, nameservers: ns1.msp.example}}}
  others:
    address: 192.0.2.1
    secrets: {api-key: OTHERS_KEY}
    facets: {dns: {driver: zonefile, directory: elsewhere}}
"""


@pytest.fixture
def targets(tmp_path: Path) -> Targets:
    return Targets(load(estate(tmp_path, {"inventory/targets.yaml": TWO})))


def zone(name: str, target: str = "files", facet: str = "dns") -> Scope:
    return Scope(target, facet, name)


def test_one_reader_and_one_driver_for_all_scopes_of_a_facet(targets: Targets) -> None:
    reader, driver = targets.reader(zone("a.example")), targets.driver(zone("a.example"))
    assert targets.reader(zone("b.example")) is reader
    assert targets.driver(zone("b.example")) is driver
    assert targets.reader(zone("a.example", "others")) is not reader
    assert isinstance(reader, Reader)
    assert not isinstance(reader, Driver)
    assert isinstance(driver, Driver)


def test_a_driver_gets_its_own_settings_and_the_repository(targets: Targets, tmp_path: Path) -> None:
    reader = targets.reader(zone("a.example", "others"))
    assert isinstance(reader, zonefile.Reader)
    assert reader.directory == tmp_path / "elsewhere"
    assert reader.settings.nameservers == ()


def test_a_driver_gets_the_secrets_of_its_own_target(
    targets: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    monkeypatch.setattr(drivers, "reader", lambda name, access: found.append(access))
    monkeypatch.setenv("MSPCTL_SECRET_OTHERS_KEY", "s3cret-of-others")
    for target in ("others", "files"):
        Targets(targets.estate).reader(zone("a.example", target))
    others, files = found
    assert (others.target, others.address, others.root) == ("others", "192.0.2.1", tmp_path)
    assert others.secrets["api-key"].reveal_text() == "s3cret-of-others"
    assert (files.target, files.address, list(files.secrets)) == ("files", "", [])
    with pytest.raises(SecretError):
        files.secrets["api-key"]


@pytest.mark.parametrize("scope", [zone("a.example", "nobody"), zone("a.example", facet="mailboxes")])
def test_what_the_inventory_does_not_have_is_an_error_of_that_target(targets: Targets, scope: Scope) -> None:
    for opened in (targets.reader, targets.driver):
        with pytest.raises(TargetError, match=r"is not in inventory/targets\.yaml"):
            opened(scope)


def test_many_threads_get_the_same_one(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = drivers.reader

    def counting(name: str, access: Access) -> Reader:
        made.append(name)
        return real(name, access)

    monkeypatch.setattr(drivers, "reader", counting)
    fresh = Targets(targets.estate)
    with ThreadPoolExecutor(8) as executor:
        readers = set(executor.map(fresh.reader, [zone(f"z{n}.example") for n in range(50)]))
    assert len(readers) == len(made) == 1


def test_one_that_could_not_be_made_is_tried_again(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise TargetError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(drivers, "reader", fail)
        broken = Targets(targets.estate)
        with pytest.raises(TargetError, match="not now"):
            broken.reader(zone("a.example"))
    assert isinstance(broken.reader(zone("a.example")), Reader)
