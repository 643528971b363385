"""
One line of JSON per host and task, for mspctl: what Ansible's own events leave out, and nothing that is secret.

Ansible loads this file into itself; mspctl never does. Results go into the file that $MSPCTL_EVENTS names.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: mspctl_events
type: notification
short_description: Results for mspctl, as lines of JSON
description: Writes one line of JSON per host and task into a file.
requirements: [the environment variable MSPCTL_EVENTS]
"""
KEPT = ("facts", "scopes", "answer", "msg", "changed", "module_stderr", "module_stdout", "rc")


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible says nothing of its types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "mspctl_events"
    CALLBACK_NEEDS_ENABLED = True

    def _tell(self, status: str, result: Any) -> None:
        found = result._result
        row = {"host": result._host.get_name(), "status": status}
        row.update({name: found[name] for name in KEPT if name in found})
        with open(os.environ["MSPCTL_EVENTS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._tell("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._tell("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._tell("unreachable", result)
