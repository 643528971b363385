"""The process around the provider: how it starts, what it says of itself, and that it ends with whoever started it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2
from pulumi.runtime.proto import provider_pb2 as pb

from mspctl import __version__, kinds
from mspctl.provider import values
from tests.provider.wire import COMMAND, ROOT, Wire, plain, provider, secret, started, struct

TOKEN = re.compile(r"[a-zA-Z][-a-zA-Z0-9_]*:([^0-9][a-zA-Z0-9._/-]*)?:[^0-9][a-zA-Z0-9._/-]*")


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with provider(tmp_path_factory.mktemp("nowhere"), configured=False) as made:
        yield made


@pytest.mark.parametrize("arguments", [["--logtostderr", "-v=9"], ["--tracing", "tcp://127.0.0.1:9"]])
def test_it_takes_the_arguments_of_the_engine(arguments: Sequence[str], tmp_path: Path) -> None:
    with provider(tmp_path, configured=False, arguments=arguments) as made:
        assert made.stub.GetPluginInfo(empty_pb2.Empty(), timeout=30).version == __version__
        made.cancel()  # quiet, at the end of every run


def test_it_ends_when_it_is_told(tmp_path: Path) -> None:
    process, _ = started(cwd=tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_it_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE);"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", parent, *COMMAND]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as engine:
        assert engine.stdout is not None
        child = Path("/proc") / engine.stdout.readline().strip()
        engine.kill()
    over = time.monotonic() + 30
    while child.exists() and "zombie" not in (child / "status").read_text() and time.monotonic() < over:
        time.sleep(0.1)
    assert not child.exists() or "zombie" in (child / "status").read_text()


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pulumi'] = None; from mspctl.provider import serve; serve.main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "pulumi-resource-mspctl: the package pulumi is not installed (pip install 'mspctl[pulumi]')\n"
    )


def test_what_is_wrong_with_its_settings(wire: Wire) -> None:
    def failures(**news: Any) -> dict[str, str]:
        answer = wire.stub.CheckConfig(pb.CheckRequest(news=struct(news)), timeout=30)
        return {each.property: each.reason for each in answer.failures}

    assert failures() == {}
    assert failures(directory=values.UNKNOWN, wait="30") == {}
    assert failures(directory="/nowhere/at/all", wait="soon", token="x") == {
        "directory": "'/nowhere/at/all' is no folder",
        "wait": "is a number of seconds, 0 to 3600",
        "token": "is no setting of this provider (directory, wait)",
    }


def test_what_is_not_configured_or_no_repository_is_said(wire: Wire) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.Configure(pb.ConfigureRequest(args=struct({})), timeout=30)
    assert "is not in a repository with customers/" in caught.value.details()
    with pytest.raises(grpc.RpcError) as caught:
        wire.check("mspctl:dns:Zone", {})
    assert caught.value.details() == "the provider was not configured"
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.Invoke(pb.InvokeRequest(), timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_engine_may_attach_and_shake_hands(wire: Wire) -> None:
    wire.stub.Attach(plugin_pb2.PluginAttach(address="127.0.0.1:1"), timeout=30)
    assert wire.stub.Handshake(pb.ProviderHandshakeRequest(engine_address="127.0.0.1:1"), timeout=30).accept_secrets


def test_the_schema_is_one(wire: Wire) -> None:
    """By the rules of Pulumi's metaschema: tokens, and what a type can be."""
    schema = json.loads(wire.stub.GetSchema(pb.GetSchemaRequest(), timeout=30).schema)
    assert set(schema["resources"]) >= {
        "mspctl:dns:Zone",
        "mspctl:mail:Domain",
        "mspctl:firewall:Firewall",
        "mspctl:hosts:Host",
    }
    for token in (*schema["resources"], *schema["types"]):
        assert TOKEN.fullmatch(token)
    for each in (*schema["resources"].values(), schema["provider"]):
        for name, type_ in each["inputProperties"].items():
            check_type(schema, type_, name)
        assert set(each.get("requiredInputs", ())) <= each["inputProperties"].keys()
    for each in (*schema["types"].values(), *schema["resources"].values()):
        for name, type_ in each["properties"].items():
            check_type(schema, type_, name)
        assert set(each.get("required", ())) <= each["properties"].keys()
    metaschema = os.environ.get("PULUMI_METASCHEMA")  # a copy of pkg/codegen/schema/pulumi.json, for those who have it
    if metaschema:
        jsonschema = pytest.importorskip("jsonschema")
        text = Path(metaschema).read_text().replace("(?<", "(?P<")  # its patterns are ECMAScript's
        jsonschema.Draft202012Validator(json.loads(text)).validate(schema)


def check_type(schema: Any, type_: Any, name: str) -> None:
    """Exactly one of: a primitive, a list, a map, a name that there is."""
    assert name not in ("id", "urn", "pulumi")
    said = type_.keys() - {"description", "willReplaceOnChanges"}
    if "$ref" in said:
        assert said == {"$ref"}
        found = type_["$ref"]
        assert found == "pulumi.json#/Any" or found.removeprefix("#/types/") in schema["types"]
    elif type_["type"] == "array":
        assert said == {"type", "items"}
        check_type(schema, type_["items"], "items")
    elif type_["type"] == "object":
        assert said == {"type", "additionalProperties"}
        check_type(schema, type_["additionalProperties"], "values")
    else:
        assert said == {"type"}
        assert type_["type"] in ("boolean", "integer", "number", "string")


def test_values_come_back_as_they_went() -> None:
    said = {"a": {"b c": secret([1.0, "x-ray"])}, "n": 3.0, "f": 1.5, "s": secret("hunter2")}
    data, hidden = values.opened(struct(said))
    assert data == {"a": {"b c": [1, "x-ray"]}, "n": 3, "f": 1.5, "s": "hunter2"}
    assert hidden == {("a", "b c"), ("s",)}
    assert values.opened(values.closed(data, hidden)) == (data, hidden)
    assert set(values.words(data, hidden)) == {"x-ray", "hunter2"}
    assert values.spelled(("resources", "rrset", 'a "b" \\', "ttl")) == 'resources.rrset["a \\"b\\" \\\\"].ttl'


def test_a_message_repeats_no_secret_however_it_is_written() -> None:
    word = "it's-a-token-" + "0123456789" * 9
    assert values.without(f"{word} and {word.upper()}", word) == "[secret] and [secret]"
    assert values.without(f"is not {kinds.shown(word)}", word).startswith('is not "[secret]…')
    assert values.without("not 'hunter\\\\22'", "hunter\\22") == "not '[secret]'"
    assert values.without("other…", word) == "other…"


def test_of_a_secret_that_is_not_there_the_nearest_is_marked() -> None:
    assert plain(values.closed({"a": {"b": "x"}}, [("a", "c", "d"), ("z",)])) == {"a": secret({"b": "x"})}
