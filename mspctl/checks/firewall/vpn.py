"""Who may use a VPN and does not: a door that somebody forgot, or a site that is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mspctl.checks import Facts, Seen
from mspctl.checks.firewall.of import Firewall, firewalls
from mspctl.driver import Gauge
from mspctl.finding import Finding, Severity
from mspctl.kinds import firewall, vpn
from mspctl.resource import Resource

CODES = {
    "firewall.vpn-idle": "somebody who may use the VPN has not for a long time",
    "firewall.vpn-silent": "a site is not heard of through the VPN",
}
SILENT = timedelta(hours=1)  # a tunnel in use makes new keys every two minutes (wireguard.com/protocol)


def questions(facts: Facts) -> Iterator[Gauge]:
    for one in firewalls(facts):
        yield from (one.gauge(vpn.HANDSHAKE, peer.id) for peer in _peers(one))


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    for one in firewalls(facts):
        if one.is_read:
            for peer in _peers(one):
                yield from _idle(one, seen, peer) if peer.id.kind == vpn.USER else _silent(one, seen, peer)


def _peers(one: Firewall) -> list[Resource]:
    return [r for r in one.declared.resources if r.id.kind in vpn.PEERS]


def _idle(one: Firewall, seen: Seen, user: Resource) -> Iterator[Finding]:
    """Who never came is judged by when the device began to count."""
    heard = seen.get(one.gauge(vpn.HANDSHAKE, user.id), "unknown")
    began = [one.said(seen, what) for what in (firewall.BOOTED, firewall.LOADED)]
    known = [each for each in began if isinstance(each, datetime)]
    since = heard if isinstance(heard, datetime) else max(known) if heard is None and len(known) == 2 else None
    if since is None or one.facts.now - since <= timedelta(seconds=one.settings.idle):
        return
    never = "has not connected" if heard is None else "connected last"
    what = f"VPN user {user.id.name} {never} {'since' if heard is None else 'on'} {since:%Y-%m-%d}"
    remedy = "ask whether it is needed, or give it an until"
    yield one.finding("firewall.vpn-idle", Severity.INFO, what, remedy, user.id, since)


def _silent(one: Firewall, seen: Seen, site: Resource) -> Iterator[Finding]:
    """A site that is kept alive, or that we keep alive, is heard of all the time."""
    heard = seen.get(one.gauge(vpn.HANDSHAKE, site.id), "unknown")
    if not site.fields["keepalive"] or (isinstance(heard, datetime) and one.facts.now - heard <= SILENT):
        return
    if heard is None or isinstance(heard, datetime):
        when = f"since {heard:%Y-%m-%d %H:%M} UTC" if heard else "since the tunnel is there"
        what = f"VPN site {site.id.name} has not been heard of {when}"
        remedy = "is its line up, and are keys and endpoint the same on both sides?"
        yield one.finding("firewall.vpn-silent", Severity.WARNING, what, remedy, site.id, heard)
