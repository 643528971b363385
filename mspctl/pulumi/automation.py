"""
Pulumi's own program, driven through its Automation API: a stack for each customer, of the customer's name, whose
program is that of stacks/customer and runs in this process.

It asks nobody, downloads nothing and looks for no updates. A preview writes nothing: a stack that is not there yet is
previewed where it is thrown away afterwards. What Pulumi says of resources that are not a scope of ours is told with
the customer.
"""

from __future__ import annotations

import json
import os
import re
import secrets as random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pulumi
from pulumi import automation
from pulumi.automation import errors
from semver import VersionInfo

from mspctl.errors import Error, InputError
from mspctl.kinds import shown
from mspctl.model.inventory import PulumiFile
from mspctl.provider import shapes
from mspctl.provider.repository import ENGINE
from mspctl.pulumi.customer import Customer
from mspctl.pulumi.state import live, recorded
from mspctl.record import ScopeRecord
from mspctl.resource import Id, Resource, Scope
from mspctl.secrets import Secrets
from mspctl.transports import private

PROJECT = "customer"  # as in stacks/customer: by hand, it is the same stack
PLUGIN = "pulumi-resource-mspctl"
OLDEST = (3, 206, 0)  # from then on it tells what it does over gRPC, as this SDK listens
ANSWER = 60  # seconds for it to say which version it is
INSTALL = "https://www.pulumi.com/docs/install/ says how"
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME = frozenset({"same", "refresh", "read", "read-replacement"})  # steps that change nothing
QUIET = {
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    "NO_COLOR": "1",
}
NOT_OURS = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_BACKEND_URL", "PULUMI_STACK")
_COLOUR = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")
_NOISE = re.compile(r"(?m)^\s*(?:(?:\d+ errors? occurred:|\*|error:)\s*)+")


@dataclass
class Seen:
    """What one run of Pulumi said of a customer's stack."""

    customer: str
    recorded: dict[Scope, ScopeRecord] = field(default_factory=dict)  # its state: before a preview, after an update
    live: dict[Scope, dict[Id, Resource]] = field(default_factory=dict)  # as that state saw it last
    steps: dict[Scope, str] = field(default_factory=dict)  # "create", "same", …
    details: dict[Scope, list[str]] = field(default_factory=dict)  # properties that differ
    errors: dict[Scope, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # steps of what is no scope of ours: the component, the stack
    said: list[str] = field(default_factory=list)  # errors that are about no scope
    interrupted: bool = False

    def open(self, deployment: Mapping[str, Any]) -> None:
        """Take in a state."""
        self.recorded, self.live = recorded(self.customer, deployment), live(self.customer, deployment)

    def take(self, event: automation.EngineEvent) -> None:
        """Called from other threads, one event after the other."""
        if event.resource_pre_event:
            self._step(event.resource_pre_event.metadata)
        elif (diagnostic := event.diagnostic_event) and diagnostic.severity == "error":
            scope, text = self._scope(diagnostic.urn or ""), plain(diagnostic.message)
            found = self.said if scope is None else self.errors.setdefault(scope, [])
            if text and text not in found:
                found.append(text)

    def _step(self, step: Any) -> None:
        op, scope = str(getattr(step.op, "value", step.op)), self._scope(step.urn)
        if scope is None:
            self.others += [] if op in SAME else [op]
        elif op not in SAME or scope not in self.steps:
            self.steps[scope] = "same" if op in SAME else op
            self.details[scope] = sorted(step.detailed_diff or ())

    def _scope(self, urn: str) -> Scope | None:
        """`urn:pulumi:STACK::customer::mspctl:index:Customer$mspctl:dns:Zone::ns-1/acme.example`."""
        parts = urn.split("::")
        shape = shapes.shapes().get(parts[2].rpartition("$")[2]) if len(parts) == 4 else None
        target, _, name = parts[-1].partition("/")
        return Scope(target, shape.facet, name, self.customer, ENGINE) if shape else None


def plain(message: str) -> str:
    """A message as a person shall see it: without marks of colours, and without what Pulumi wraps around errors."""
    text = _NOISE.sub("", _COLOUR.sub("", message))
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


class Cli(automation.PulumiCommand):
    """Pulumi's program in a process group of its own, so that we say when it is asked to stop."""

    def __init__(self) -> None:
        """The SDK's own way of asking for the version waits for ever, and its errors are for programmers."""
        self.interrupted = False
        self._process: subprocess.Popen[str] | None = None
        found = shutil.which("pulumi")
        if found is None:
            raise Error(f"pulumi is not installed, or not in PATH ({INSTALL})")
        self.command = os.path.abspath(found)  # it works in other folders
        self.version = _version(self.command)

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> Any:
        known = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        environment = {**known, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        before = [self.command, "--non-interactive"]
        with subprocess.Popen(  # noqa: S603
            [*before, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process:
            # Only what works on targets is interrupted: what tells of it afterwards shall come to its end.
            self._process = process if args[0] in ("preview", "up") else None
            try:
                out, err = process.communicate()
            except BaseException:
                process.send_signal(signal.SIGINT)
                raise
            finally:
                self._process = None
        result = automation.CommandResult(out.rstrip(), err.rstrip(), process.returncode)
        if process.returncode:
            raise errors.create_command_error(result)
        return result

    def interrupt(self) -> None:
        """Once: it cancels what it does, and ends in order. Twice: it ends at once."""
        self.interrupted = True
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)


def _version(program: str) -> VersionInfo:
    """Of what is called pulumi here. Raises Error: it does not start, is something else, or does not fit."""
    try:
        done = subprocess.run(  # noqa: S603
            [program, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **QUIET},
            timeout=ANSWER,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Error(f"{program} version gave no answer within {ANSWER} seconds ({INSTALL})") from None
    except OSError as error:
        raise Error(f"{program} cannot be started: {error.strerror} ({INSTALL})") from None
    said = (plain(done.stderr if done.returncode else done.stdout).splitlines() or [""])[-1]
    if done.returncode:
        raise Error(f"{program} version ended with {done.returncode}: {shown(said)} ({INSTALL})")
    try:
        version = VersionInfo.parse(said.removeprefix("v"))
    except ValueError:
        raise Error(f"{program} is not Pulumi's: asked for its version, it says {shown(said)} ({INSTALL})") from None
    if version.major != OLDEST[0]:
        raise Error(f"this pulumi does not fit: it is {version}, and version {OLDEST[0]} is needed ({INSTALL})")
    if (version.major, version.minor, version.patch) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise Error(f"pulumi {version} is too old: at least {wanted} is needed ({INSTALL})")
    return version


class _Workspace(automation.LocalWorkspace):
    """Selects no stack: that is remembered by folder in ~/.pulumi, and ours is a new one each time."""

    def select_stack(self, stack_name: str) -> None:
        self._run_pulumi_cmd_sync(["stack", "--stack", stack_name])

    def create_stack(self, stack_name: str) -> None:
        provider = ["--secrets-provider", self.secrets_provider] if self.secrets_provider else []
        self._run_pulumi_cmd_sync(["stack", "init", stack_name, "--no-select", *provider])


class Stacks:
    """The stacks of a repository's customers. One run after the other: a program of Pulumi has its process alone."""

    def __init__(self, root: Path, settings: PulumiFile | None, secrets: Secrets, wait: float = 60.0) -> None:
        if settings is None:
            raise InputError.at(
                "inventory/pulumi.yaml",
                "is missing: it says where Pulumi keeps its state"
                " (backend: file:///var/lib/pulumi, or s3://…; passphrase: NAME)",
            )
        self.root, self.settings, self.secrets, self.wait = root, settings, secrets, wait
        self.plugin = _plugin()
        self.cli = Cli()

    def preview(self, customer: str, *, refresh: bool) -> Seen:
        """What an update would do, and the state as it is. `refresh`: with what was changed outside."""
        seen = Seen(customer)
        with self._place() as place:
            if (stack := self._stack(place, customer, automation.Stack.select)) is not None:
                seen.open(_opened_with(stack))
                self._run(seen, stack.preview, refresh=refresh)
                return seen
        with self._nowhere() as place:
            if (stack := self._stack(place, customer, automation.Stack.create)) is not None:
                self._run(seen, stack.preview)
        return seen

    def state(self, customer: str) -> Seen:
        """What was applied last, and nothing else."""
        seen = Seen(customer)
        with self._place() as place:
            if (stack := self._stack(place, customer, automation.Stack.select)) is not None:
                seen.open(_export(stack))
        return seen

    def update(self, customer: str, *, refresh: bool, message: str) -> Seen:
        """Make a customer true, and say what the state is then. What fails costs what depends on it, and no more."""
        seen = Seen(customer)
        with self._place() as place:
            stack = self._stack(place, customer, automation.Stack.create_or_select)
            assert stack is not None, "it is created where it is not there"
            _opened_with(stack)
            self._run(seen, stack.up, refresh=refresh, message=message, continue_on_error=True, show_secrets=False)
            seen.interrupted = self.cli.interrupted
            seen.open(_export(stack))
        return seen

    def _run(self, seen: Seen, operation: Callable[..., Any], **options: Any) -> None:
        try:
            operation(on_event=seen.take, color="never", suppress_outputs=True, **options)
        except errors.ConcurrentUpdateError:
            seen.said.append(f"the stack {seen.customer} is locked by another run of Pulumi")
        except errors.CommandError as error:
            seen.said += [] if seen.errors or seen.said else [_last(error)]

    def _stack(
        self, place: Place, customer: str, begin: Callable[[str, automation.Workspace], automation.Stack]
    ) -> automation.Stack | None:
        """None when it is to be selected, and is not there."""
        workspace = _Workspace(
            work_dir=str(place.folder),
            program=self._program(customer),
            env_vars=place.environment,
            secrets_provider=place.provider,
            pulumi_command=self.cli,
        )
        name = f"{place.organization}/{PROJECT}/{customer}" if place.organization else customer
        config = {"mspctl:directory": str(self.root), "mspctl:wait": f"{self.wait:g}"}
        workspace.save_stack_settings(name, automation.StackSettings(self.settings.kms, config=config))
        try:
            return begin(name, workspace)
        except automation.StackNotFoundError:
            return None
        except errors.CommandError as error:
            raise Error(f"pulumi: {_last(error)}") from None

    def _program(self, customer: str) -> Callable[[], None]:
        """What stacks/customer does."""

        def program() -> None:
            made = Customer(customer, str(self.root))
            for (facet, name), scope in made.scopes.items():
                pulumi.export(f"{facet} {name}", scope.outputs)

        return program

    @contextmanager
    def _place(self) -> Iterator[Place]:
        """Where a run works with the state that inventory/pulumi.yaml names."""
        said = self.settings
        with private.folder() as folder:
            self._project(folder)
            environment = {**QUIET, "PULUMI_BACKEND_URL": self._backend()}
            if said.passphrase:
                environment |= _passphrase(folder, self.secrets["passphrase"].reveal_text())
            if said.token:
                environment["PULUMI_ACCESS_TOKEN"] = self.secrets["token"].reveal_text()
            provider = said.kms or ("passphrase" if said.passphrase else None)
            yield Place(folder, environment, provider, said.organization or "")

    @contextmanager
    def _nowhere(self) -> Iterator[Place]:
        """Where a run works that nobody shall know of."""
        with private.folder() as folder:
            self._project(folder)
            (folder / "state").mkdir()
            environment = {**QUIET, "PULUMI_BACKEND_URL": f"file://{folder / 'state'}"}
            environment |= _passphrase(folder, random.token_hex(16))
            yield Place(folder, environment, "passphrase")

    def _project(self, folder: Path) -> None:
        plugins = {"providers": [{"name": shapes.PACKAGE, "path": str(self.plugin)}]}
        text = json.dumps({"name": PROJECT, "runtime": "python", "plugins": plugins})  # JSON is YAML
        (folder / "Pulumi.yaml").write_text(text, encoding="utf-8")

    def _backend(self) -> str:
        backend = self.settings.backend
        if not self.settings.password:
            return backend
        scheme, _, rest = backend.partition("://")
        user, at, where = rest.partition("@")
        if not at:
            raise InputError.at("inventory/pulumi.yaml", f"password is whose? (write {scheme}://USER@…)")
        return f"{scheme}://{user}:{quote(self.secrets['password'].reveal_text(), safe='')}@{where}"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that only we can read, with a project, and what Pulumi's program finds in its environment."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    provider: str | None  # of what encrypts secrets; None: Pulumi Cloud does
    organization: str = ""


def _passphrase(folder: Path, value: str) -> dict[str, str]:
    """In a file: whoever may see environments does not see it."""
    return {"PULUMI_CONFIG_PASSPHRASE_FILE": str(private.write(folder / "passphrase", value))}


def _plugin() -> Path:
    """The folder of our provider: beside this Python, or in PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which(PLUGIN, path=os.pathsep.join((str(beside), os.environ.get("PATH", os.defpath))))
    if found is None:
        raise Error(f"{PLUGIN} is not beside {sys.executable}, or in PATH (pip install 'mspctl[pulumi]')")
    return Path(found).absolute().parent  # PATH may be of folders below this one


def _export(stack: automation.Stack) -> Mapping[str, Any]:
    try:
        return stack.export_stack().deployment or {}
    except errors.CommandError as error:
        raise Error(f"pulumi: {_last(error)}") from None


def _opened_with(stack: automation.Stack) -> Mapping[str, Any]:
    """The state; what its secrets were encrypted with goes into the stack's settings, which by hand Git would keep."""
    deployment = _export(stack)
    key = (deployment.get("secrets_providers") or {}).get("state") or {}
    settings = stack.workspace.stack_settings(stack.name)
    settings.encryption_salt = key.get("salt") or settings.encryption_salt
    settings.encrypted_key = key.get("encryptedkey") or settings.encrypted_key
    stack.workspace.save_stack_settings(stack.name, settings)
    return deployment


def _last(error: errors.CommandError) -> str:
    """What went wrong before anything was done: Pulumi's last words."""
    lines = plain(str(error).partition("stderr:")[2] or str(error)).splitlines()
    return lines[-1] if lines else "it ended without a word"


@contextmanager
def interruptible(cli: Cli, tell: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C, and a job that is cancelled: what was begun is finished and told."""

    def come(number: int, frame: object) -> None:
        if not cli.interrupted:
            tell("interrupted: Pulumi finishes what it began; Ctrl-C once more ends at once")
        cli.interrupt()

    mine = ENDS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, come) for number in mine}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
