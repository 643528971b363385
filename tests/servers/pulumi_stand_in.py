"""
A stand-in for Pulumi's command line, where the real one cannot be had: it is NOT Pulumi.

It answers the subcommands that the Automation API calls, with the small engine of `tests/provider/engine.py` behind
them: real programs, the real provider's process, and events over gRPC in the form that Pulumi documents
(sdk/go/common/apitype/events.go). Its state is a file in a backend file://…; nothing in it is encrypted, but it is
opened only with the passphrase that it was made with. It complains of what our own code must have seen to: update
checks off, no downloads, a private passphrase, nothing secret among its arguments.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import grpc
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, events_pb2, events_pb2_grpc, language_pb2, language_pb2_grpc

from mspctl.provider import values
from tests.provider import engine
from tests.provider.engine import Kept
from tests.provider.wire import Json

SALT = "v1:c2FsdA==:v1:bm90IHJlYWw="
SCRIPT = """#!/bin/sh
[ "$*" = version ] && exec echo "v${{PULUMI_STAND_IN_VERSION:-3.272.0}}"
exec "{python}" -m {module} "$@"
"""
PROGRAMS = {"pulumi": "tests.servers.pulumi_stand_in", "pulumi-resource-mspctl": "mspctl.provider.serve"}


def put(folder: Path) -> Path:
    """A folder for PATH in which `pulumi` is this; and our provider, which pip puts there."""
    folder.mkdir()
    for name, module in PROGRAMS.items():
        (folder / name).write_text(SCRIPT.format(python=sys.executable, module=module))
        (folder / name).chmod(0o755)
    return folder


def fail(text: str, code: int = 255) -> NoReturn:
    sys.stderr.write(f"error: {text}\n")
    sys.exit(code)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


class Arguments:
    """`pulumi WORDS… --flag --option VALUE --option=VALUE`."""

    FLAGS = frozenset(
        "--non-interactive --no-select --show-secrets --json --yes --skip-preview --refresh --continue-on-error"
        " --suppress-outputs --preview-only".split()
    )

    def __init__(self, given: Sequence[str]) -> None:
        self.words: list[str] = []
        self.flags: set[str] = set()
        self.options: dict[str, str] = {}
        rest = iter(given)
        for each in rest:
            name, found, value = each.partition("=")
            if each in self.FLAGS:
                self.flags.add(each)
            elif each.startswith("--"):
                self.options[name] = value if found else next(rest)
            else:
                self.words.append(each)


class Backend:
    """Where states are kept: file://FOLDER."""

    def __init__(self) -> None:
        url = os.environ.get("PULUMI_BACKEND_URL", "")
        if not url.startswith("file://") or not Path(url.removeprefix("file://")).is_dir():
            fail(f"unable to open bucket {url}: no such folder")
        self.folder = Path(url.removeprefix("file://")) / ".pulumi/stacks/customer"
        file = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
        if not file or "PULUMI_CONFIG_PASSPHRASE" in os.environ:
            fail("passphrase must be set with PULUMI_CONFIG_PASSPHRASE_FILE, and by it alone")
        if stat.S_IMODE(os.stat(file).st_mode) != 0o600 or stat.S_IMODE(Path(file).parent.stat().st_mode) != 0o700:
            fail("the passphrase's file is not private")
        self.key = hashlib.sha256(Path(file).read_bytes()).hexdigest()

    def file(self, stack: str) -> Path:
        return self.folder / f"{stack}.json"

    def load(self, stack: str) -> dict[str, Kept]:
        if not self.file(stack).exists():
            fail(f"no stack named '{stack}' found")
        content = json.loads(self.file(stack).read_text())
        if content["key"] != self.key:
            fail("incorrect passphrase")
        return {urn: Kept(**kept) for urn, kept in content["state"].items()}

    def save(self, stack: str, state: dict[str, Kept]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": self.key, "state": {urn: asdict(kept) for urn, kept in state.items()}}, indent=1)
        self.file(stack).write_text(text)


class Telling(engine.Stack):
    """The small engine, telling events; the program is whoever listens at `client`."""

    events: queue.Queue[dict[str, Any] | None]
    client: str
    components: set[str]  # by URN

    def event(self, **said: Any) -> None:
        self.events.put({"timestamp": int(time.time()), **said})

    def told(self, what: str, urn: str, old: Kept | None, new: Json | None, details: Sequence[str] = ()) -> None:
        op = {"gone": "refresh", "drift": "refresh"}.get(what, what)
        metadata = {
            "op": op,
            "urn": urn,
            "type": urn.split("::")[2].rpartition("$")[2],
            "provider": "urn:pulumi:x::customer::pulumi:providers:mspctl::default",
            "old": old and _state(urn, old.inputs, old.outputs, old.id),
            "new": _state(urn, new, {}, "") if new is not None else None,
            "detailedDiff": {path: {"diffKind": "update", "inputDiff": True} for path in details},
        }
        self.event(resourcePreEvent={"metadata": metadata, "planning": self.dry})

    def component(self, urn: str, request: Any) -> None:
        there = urn in self.components
        self.components.add(urn)
        self.told("same" if there else "create", urn, None, {})

    def failed(self, urn: str, text: str) -> None:
        super().failed(urn, text)
        self.diagnostic(urn, f"<{{%reset%}}>1 error occurred:\n\t* {text}<{{%reset%}}>\n", "error")

    def diagnostic(self, urn: str, text: str, severity: str) -> None:
        self.event(diagnosticEvent={"urn": urn, "message": text, "color": "raw", "severity": severity})

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802
        word = engine_pb2.LogSeverity.Name(request.severity).lower()
        if word != "debug":
            self.diagnostic(request.urn, request.message, word)
        return empty_pb2.Empty()

    def plugin(self, package: str) -> Sequence[str]:
        said = yaml.safe_load(Path("Pulumi.yaml").read_text())["plugins"]["providers"]
        return [
            str(Path(next(each["path"] for each in said if each["name"] == package)) / f"pulumi-resource-{package}")
        ]

    def program_run(self) -> None:
        with grpc.insecure_channel(self.client) as channel:
            request = language_pb2.RunRequest(
                project=self.project,
                stack=self.name,
                pwd=str(self.program),
                args=[self.address],
                config=dict(self.config),
                dryRun=self.dry,
                parallel=16,
                monitor_address=self.address,
                organization="organization",
            )
            answer = language_pb2_grpc.LanguageRuntimeStub(channel).Run(request, timeout=300)
        self.ended.code, self.ended.said = int(bool(answer.error)), answer.error

    def run(self, *, dry: bool, refresh: bool) -> None:
        if refresh:
            self._run(self._refresh, dry=dry)
        self._run(self._up, dry=dry)


def _state(urn: str, inputs: Json, outputs: Json, id_: str) -> Json:
    kind = urn.split("::")[2].rpartition("$")[2]
    return {"type": kind, "urn": urn, "id": id_, "inputs": inputs, "outputs": outputs, "parent": "", "provider": ""}


def operate(backend: Backend, said: Arguments, stack: str) -> int:
    """preview, up, refresh, destroy: the exit code."""
    what, state = said.words[0], backend.load(stack)
    dry = what == "preview" or "--preview-only" in said.flags
    settings = yaml.safe_load(Path(f"Pulumi.{stack}.yaml").read_text())
    if what in ("preview", "up") and settings.get("encryptionsalt") != SALT:
        fail("the settings of the stack do not say what its secrets are encrypted with")
    config = settings["config"]
    made = Telling(Path.cwd(), stack, config, state, goes_on="--continue-on-error" in said.flags)
    made.events, made.client, made.components = (
        queue.Queue(),
        said.options.get("--client", ""),
        {urn for urn, kept in state.items() if not kept.id},
    )
    made.state = {urn: kept for urn, kept in state.items() if kept.id}
    signal.signal(signal.SIGINT, lambda *_: made.cancel())
    with listening(said.options.get("--event-log", ""), made.events):
        if what in ("preview", "up"):
            made.run(dry=dry, refresh="--refresh" in said.flags)
        else:
            made._run(made._refresh if what == "refresh" else lambda: made._delete([*made.state]), dry=dry)
        made.event(summaryEvent={"resourceChanges": {}, "PolicyPacks": {}})
        made.event(cancelEvent={})
    if not dry:
        left = () if what == "destroy" and not made.state else made.components
        backend.save(stack, {urn: Kept("", {}, {}) for urn in left} | made.state)
    if made.ended.code:
        sys.stderr.write("error: an error occurred while it was carried out\n")
    return 255 if made.ended.code else 0


class listening:  # noqa: N801
    """Whoever hears the events, until all were heard."""

    def __init__(self, address: str, events: queue.Queue[dict[str, Any] | None]) -> None:
        self.address, self.events = address.removeprefix("tcp://"), events

    def __enter__(self) -> None:
        self.channel = grpc.insecure_channel(self.address) if self.address else None
        if self.channel:
            self.heard = events_pb2_grpc.EventsStub(self.channel).StreamEvents.future(self._requests(), timeout=600)

    def _requests(self) -> Iterator[events_pb2.EventRequest]:
        number = 0
        while (event := self.events.get()) is not None:
            yield events_pb2.EventRequest(event=json.dumps({"sequence": number, **event}))
            number += 1

    def __exit__(self, *_: object) -> None:
        self.events.put(None)
        if self.channel:
            self.heard.result()
            self.channel.close()


def export(state: dict[str, Kept]) -> Json:
    resources = []
    for urn, kept in state.items():
        kind = urn.split("::")[2].rpartition("$")[2]
        each = {"urn": urn, "custom": bool(kept.id), "type": kind, "inputs": kept.inputs, "outputs": kept.outputs}
        resources.append(each | ({"id": kept.id, "initErrors": [*kept.failed]} if kept.id else {}))
    providers = {"type": "passphrase", "state": {"salt": SALT}}
    found = [_with_secrets(each) for each in resources]
    return {"version": 3, "deployment": {"manifest": {}, "secrets_providers": providers, "resources": found}}


def _with_secrets(data: Any) -> Any:
    """As `stack export --show-secrets` has them."""
    if isinstance(data, dict) and values.is_secret(data):
        rest = {key: value for key, value in data.items() if key != "value"}
        return {**rest, "plaintext": json.dumps(data["value"])}
    if isinstance(data, dict):
        return {key: _with_secrets(value) for key, value in data.items()}
    return [_with_secrets(each) for each in data] if isinstance(data, list) else data


def stacks(backend: Backend, said: Arguments) -> None:
    """stack, stack init, export, output and history."""
    what = said.words[1] if len(said.words) > 1 else ""
    stack = said.words[2] if what == "init" else said.options["--stack"]
    if what == "init":
        if said.options.get("--secrets-provider") != "passphrase":
            fail("this stand-in knows only the secrets provider passphrase")
        if backend.file(stack).exists():
            fail(f"stack '{stack}' already exists")
        backend.save(stack, {})
        with Path(f"Pulumi.{stack}.yaml").open("a") as out:
            out.write(f"encryptionsalt: {SALT}\n")
        return
    state = backend.load(stack)
    if what == "export":
        say(json.dumps(export(state)))
    elif what == "output":
        say("{}")
    elif what == "history":
        times = {"startTime": "2027-01-01T00:00:00.000Z", "endTime": "2027-01-01T00:00:01.000Z"}
        say(
            json.dumps(
                [{"kind": "update", "message": "", "environment": {}, "config": {}, "result": "succeeded", **times}]
            )
        )


def main(given: Sequence[str]) -> int:
    if log := os.environ.get("PULUMI_STAND_IN_LOG"):
        with Path(log).open("a") as out:
            out.write(json.dumps([*given]) + "\n")
    for name in ("PULUMI_SKIP_UPDATE_CHECK", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"):
        if os.environ.get(name) != "true":
            fail(f"{name} is not true")
    said = Arguments(given)
    if said.words[0] == "stack":
        stacks(Backend(), said)
    elif said.words[0] in ("preview", "up", "refresh", "destroy"):
        return operate(Backend(), said, said.options["--stack"])
    else:
        fail(f"this stand-in does not know {said.words}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
