"""
Customers' hosts for tests: real Debian machines with systemd and sshd, under systemd-nspawn, each on a LAN of ours.

One tree, made by mmdebstrap (a minute) and kept in a cache folder that may vanish, serves all machines; what they write
is in memory, outlives a reboot, and is forgotten when they stop. The LAN is a network namespace with a bridge. To reach
it from here, a relay listens on loopback ports and connects from inside: so a test needs no namespace of its own, and a
machine's port can be closed as if somebody had pulled its cable.

Needs root, because namespaces do. Only what was started here is ended, by its id.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers import require

CACHE = Path(os.environ.get("MSPCTL_TEST_CACHE", "/var/cache/mspctl-tests"))
PROGRAMS = ("ip", "mmdebstrap", "nsenter", "ssh-keygen", "systemd-nspawn")
NET = "10.77.0"  # .1 is the side of whoever manages the hosts
SECONDS = 60  # for a machine to answer
USERS = ("root", "ops", "guest")  # ops may use sudo, guest may not

PACKAGES = (
    "openssh-server python3 systemd systemd-sysv dbus iproute2 ca-certificates sudo "
    "nftables procps tzdata unattended-upgrades restic borgmatic clamav-daemon clamav-freshclam clamdscan"
).split()
MASKED = (
    "systemd-modules-load systemd-udevd systemd-udev-trigger console-getty getty.target e2scrub_all.timer "
    "systemd-timesyncd modprobe@.service apt-daily.timer apt-daily-upgrade.timer"
)
# What Debian's image lacks to be a host of ours: people who log in with a key, and no name or key from the builder.
PREPARE = f"""set -eu
root=$1
chroot "$root" systemctl mask -q {MASKED}
chroot "$root" systemctl disable -q clamav-daemon.service clamav-daemon.socket clamav-freshclam.service
chroot "$root" useradd -m -s /bin/bash ops
chroot "$root" useradd -m -s /bin/bash guest
echo 'ops ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/ops"
printf '%s\\n' 'UseDNS no' 'AuthorizedKeysFile /etc/ssh/people' 'MaxStartups 100' >"$root/etc/ssh/lab.conf"
mv "$root/etc/ssh/lab.conf" "$root/etc/ssh/sshd_config.d/lab.conf"
: >"$root/etc/ssh/people"
mkdir -p "$root/srv/archive"
chroot "$root" sh -c 'cd /srv/archive && apt-get -qq download unattended-upgrades restic clamdscan'
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/machine-id"
: >"$root/etc/ssh/ssh_host_ed25519_key"
: >"$root/etc/machine-id"
: >"$root/etc/apt/sources.list"
"""
SLIM = [f"path-exclude=/usr/share/{each}/*" for each in ("man", "doc", "locale")]

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}  # at a console

# What a machine writes is in memory, and outlives its reboots, but not the process that holds it.
DISK = """
tree=$1 disk=$2; shift 2
for each in $CGROUPS; do echo $$ >"$each/cgroup.procs" || :; done
mount -t tmpfs tmpfs "$disk"
mkdir "$disk/upper" "$disk/work" "$disk/root"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"
code=133 # it wants to be started again
while [ $code = 133 ]; do
  code=0
  "$@" || code=$?
done
exit $code
"""

# An archive of packages in a folder, as APT knows Debian's for security: those of the image, and a package `demo` of
# which the first version is installed and the second can be.
ARCHIVE = """set -eu
cd /srv/archive
for version in 1.0 1.1; do
  mkdir -p "demo/$version/DEBIAN"
  printf 'Package: demo\\nVersion: %s\\nArchitecture: all\\nMaintainer: lab <lab@lab.invalid>\\nDescription: demo\\n' \
    "$version" >"demo/$version/DEBIAN/control"
  dpkg-deb -b "demo/$version" "demo_${version}_all.deb" >/dev/null
done
dpkg -i demo_1.0_all.deb >/dev/null
rm demo_1.0_all.deb
for deb in *.deb; do
  dpkg-deb -f "$deb"
  printf 'Filename: ./%s\\nSize: %s\\n' "$deb" "$(stat -c %s "$deb")"
  printf 'SHA256: %s\\n\\n' "$(sha256sum "$deb" | cut -d' ' -f1)"
done >Packages
{
  printf 'Origin: Debian\\nLabel: %s\\nSuite: %s\\nCodename: %s\\nDate: %s\\n' "$1" "$2" "$3" "$(LC_ALL=C date -Ru)"
  printf 'SHA256:\\n %s %s Packages\\n' "$(sha256sum Packages | cut -d' ' -f1)" "$(stat -c %s Packages)"
} >Release
echo 'deb [trusted=yes] file:/srv/archive ./' >/etc/apt/sources.list
"""
SECURITY = ("Debian-Security", "stable-security", "bookworm-security")  # Label, Suite, Codename
UPDATES = ("Debian", "stable", "bookworm")

# Takes away what mspctl makes on a host, where there is something.
CLEAN = """
cd /etc
[ -n "$(ls -d apt/apt.conf.d/*mspctl* mspctl systemd/system/mspctl-* 2>/dev/null; apt-mark showhold)" ] || exit 0
systemctl disable --now --quiet $(cd systemd/system; ls -d mspctl-*.timer mspctl-antivirus-*.service) 2>/dev/null
rm -rf apt/apt.conf.d/*mspctl* systemd/system/mspctl-* mspctl /usr/local/lib/mspctl /var/lib/mspctl* /var/cache/mspctl*
rm -rf /var/lib/clamav/*
cd /srv/archive && rm -rf demo* Packages Release /var/lib/apt/lists/*_* /run/reboot-required /mnt/backup
: >/etc/apt/sources.list
apt-mark unhold $(apt-mark showhold) >/dev/null
systemctl daemon-reload
"""

# Each listening socket was made out here; what it accepts is connected to from inside.
RELAY = """
import socket, sys, threading
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for each in (a, b):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(client, address):
    try:
        server = socket.create_connection(address, 5)
    except OSError:
        client.close()
        return
    server.settimeout(None)
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    pump(server, client)
def listen(fd, address):
    listener = socket.socket(fileno=fd)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, address), daemon=True).start()
address, fd = sys.argv[1], int(sys.argv[2])
listen(fd, (address, 22))
"""


def _run(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout


# -- the image --------------------------------------------------------------------------------------------------


def image(more: Sequence[str] = ()) -> Path:
    """The tree that machines start from; made now if nobody has. `more`: packages that only some tests need."""
    mirror = _mirror()
    packages = [*PACKAGES, *more]
    recipe = "\n".join((PREPARE, *packages, *SLIM))
    CACHE.mkdir(parents=True, exist_ok=True)
    tree = CACHE / f"debian-12-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            _build(tree, mirror, packages)
    return tree


def _mirror() -> str:
    """Where this machine's own packages come from has those of Debian 12 too."""
    said = _run("apt-get", "indextargets", "--format", "$(REPO_URI)").split()
    found = [uri.rstrip("/") for uri in said if uri.rstrip("/").endswith("/debian")]
    if not found:
        pytest.skip("machines are made from Debian's archive, and this machine knows no mirror of it")
    return found[0]


def _build(tree: Path, mirror: str, packages: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as draft:
        hook = Path(draft) / "prepare"
        hook.write_text(PREPARE)
        base = mirror.removesuffix("/debian")
        sources = [f"deb {mirror} bookworm main", f"deb {base}/debian-security bookworm-security main"]
        options = [f"--dpkgopt={each}" for each in SLIM]
        made = Path(draft) / "tree"
        options += [f"--include={','.join(packages)}", f'--customize-hook=sh {hook} "$1"']
        _run("mmdebstrap", "--quiet", "--variant=minbase", *options, "bookworm", made, *sources)
        made.rename(tree)


# -- machines ---------------------------------------------------------------------------------------------------


@dataclass
class Machine:
    """A host that runs. From here it is reached on 127.0.0.1, at its port."""

    name: str
    address: str  # on the LAN
    port: int  # here
    host_key: str  # "ssh-ed25519 AAAA…"
    folder: Path
    leader: int = 0  # its PID 1, as we see it
    cable: ExitStack = field(default_factory=ExitStack)
    process: subprocess.Popen[bytes] | None = None  # what keeps it running, through reboots

    def run(self, *command: str, said: bytes | None = None, check: bool = True) -> str:
        """What somebody at its console would do."""
        inside = self._inside(command)
        done = subprocess.run(inside, input=said, capture_output=True, timeout=120, env=ENVIRONMENT)
        assert not check or done.returncode == 0, f"{command}: {done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode()

    def clean(self) -> None:
        """As if mspctl had never been there."""
        self.sh(CLEAN, check=False)

    def archive(self, *of: str) -> None:
        """It has an archive of packages, of that label, suite and codename."""
        self.run("sh", "-s", *of, said=ARCHIVE.encode())

    def restart(self) -> None:
        """The power is cut, and comes back: the kernel's memory is empty, the disk as it was."""
        self.sh("nft flush ruleset; systemctl reboot -ff", check=False)
        for _ in range(20 * SECONDS):  # until it is another one
            with suppress(OSError):
                os.kill(self.leader, 0)
                time.sleep(0.05)
                continue
            break
        self.rebooted()

    def rebooted(self) -> None:
        """Whoever lets it reboot says so afterwards: its PID 1 is another one, and it is up again."""
        assert self.process is not None
        self.leader = _pid_1(self.process)
        _await(self)

    @contextmanager
    def open(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A program that is talked to while it runs."""
        pipe = subprocess.PIPE
        with subprocess.Popen(self._inside(command), stdin=pipe, stdout=pipe, env=ENVIRONMENT) as process:
            try:
                yield process
            finally:
                process.kill()

    def _inside(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", "--target", str(self.leader), "--all", "--wd=/", *command]

    def sh(self, script: str, *, check: bool = True) -> str:
        return self.run("sh", "-c", script, check=check)


@dataclass
class Lan:
    """Machines by name, and how to get at them."""

    machines: dict[str, Machine]
    key: Path  # whoever has this private key may log in
    namespace: str

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def inside(self, *command: str) -> list[str]:
        """A command, as one that runs on the LAN, at 10.77.0.1."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]


@contextmanager
def machines(*names: str, more: Sequence[str] = ()) -> Iterator[Lan]:
    """So many hosts, up and answering; gone afterwards with all that they held."""
    for program in PROGRAMS:
        require(program)
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("machines need namespaces: root, and in a container the right to make them")
    tree = image(more)
    namespace = f"mspctl-{os.getpid()}-{secrets.token_hex(2)}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mspctl-hosts-")))
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", folder / "key")
        stack.enter_context(_namespace(namespace))
        _run("ip", "-n", namespace, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", namespace, "addr", "add", f"{NET}.1/24", "dev", "br0")
        _run("ip", "-n", namespace, "link", "set", "br0", "up")
        lan = Lan({}, folder / "key", namespace)
        for number, name in enumerate(names, 11):
            lan.machines[name] = stack.enter_context(_machine(lan, tree, name, f"{NET}.{number}", folder))
        for machine in lan.machines.values():
            _await(machine)
        yield lan


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        _run("ip", "netns", "del", name)


@contextmanager
def _machine(lan: Lan, tree: Path, name: str, address: str, folder: Path) -> Iterator[Machine]:
    own = folder / name
    own.mkdir()
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", own / "host_key")
    (own / "people").write_bytes(lan.key.with_suffix(".pub").read_bytes())
    space = f"{lan.namespace}-{name}"
    with ExitStack() as stack:
        stack.enter_context(_namespace(space))
        far = "type veth peer name eth0 netns".split()
        _run("ip", "-n", lan.namespace, "link", "add", f"v-{address.rpartition('.')[2]}", *far, space)
        _run("ip", "-n", lan.namespace, "link", "set", f"v-{address.rpartition('.')[2]}", "master", "br0", "up")
        _run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", space, "link", "set", "eth0", "up")
        _run("ip", "-n", space, "route", "add", "default", "via", f"{NET}.1")
        public = " ".join((own / "host_key.pub").read_text().split()[:2])
        machine = Machine(name, address, _free_port(), public, own)
        stack.enter_context(_booted(machine, tree, space))
        plug(lan, machine)
        stack.callback(lambda: machine.cable.close())
        yield machine


@contextmanager
def _booted(machine: Machine, tree: Path, space: str) -> Iterator[None]:
    own, disk = machine.folder, machine.folder / "disk"
    disk.mkdir()
    binds = {own / "host_key": "/etc/ssh/ssh_host_ed25519_key", own / "people": "/etc/ssh/people"}
    command = [
        *("unshare", "--mount", "sh", "-euc", DISK, "sh", str(tree), str(disk)),
        *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
        *(f"--machine={space}", f"--hostname={machine.name}", f"--directory={disk}/root"),
        *(f"--network-namespace-path=/run/netns/{space}", "--resolv-conf=off", "--timezone=off"),
        "--capability=CAP_NET_ADMIN",  # its network is its own, and it may be a firewall
        # Whoever scans on access asks the kernel to be asked: nspawn lets nobody, unless it is told to.
        *("--system-call-filter=fanotify_init", "--system-call-filter=fanotify_mark"),
        *("--link-journal=no", "--console=pipe", *(f"--bind-ro={each}:{inside}" for each, inside in binds.items())),
    ]
    with _cgroups(space) as cgroups, (own / "console.log").open("wb") as log:
        there = {**os.environ, "CGROUPS": " ".join(map(str, cgroups))}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=there, start_new_session=True
        )
        try:
            machine.leader, machine.process = _pid_1(process), process
            yield
        finally:
            # The machine's PID 1, not nspawn: that then cleans up; killed itself it would leave the machine running.
            try:
                os.kill(_pid_1(process), signal.SIGKILL)
            except (ProcessLookupError, AssertionError):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)


@contextmanager
def _cgroups(name: str) -> Iterator[list[Path]]:
    """
    Its own ones, below ours, where we may make them: machines that are started in one would have their units in the
    same folders, and take those of others away.
    """
    top, made = Path("/sys/fs/cgroup"), list[Path]()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kind, path = line.split(":", 2)
        roots = {"name=systemd": ["systemd"], "": ["unified", "."]}.get(kind, [])
        for root in [top / each for each in roots if (top / each / "cgroup.procs").exists()][:1]:
            own = root / path.lstrip("/") / name
            with suppress(OSError):
                own.mkdir()
                made.append(own)
    try:
        yield made
    finally:
        for own in made:
            for folder in sorted([own, *own.rglob("*/")], reverse=True):
                with suppress(OSError):
                    folder.rmdir()


def _pid_1(process: subprocess.Popen[bytes]) -> int:
    """The machine's: PID 1 in a namespace of its own, below what keeps it running."""
    for _ in range(20 * SECONDS):
        assert process.poll() is None, "systemd-nspawn did not start the machine"
        for child in (grandchild for each in _children(process.pid) for grandchild in _children(each)):
            with suppress(OSError):
                about = Path(f"/proc/{child}/status").read_text().splitlines()
                if any(line.startswith("NSpid:") and line.split()[2:] == ["1"] for line in about):
                    return int(child)
        time.sleep(0.05)
    raise AssertionError("systemd-nspawn did not start the machine in time")


def _children(pid: str | int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def plug(lan: Lan, machine: Machine) -> None:
    """Its port answers from now on; `machine.cable.close()` ends that, with all that is connected."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", machine.port))
        listener.listen(64)
        fd = listener.fileno()
        command = lan.inside(sys.executable, "-c", RELAY, machine.address, str(fd))
        process = subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL)
    machine.cable = ExitStack()
    machine.cable.callback(process.wait, SECONDS)
    machine.cable.callback(process.kill)


@contextmanager
def unplugged(lan: Lan, *chosen: Machine) -> Iterator[None]:
    """Nobody gets at these machines meanwhile."""
    for machine in chosen:
        machine.cable.close()
    try:
        yield
    finally:
        for machine in chosen:
            plug(lan, machine)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _await(machine: Machine) -> None:
    """Until its sshd answers, and its systemd takes orders."""
    for _ in range(20 * SECONDS):
        with suppress(OSError), socket.create_connection(("127.0.0.1", machine.port), 2) as connection:
            if connection.recv(3) == b"SSH":
                break
        time.sleep(0.05)
    else:
        raise AssertionError(f"{machine.name} does not answer:\n{(machine.folder / 'console.log').read_text()}")
    machine.run("systemctl", "is-system-running", "--wait", check=False)
