"""
Customers' hosts through Ansible: one playbook run for as many hosts as are asked, answers host by host.

ansible-runner starts ansible-playbook as a program. All that a run needs lies in a folder of its own in memory that
only we can read: what is asked of each host, what is secret, the key to log in with. Nothing of it is an argument, an
extra variable or part of a template, and the folder is gone afterwards. Answers come through our own callback, because
ansible-runner's events leave out what a task with secrets has changed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mspctl.errors import TargetError, Unreachable
from mspctl.kinds.hosts import Host
from mspctl.secrets import PREFIX, Secret, redact
from mspctl.transports import private, shared, ssh
from mspctl.transports.private import write

PLAYBOOKS = Path(__file__).parents[1] / "playbooks"
Do = Literal["read", "write", "run", "collect", "install"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ask:
    """What one host is asked: as the module that the playbook runs takes it."""

    what: Mapping[str, Any]
    secrets: Mapping[str, Secret] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one host said, or why it said nothing."""

    result: Mapping[str, Any] = field(default_factory=dict)
    error: TargetError | None = None

    @property
    def away(self) -> bool:
        return isinstance(self.error, Unreachable)


@dataclass(frozen=True, slots=True)
class Ansible:
    """`key` is asked late for the private key to log in with."""

    hosts: Mapping[str, Host]  # by full name, those included that others are reached through
    key: Callable[[], Secret]
    at_once: int = 10
    connect: int = 10  # seconds until a host has answered
    patience: int = 900  # seconds for a host to finish
    fleeting: set[str] = field(default_factory=set)  # hosts that may boot at any moment, since we let them install

    def run(self, do: Do, asks: Mapping[str, Ask], patience: int = 0) -> dict[str, Answer]:
        """
        An answer for each host that is asked; each has so many seconds, if another number than usual.

        Raises TargetError when Ansible itself cannot work.
        """
        if not asks:
            return {}
        with private.folder() as folder:
            lines = self._lines(do, asks)
            self._prepare(folder, asks, lines)
            _LOG.info("ansible: %s on %d hosts", do, len(asks))
            last = self._start(folder, PLAYBOOKS / f"hosts-{do}.yaml", len(asks), patience or self.patience)
            rows = _events(folder)
            if not rows:
                raise TargetError(f"Ansible did nothing: {last or 'it gave no reason'}")
            silent = Answer(error=Unreachable("it was not finished with: no answer came"))
            said = {name: _answer(rows[name], self.hosts[name]) if name in rows else silent for name in asks}
            private.hang_up((lines[n] for n in lines if n in said and said[n].away), at_once=False)
            return said

    def _needed(self, names: Iterable[str]) -> list[Host]:
        """With those that others are reached through."""
        needed = [*names]
        for name in needed:  # grows
            if (jump := self.hosts[name].jump) and jump not in needed:
                needed.append(jump)
        return [self.hosts[name] for name in needed]

    def _lines(self, do: Do, names: Collection[str]) -> Mapping[str, Path]:
        """
        Connections that outlive the run, by full name; none to hosts that may boot. What another run has under way on
        such a host, or through it, goes on.
        """
        lines = shared.sockets(self._needed(names), self.key())
        if do == "install":
            self.fleeting.update(names)
            private.hang_up((lines[name] for name in names if name in lines), at_once=False)
        return {name: line for name, line in lines.items() if name not in self.fleeting}

    def _prepare(self, folder: Path, asks: Mapping[str, Ask], lines: Mapping[str, Path]) -> None:
        key = write(folder / "key", self.key().reveal_text().rstrip("\n") + "\n")
        hosts = self._needed(asks)
        extra = {"ConnectTimeout": str(self.connect), "ServerAliveInterval": "10", "ServerAliveCountMax": "3"}
        write(folder / "ssh_config", ssh.ssh_config(hosts, folder, key, extra | shared.OPTIONS, lines))
        write(folder / "ansible.cfg", "")
        write(folder / "known_hosts", ssh.known_hosts(hosts))
        write(folder / "inventory.yaml", ssh.inventory([self.hosts[name] for name in asks], folder))
        (folder / "asks").mkdir(mode=0o700)
        for name, ask in asks.items():
            write(folder / "asks" / f"{name}.json", json.dumps(ask.what))
            values = {each: secret.reveal_text() for each, secret in ask.secrets.items()}
            write(folder / "asks" / f"{name}.secrets.json", json.dumps(values))

    def _start(self, folder: Path, playbook: Path, hosts: int, patience: int) -> str:
        """Run it to the end; returns what it said last."""
        try:
            import ansible_runner
        except ImportError:
            raise TargetError("hosts are reached with ansible-runner (pip install 'mspctl[hosts]')") from None
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        if shutil.which("ansible-playbook", path=path) is None:
            raise TargetError("ansible-playbook is not installed (pip install 'mspctl[hosts]')")
        rounds = -(-hosts // self.at_once)
        run = ansible_runner.run(
            private_data_dir=str(folder),
            project_dir=str(playbook.parent),
            playbook=str(playbook),
            inventory=str(folder / "inventory.yaml"),
            extravars={"mspctl_asks": str(folder / "asks")},
            forks=min(self.at_once, hosts),
            envvars=_environment(folder, path),
            timeout=rounds * patience,
            event_handler=lambda event: False,  # so that none is kept
            quiet=True,
        )
        said = "".join(path.read_text(errors="replace") for path in folder.glob("artifacts/*/stdout"))
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return redact(lines[-1])[:300] if lines else str(run.status)


def _environment(folder: Path, path: str) -> dict[str, str]:
    """For Ansible and all that it starts: nothing of the user's own Ansible, and none of our secrets."""
    said = {
        "PATH": path,
        "MSPCTL_EVENTS": str(folder / "events"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(PLAYBOOKS / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "mspctl_events",
        "ANSIBLE_LIBRARY": str(PLAYBOOKS / "library"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner would switch it off
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "temp"),
        "ANSIBLE_PLAYBOOK_VARS_ROOT": "all",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_ARGS": "",  # all is in ssh_config
        "ANSIBLE_SSH_RETRIES": "0",
        "ANSIBLE_NO_TARGET_SYSLOG": "True",  # a module's arguments do not belong into a host's journal
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_FORCE_COLOR": "False",
        "SSH_AUTH_SOCK": "",
    }
    return said | {name: "" for name in os.environ if name.startswith((PREFIX, "MSPCTL_VAULT"))}


def _events(folder: Path) -> dict[str, dict[str, Any]]:
    """The last word of each host."""
    try:
        text = (folder / "events").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["host"]: row for row in rows}


# The last is what Ansible makes of a module that was cut off before its first word: most likely the host went down.
_BROKEN = (
    r"connection (to \S+ )?closed|connection reset|broken pipe|lost connection|data could not be sent|"
    r"no start of json char found"
)
_RAISED = re.compile(r"(Task failed: )?Module failed: ")  # how Ansible begins what it tells of an exception of ours
_CRASHED = re.compile(r"[A-Za-z_.]*(Error|Exception|Interrupt)\b|Killed$|Segmentation fault")

# What Ansible and ssh say → what it means. `{user}` is who logs in.
_SILENT = (
    (
        r"host key verification failed|identification has changed|no \S+ host key is known",
        "its host key is another than hosts.yaml says: nothing was sent",
    ),
    (r"permission denied", "it does not let {user} in with this key"),
    (r"could not resolve|name or service not known", "its address is not known to the DNS"),
    (r"connection refused", "it refuses connections"),
    (r"timed out|timeout", "it did not answer in time"),
    (_BROKEN, "the connection broke in the middle"),
    (r"", "it gave no answer"),
)
_FAILED = (
    (
        r"password is required|missing sudo password|incorrect sudo password",
        "{user} may not use sudo there without a password",
    ),
    (r"not in the sudoers|not allowed to (run|execute)", "{user} may not use sudo there"),
    (r"sudo: (command )?not found|no such file.*sudo", "it has no sudo, and {user} is not root"),
    (r"interpreter .* was not found|python3: (not found|no such file)", f"it has no {ssh.PYTHON}"),
    (_BROKEN, "the connection broke in the middle"),
)


def _answer(row: Mapping[str, Any], host: Host) -> Answer:
    said = " ".join(str(row.get(name, "")) for name in ("msg", "module_stderr", "module_stdout"))
    short = redact(" ".join(str(row.get("msg", "")).split()))[:200]
    if row["status"] == "unreachable":
        meant = _meant(_SILENT, said, host)
        return Answer(error=Unreachable(f"{meant} ({short})" if meant == _SILENT[-1][1] and short else meant))
    if row["status"] == "failed" and "scopes" not in row:
        short = _RAISED.sub("what we run there failed: ", short)
        meant = _meant(_FAILED, said, host) or short or "the task failed and gave no reason"
        if meant != _FAILED[-1][1]:
            return Answer(error=TargetError(meant))
        spoken = _last_words(row)  # what was only cut off has none
        return Answer(error=TargetError(f"what we run there failed: {spoken}") if spoken else Unreachable(meant))
    return Answer(row)


def _last_words(row: Mapping[str, Any]) -> str:
    """Of what we run there and that gave no answer: how its traceback ends; "" when it was only cut off."""
    said = "\n".join(str(row.get(name, "")) for name in ("module_stdout", "module_stderr"))
    lines = [line for line in said.splitlines() if _CRASHED.match(line)]
    return redact(" ".join(lines[-1].split()))[:200] if lines else ""


def _meant(table: Sequence[tuple[str, str]], said: str, host: Host) -> str:
    found = next((text for pattern, text in table if re.search(pattern, said, re.IGNORECASE)), "")
    return found.replace("{user}", host.user)
