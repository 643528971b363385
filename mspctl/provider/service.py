"""
Answers the calls of Pulumi's engine. It is written on the protocol itself (`pulumi.runtime.proto`): the SDK's own
provider drops old inputs, cannot tell a partial state, and puts tracebacks into errors.

Whatever blocks runs in threads of ours, so Cancel and GetPluginInfo are answered meanwhile. An error is one text
without a traceback and without a secret: FAILED_PRECONDITION when nothing was changed; INTERNAL with an
ErrorResourceInitFailed when something was.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2_grpc, status_pb2
from pulumi.runtime.proto import provider_pb2 as pb

from mspctl import __version__
from mspctl.errors import Error, Unreachable
from mspctl.kinds import shown
from mspctl.provider import inputs, repository, scopes, shapes, values
from mspctl.provider.repository import Repository
from mspctl.provider.scopes import Partly, Refused, Scopes, State
from mspctl.provider.shapes import INPUTS, WHERE, Shape, path_of
from mspctl.record import Run, login
from mspctl.resource import UNKNOWN, Id, Resource, Scope
from mspctl.secrets import redact

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
WORKERS = 32  # calls at once; the engine's usual number is four for each processor
Kind = pb.PropertyDiff.Kind
_KINDS = {"add": Kind.ADD, "delete": Kind.DELETE, "update": Kind.UPDATE}
_REQUESTS = ("properties", "inputs", "olds", "news", "old_inputs", "args")


class Said(Exception):
    """What the engine is told instead of an answer."""

    def __init__(self, text: str, code: grpc.StatusCode, partial: pb.ErrorResourceInitFailed | None = None) -> None:
        super().__init__(text)
        self.code, self.partial = code, partial


class Service(provider_pb2_grpc.ResourceProviderServicer):
    """One run of Pulumi."""

    def __init__(self, engine: str = "") -> None:
        self.pool = ThreadPoolExecutor(WORKERS)
        self.stop = threading.Event()
        self.scopes: Scopes | None = None
        self._engine: engine_pb2_grpc.EngineStub | None = None
        self._seen: dict[tuple[Any, ...], str] = {}  # which resource a scope is, in this run
        self._there: set[tuple[Any, ...]] = set()  # scopes that are in the state, each with its resource
        self._again: set[tuple[Any, ...]] = set()  # and those of them that were created once more in this run
        self._words: set[str] = set()  # secrets of the provider's own configuration
        self._run = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        if engine:
            self._attach(engine)

    def _attach(self, engine: str) -> None:
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine))

    # -- what is answered at once

    async def Handshake(self, request: Any, context: Any) -> Any:
        self._attach(request.engine_address)
        return pb.ProviderHandshakeResponse(accept_secrets=True, accept_resources=False, accept_outputs=False)

    async def Attach(self, request: Any, context: Any) -> Any:
        self._attach(request.address)
        return empty_pb2.Empty()

    async def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=__version__)

    async def Cancel(self, request: Any, context: Any) -> Any:
        """Also at the end of every run: so it is quiet."""
        self.stop.set()
        return empty_pb2.Empty()

    # -- what may take its time

    async def GetSchema(self, request: Any, context: Any) -> Any:
        made = await self._answer(request, context, lambda r: json.dumps(shapes.schema()))
        return pb.GetSchemaResponse(schema=made)

    async def CheckConfig(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self._check_config)

    async def DiffConfig(self, request: Any, context: Any) -> Any:
        return pb.DiffResponse()

    async def Configure(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self._configure)

    async def Check(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self._check)

    async def Diff(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self._diff)

    async def Create(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self._create)

    async def Read(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self._read)

    async def Update(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self._update)

    async def Delete(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self._delete)

    async def _answer(self, request: Any, context: Any, call: Callable[[Any], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, call, request)
        except Exception as error:  # noqa: BLE001 (told to the engine, never lost)
            said = _said(error)
        text = self._clean(str(said), request)
        if said.partial:
            reasons = [self._clean(reason, request) for reason in said.partial.reasons]
            del said.partial.reasons[:]
            said.partial.reasons.extend(reasons)
        await context.abort_with_status(_status(said.code, text, said.partial))
        raise AssertionError("abort raises")

    def _clean(self, text: str, request: Any) -> str:
        """Without secrets of ours, of the configuration and of the request."""
        found = set(self._words)
        for name in _REQUESTS:
            if isinstance(struct := getattr(request, name, None), struct_pb2.Struct):
                found.update(values.words(*values.opened(struct)))
        for word in sorted(found, key=len, reverse=True):
            text = values.without(text, word)
        return redact(text)

    def _tell(self, urn: str, texts: Sequence[str]) -> None:
        """What the user shall see at a resource; that the engine is not there is no error of the resource."""
        for text in texts if self._engine else ():
            request = engine_pb2.LogRequest(severity=engine_pb2.LogSeverity.WARNING, message=redact(text), urn=urn)
            try:
                self._engine.Log(request, timeout=5)  # type: ignore[union-attr]
            except grpc.RpcError:
                _LOG.info("the engine takes no messages")
                return

    # -- configuration

    def _check_config(self, request: Any) -> Any:
        news, _ = values.opened(request.news)
        failures = [
            pb.CheckFailure(property=key, reason="is no setting of this provider (directory, wait)")
            for key in news
            if key not in ("directory", "wait", "version")
        ]
        if news.get("wait") != values.UNKNOWN and _seconds(news.get("wait", 60)) is None:
            failures.append(pb.CheckFailure(property="wait", reason="is a number of seconds, 0 to 3600"))
        said = news.get("directory")
        if said not in (None, values.UNKNOWN) and not (isinstance(said, str) and Path(said).is_dir()):
            failures.append(pb.CheckFailure(property="directory", reason=f"{shown(said)} is no folder"))
        return pb.CheckResponse(inputs=request.news, failures=failures)

    def _configure(self, request: Any) -> Any:
        given, secret = values.opened(request.args)
        self._words |= set(values.words(given, secret))
        root = Path(given["directory"]).resolve() if given.get("directory") else repository.find(Path.cwd())
        self._seen.clear()
        self._there.clear()
        self._again.clear()
        self.scopes = Scopes(Repository(root, _seconds(given.get("wait", 60)) or 0.0), self.stop)
        return pb.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=False, acceptOutputs=False
        )

    @property
    def _mine(self) -> Scopes:
        if self.scopes is None:
            raise Refused("the provider was not configured")
        return self.scopes

    # -- resources

    def _check(self, request: Any) -> Any:
        news, secret = values.opened(request.news)
        shape = _shape(request)
        if olds := values.opened(request.olds)[0]:
            self._there.add((_place(shape, olds), request.urn))
        checked = inputs.check(shape, news, self._mine.repository, secret)
        where = _place(shape, checked.inputs)
        if not checked.failures and values.UNKNOWN not in where:
            first = self._seen.setdefault(where, request.urn)
            if first != request.urn:
                checked.fail(
                    ("name",), f"{where[2]} on {where[1]} is {first.split('::')[-1]} already: one resource has it"
                )
        failures = [pb.CheckFailure(property=path, reason=self._clean(why, request)) for path, why in checked.failures]
        return pb.CheckResponse(inputs=values.closed(checked.inputs, checked.secret), failures=failures)

    def _diff(self, request: Any) -> Any:
        shape = _shape(request)
        news, olds = values.opened(request.news)[0], values.opened(request.olds)[0]
        old_inputs = _applied(olds, values.opened(request.old_inputs)[0])
        self._there.add((_place(shape, olds), request.urn))
        found: dict[values.Path, str] = {(n,): "update" for n in ("customer", *WHERE) if news.get(n) != olds.get(n)}
        found |= _differences(shape, news, old_inputs, olds)
        ignored = _ignored(request)
        found = {path: what for path, what in found.items() if not _is_ignored(path, ignored)}
        replaces = [name for name in WHERE if (name,) in found]
        detailed = {
            values.spelled(path): pb.PropertyDiff(kind=Kind.UPDATE_REPLACE if path[0] in WHERE else _KINDS[what])
            for path, what in found.items()
        }
        return pb.DiffResponse(
            changes=pb.DiffResponse.DIFF_SOME if found else pb.DiffResponse.DIFF_NONE,
            replaces=replaces,
            stables=[name for name in WHERE if name not in replaces],
            diffs=sorted({path[0] for path in found}),
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    def _create(self, request: Any) -> Any:
        news, secret = values.opened(request.properties)
        if request.preview:
            self._foretell(request, news, State({}))
            return pb.CreateResponse(properties=values.closed({**news, "outputs": values.UNKNOWN}, secret))
        shape, scope = _shape(request), _scope(_shape(request), news)
        state = self._carried(request, shape, scope, news, State({}), secret)
        key = (_place(shape, news), request.urn)
        self._again |= self._there & {key}
        self._there.add(key)
        return pb.CreateResponse(id=_id(scope), properties=_properties(news, state, secret))

    def _update(self, request: Any) -> Any:
        shape = _shape(request)
        news, secret = values.opened(request.news)
        recorded, known = _recorded(shape, request), _secret(request.olds, request.old_inputs)
        if request.preview:
            self._foretell(request, news, recorded)
            return pb.UpdateResponse(properties=values.closed({**news, "outputs": values.UNKNOWN}, secret))
        state = self._carried(request, shape, _scope(shape, news), news, recorded, secret, known)
        return pb.UpdateResponse(properties=_properties(news, state, secret | known))

    def _carried(
        self,
        request: Any,
        shape: Shape,
        scope: Scope,
        news: values.Plain,
        recorded: State,
        secret: frozenset[values.Path],
        known: frozenset[values.Path] = frozenset(),
    ) -> State:
        """`known` is what was secret before: what is there still of it stays secret."""
        declared = _declared(shape, news, request)
        try:
            state = self._mine.make_true(scope, declared, recorded, self._as_run())
            self._tell(request.urn, [self._clean(scopes.told(each), request) for each in state.left.values()])
            return state
        except Partly as error:
            partial = pb.ErrorResourceInitFailed(
                id=_id(scope),
                properties=_properties(news, error.state, secret | known, error.state.resources),
                inputs=values.closed(news, secret),
                reasons=error.reasons,
            )
            raise Said(str(error), grpc.StatusCode.INTERNAL, partial) from error

    def _foretell(self, request: Any, news: values.Plain, recorded: State) -> None:
        """In a preview: what the next update will leave undone, and why, as far as a reader can tell."""
        shape = _shape(request)
        if values.has_unknown(news):
            return
        try:
            declared = _declared(shape, news, request)
            plan = self._mine.planned(_scope(shape, news), declared, recorded)
            texts = [plan.error] if plan.error else [*scopes.waiting(plan), *map(scopes.told, scopes.unseen(plan))]
        except Error as error:
            texts = [str(error)]
        self._tell(request.urn, [self._clean(text, request) for text in texts])

    def _delete(self, request: Any) -> Any:
        shape = _shape(request)
        olds, _ = values.opened(request.properties)
        if self._is_inherited(_place(shape, olds), request):
            return empty_pb2.Empty()
        given = _applied(olds, values.opened(request.old_inputs)[0])
        recorded = State(_by_id(shape, given), used=frozenset(olds.get("approvals", ())))
        self._mine.take_away(_scope(shape, olds), recorded, self._as_run())
        return empty_pb2.Empty()

    def _is_inherited(self, where: tuple[Any, ...], request: Any) -> bool:
        """
        Whether a scope stays although a resource of it goes: it is a resource of another name by now (somebody renamed
        or moved it without `aliases`), or the same was made once more before the old one goes. Raises Refused.
        """
        heir = self._seen.get(where, request.urn)
        if heir == request.urn:
            return (where, heir) in self._again
        new, place = heir.split("::")[-1], f"{where[2]} on {where[1]}"
        if (where, heir) not in self._there:
            raise Refused(f"{place} is to be {new} from now on, which was not made; nothing was taken away")
        self._tell(request.urn, [f"{place} is {new} from now on; nothing was taken away"])
        return True

    def _read(self, request: Any) -> Any:
        """Live; inputs and what landed stay, for that was applied. Without any, all there is is adopted."""
        shape = _shape(request)
        olds, secret = values.opened(request.properties)
        given, also_secret = values.opened(request.inputs)
        target, name = _where(shape, request.id)
        scope = Scope(target, shape.facet, name, olds.get("customer", ""))
        if refused := [why for key, why in self._mine.repository.refusals(scope) if key == "target"]:
            raise Refused(refused[0])
        landed = _by_id(shape, _applied(olds, {})) if "recorded" in olds else None
        known = {**_by_id(shape, given or olds), **(landed or {})}
        deleted = shapes.deleted(shape, olds)
        state = self._mine.live(scope, [*known.values()], deleted, everything=not (given or olds))
        if state is None:
            return pb.ReadResponse()
        if not given:
            given = {
                "customer": olds.get("customer") or self._owner(scope),
                **dict(zip(WHERE, (target, name), strict=True)),
                "resources": shapes.to_plain(state.resources.values()),
            }
        state.used, state.deleted = frozenset(olds.get("approvals", ())), deleted
        state.outputs = {**olds.get("outputs", {}), **state.outputs}
        return pb.ReadResponse(
            id=request.id,
            inputs=values.closed(given, values.within(given, secret | also_secret)),
            properties=_properties(given, state, secret | also_secret, landed),
        )

    def _owner(self, scope: Scope) -> str:
        owner = self._mine.repository.owner(scope)
        if not owner:
            raise Refused(f"no customer declares {scope}, so nobody can say whose it is")
        return owner

    def _as_run(self) -> Run:
        name = login()
        return Run(self._run, f"{name} <{name}@localhost>", reason="pulumi")


def _shape(request: Any) -> Shape:
    try:
        return shapes.of_urn(request.urn)
    except (KeyError, IndexError):
        raise Refused(f"{request.urn} is no resource of this provider") from None


def _scope(shape: Shape, data: values.Plain) -> Scope:
    return Scope(data["target"], shape.facet, data["name"], data["customer"], repository.ENGINE)


def _place(shape: Shape, data: values.Plain) -> tuple[Any, ...]:
    return (shape.facet, *(data.get(name) for name in WHERE))


def _where(shape: Shape, id_: str) -> tuple[str, str]:
    """Target and name of an id, which somebody may have typed. Raises Refused."""
    target, _, name = id_.partition("/")
    example = "TARGET/CUSTOMER/HOST/SECTION" if shape.facet == "hosts" else "TARGET/NAME"
    try:
        normal = inputs.folded(shape, name) if target and name else ""
    except ValueError as error:
        raise Refused(f"{shown(id_)} is no id of {shape.token}: {error}") from None
    if not normal or normal != name:
        right = f"{target}/{normal}" if normal else example
        raise Refused(f"{shown(id_)} is no id of {shape.token} (write {right})")
    return target, name


def _id(scope: Scope) -> str:
    return f"{scope.target}/{scope.name}"


def _by_id(shape: Shape, data: values.Plain) -> dict[Id, Resource]:
    return {r.id: r for r in shapes.from_plain(shape, data.get("resources") or {})}


def _ignored(request: Any) -> list[values.Path]:
    """What the option ignoreChanges names, not at a Create; a part of a field is all of it."""
    paths = map(values.parsed, getattr(request, "ignoreChanges", ()))
    return [path[: values.RESOURCE + 1] for path in paths if path]


def _is_ignored(path: values.Path, ignored: Sequence[values.Path]) -> bool:
    return any(values.is_within(path, each) for each in ignored)


def _declared(shape: Shape, news: values.Plain, request: Any) -> list[Resource]:
    """What is wanted; of what is ignored nobody says how it shall be, so it stays as it is."""
    found = shapes.from_plain(shape, news["resources"])
    if not (ignored := _ignored(request)):
        return found
    there = _by_id(shape, values.opened(request.olds)[0])
    return [_without(r, ignored) if r.id in there or _is_ignored(path_of(r.id), ignored) else r for r in found]


def _without(resource: Resource, ignored: Sequence[values.Path]) -> Resource:
    path, fields = path_of(resource.id), resource.fields
    return replace(resource, fields={f: UNKNOWN if _is_ignored((*path, f), ignored) else v for f, v in fields.items()})


def _secret(*structs: struct_pb2.Struct) -> frozenset[values.Path]:
    return frozenset(path for struct in structs for path in values.opened(struct)[1])


def _applied(olds: values.Plain, old_inputs: values.Plain) -> values.Plain:
    """The old inputs; after half an operation these are what was wished, and what landed is kept apart."""
    landed = olds.get("recorded")
    return (old_inputs or olds) if landed is None else {"resources": landed}


def _recorded(shape: Shape, request: Any) -> State:
    """What was applied last; what else is known, the old state says."""
    olds, old_inputs = values.opened(request.olds)[0], values.opened(request.old_inputs)[0]
    used = frozenset(olds.get("approvals", ()))
    applied, outputs = _by_id(shape, _applied(olds, old_inputs)), dict(olds.get("outputs") or {})
    return State(applied, outputs, used, _by_id(shape, olds), shapes.deleted(shape, olds))


def _differences(
    shape: Shape, news: values.Plain, old_inputs: values.Plain, olds: values.Plain
) -> dict[values.Path, str]:
    """Properties below `resources`. What is unknown yet may be anything: it counts as changed."""
    given = news.get("resources")
    if given == values.UNKNOWN:
        return {("resources",): "update"}
    known: dict[str, dict[str, Any]] = {}
    found: dict[values.Path, str] = {}
    for word, named in (given or {}).items():
        if named == values.UNKNOWN:
            found["resources", word] = "update"
            continue
        for name, fields in named.items():
            if values.has_unknown(fields):
                there = name in olds.get("resources", {}).get(word, {})
                found["resources", word, name] = "update" if there else "add"
            else:
                known.setdefault(word, {})[name] = fields
    declared = shapes.from_plain(shape, known)
    recorded, live = State(_by_id(shape, old_inputs), deleted=shapes.deleted(shape, olds)), State(_by_id(shape, olds))
    for difference in scopes.differences(declared, recorded, live):
        for path, what in scopes.paths(difference):
            if path not in found and path[:2] not in found:
                found[path] = what
    return found


def _properties(
    news: values.Plain, state: State, secret: frozenset[values.Path], landed: Mapping[Id, Resource] | None = None
) -> struct_pb2.Struct:
    """What Pulumi keeps; `landed` after half an operation only, until a whole one."""
    made = {key: news[key] for key in INPUTS}
    made["resources"] = shapes.to_plain(state.shown)
    made["outputs"] = scopes.spoken(state.outputs)
    made["approvals"] = sorted(state.used)
    for id_, day in state.deleted.items():
        _, word, name = shapes.path_of(id_)
        made.setdefault("deleted", {}).setdefault(word, {})[name] = day.isoformat()
    secret = frozenset(("resources", *path[1:]) if path[0] == "recorded" else path for path in secret)
    marked = values.within(made, secret)
    if landed is not None:
        made["recorded"] = shapes.to_plain(landed.values())
        copies = {("recorded", *path[1:]) for path in secret if path[0] == "resources"}
        marked |= values.within(made, copies)
    return values.closed(made, marked)


def _seconds(said: Any) -> float | None:
    try:
        number = float(said)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number <= 3600 else None


def _said(error: Exception) -> Said:
    """Nothing was changed, unless somebody said so; what nobody foresaw is a defect, told without its traceback."""
    if isinstance(error, Said):
        return error
    if isinstance(error, Unreachable):
        return Said(str(error), grpc.StatusCode.UNAVAILABLE)
    if isinstance(error, Refused | Error):
        interrupted = "interrupted" in str(error)
        return Said(str(error), grpc.StatusCode.CANCELLED if interrupted else grpc.StatusCode.FAILED_PRECONDITION)
    return Said(f"a defect in mspctl: {type(error).__name__}: {error}", grpc.StatusCode.INTERNAL)


def _status(code: grpc.StatusCode, text: str, partial: pb.ErrorResourceInitFailed | None) -> grpc.Status:
    status = grpc.Status()
    status.code, status.details, status.trailing_metadata = code, text, ()
    if partial is not None:
        rpc = status_pb2.Status(code=code.value[0], message=text)
        rpc.details.add().Pack(partial)
        status.trailing_metadata = (("grpc-status-details-bin", rpc.SerializeToString()),)
    return status
