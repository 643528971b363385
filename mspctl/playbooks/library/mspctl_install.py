#!/usr/bin/python
"""
What runs on a customer's host for `mspctl apply --due`: begins the installation that its timer would have begun.

Ansible ships this file to each host and starts it there with the host's own Python (3.8 or later). Nothing but the unit
that patching made is started, and it is stopped when the window closes, with the package at hand.
"""

from __future__ import annotations

import subprocess
import time
from typing import Any, Dict, Mapping

DOCUMENTATION = """
module: mspctl_install
short_description: Begins the installation of updates
description: Starts the service that patching made, stops it when the window closes, and waits for a while.
options:
  ask:
    description: Seconds until the window closes (left), and to wait (patience); mspctl writes it.
    required: true
    type: dict
author: mspctl
"""

UNIT, END = "mspctl-patching.service", "mspctl-patching-end"
FILE = "/etc/systemd/system/" + UNIT
MARK = "Managed by mspctl"
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
UP = ("initializing", "starting", "running", "degraded", "maintenance")  # else it goes down, or is too far to say so


def install(ask: Mapping[str, Any]) -> Dict[str, Any]:
    """{"active": "inactive", "stopping": whether the host goes down}. Raises ValueError and OSError."""
    try:
        with open(FILE, errors="replace") as file:
            ours = MARK in file.readline()
    except FileNotFoundError:
        ours = False
    if not ours:
        raise ValueError("patching is not set up there as Git says: mspctl apply first")
    systemctl("stop", END + ".timer")
    said = run("systemd-run", f"--on-active={int(ask['left'])}", "--unit=" + END, "systemctl", "stop", UNIT)
    if said.returncode:
        raise ValueError(f"the end of the window could not be set: {said.stderr.strip()[-200:]}")
    systemctl("reset-failed", UNIT)
    systemctl("start", "--no-block", UNIT)
    active = ""
    for _ in range(int(ask["patience"])):
        time.sleep(1)
        active = systemctl("show", "--value", "-p", "ActiveState", UNIT).stdout.strip()
        if active not in ("activating", "deactivating", "reloading"):
            systemctl("stop", END + ".timer")
            break
    return {"active": active, "stopping": is_stopping()}


def is_stopping() -> bool:
    """It goes down, or will when those have let it whom logind asks first, for half a minute where APT installs."""
    if systemctl("is-system-running").stdout.strip() not in UP:
        return True
    return run("busctl", "get-property", *LOGIND, "PreparingForShutdown").stdout.strip() == "b true"


def systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    return run("systemctl", *words)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603


def main() -> None:
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(argument_spec={"ask": {"type": "dict", "required": True}})
    try:
        module.exit_json(changed=True, facts=install(module.params["ask"]))
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
