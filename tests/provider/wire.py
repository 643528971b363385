"""The provider's process, started and called as Pulumi's engine does it: over its real wire."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2_grpc, status_pb2
from pulumi.runtime.proto import provider_pb2 as pb

SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
COMMAND = (sys.executable, "-m", "mspctl.provider.serve")
CUSTOMER = "officine-brenta"
METADATA = 16 << 20  # octets, in which a partial state comes: what grpc-go takes, and so the engine
_AS_ENGINE = [("grpc.max_metadata_size", METADATA), ("grpc.absolute_max_metadata_size", METADATA)]

Json = dict[str, Any]


def secret(value: Any) -> Json:
    return {SIGNATURE: SECRET, "value": value}


def struct(data: Mapping[str, Any]) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(data)
    return made


def plain(made: struct_pb2.Struct) -> Json:
    return dict(json_format.MessageToDict(made))


def urn(token: str, name: str = "it") -> str:
    return f"urn:pulumi:test::msp::{token}::{name}"


class Engine(engine_pb2_grpc.EngineServicer):
    """Takes the provider's messages, and nothing else."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.messages.append(request.message)
        return empty_pb2.Empty()


@dataclass
class Refusal:
    """How a call ended that failed; `partial` is what the engine keeps then."""

    code: grpc.StatusCode
    text: str
    partial: pb.ErrorResourceInitFailed | None


@dataclass
class Wire:
    """One process, configured for one repository."""

    stub: Any
    process: subprocess.Popen[str]
    engine: Engine
    name: str = "it"  # of the resource

    def configure(self, repository: Path, **settings: Any) -> None:
        """For one repository, whose files are read anew."""
        args = struct({"directory": str(repository), **settings})
        self.stub.Configure(pb.ConfigureRequest(acceptSecrets=True, args=args), timeout=SECONDS)
        self.engine.messages.clear()

    def check(self, token: str, news: Json, olds: Json | None = None) -> Any:
        request = pb.CheckRequest(urn=urn(token, self.name), news=struct(news), olds=struct(olds or {}))
        return self.stub.Check(request, timeout=SECONDS)

    def checked(self, token: str, news: Json) -> Json:
        answer = self.check(token, news)
        assert not answer.failures, answer.failures
        return plain(answer.inputs)

    def failures(self, token: str, news: Json) -> dict[str, str]:
        return {failure.property: failure.reason for failure in self.check(token, news).failures}

    def diff(self, token: str, olds: Json, news: Json, old_inputs: Json | None = None) -> Any:
        request = pb.DiffRequest(
            urn=urn(token, self.name), olds=struct(olds), news=struct(news), old_inputs=struct(old_inputs or {})
        )
        return self.stub.Diff(request, timeout=SECONDS)

    def details(self, token: str, olds: Json, news: Json, old_inputs: Json | None = None) -> dict[str, str]:
        found = self.diff(token, olds, news, old_inputs).detailedDiff
        return {path: pb.PropertyDiff.Kind.Name(each.kind) for path, each in found.items()}

    def create(self, token: str, news: Json, *, preview: bool = False) -> tuple[str, Json]:
        request = pb.CreateRequest(urn=urn(token, self.name), properties=struct(news), preview=preview)
        answer = self.stub.Create(request, timeout=SECONDS)
        return answer.id, plain(answer.properties)

    def update(self, token: str, id_: str, olds: Json, news: Json, old_inputs: Json, *, preview: bool = False) -> Json:
        request = pb.UpdateRequest(
            id=id_,
            urn=urn(token, self.name),
            olds=struct(olds),
            news=struct(news),
            old_inputs=struct(old_inputs),
            preview=preview,
        )
        return plain(self.stub.Update(request, timeout=SECONDS).properties)

    def read(self, token: str, id_: str, olds: Json | None = None, inputs: Json | None = None) -> Any:
        request = pb.ReadRequest(id=id_, urn=urn(token, self.name))
        if olds is not None:
            request.properties.CopyFrom(struct(olds))
            request.inputs.CopyFrom(struct(inputs or {}))
        return self.stub.Read(request, timeout=SECONDS)

    def delete(self, token: str, id_: str, olds: Json, old_inputs: Json) -> None:
        request = pb.DeleteRequest(
            id=id_, urn=urn(token, self.name), properties=struct(olds), old_inputs=struct(old_inputs)
        )
        self.stub.Delete(request, timeout=SECONDS)

    def cancel(self) -> None:
        self.stub.Cancel(empty_pb2.Empty(), timeout=SECONDS)


@contextmanager
def refused() -> Iterator[list[Refusal]]:
    """A call that must fail; what it said is in the list afterwards, and holds no traceback."""
    found: list[Refusal] = []
    with pytest.raises(grpc.RpcError) as caught:
        yield found
    found.append(refusal(caught.value))
    assert "Traceback" not in found[0].text


def refusal(error: Any) -> Refusal:
    partial = None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            (detail,) = status_pb2.Status.FromString(value).details
            partial = pb.ErrorResourceInitFailed()
            assert detail.Unpack(partial)
    return Refusal(error.code(), error.details(), partial)


def started(
    engine: str = "", arguments: Sequence[str] = (), command: Sequence[str] = COMMAND, **popen: Any
) -> tuple[subprocess.Popen[str], int]:
    """A process and its port; one that does not say it is ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **popen.pop("env", {})}
    process = subprocess.Popen(
        [*command, *arguments, *([engine] if engine else [])],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        **popen,
    )
    try:
        return process, _port(process)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    with process.stdout as out:  # it says no more
        ready, _, _ = select.select([out], [], [], SECONDS)
        assert ready, f"{process.args!r} did not say its port"
        return int(out.readline())


@contextmanager
def provider(repository: Path, *, configured: bool = True, **popen: Any) -> Iterator[Wire]:
    """Configured, with an engine that takes its messages."""
    engine = Engine()
    server = grpc.server(ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    process, port = started(address, cwd=repository, **popen)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_AS_ENGINE)
    try:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        wire = Wire(stub, process, engine)
        if configured:
            wire.configure(repository)
        yield wire
    finally:
        channel.close()
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()
        server.stop(0)


def bare(repository: Path, targets: str) -> Path:
    """The repository with its customers' names only, one of them Pulumi's, and with these targets."""
    for folder in (repository / "customers").iterdir():
        for file in folder.glob("*"):
            if file.name != "customer.yaml":
                shutil.rmtree(file) if file.is_dir() else file.unlink()
    for file in repository.glob("inventory/baselines/*"):
        file.write_text("{}\n")
    (repository / "inventory/targets.yaml").write_text(targets)
    by_pulumi(repository)
    return repository


def by_pulumi(repository: Path, customer: str = CUSTOMER) -> None:
    """From now on Pulumi carries a customer out."""
    file = repository / "customers" / customer / "customer.yaml"
    file.write_text(f"{file.read_text()}engine: pulumi\n")


def approve(repository: Path, resource: str, target: str, customer: str = CUSTOMER) -> None:
    """What a guard holds back may pass; a running provider has read the files already."""
    file = repository / "customers" / customer / "approvals.yaml"
    until = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}"
    before = file.read_text() if file.exists() else "approvals:\n"
    file.write_text(f"{before}  - {{resource: '{resource}', target: {target}, why: it is wanted, until: {until}}}\n")
