"""
A small engine that speaks Pulumi's Resource Monitor protocol to a real program, and drives real provider processes.

It is NOT Pulumi's engine: no aliases, no policies, no replacements; one state, in memory, with secrets as they
came. It does what Pulumi's source says of up, preview, refresh and destroy, as far as these tests need it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2_grpc, resource_pb2, resource_pb2_grpc
from pulumi.runtime.proto import provider_pb2 as pb

from mspctl.provider.values import opened, parsed
from tests.provider.wire import ROOT, SECONDS, Json, plain, refusal, started, struct

PLUGINS = {
    "mspctl": (sys.executable, "-m", "mspctl.provider.serve"),
    "pulumi-python": (sys.executable, "-u", "-m", "pulumi.dynamic"),  # as Pulumi starts it: it does not flush its port
}
PROGRAM = """
import asyncio, runpy, sys
import pulumi
import pulumi.runtime as rt
folder, address, project, stack, dry = sys.argv[1:6]
rt.set_all_config(rt.get_config_env(), rt.get_config_secret_keys_env())
said = dict(monitor=address, engine=address, project=project, stack=stack, parallel=16, dry_run=dry == "True")
rt.configure(rt.Settings(**said, organization="organization", root_directory=folder))
sys.path.insert(0, folder)
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
try:
    loop.run_until_complete(rt.run_in_stack(lambda: runpy.run_path(folder, run_name="__main__")))
except pulumi.RunError as error:  # as Pulumi's own start of a program does it
    sys.exit(str(error))
"""


@dataclass
class Kept:
    """What the state has of one resource."""

    id: str
    inputs: Json
    outputs: Json
    dependencies: Sequence[str] = ()
    failed: Sequence[str] = ()


@dataclass
class Ended:
    """How an operation ended."""

    code: int
    steps: list[tuple[str, str]]  # (what, name of the resource), sorted
    errors: list[str]
    details: dict[str, list[str]]  # by name: properties that differ
    outputs: Json
    said: str


@dataclass
class Stack(resource_pb2_grpc.ResourceMonitorServicer, engine_pb2_grpc.EngineServicer):
    """One stack of a program."""

    program: Path
    name: str
    config: Mapping[str, str] = field(default_factory=dict)
    state: dict[str, Kept] = field(default_factory=dict)
    goes_on: bool = False  # past what failed
    settings: dict[str, Json] = field(default_factory=dict)  # of providers that the program made, by their urns
    of: dict[str, str] = field(default_factory=dict)  # which of these a resource has

    def __post_init__(self) -> None:
        self.project = yaml.safe_load((self.program / "Pulumi.yaml").read_text())["name"]
        self.lock = threading.RLock()

    # -- what programs and providers call

    def SupportsFeature(self, request: Any, context: Any) -> Any:  # noqa: N802
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in ("secrets", "resourceReferences"))

    def told(self, what: str, urn: str, old: Kept | None, new: Json | None, details: Sequence[str] = ()) -> None:
        """A step, before it is taken."""
        if what not in ("delete", "gone", "drift") and details:
            self.ended.details[urn.split("::")[-1]] = sorted(details)

    def failed(self, urn: str, text: str) -> None:
        self.ended.errors.append(f"{urn.split('::')[-1]}: {text}")

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def GetDeploymentInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "this engine is a small one")

    def SetRootResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        return engine_pb2.SetRootResourceResponse()

    def GetRootResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        return engine_pb2.GetRootResourceResponse()

    def SignalAndWaitForShutdown(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            self.ended.outputs = plain(request.outputs)
        return empty_pb2.Empty()

    def RegisterResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        parent = request.parent.split("::")[2] if request.parent else ""
        type_ = request.type if parent in ("", "pulumi:pulumi:Stack") else f"{parent}${request.type}"
        urn = f"urn:pulumi:{self.name}::{self.project}::{type_}::{request.name}"
        self.seen.append(urn)
        if not request.custom:
            self.component(urn, request)
            return resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
        if request.type.startswith("pulumi:providers:"):
            self.settings[urn] = plain(request.object)
            return resource_pb2.RegisterResourceResponse(urn=urn, id=request.name, object=request.object)
        if request.provider:
            self.of[urn] = request.provider.rpartition("::")[0]
        try:
            id_, outputs = self._registered(urn, request)
        except grpc.RpcError as error:
            self.failed(urn, refusal(error).text)
            if self.goes_on and request.supportsResultReporting:
                return resource_pb2.RegisterResourceResponse(urn=urn, object=request.object, result=resource_pb2.FAIL)
            context.abort(grpc.StatusCode.UNKNOWN, self.ended.errors[-1])
        return resource_pb2.RegisterResourceResponse(urn=urn, id=id_, object=struct(outputs))

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        urn = f"urn:pulumi:{self.name}::{self.project}::{request.type}::{request.name}"
        asked = pb.ReadRequest(id=request.id, urn=urn, properties=request.properties)
        try:
            read = self._provider(self._key(urn)).Read(asked, timeout=SECONDS)
        except grpc.RpcError as error:
            self.failed(urn, refusal(error).text)
            context.abort(grpc.StatusCode.UNKNOWN, self.ended.errors[-1])
        if not read.id:
            self.failed(urn, f"resource '{request.id}' does not exist")
            context.abort(grpc.StatusCode.UNKNOWN, self.ended.errors[-1])
        self.ended.steps.append(("read", request.name))
        return resource_pb2.ReadResourceResponse(urn=urn, properties=read.properties)

    def component(self, urn: str, request: Any) -> None:
        """Of these nothing is kept."""

    def _registered(self, urn: str, request: Any) -> tuple[str, Json]:
        provider, old = self._provider(self._key(urn)), self.state.get(urn)
        news = request.object if request.type.startswith("mspctl:") else struct(opened(request.object)[0])
        ignored = [*request.ignoreChanges] if old else []
        for path in filter(None, map(parsed, ignored)):
            news = struct(_kept(plain(news), old.inputs if old else {}, path))
        check = pb.CheckRequest(urn=urn, olds=struct(old.inputs if old else {}), news=news)
        checked = provider.Check(check, timeout=SECONDS)
        if checked.failures:
            for each in checked.failures:
                self.failed(urn, f"{each.property}: {each.reason}")
            return "", {}
        inputs, after = plain(checked.inputs), tuple(request.dependencies)
        if old is None:
            self.ended.steps.append(("create", request.name))
            self.told("create", urn, None, inputs)
            return self._created(provider, urn, inputs, after)
        asked = pb.DiffRequest(
            id=old.id,
            urn=urn,
            olds=struct(old.outputs),
            news=struct(inputs),
            old_inputs=struct(old.inputs),
            ignoreChanges=ignored,
        )
        diff = provider.Diff(asked, timeout=SECONDS)
        if diff.changes != pb.DiffResponse.DIFF_SOME and not old.failed:
            self.ended.steps.append(("same", request.name))
            self.told("same", urn, old, inputs)
            return old.id, old.outputs
        self.ended.steps.append(("update", request.name))
        self.told("update", urn, old, inputs, [*diff.detailedDiff])
        return self._updated(provider, urn, old, inputs, after, ignored)

    def _created(self, provider: Any, urn: str, inputs: Json, after: tuple[str, ...]) -> tuple[str, Json]:
        if self.dry and not self._foretells(urn):
            return "", {}
        request = pb.CreateRequest(urn=urn, properties=struct(inputs), preview=self.dry)
        try:
            made = provider.Create(request, timeout=SECONDS)
        except grpc.RpcError as error:
            if partial := refusal(error).partial:
                self._keep(urn, Kept(partial.id, inputs, plain(partial.properties), after, [*partial.reasons]))
            raise
        self._keep(urn, Kept(made.id, inputs, plain(made.properties), after))
        return made.id, plain(made.properties)

    def _updated(
        self, provider: Any, urn: str, old: Kept, inputs: Json, after: tuple[str, ...], ignored: Sequence[str]
    ) -> tuple[str, Json]:
        if self.dry and not self._foretells(urn):
            return old.id, {}
        request = pb.UpdateRequest(
            id=old.id,
            urn=urn,
            olds=struct(old.outputs),
            news=struct(inputs),
            old_inputs=struct(old.inputs),
            preview=self.dry,
            ignoreChanges=ignored,
        )
        try:
            made = provider.Update(request, timeout=SECONDS)
        except grpc.RpcError as error:
            if partial := refusal(error).partial:  # the old inputs stay
                self._keep(urn, Kept(old.id, old.inputs, plain(partial.properties), after, [*partial.reasons]))
            raise
        self._keep(urn, Kept(old.id, inputs, plain(made.properties), after))
        return old.id, plain(made.properties)

    def _keep(self, urn: str, kept: Kept) -> None:
        if not self.dry:
            with self.lock:
                self.state[urn] = kept

    # -- providers

    def _key(self, urn: str) -> str:
        """Of the provider that a resource has: a package, or the urn of one that the program made."""
        return self.of.get(urn) or _package(urn)

    def _provider(self, key: str) -> Any:
        with self.lock:
            if key not in self.providers:
                self._start(key)
            return self.providers[key][1]

    def plugin(self, package: str) -> Sequence[str]:
        return PLUGINS[package]

    def _start(self, key: str) -> None:
        package = key.split("::")[2].rpartition(":")[2] if key in self.settings else key
        environment = {"PULUMI_PROJECT": self.project}
        process, port = started(self.address, command=self.plugin(package), env=environment, cwd=self.program)
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        self.providers[key] = process, stub, channel  # from here on it is ended with the others
        mine = {k.partition(":")[2]: v for k, v in self.config.items() if k.startswith(f"{package}:")}
        args = struct(self.settings.get(key, mine))
        answer = stub.Configure(pb.ConfigureRequest(acceptSecrets=True, args=args), timeout=SECONDS)
        self.foretelling[key] = answer.supportsPreview

    def _foretells(self, urn: str) -> bool:
        """Whether a provider is asked in a preview; of any other, all that it hands out is unknown then."""
        return self.foretelling[self._key(urn)]

    def _stop_providers(self) -> None:
        for process, _, channel in self.providers.values():
            channel.close()
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()

    # -- operations

    def up(self, *, dry: bool = False) -> Ended:
        return self._run(self._up, dry=dry)

    def refresh(self) -> Ended:
        return self._run(self._refresh)

    def destroy(self) -> Ended:
        return self._run(lambda: self._delete([*self.state]))

    def _run(self, what: Any, *, dry: bool = False) -> Ended:
        self.ended, self.dry = Ended(0, [], [], {}, {}, ""), dry
        self.seen: list[str] = []
        self.providers: dict[str, Any] = {}
        self.foretelling: dict[str, bool] = {}
        server = grpc.server(ThreadPoolExecutor(32))
        resource_pb2_grpc.add_ResourceMonitorServicer_to_server(self, server)
        engine_pb2_grpc.add_EngineServicer_to_server(self, server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            what()
        finally:
            self._stop_providers()
            server.stop(0).wait()
        self.ended.steps.sort()
        self.ended.code = self.ended.code or bool(self.ended.errors)
        return self.ended

    def _up(self) -> None:
        self.program_run()
        if not (self.ended.code or (self.ended.errors and not self.goes_on)):
            self._delete([urn for urn in self.state if urn not in self.seen])

    def program_run(self) -> None:
        """A process of its own; how it ended is in `ended`."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PULUMI_CONFIG": json.dumps(dict(self.config))}
        words = [str(self.program), self.address, self.project, self.name, str(self.dry)]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words],
            env=environment,
            cwd=self.program,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.ended.code, self.ended.said = done.returncode, done.stdout + done.stderr

    def cancel(self) -> None:
        """What is under way ends in order; nothing else is begun."""
        for _, stub, _ in [*self.providers.values()]:
            stub.Cancel(empty_pb2.Empty(), timeout=SECONDS)

    def _delete(self, urns: list[str]) -> None:
        while urns:  # a resource goes after those that depend on it
            urn = next(u for u in urns if not any(u in self.state[other].dependencies for other in urns if other != u))
            urns.remove(urn)
            name, kept = urn.split("::")[-1], self.state[urn]
            self.ended.steps.append(("delete", name))
            self.told("delete", urn, kept, None)
            request = pb.DeleteRequest(
                id=kept.id, urn=urn, properties=struct(kept.outputs), old_inputs=struct(kept.inputs)
            )
            if self.dry:
                continue
            try:
                self._provider(self._key(urn)).Delete(request, timeout=SECONDS)
                del self.state[urn]
            except grpc.RpcError as error:
                self.failed(urn, refusal(error).text)

    def _refresh(self) -> None:
        for urn, kept in [*self.state.items()]:
            name, provider = urn.split("::")[-1], self._provider(self._key(urn))
            request = pb.ReadRequest(id=kept.id, urn=urn, properties=struct(kept.outputs), inputs=struct(kept.inputs))
            read = provider.Read(request, timeout=SECONDS)
            if not read.id:
                self.ended.steps.append(("gone", name))
                self.told("gone", urn, kept, None)
                del self.state[urn]
                continue
            asked = pb.DiffRequest(
                id=kept.id, urn=urn, olds=read.properties, news=struct(kept.inputs), old_inputs=read.inputs
            )
            diff = provider.Diff(asked, timeout=SECONDS)
            if diff.changes == pb.DiffResponse.DIFF_SOME:
                self.ended.steps.append(("drift", name))
                self.ended.details[name] = sorted(diff.detailedDiff)
                self.told("drift", urn, kept, None)
            kept.inputs, kept.outputs = plain(read.inputs), plain(read.properties)


def _kept(news: Json, olds: Json, path: Sequence[str]) -> Json:
    """Inputs, with what a path names as it was before, or without it."""
    key, *rest = path
    if rest and isinstance(news.get(key), dict) and isinstance(olds.get(key), dict):
        return {**news, key: _kept(news[key], olds[key], rest)}
    made = {name: value for name, value in news.items() if name != key}
    return made | ({key: olds[key]} if key in olds else {})


def _package(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2].partition(":")[0]
