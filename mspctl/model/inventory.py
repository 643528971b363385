"""`inventory/`: targets and what drives them, baselines, contracts: where things are, not what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from mspctl.fields import (
    PLACE,
    SECRET,
    Address,
    Boolean,
    Count,
    Day,
    Email,
    Host,
    Ips,
    Model,
    Mxs,
    Name,
    Names,
    Port,
    Role,
    SpfTerms,
    Text,
    Timezone,
    Window,
    duration,
    is_here,
    meaning,
    one_or_many,
    typed,
)
from mspctl.kinds import antivirus, patching, shown
from mspctl.model.base import nearest
from mspctl.model.permissions import NONE, Permissions
from mspctl.secrets import NAME as SECRET_NAME
from mspctl.strict_yaml import Map, Mark, Problems

LONGEST_SOAK = 3600  # seconds


def _secret_name(value: Any) -> str:
    text = typed(value)
    if not SECRET_NAME.fullmatch(text):
        raise ValueError(
            "is not the name of a secret (capital letters, digits and _; the secret itself never stands here)"
        )
    return text


SecretName = Annotated[str, BeforeValidator(_secret_name), SECRET]


def _backend(value: Any) -> str:
    text = typed(value)
    scheme, found, rest = text.partition("://")
    if not found or scheme not in BACKENDS or not rest:
        raise ValueError(f"is not where Pulumi keeps state (write {', '.join(f'{each}://…' for each in BACKENDS)})")
    if scheme == "file" and not rest.startswith(("/", "~")):
        raise ValueError("is a folder of this machine, from the root: file:///var/lib/pulumi, or file://~/…")
    if ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise ValueError("has a password in it, which never stands here (add password: NAME of a secret)")
    return text


def _kms(value: Any) -> str:
    text = typed(value)
    if not text.startswith(tuple(f"{each}://" for each in KMS)):
        raise ValueError(f"is no key that Pulumi knows (write {', '.join(f'{each}://…' for each in KMS)})")
    return text


BACKENDS = ("file", "s3", "gs", "azblob", "postgres", "https")
KMS = ("awskms", "azurekeyvault", "gcpkms", "hashivault")
Backend = Annotated[str, BeforeValidator(_backend)]
Kms = Annotated[str, BeforeValidator(_kms)]


def _facet(value: Any) -> Any:
    """`dns: zonefile` is short for `dns: {driver: zonefile}`."""
    return {"driver": value} if isinstance(value, str) else value


class Facet(Model):
    """One driver of a target; every other key is one of the driver's own settings."""

    model_config = {"extra": "allow"}

    driver: Name

    @property
    def settings(self) -> dict[str, Any]:
        return self.model_extra or {}


class Published(Model):
    """What the zones of mail domains say of a mail server."""

    mx: Mxs = ()
    spf: SpfTerms = ()  # from where it sends
    sends_from: Ips = ()  # likewise, address by address: block lists are asked about them
    clients: Host | None = None  # where mail programs find their settings
    reports: Email | None = None  # who gets the reports of DMARC


class Endpoint(Model):
    """A service of a mail server, as programs reach it; certificates are always verified."""

    host: Annotated[Text, PLACE]
    port: Port | None = None  # unless it is said, the usual one
    tls: Literal["starttls", "tls", "none"] | None = None  # unless it is said, as is usual there; none: on this machine
    ca: Text | None = None  # a file, relative to the repository: its authorities are trusted, and no others

    @model_validator(mode="after")
    def _encrypted(self) -> Endpoint:
        if self.tls == "none" and not is_here(self.host):
            raise ValueError(f"tls: none is for this machine only, and {self.host} is another one")
        return self


def _endpoint(value: Any) -> Any:
    """`mail.msp.example:993` is short for `{host: mail.msp.example, port: 993}`."""
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return {"host": value}
    return {"host": host.strip("[]"), "port": port}


Reached = Annotated[Endpoint, BeforeValidator(_endpoint, json_schema_input_type=Endpoint | Text)]


class Judge(Model):
    """A mailbox on a server of somebody else, which says what it thinks of mail that was sent out."""

    address: Address  # and the name to log in with; its password is the target's secret `judge`
    imap: Reached
    authserv: Text  # who writes the Authentication-Results that are believed: "mx.google.com"


class MailAccess(Model):
    """How mail is handed in and read at a mail server: proofs need it."""

    smtp: Reached  # where other servers hand in
    submission: Reached | None = None  # where mail programs do
    imap: Reached
    sender: Address  # who the mail that comes in is from; the SPF record of its domain names the machine that proves
    authserv: Text | None = None  # as the server calls itself in Authentication-Results; then sender has to be believed
    judge: Judge | None = None

    @model_validator(mode="after")
    def _something_to_judge(self) -> MailAccess:
        if self.judge and not self.submission:
            raise ValueError("judge needs submission: it reads what is sent out")
        return self


class TargetInfo(Model):
    """A system that can be driven: a server, a provider account, a device."""

    address: Annotated[Text | None, PLACE] = None
    secrets: dict[Role, SecretName] = {}  # role → name of the secret
    facets: dict[Name, Annotated[Facet, BeforeValidator(_facet)]]
    publish: Published | None = None
    mail: MailAccess | None = None
    window: Window | None = None  # changes are carried out only inside it
    timezone: Timezone | None = None  # of the window; by default each customer's own
    jobs: Count | None = None  # of CI, that may use it at once; as many as there are unless it is said
    note: Text | None = None


class TargetsFile(Model):
    targets: dict[Name, TargetInfo] = {}


class ContractPlan(Model):
    """What a contract includes, by section."""

    includes: Names
    name: Text | None = None


class ContractsFile(Model):
    contracts: dict[Name, ContractPlan] = {}


def _service(value: Any) -> str:
    return antivirus.fold_service(typed(value))


def _package(value: Any) -> str:
    return patching.fold_package(typed(value))


def _money(value: Any) -> str:
    text = typed(value)
    if not re.fullmatch(r"\d{1,9}(\.\d{2})?", text):
        raise ValueError(f"{shown(text)} is not an amount (write 480 or 480.50; the currency has a key of its own)")
    return text


def _currency(value: Any) -> str:
    text = typed(value)
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError(f"{shown(text)} is not a currency (write EUR)")
    return text


Packages = Annotated[tuple[Annotated[str, BeforeValidator(_package)], ...], BeforeValidator(one_or_many)]
Services = Annotated[tuple[Annotated[str, BeforeValidator(_service)], ...], BeforeValidator(one_or_many)]
Money = Annotated[
    str, BeforeValidator(_money), WithJsonSchema({"type": ["number", "string"], "examples": [480, "480.50"]})
]
Currency = Annotated[
    str, BeforeValidator(_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["EUR"]})
]


class Product(Model):
    """An antivirus that the MSP has: what it is on a host, and what was bought of it."""

    name: Text | None = None
    packages: Packages = ()  # of Debian, from an archive that hosts know
    services: Services = ()  # that run then
    console: Name | None = None  # the target that knows the licence
    seats: Count | None = None
    end: Day | None = None  # the licence's last day
    cost: Money | None = None  # for all seats, a year
    currency: Currency | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _priced(self) -> Product:
        if bool(self.cost) is not bool(self.currency):
            raise ValueError("has a cost and a currency, or neither (write cost: 480, currency: EUR)")
        return self


class ProductsFile(Model):
    products: dict[Name, Product] = {}


def _age_key(value: Any) -> str:
    text = typed(value)
    if not re.fullmatch(r"age1[02-9ac-hj-np-z]{58}", text):
        text = "a private key" if text.upper().startswith("AGE-SECRET-KEY") else shown(text)
        raise ValueError(f"{text} is not a public key of age (write what age-keygen -y prints: age1…)")
    return text


AgeKey = Annotated[str, BeforeValidator(_age_key), WithJsonSchema({"type": "string", "pattern": "^age1"})]


class ArchiveFile(Model):
    """For whom configurations of devices are encrypted, and how many versions are kept of each."""

    keys: dict[SecretName, AgeKey]  # name of the secret that opens → public key
    keep: Count = 40

    @model_validator(mode="after")
    def _for_somebody(self) -> ArchiveFile:
        if not self.keys:
            raise ValueError("keys is empty (write NAME: age1…, as age-keygen prints it)")
        return self


class Destination(Model):
    """Who is told of drift, and of what."""

    url: SecretName  # the name of the secret that holds the service's address, as Apprise writes it
    customers: Names = ()  # all, unless it is said
    tell: Literal["new", "everything"] = "new"  # what was told before is told again, or not
    alive: Literal["each-run", "day", "week", "never"] = "week"  # so long without a word it is told that all is well


class NotifyFile(Model):
    notify: dict[Name, Destination] = {}
    ping: SecretName | None = None  # likewise of an address that is asked when all was told: a dead man's switch


def _soak(value: Any) -> int:
    seconds = duration(value)
    if seconds > LONGEST_SOAK:
        raise ValueError(f"{shown(str(value))} is more than an hour (a job waits for it: write 1h or less)")
    return seconds


Soak = Annotated[int, BeforeValidator(_soak), WithJsonSchema({"type": ["integer", "string"], "examples": ["30m"]})]


class RingEntry(Model):
    """Customers who get a change of shared files together."""

    name: Name
    customers: Names
    soak: Soak = 0  # how long the next ring waits after the last change in this one; at most an hour
    prove: Boolean = False  # the live tests of these customers are made, and have to pass, before the next ring begins


class RingsFile(Model):
    rings: tuple[RingEntry, ...] = ()  # who is in none comes last


class QuickClass(Model):
    """A kind of change that merges by itself."""

    change: Literal["new-mailbox", "allow-entry"]
    days: Count = 30  # of an allow entry: how far ahead its `until` may be
    customers: Names = ()  # only theirs; everybody's unless it is said


class QuickLaneFile(Model):
    classes: tuple[QuickClass, ...] = ()  # none: every pull request waits for somebody


class PulumiFile(Model):
    """Where Pulumi keeps the state of the customers that it carries out, and what encrypts the secrets in it."""

    backend: Backend  # file:///var/lib/pulumi, s3://bucket, postgres://…, https://api.pulumi.com
    organization: Text | None = None  # of Pulumi Cloud
    token: SecretName | None = None  # for Pulumi Cloud
    password: SecretName | None = None  # of the database
    passphrase: SecretName | None = None
    kms: Kms | None = None  # awskms://…, gcpkms://…, azurekeyvault://…, hashivault://…

    @property
    def secrets(self) -> dict[str, str]:
        """Role → NAME."""
        roles = {"token": self.token, "password": self.password, "passphrase": self.passphrase}
        return {role: name for role, name in roles.items() if name}

    @model_validator(mode="after")
    def _fits(self) -> PulumiFile:
        scheme = self.backend.partition("://")[0]
        if self.passphrase and self.kms:
            raise ValueError("passphrase and kms are two ways to encrypt (leave one out)")
        if scheme != "https" and not (self.passphrase or self.kms):
            raise ValueError("nothing encrypts the secrets in this state (add passphrase: NAME, or kms: …)")
        for key, wanted in (("token", "https"), ("organization", "https"), ("password", "postgres")):
            if getattr(self, key) and scheme != wanted:
                raise ValueError(f"{key} is for {wanted}://…, and the backend is {scheme}://…")
        return self


@dataclass(frozen=True, slots=True)
class Inventory:
    """All of `inventory/`."""

    targets: Mapping[str, TargetInfo] = field(default_factory=dict)
    contracts: Mapping[str, ContractPlan] = field(default_factory=dict)
    products: Mapping[str, Product] = field(default_factory=dict)  # against malware, besides ClamAV
    baselines: Mapping[str, Map] = field(default_factory=dict)  # name → sections as YAML
    settings: Mapping[tuple[str, str], Model] = field(default_factory=dict)  # (target, facet) → its driver's Settings
    permissions: Permissions = NONE  # for scopes whose customer has no folder any more
    notify: NotifyFile = field(default_factory=NotifyFile)
    checks: Mapping[str, Model] = field(default_factory=dict)  # section → how it is checked, where checks.yaml says it
    archive: ArchiveFile | None = None
    rings: Sequence[RingEntry] = ()
    pulumi: PulumiFile | None = None
    whole: bool = True  # False: something in it is wrong, so what it lacks is no news

    def addresses(self, target: str) -> frozenset[str]:
        """All that says where a target is: its address, what its drivers' settings say so, and where its mail goes."""
        own = [settings for (name, _), settings in self.settings.items() if name == target]
        return frozenset(text for each in (self.targets[target], *own) for _, text, _ in meaning(each, PLACE))

    def secrets_beside_targets(self) -> Iterator[tuple[str, str]]:
        """NAME and place ("inventory/notify.yaml: team") of each secret that another file than targets.yaml names."""
        for name in self.archive.keys if self.archive else ():
            yield name, "inventory/archive.yaml: keys"
        for role, name in self.pulumi.secrets.items() if self.pulumi else ():
            yield name, f"inventory/pulumi.yaml: {role}"
        yield from ((it.url, f"inventory/notify.yaml: {whom}") for whom, it in self.notify.notify.items())
        if self.notify.ping:
            yield self.notify.ping, "inventory/notify.yaml: ping"

    def with_facet(self, facet: str) -> list[str]:
        return sorted(name for name, target in self.targets.items() if facet in target.facets)

    def check_target(self, name: str, facet: str, mark: Mark | None, path: str, problems: Problems) -> None:
        """Add a problem unless the target exists and has the facet."""
        target = self.targets.get(name)
        if not self.whole:
            return
        if target is None:
            text = f"target {name} is not in inventory/targets.yaml{nearest(name, self.targets)}"
        elif facet not in target.facets:
            text = f"target {name} has no facet {facet}{nearest(name, self.with_facet(facet))}"
        else:
            return
        problems.add(mark, path, text)
