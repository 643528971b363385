"""What Ansible says of one host → what it means."""

from __future__ import annotations

from typing import Any

import pytest

from mspctl.kinds.hosts import Host
from mspctl.transports.ansible import _answer

NO_JSON = "Module result deserialization failed: No start of json char found"
TRACE = 'Traceback (most recent call last):\n  File "<stdin>", line 1, in <module>\n'


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ({"msg": NO_JSON, "module_stderr": ""}, "Unreachable", "the connection broke in the middle"),
        ({"msg": NO_JSON, "module_stderr": "Shared connection to srv-1 closed.\r\n"}, "Unreachable", "the connection"),
        (
            {"msg": NO_JSON, "module_stderr": f"{TRACE}OSError: [Errno 28] No space left on device\n"},
            "TargetError",
            "what we run there failed: OSError: [Errno 28] No space left on device",
        ),
        (
            {"msg": NO_JSON, "module_stdout": f"{TRACE}json.decoder.JSONDecodeError: x", "module_stderr": "bye"},
            "TargetError",
            "what we run there failed: json.decoder.JSONDecodeError: x",
        ),
        ({"msg": NO_JSON, "module_stdout": "Killed\n"}, "TargetError", "what we run there failed: Killed"),
        ({"msg": "Task failed: Module failed: 'x'"}, "TargetError", "what we run there failed: 'x'"),
        ({"msg": "unsupported parameters"}, "TargetError", "unsupported parameters"),
        ({}, "TargetError", "the task failed and gave no reason"),
    ],
)
def test_what_we_run_there_and_that_gives_no_answer(row: dict[str, Any], kind: str, said: str) -> None:
    """A crash is told as one; whoever was only cut off may be asked again."""
    answer = _answer({"status": "failed", **row}, Host("srv-1", "acme", "127.0.0.1"))
    assert type(answer.error).__name__ == kind
    assert str(answer.error).startswith(said)
