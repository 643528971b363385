"""
The rules that follow from a device's VPN, and what is wrong with it.

They are rules like others: the port is open where people call from, and each user gets to what their `reach` says,
until their `until`. They come behind `before` and in front of a customer's own. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from mspctl.kinds import addresses, firewall, vpn
from mspctl.kinds.firewall.reach import beyond
from mspctl.model.base import dotted, nearest
from mspctl.model.sections.firewall.rules import Device, Reach, Rule, Vpn, VpnSite, VpnUser
from mspctl.strict_yaml import Map, Mark, Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.sections.mail import Section
    from mspctl.model.sections.mail.people import Leaver

Path = tuple[str | int, ...]
LISTENS = "vpn"  # the rule that opens the port


def outside(device: Device) -> set[str]:
    """Zones in which everybody else is: they say so, or one has another address there."""
    said = {name for name, zone in device.zones.items() if zone.outside}
    return said | beyond(
        (came, goes) for each in device.masquerade for came in each.source_zones for goes in each.destination_zones
    )


def peers(device: Device) -> Iterator[tuple[Path, VpnUser | VpnSite]]:
    """Who uses the tunnel, each with its place in the file."""
    if device.vpn is not None:
        yield from ((("vpn", "users", number), user) for number, user in enumerate(device.vpn.users))
        yield from ((("vpn", "sites", number), site) for number, site in enumerate(device.vpn.sites))


def rules(device: Device) -> Iterator[tuple[Path, Rule]]:
    """The rules that follow, each with the place that it follows from."""
    if device.vpn is None:
        return
    yield ("vpn",), _listens(device, device.vpn)
    for number, user in enumerate(device.vpn.users):
        for place, name, reach in reaches(user):
            yield ("vpn", "users", number, "reach", place), _reaches(device.vpn, user, name, reach)


def reaches(user: VpnUser) -> Iterator[tuple[int, str, Reach]]:
    """What a user gets to, each with the id of its rule."""
    for number, reach in enumerate(user.reach):
        yield number, f"vpn-{user.id}{f'-{number + 1}' if number else ''}", reach


def _listens(device: Device, said: Vpn) -> Rule:
    return Rule.model_construct(
        id=LISTENS,
        source_zones=said.zones or tuple(sorted(outside(device))),
        destination_zones=(firewall.SELF,),
        source=said.source,
        services=(f"udp/{said.port}",),
        action="accept",
        why="the VPN's port",
    )


def _reaches(said: Vpn, user: VpnUser, name: str, reach: Reach) -> Rule:
    return Rule.model_construct(
        id=name,
        source_zones=(said.zone,),
        destination_zones=reach.to,
        source=user.address,
        destination=reach.destination,
        services=reach.services,
        action="accept",
        log=reach.log,
        schedule=reach.schedule,
        until=user.until,
        why=user.why,
        asked_by=user.asked_by,
        ticket=user.ticket,
    )


# -- what is wrong ------------------------------------------------------------------------------------------------

Add = Callable[..., None]  # path, text, level


def check(device: Device, data: Map, add: Add) -> None:
    """Addresses and keys that are somebody else's already, networks that hold what they should not."""
    said = device.vpn
    if said is None:
        return
    if not said.zones and not outside(device):
        add(("vpn",), "nobody is outside here, so it is not known where people call (write zones: wan)")
    if not said.source:
        add(("vpn", "from"), "is empty (write any for everybody)")
    own = [ipaddress.ip_interface(each) for each in said.addresses]
    if not own:
        add(("vpn", "addresses"), "is empty (write the device's address in the tunnel: 10.90.0.1/24)")
    for path, peer in peers(device):
        _address(path, peer, own, add) if isinstance(peer, VpnUser) else _networks(path, peer, own, add)
    _once(device, data, add)


def _once(device: Device, data: Map, add: Add) -> None:
    """Nobody has what somebody else has."""
    own = f"the device itself ({_place(data, ('vpn', 'addresses'))})"
    seen = [(own, _own(device.vpn))] if device.vpn else []
    ids: dict[str, str] = {}
    keys: dict[str, str] = {}
    whole: list[tuple[str, frozenset[str]]] = []
    for path, peer in peers(device):
        where = f"{peer.id} ({_place(data, path)})"
        if (first := ids.setdefault(peer.id, where)) != where:
            add((*path, "id"), f"{peer.id} is the id of {first} already")
        if (first := keys.setdefault(peer.key, where)) != where:
            add((*path, "key"), f"is the key of {first} too (one key, one peer)")
        name, found = ("address", peer.address) if isinstance(peer, VpnUser) else ("networks", peer.networks)
        for each in vpn.everything(found):  # WireGuard gives a network to the last only
            for first, theirs in whole:
                if both := addresses.overlap(each, theirs):
                    text = f"{', '.join(addresses.in_order(both))} is what {first} has already"
                    add((*path, name), f"{text} (one site only can have everything)")
            whole.append((where, each))
        mine = vpn.of_its_own(found)
        other = next((who for who, theirs in seen if addresses.meet(mine, theirs)), None)
        if other is not None:
            add((*path, name), f"{', '.join(found)} overlaps with what {other} has")
        seen.append((where, mine))


def _place(data: Map, path: Path) -> str:
    mark = find(data, path)
    return f"{mark.file}:{mark.line}" if mark else dotted(path)


def _own(said: Vpn) -> frozenset[str]:
    return addresses.joined(str(ipaddress.ip_interface(each).ip) for each in said.addresses)


Interfaces = Iterable[ipaddress.IPv4Interface | ipaddress.IPv6Interface]


def _address(path: Path, user: VpnUser, own: Interfaces, add: Add) -> None:
    found = [ipaddress.ip_address(each) for each in user.address]
    if not found or len({each.version for each in found}) < len(found):
        add((*path, "address"), "is one address in the tunnel, or one of each family")
    for each in found:
        if not any(each in one.network for one in own):
            networks = ", ".join(str(one.network) for one in own)
            add((*path, "address"), f"{each} is not in the tunnel's network ({networks or 'there is none'})")


def _networks(path: Path, site: VpnSite, own: Interfaces, add: Add) -> None:
    if not site.networks:
        add((*path, "networks"), "is empty (write what is behind it: 10.40.0.0/24)")
    if not site.everything:
        for whole in vpn.everything(site.networks):
            said = ", ".join(each for each in site.networks if addresses.meet(frozenset({each}), whole))
            what = "everything" if whole & vpn.WORLD else "nearly everything"
            add((*path, "networks"), f"{said} is {what} (if that is meant, write everything: true)")
    for each in vpn.of_its_own(site.networks):
        for one in own:
            if addresses.covers(frozenset({each}), frozenset({str(one.network)})):
                add((*path, "networks"), f"{each} holds the tunnel's own network {one.network}")


def check_customer(customer: Customer, name: str, device: Device, data: Map, problems: Problems) -> None:
    """
    A user's `mail` is a mailbox of the customer; who has the name of a leaver and does not say so is told. What is
    behind a tunnel is no network of the site itself.
    """
    known = mailboxes(customer)
    here = frozenset(filter(None, [customer.info.sites.get(name)]))
    for path, peer in peers(device):
        if not isinstance(peer, VpnUser):
            both = sorted(n for n in vpn.of_its_own(peer.networks) if addresses.meet(frozenset({n}), here))
            if both:
                text = f"{', '.join(both)} is of {name} itself (customer.yaml: sites)"
                problems.add(find(data, (*path, "networks")), dotted((*path, "networks")), text)
            continue
        if peer.mail is not None and peer.mail not in known:
            text = f"{peer.mail} is no mailbox of {customer.name} in mail.yaml{nearest(peer.mail, known)}"
            problems.add(find(data, (*path, "mail")), dotted((*path, "mail")), text)
        for address, (leaver, mark) in known.items() if peer.mail is None else ():
            if leaver is not None and address.partition("@")[0] == peer.id:
                place = f"{mark.file}:{mark.line}" if mark else "mail.yaml"
                text = f"{peer.id} may be {address}, who leaves ({place}); if so, write mail: {address}"
                problems.add(find(data, path), dotted(path), text, level="warning")


def mailboxes(customer: Customer) -> Mapping[str, tuple[Leaver | None, Mark | None]]:
    """Every mailbox that mail.yaml names: who leaves, and where that is said."""
    section: Section | None = customer.sections.get("mail")  # type: ignore[assignment]
    found: dict[str, tuple[Leaver | None, Mark | None]] = {}
    for domain, own in section.domains.items() if section else ():
        found |= {f"{local}@{domain}": (None, None) for local in own.mailboxes}
        for local, leaver in own.leavers.items():
            mark = find(customer.data["mail"], ("domains", domain, "leavers", local))
            found[f"{local}@{domain}"] = (leaver, mark)
    return found
