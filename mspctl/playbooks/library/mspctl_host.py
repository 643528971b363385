#!/usr/bin/python
"""
What runs on a customer's host: reads what is there, or makes it as it was asked for, in one call for all sections; or
goes on an errand: a program of ours that is sent along, answers, and is kept nowhere.

Ansible ships this file to each host and starts it there with the host's own Python (3.8 or later), so it imports
nothing but the standard library, and Ansible's own frame only where it is started as a module.

Nothing of others is overwritten: a file is ours when one of its first lines says so. Each item is done whole or not at
all: what was written of it before something failed is put back. It begins only if the host still is as it was read.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

DOCUMENTATION = """
module: mspctl_host
short_description: Reads a host, makes it as mspctl was told, or goes on an errand
description: Files, systemd units, packages and held packages, many of each in one call; or a program that answers.
options:
  do:
    description: Whether to read, to write, or to run what is sent along.
    choices: [read, write, run]
    required: true
    type: str
  ask:
    description: What to read, what to make, or what to run; mspctl writes it.
    required: true
    type: dict
  secrets:
    description: Contents of files that hold a secret, by the name that ask calls them.
    type: dict
    default: {}
author: mspctl
"""

MARK = "Managed by mspctl"  # in one of the first three lines of each file of ours
Facts = Dict[str, Any]
UNITS = "/etc/systemd/system"
SECONDS = 600  # for one command; a package takes its time
LARGEST = 256 * 1024  # of a file that is read


class Refused(Exception):
    """Something could not be done; the text says what and why."""


class Stale(Refused):
    """The host is not as it was read any more."""


def command(*words: str) -> str:
    """The output of a program. Raises Refused with the last line it said."""
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    short = " ".join(words[:3])
    try:
        done = subprocess.run(  # noqa: S603
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=SECONDS
        )
    except OSError as error:
        raise Refused(f"{words[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"{short} did not end within {SECONDS} s") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Refused(f"{short}: {said[-1] if said else 'failed'}")
    return done.stdout


# -- reading ----------------------------------------------------------------------------------------------------


def read(ask: Mapping[str, Any]) -> Facts:
    """Facts: see `one file`, `units` and so on for their shapes."""
    paths = sorted({path for pattern in ask.get("files", ()) for path in glob.glob(pattern)})
    secret = sorted({path for pattern in ask.get("secret", ()) for path in glob.glob(pattern)})
    files = {path: one_file(path) for path in paths}
    files.update({path: one_file(path, secret=True) for path in secret})
    named = [said_by(path) for pattern in ask.get("named", ()) for path in sorted(glob.glob(pattern))]
    services = {name for said in named for name in said["services"]}
    wanted = {name for said in named for name in said["packages"]}
    own = [os.path.basename(path) for path in files if os.path.dirname(path) == UNITS and path.endswith(".timer")]
    installed, held = packages(wanted | set(ask.get("packages", ())))
    return {
        "files": files,
        "units": units(sorted(set(own) | services | set(ask.get("units", ())))),
        "packages": installed,
        "held": held,
        "apt": apt(ask.get("apt", ())),
        "state": {path: state(path) for pattern in ask.get("state", ()) for path in glob.glob(pattern)},
        "reboot": os.path.exists("/run/reboot-required"),
        "boot": boot(),
        "now": int(time.time()),
    }


def said_by(path: str) -> Dict[str, List[str]]:
    """Names of units and packages in a file of JSON behind comments; none where it has none."""
    try:
        with open(path) as file:
            said = json.loads("".join(line for line in file if not line.startswith("#")))
        return {key: [each for each in said[key] if isinstance(each, str)] for key in ("services", "packages")}
    except (OSError, ValueError, KeyError, TypeError):
        return {"services": [], "packages": []}


def one_file(path: str, secret: bool = False) -> Facts:
    """
    {"text", "mode": "0644", "sum", "ours", "time"}, the last is when it was written, in seconds since 1970. Of a secret
    one only its lines in front that are comments; its sum is its age and size, for a digest of a password can be
    guessed.
    """
    about = os.lstat(path)
    if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
        return {"text": "", "mode": "", "sum": f"{about.st_mtime_ns}", "ours": False, "time": int(about.st_mtime)}
    with open(path, "rb") as file:
        octets = file.read()
    text = octets.decode("utf-8", "replace")
    lines = text.splitlines(True)
    found = {"mode": f"{stat.S_IMODE(about.st_mode):04o}", "ours": any(MARK in line for line in lines[:3])}
    found["time"] = int(about.st_mtime)
    if secret:
        front = [line for line in lines if line.startswith("#")]
        return dict(found, text="".join(front), sum=f"{about.st_mtime_ns} {about.st_size}")
    return dict(found, text=text, sum=hashlib.sha256(octets).hexdigest())


def units(names: Sequence[str]) -> Dict[str, Dict[str, str]]:
    """
    {name: {"enabled": "enabled", "active": "active", "next": "…", "last": "…", "old": "no"}}, as systemd calls it; old
    is what it knows otherwise than the files say that are there now.
    """
    if not names:
        return {}
    keys = "Id,LoadState,UnitFileState,ActiveState,NextElapseUSecRealtime,LastTriggerUSec,NeedDaemonReload"
    said = command("systemctl", "show", "--property=" + keys, "--", *names)
    found: Dict[str, Dict[str, str]] = {}
    for block in said.strip().split("\n\n"):
        one = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        enabled = one.get("UnitFileState") or one.get("LoadState", "")
        found[one.get("Id", "")] = {
            "enabled": enabled,
            "active": one.get("ActiveState", ""),
            "next": one.get("NextElapseUSecRealtime", ""),
            "last": one.get("LastTriggerUSec", ""),
            "old": "no" if (one.get("NeedDaemonReload"), one.get("LoadState")) == ("no", "loaded") else "yes",
        }
    return found


def packages(names: Iterable[str]) -> Tuple[Dict[str, str], List[str]]:
    """{name: version} of those that are installed; and all that stay as they are."""
    found: Dict[str, str] = {}
    held: List[str] = []
    said = command("dpkg-query", "-W", "-f", "${Package} ${db:Status-Want} ${db:Status-Status} ${Version}\\n")
    for line in said.splitlines():
        name, want, status, version = [*line.split(" "), "", "", ""][:4]
        if want == "hold":
            held.append(name)
        if name in names and status == "installed":
            found[name] = version
    return found, sorted(held)


def apt(prefixes: Sequence[str]) -> Dict[str, List[str]]:
    """{"A::B": ["…"]}: what counts in the end, whichever file says it; names in lower case, as APT takes them."""
    if not prefixes:
        return {}
    found: Dict[str, List[str]] = {}
    for line in command("apt-config", "dump").splitlines():
        key, _, value = line.partition(" ")
        name = key.rstrip(":").lower()
        if any(name.startswith(prefix.lower()) for prefix in prefixes):
            found.setdefault(name, []).extend([value.rstrip(";").strip('"')] if value != '"";' else [])
    return found


def boot() -> str:
    """Another one after each boot."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


def state(path: str) -> Any:
    """What a job on the host has written down, or None."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


# -- writing ----------------------------------------------------------------------------------------------------


def write(ask: Mapping[str, Any], secrets: Mapping[str, str], dry: bool = False) -> Facts:
    """
    {"scopes": {name: [{"ok": True, "changed": […]} | {"stale": "…"} | {"error": "…"}]}, "diff": […]}, and the "facts"
    that `then` asks for, read when all is written: so that nobody has to come again for them.

    The first item of a scope that is not done ends it; the other scopes go on.
    """
    said: Dict[str, List[Facts]] = {}
    diff: List[Facts] = []
    told = True  # whether systemd knows all that was written
    for scope in ask["scopes"]:
        done = said.setdefault(scope["name"], [])
        for item in scope["items"]:
            work = Item(item, secrets, dry)
            try:
                work.check()
                work.carry_out()
                done.append({"ok": True, "changed": work.changed})
                diff += work.diff
            except Stale as error:
                done.append({"stale": str(error)})
                break
            except Refused as error:
                done.append({"error": str(error)})
                break
            except OSError as error:
                done.append({"error": ": ".join(filter(None, (work.path, error.strerror or str(error))))})
                break
            finally:
                told = told and work.told
    if not told:
        with contextlib.suppress(Refused):  # what it does not know is read as not done
            command("systemctl", "daemon-reload")
    found: Facts = {"scopes": said, "diff": diff}
    if ask.get("then") and not dry:
        with contextlib.suppress(Refused, OSError):  # whoever reads it again is told why
            found["facts"] = read(ask["then"])
    return found


class Item:
    """One change: all of it, or nothing."""

    def __init__(self, item: Mapping[str, Any], secrets: Mapping[str, str], dry: bool) -> None:
        self.item, self.secrets, self.dry = item, secrets, dry
        self.path = ""  # what is at hand
        self.changed: List[str] = []
        self.diff: List[Facts] = []
        self.told = True  # whether systemd knows all that was written; what is new to it, it reads when it is started
        self.undo: List[Callable[[], Any]] = []

    def check(self) -> None:
        """Raises Stale unless what will be touched still is as it was read."""
        expect = self.item.get("expect")
        if expect is None:
            return
        there = {path: self.sum_of(path, path in expect["secret"]) for path in expect["files"]}
        self.compare(there, expect["files"], "was changed")
        switched = {name: "{enabled}/{active}".format(**unit) for name, unit in units(sorted(expect["units"])).items()}
        self.compare(switched, expect["units"], "was switched")
        if expect["held"] or expect["packages"]:
            installed, held = packages(expect["packages"])
            self.compare({name: name in held for name in expect["held"]}, expect["held"], "was held or let go")
            present = {name: name in installed for name in expect["packages"]}
            self.compare(present, expect["packages"], "was installed or removed")

    @staticmethod
    def sum_of(path: str, secret: bool) -> str:
        return str(one_file(path, secret)["sum"]) if os.path.lexists(path) else ""

    @staticmethod
    def compare(there: Mapping[str, Any], known: Mapping[str, Any], what: str) -> None:
        for name in known:
            if there.get(name) != known[name]:
                raise Stale(f"{name} {what} since it was read")

    def carry_out(self) -> None:
        try:
            self.install()
            self.switch_off()
            old = [self.write_file(file) for file in self.item.get("files", ())]
            old += [self.remove(path) for path in self.item.get("absent", ())]
            self.switch_on(any(old))
            self.hold()
            self.remove_packages()
        except (Refused, OSError):
            self.put_back()
            raise

    def put_back(self) -> None:
        """As it was; what cannot be put back is left to the next reading, which will show it."""
        for step in reversed(self.undo):
            with contextlib.suppress(Refused, OSError):
                step()

    # -- packages

    def install(self) -> None:
        wanted = self.item.get("packages", ())
        missing = sorted(set(wanted) - set(packages(wanted)[0])) if wanted else []
        if not missing:
            return
        self.changed += [f"package {name}" for name in missing]
        if self.dry:
            return
        words = ("apt-get", "-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "install", "--")
        try:
            command(*words, *missing)
        except Refused:
            command("apt-get", "-q", "update")  # what is known of the archive may be old
            command(*words, *missing)

    def remove_packages(self) -> None:
        """The last step, for it cannot be put back."""
        there = sorted(packages(self.item["gone"])[0]) if self.item.get("gone") else []
        self.changed += [f"package {name}" for name in there]
        if there and not self.dry:
            command("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", "remove", "--", *there)

    def hold(self) -> None:
        wishes = self.item.get("hold", {})
        now = packages(())[1] if wishes else []
        for name, wanted in wishes.items():
            if (name in now) is wanted:
                continue
            self.changed.append(f"{'hold' if wanted else 'release'} of {name}")
            if not self.dry:
                command("apt-mark", "hold" if wanted else "unhold", "--", name)

    # -- files

    def write_file(self, file: Mapping[str, Any]) -> bool:
        """Whether systemd may know it otherwise, and has to be told at once."""
        path, mode = str(file["path"]), int(file.get("mode", "0644"), 8)
        self.path = path
        secret = file.get("secret")
        text = file.get("text", "") + (self.secrets[secret] + "\n" if secret else "")
        before = self.before(path)
        if before == (text, mode):
            return False
        self.changed.append(path)
        self.tell(path, "" if secret else (before or ("", 0))[0], "" if secret else text)
        if self.dry:
            return False
        folder = os.path.dirname(path)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        self.undo.append(lambda: self.restore(path, before))
        place(path, text, mode, file.get("check", ()))
        self.told = self.told and not folder.startswith(UNITS)
        return folder.startswith(UNITS) and (before is not None or folder != UNITS)

    def before(self, path: str) -> Optional[Tuple[str, int]]:
        """(text, mode) of a file of ours, None where there is none. Raises Refused for one of somebody else."""
        if not os.path.lexists(path):
            return None
        found = one_file(path)
        if not found["ours"]:
            raise Refused(f"{path} is somebody else's (it does not say that mspctl manages it): move it away first")
        return found["text"], int(found["mode"], 8)

    def remove(self, path: str) -> bool:
        before = self.before(path)
        if before is None:
            return False
        self.changed.append(path)
        self.tell(path, before[0], "")
        if self.dry:
            return False
        self.undo.append(lambda: self.restore(path, before))
        os.unlink(path)
        return path.startswith(UNITS)

    def restore(self, path: str, before: Optional[Tuple[str, int]]) -> None:
        if before is None:
            os.unlink(path)
        else:
            place(path, *before)
        if path.startswith(UNITS):
            command("systemctl", "daemon-reload")

    def tell(self, path: str, before: str, after: str) -> None:
        self.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})

    # -- units

    def switch_off(self) -> None:
        """Units that go are stopped and disabled while their files are there."""
        now = units(self.item.get("off", ()))
        names = [name for name, unit in now.items() if unit["enabled"] == "enabled" or unit["active"] == "active"]
        self.changed += names
        if names and not self.dry:
            self.undo.append(lambda: command("systemctl", "enable", "--now", "--quiet", "--", *names))
            command("systemctl", "disable", "--now", "--quiet", "--", *names)

    def switch_on(self, old: bool) -> None:
        """
        Units that stay are enabled and started; one whose files changed takes it in. `old`: systemd may know some of
        them otherwise. It takes long to read all units anew, so what it need not know at once, it is told at the end.
        """
        fresh = {os.path.basename(path) for path in self.changed if os.path.dirname(path) == UNITS}
        if any(path.startswith("/") for path in self.changed):
            fresh.update(self.item.get("restart", ()))
        on = self.item.get("on", ())
        now = units(sorted({*on, *fresh}))
        names = [
            name
            for name, unit in now.items()
            if (name in on if name in fresh else (unit["enabled"], unit["active"]) != ("enabled", "active"))
        ]
        self.changed += [name for name in names if name not in fresh]
        if self.dry:
            return
        masked = [name for name in names if now[name]["enabled"].startswith("masked")]
        disabled = [name for name in names if now[name]["enabled"] != "enabled"]
        if masked:
            command("systemctl", "unmask", "--quiet", "--", *masked)
        if disabled:
            self.undo.append(lambda: command("systemctl", "disable", "--now", "--quiet", "--", *disabled))
            command("systemctl", "enable", "--quiet", "--no-reload", "--", *disabled)
            self.told = False
        if old or any(unit["old"] == "yes" for unit in now.values()):
            command("systemctl", "daemon-reload")
            self.told = True
        running = [name for name in names if now[name]["active"] == "active"]
        if running:  # the last that is put back: with their files as they were, they run as they did
            self.undo.insert(0, lambda: command("systemctl", "restart", "--", *running))
        if names:
            start(names)


def start(names: Sequence[str]) -> None:
    """Anew. Raises Refused with what the first that does not start says itself."""
    try:
        command("systemctl", "restart", "--", *names)
    except Refused:
        for name, unit in units(names).items():
            if unit["active"] != "active":
                said = command("journalctl", "--unit=" + name, "--lines=20", "--output=cat", "--no-pager").splitlines()
                own = [line for line in said if line.strip() and name not in line and "systemd" not in line]
                raise Refused(f"{name} does not start: {own[-1].strip() if own else 'it gives no reason'}") from None
        raise


# -- errands ----------------------------------------------------------------------------------------------------

# Modules are made of their texts, and the last one's function `answer` is called.
ERRAND = """
import json, sys, types
said = json.load(sys.stdin)
for name, text in said["modules"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name + ".py", "exec"), module.__dict__)
json.dump(module.answer(said["ask"]), sys.stdout)
"""
GRACE = 60  # seconds to clean up in


def errand(ask: Mapping[str, Any]) -> Any:
    """
    What a program answers that is in `modules`, [[name, text], …]; it gets `ask`, and has so many `seconds`.

    When they are over it is told to end, and has to clean up after itself. Raises Refused with its last words.
    """
    said = json.dumps({"modules": ask["modules"], "ask": ask["ask"]}).encode()
    pipe = subprocess.PIPE
    words = [sys.executable or "/usr/bin/python3", "-c", ERRAND]
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd="/") as process:  # noqa: S603
        try:
            answer, trouble = process.communicate(said, ask["seconds"])
        except subprocess.TimeoutExpired:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=GRACE)
            process.kill()
            raise Refused(f"it did not end within {ask['seconds']} s") from None
    if process.returncode:
        lines = [line.strip() for line in trouble.decode("utf-8", "replace").splitlines() if line.strip()]
        raise Refused(lines[-1] if lines else "the errand failed")
    return json.loads(answer.decode())


def place(path: str, text: str, mode: int, check: Sequence[str] = ()) -> None:
    """
    In one step; whoever reads it meanwhile sees the old or the new, whole. A new one that the program `check` refuses,
    given its name, is not put there.
    """
    handle, draft = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".mspctl-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        os.chmod(draft, mode)
        if check:
            command(*check, draft)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def main() -> None:
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "do": {"choices": ["read", "write", "run"], "required": True},
            "ask": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        if module.params["do"] == "read":
            module.exit_json(changed=False, facts=read(module.params["ask"]))
        if module.params["do"] == "run":
            if module.check_mode:
                module.exit_json(changed=False, skipped=True)
            module.exit_json(changed=True, answer=errand(module.params["ask"]))
        said = write(module.params["ask"], module.params["secrets"], module.check_mode)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    items = [item for done in said["scopes"].values() for item in done]
    wrong = [item.get("stale") or item.get("error") for item in items if not item.get("ok")]
    changed = any(item.get("changed") for item in items)
    if wrong:
        module.fail_json(msg="; ".join(wrong), changed=changed, **said)
    module.exit_json(changed=changed, **said)


if __name__ == "__main__":
    main()
