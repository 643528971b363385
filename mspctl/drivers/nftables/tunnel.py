"""
A WireGuard tunnel of a Linux firewall ↔ resources. Reading and writing it is one small program on the device.

What is there stands in one file (only root reads it), in the form that `wg setconf` takes, whose comments say what
WireGuard has no place for: whose a peer is, and which secrets are meant. Keys that stay are never sent: `@` in their
place stands for what the device has. Private and preshared keys are taken out where they are read; what comes to us
is whether they are those that we wrote.

Without the kernel's WireGuard the device needs wireguard-go. Peers without a tunnel are only written down.
"""

from __future__ import annotations

import hashlib
import ipaddress
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mspctl.drivers.nftables import boot
from mspctl.drivers.nftables.commit import Way
from mspctl.errors import SecretError, Unsupported
from mspctl.kinds import addresses, vpn
from mspctl.kinds.firewall import BY_HAND, text, texts
from mspctl.resource import Id, Resource, Value
from mspctl.secrets import Secret
from mspctl.transports.machine import Session

START = "mspctl-vpn-start"
KEPT = "@"  # in place of a key that the device has
_SAID = {"user": vpn.USER, "site": vpn.SITE}
_KINDS = {kind: word for word, kind in _SAID.items()}
UNKNOWN_PEER = "by hand"
_NOBODY = Id(vpn.USER, "")  # whoever somebody else put there

# $1: what to do, $2: the folder of what is loaded at the next start, $3: the table's name.
#   read          what is there, in lines; no key but public ones
#   old           the same, as `load` takes it back
#   free FILE     ends with an error if the interface of FILE is there and not ours: all that is in it would go
#   fill FILE     the keys that stay, in place of @
#   calls FILE    ends with an error if the device finds no address of who is called in FILE
#   load OTHER    standard input becomes what is there; OTHER: an interface that goes, unless it stays
#   back OTHER    the same, when a change is taken back: no interface goes but one that we made, as its alias says
PROGRAM = r"""
file=$2/$3.wg
said() { printf "%s\n" "$conf" | sed -n "s/^# $1 //p"; }
interface() { sed -n "s/^# interface //p" "$file" 2>/dev/null; }
made() { ip link show dev "$1" 2>/dev/null | grep -q "^ *alias mspctl\$"; }
case $1 in
read)
  [ -e "$file" ] || exit 0
  i=$(interface)
  grep -v "^P\(rivate\|reshared\)Key" "$file" | sed "s/^/file /"
  [ -n "$i" ] || exit 0
  wg show "$i" dump 2>/dev/null | awk -F "\t" -v f="$file" '
    BEGIN { while ((getline line < f) > 0) { split(line, p, " = ")
      if (p[1] == "PrivateKey") own = p[2]
      if (p[1] == "PublicKey") peer = p[2]
      if (p[1] == "PresharedKey") shared[peer] = p[2] } }
    NR == 1 { print "live", ($1 == own ? "same" : "other"), $2, $3 }
    NR > 1 { k = ($2 == "(none)" ? "none" : ($2 == shared[$1] ? "same" : "other"))
      print "peer", $1, k, $4, ($8 == "off" ? 0 : $8); print "seen", $1, $5 }'
  ip -o addr show dev "$i" 2>/dev/null | awk '{ print "address", $4 }' ;;
old)
  i=$(interface)
  [ -n "$i" ] || exit 0
  echo "# interface $i"
  if ip link show dev "$i" >/dev/null 2>&1; then
    echo "# addresses" $(ip -o addr show dev "$i" scope global | awk '{ print $4 }')
    wg showconf "$i"
  else
    echo "# absent $i"
  fi ;;
free)
  new=$(sed -n "s/^# interface //p" "$4")
  if [ -z "$new" ] || [ "$new" = "$(interface)" ] || ! ip link show dev "$new" >/dev/null 2>&1; then exit 0; fi
  what="no WireGuard interface"
  if wg show "$new" >/dev/null 2>&1; then what="a VPN of $(wg show "$new" peers | wc -l) peers"; fi
  echo "$new is there already, and not by mspctl: $what (take it away, or write another interface)" >&2
  exit 1 ;;
fill)
  i=$(interface)
  { [ ! -e "$file" ] || cat "$file"; [ -z "$i" ] || wg showconf "$i" 2>/dev/null; } | awk -F " = " -v f="$4" '
    $1 == "PrivateKey" { own = $2 }
    $1 == "PublicKey" { peer = $2 }
    $1 == "PresharedKey" { shared[peer] = $2 }
    END { while ((getline line < f) > 0) { split(line, p, " = ")
      if (p[1] == "PublicKey") peer = p[2]
      if (p[2] != "@") print line
      else if (p[1] == "PrivateKey") { if (own == "") exit 1; print "PrivateKey = " own }
      else if (shared[peer] != "") print "PresharedKey = " shared[peer] } }' >"$4.full" || {
    echo "the key that should stay is not there" >&2; exit 1; }
  mv -f "$4.full" "$4" ;;
calls)
  [ -n "$(sed -n "s/^# interface //p" "$4")" ] || exit 0
  for each in $(sed -n "s/^Endpoint = \(.*\):[0-9]*\$/\1/p" "$4" | tr -d "[]"); do
    timeout 5 getent ahosts "$each" >/dev/null || { echo "it finds no address of $each (endpoint)" >&2; exit 1; }
  done ;;
load | back)
  conf=$(cat)
  i=$(said interface)
  if [ -n "$4" ] && [ "$4" != "$i" ] && { [ "$1" = load ] || made "$4"; }; then ip link del dev "$4" 2>/dev/null; fi
  if [ -n "$(said absent)" ]; then if made "$i"; then ip link del dev "$i"; fi; exit 0; fi
  [ -n "$i" ] || exit 0
  set -e
  if ! ip link show dev "$i" >/dev/null 2>&1; then
    ip link add dev "$i" type wireguard 2>/dev/null || setsid wireguard-go "$i" >/dev/null 2>&1 || {
      echo "neither its kernel nor wireguard-go makes a WireGuard interface" >&2; exit 1; }
    ip link set dev "$i" alias mspctl
  fi
  printf "%s\n" "$conf" | wg syncconf "$i" /dev/stdin
  want=$(said addresses)
  for each in $want; do ip addr replace "$each" dev "$i"; done
  ip -o addr show dev "$i" scope global | while read -r _ _ _ each _; do
    case " $want " in *" $each "*) ;; *) ip addr del "$each" dev "$i" ;; esac
  done
  ip link set dev "$i" mtu 1420 up
  nets=$(printf "%s\n" "$conf" | sed -n "s/^AllowedIPs = //p" | tr "," " " | tr "\n" " ")
  for each in $nets; do
    case $each in
    */0) ;;
    *:*) [ -n "$(ip -6 route show exact "$each" dev "$i")" ] || ip -6 route add "$each" dev "$i" proto 213 ;;
    *) [ -n "$(ip route show exact "$each" dev "$i")" ] || ip route add "$each" dev "$i" proto 213 ;;
    esac
  done
  for family in -4 -6; do
    ip $family route show dev "$i" proto 213 | while read -r each _; do
      case $each in */*) ;; *:*) each=$each/128 ;; *) each=$each/32 ;; esac
      case " $nets " in *" $each "*) ;; *) ip $family route del "$each" dev "$i" proto 213 ;; esac
    done
  done ;;
esac
"""


@dataclass(slots=True)
class Peer:
    """What the file says of one."""

    id: Id
    said: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Tunnel:
    """What is there."""

    resources: list[Resource] = field(default_factory=list)
    exists: bool = False  # the file
    seen: dict[Id, datetime | None] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def read(cls, out: bytes) -> Tunnel:
        """From what PROGRAM prints."""
        lines = out.decode(errors="replace").splitlines()
        # wireguard-go tells peers each time in another order.
        kept = "".join(sorted(f"{line}\n" for line in lines if not line.startswith("seen ")))
        found = cls(exists=bool(lines), digest=hashlib.sha256(kept.encode()).hexdigest())
        head, peers = _file([line.removeprefix("file ") for line in lines if line.startswith("file ")])
        found._take(head, {each.said.get("PublicKey", ""): each for each in peers}, [each.split(" ") for each in lines])
        return found

    def _take(self, head: Mapping[str, str], peers: Mapping[str, Peer], lines: Sequence[Sequence[str]]) -> None:
        if "interface" not in head:
            self.resources += [_resource(p.id, p, key, p.said.get("AllowedIPs", "")) for key, p in peers.items()]
            return
        own = frozenset(
            rest[0] for word, *rest in lines if word == "address" and not ipaddress.ip_interface(rest[0]).is_link_local
        )
        for word, *rest in lines:
            if word == "live":
                fields: dict[str, Value] = {"port": int(rest[2]), "addresses": own}
                fields["key"] = head.get("key", "") if rest[0] == "same" else BY_HAND
                self.resources.append(Resource(Id(vpn.TUNNEL, head["interface"]), fields))
            elif word == "peer":
                key, shared, networks, keepalive = rest
                peer = peers.get(key) or Peer(Id(vpn.USER, f"{UNKNOWN_PEER} {key[:12]}"))
                made = _resource(peer.id, peer, key, networks)
                preshared = {"none": "", "same": text(made, "preshared")}.get(shared) or (BY_HAND, "")[shared == "none"]
                more: dict[str, Value] = {"keepalive": int(keepalive), "preshared": preshared}
                self.resources.append(replace(made, fields=dict(made.fields) | more))
            elif word == "seen":
                id_ = peers[rest[0]].id if rest[0] in peers else Id(vpn.USER, f"{UNKNOWN_PEER} {rest[0][:12]}")
                self.seen[id_] = datetime.fromtimestamp(int(rest[1]), UTC) if rest[1] != "0" else None


def _file(lines: Sequence[str]) -> tuple[dict[str, str], list[Peer]]:
    """What comments say at its start, and the peers."""
    head: dict[str, str] = {}
    peers: list[Peer] = []
    named = False
    for line in lines:
        word, _, rest = line.removeprefix("# ").partition(" ")
        if line.startswith("# ") and word in _SAID:
            peers.append(Peer(Id(_SAID[word], rest)))
            named = True
        elif line == "[Peer]":
            peers += [] if named else [Peer(_NOBODY)]
            named = False
        elif line.startswith("# "):
            (peers[-1].said if peers else head)[word] = rest
        elif peers:
            key, _, value = line.partition(" = ")
            peers[-1].said[key] = value
    return head, [peer for peer in peers if peer.id != _NOBODY]


def _resource(id_: Id, peer: Peer, key: str, networks: str) -> Resource:
    split = [each.strip() for each in networks.split(",")]
    fields: dict[str, Value] = {
        "key": key,
        "networks": addresses.joined(addresses.fold(each) for each in split if each and each != "(none)"),
        "endpoint": peer.said.get("Endpoint", ""),
        "keepalive": int(peer.said.get("PersistentKeepalive", "0")),
        "preshared": peer.said.get("preshared", ""),
    }
    return Resource(id_, fields)


# -- resources → file -------------------------------------------------------------------------------------------


def accept(resource: Resource) -> None:
    """Raises Unsupported."""
    said = resource.fields
    if resource.id.kind == vpn.TUNNEL:
        if not 0 < len(resource.id.name) < 16 or not 0 < int(str(said["port"])) < 65536:
            raise Unsupported("a tunnel is an interface with a name of 15 characters at most, and a UDP port")
        return
    if not vpn.is_key(text(resource, "key")):
        raise Unsupported("its key is no public key of WireGuard")
    if any(addresses.span(each) is None for each in texts(resource, "networks")):
        raise Unsupported("WireGuard knows networks only, and no names")
    if not 0 <= int(str(said["keepalive"])) < 65536:
        raise Unsupported("WireGuard keeps a tunnel alive every 65535 seconds at the most")
    if not resource.id.name.isprintable() or not text(resource, "endpoint").isprintable():
        raise Unsupported("its name and where it is called are one line")


def tunnel_first(told: Sequence[Resource]) -> list[Resource]:
    """The tunnel first, then peers by name."""
    return sorted((r for r in told if r.id.kind in vpn.KINDS), key=lambda r: (r.id.kind != vpn.TUNNEL, r.id))


def conf(resources: Sequence[Resource], before: Sequence[Resource], secret: Mapping[str, Secret]) -> bytes:
    """The file, with `@` for keys that stay as they are; `secret` are those that do not, by what fields say of them."""
    old = {r.id: r for r in before}
    found = tunnel_first(resources)
    lines = ["# mspctl writes this file."]
    if found and found[0].id.kind == vpn.TUNNEL:
        lines += _tunnel(found.pop(0), old, secret)
    for peer in found:
        lines += _peer(peer, old, secret)
    return ("\n".join(lines) + "\n").encode()


def _tunnel(said: Resource, old: Mapping[Id, Resource], secret: Mapping[str, Secret]) -> Iterator[str]:
    yield f"# interface {said.id.name}"
    if own := texts(said, "addresses"):
        yield f"# addresses {' '.join(sorted(own))}"
    yield f"# key {text(said, 'key')}"
    yield "[Interface]"
    yield f"PrivateKey = {_key(said, 'key', old, secret)}"
    yield f"ListenPort = {said.fields['port']}"


def _peer(said: Resource, old: Mapping[Id, Resource], secret: Mapping[str, Secret]) -> Iterator[str]:
    if not said.id.name.startswith(UNKNOWN_PEER):
        yield f"# {_KINDS[said.id.kind]} {said.id.name}"
        if text(said, "preshared"):
            yield f"# preshared {text(said, 'preshared')}"
    yield "[Peer]"
    yield f"PublicKey = {text(said, 'key')}"
    if text(said, "preshared"):
        yield f"PresharedKey = {_key(said, 'preshared', old, secret)}"
    if endpoint := text(said, "endpoint"):
        yield f"Endpoint = {endpoint}"
    if said.fields["keepalive"]:
        yield f"PersistentKeepalive = {said.fields['keepalive']}"
    yield f"AllowedIPs = {', '.join(_networks(texts(said, 'networks')))}"


def _networks(said: Collection[str]) -> Iterator[str]:
    for each in addresses.in_order(said):
        first, dash, last = each.partition("-")
        if dash:
            low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
            yield from map(str, ipaddress.summarize_address_range(low, high))
        else:
            yield str(ipaddress.ip_network(each))


def _key(said: Resource, name: str, old: Mapping[Id, Resource], secret: Mapping[str, Secret]) -> str:
    return KEPT if stays(said, name, old) else key_of(secret[text(said, name)])


def stays(said: Resource, name: str, old: Mapping[Id, Resource]) -> bool:
    """Whether the device has the key already."""
    before = old.get(said.id)
    if name == "preshared" and before is not None and before.fields["key"] != said.fields["key"]:
        return False
    return before is not None and before.fields[name] == said.fields[name]


def wanted(resources: Sequence[Resource], before: Sequence[Resource]) -> Iterator[tuple[str, str]]:
    """The keys that have to be sent: (whose, what the field says)."""
    old = {r.id: r for r in before}
    for said in tunnel_first(resources):
        name = "key" if said.id.kind == vpn.TUNNEL else "preshared"
        if text(said, name) and not stays(said, name, old):
            yield said.id.name, text(said, name)


def key_of(secret: Secret) -> str:
    """Raises SecretError, which does not repeat it."""
    found = secret.reveal_text().strip()
    if not vpn.is_key(found):
        raise SecretError(f"secret {secret.name} is no key of WireGuard (make one: wg genkey, or wg genpsk)")
    return found


# -- on the device ----------------------------------------------------------------------------------------------


def listed(session: Session, folder: str, table: str) -> Tunnel:
    words = ["sh", "-c", PROGRAM, "sh", "read", folder, table]
    return Tunnel.read(session.must(words, what="reading the VPN"))


def unit(folder: str) -> str:
    """The text of the unit that makes the tunnels when the device starts; what it runs is written beside the files."""
    place = folder.replace("%", "%%")
    return f"""\
# mspctl writes this file.
[Unit]
Description=VPN (mspctl)
RequiresMountsFor={place}
Wants=network-online.target
After=network-online.target nss-lookup.target {boot.UNIT}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh "{place}/{START}"
Restart=on-failure
RestartSec=30

[Install]
WantedBy=multi-user.target
"""


def start(folder: str) -> str:
    """The program that the unit runs: a tunnel for every file; one that fails does not keep the others out."""
    place = shlex.quote(folder)
    return f"""\
# mspctl writes this file.
one() {{{PROGRAM}}}
code=0
for each in {place}/mspctl-*.wg; do
  [ -e "$each" ] || continue
  table=${{each##*/}}
  (one load {place} "${{table%.wg}}" "" <"$each") || code=1
done
exit $code
"""


def keep_start(session: Session, folder: str) -> None:
    """What the unit runs."""
    session.must(["mkdir", "-p", "-m", "700", "--", folder])
    place = f"{folder}/{START}"
    if session.read(place) != start(folder).encode():
        session.write(place, start(folder).encode(), 0o700)


WAY = Way(
    name="settings of the VPN",
    thing="tunnel",
    suffix="wg",
    check=(
        "command -v wg >/dev/null || {\n"
        '  echo "it has no wireguard-tools (apt-get install wireguard-tools)" >&2; exit 1; }\n'
        'sh -c "$8" sh free "$7" "$3" "$2.new"\n'
        'sh -c "$8" sh fill "$7" "$3" "$2.new"\n'
        'sh -c "$8" sh calls "$7" "$3" "$2.new"'
    ),
    old='sh -c "$8" sh old "$7" "$3" >"$2.old"',
    now='sh -c "$8" sh read "$7" "$3" | grep -v "^seen " | sort',
    load=(
        'new=$(sed -n "s/^# interface //p" "$1.new"); old=$(sed -n "s/^# interface //p" "$1.old"); '
        # Whether the DNS knows a name is said after a few seconds, and not when the window is over.
        'WG_ENDPOINT_RESOLUTION_RETRIES=2 sh -c "$5" sh load "$4" "$3" "$old" <"$1.new" || '
        '{ sh -c "$5" sh back "$4" "$3" "$new" <"$1.old" 2>/dev/null; false; }'
    ),
    prepare='new=$(sed -n "s/^# interface //p" "$1.new")',
    undo='printf "%s\\n" "$old" | sh -c "$5" sh back "$4" "$3" "$new"',
    stands='i=$(sed -n "s/^# interface //p" "$2.new"); [ -z "$i" ] || ip link show dev "$i" >/dev/null 2>&1',
    unit=boot.Unit("mspctl-vpn.service", "wg", unit, START, start),
    program=PROGRAM,
)
