"""
The types a field of YAML can have. Each takes the text as it was typed and says what would be right.

Every type carries the JSON Schema that an editor needs: there a number is typed without quotes, so the schemas
admit what YAML editors read (`ttl: 300` is an integer to them), while we always see text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, PlainValidator, WithJsonSchema

from mspctl import moments
from mspctl.kinds import dns, mail, shown
from mspctl.kinds import filter as filters


class Model(BaseModel):
    """A mapping in YAML: its keys are known, and nothing is changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Mode = Literal["observe", "propose", "enforce"]


@dataclass(frozen=True, slots=True)
class Means:
    """What a text in YAML means to those who look through whole models; a type carries it in its `Annotated`."""

    what: str
    keys: tuple[str, ...] = ()  # of a mapping, those whose texts mean it; () is all


PLACE = Means("place")  # where what a target, or a repository, is asked or sent goes, the secrets beside it too
SECRET = Means("secret")  # the name of one


def meaning(value: Any, what: Means) -> Iterator[tuple[tuple[str | int, ...], str, Model]]:
    """Texts within a model that mean such a thing: where they stand, themselves, and the model that they are of."""
    return _meaning(value, what, None, (), value)


def _meaning(
    value: Any, what: Means, mine: Means | None, path: tuple[str | int, ...], of: Model
) -> Iterator[tuple[tuple[str | int, ...], str, Model]]:
    if isinstance(value, str):
        if mine:
            yield path, value, of
    elif isinstance(value, Model):
        for name, alias, said in _ways(type(value), what.what):
            yield from _meaning(getattr(value, name), what, said, (*path, alias), value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _meaning(item, what, mine if mine and key in (mine.keys or (key,)) else None, (*path, key), of)
    elif isinstance(value, tuple | list):
        for number, item in enumerate(value):
            yield from _meaning(item, what, mine, (*path, number), of)


@cache
def _ways(model: type[Model], what: str) -> tuple[tuple[str, str, Means | None], ...]:
    """Fields behind which such a text can stand: name, key in YAML, and what the field itself says."""
    found = []
    for name, field in model.model_fields.items():
        parts = [*field.metadata, *_parts(field.annotation)]
        said = next((part for part in parts if isinstance(part, Means) and part.what == what), None)
        models = (part for part in parts if isinstance(part, type) and issubclass(part, Model))
        if said or any(_ways(each, what) for each in models):
            found.append((name, field.alias or name, said))
    return tuple(found)


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_ROLE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST = 73050 * 86400  # seconds that a duration may have
_DURATION = re.compile(r"(?:\d{1,10}[smhdw]){1,5}", re.ASCII)
_PART = re.compile(r"(\d+)([smhdw])", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def typed(value: Any) -> str:
    """The text of a scalar; raises ValueError for anything else, and for nothing."""
    if value is None:
        raise ValueError("is empty")
    if not isinstance(value, str):
        raise ValueError("should be text, not a mapping or a list")
    return value


def line(value: Any) -> str:
    text = typed(value)
    if "\n" in text or "\t" in text or "\r" in text:
        raise ValueError("should be one line, without tabs (for a long one write >- and indent it)")
    return text


def one_line(value: Any) -> str:
    text = line(value)
    if not text.strip():
        raise ValueError("is empty")
    return text


def boolean(value: Any) -> bool:
    text = typed(value)
    if text not in ("true", "false"):
        raise ValueError(f"{shown(text)} is not true or false")
    return text == "true"


def duration(value: Any) -> int:
    """Seconds from `1h`, `90s`, `1h30m`, `2d`, `1w` or a bare number of seconds."""
    text = typed(value)
    if text.isascii() and text.isdigit() and len(text) <= 10:
        seconds = int(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise ValueError(f"{shown(text)} is not a duration (write 1h, 5m or 300)")
    if seconds > LONGEST:  # a day so far away is in no calendar
        raise ValueError(f"{shown(text)} is longer than two hundred years")
    return seconds


_SIZE_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"(\d{1,15}) ?(B|[KMGT]iB)", re.ASCII)


def size(value: Any) -> int:
    """Octets from `10 GiB`, `500 MiB`."""
    text = typed(value)
    found = _SIZE.fullmatch(text)
    octets = int(found[1]) * _SIZE_UNITS[found[2]] if found else 0
    if not 0 < octets < 2**53:
        number = re.match(r"[1-9]\d{0,4}", text, re.ASCII)
        raise ValueError(f"{shown(text)} is not a size (write {number[0] if number else 5} GiB)")
    return octets


def quota(value: Any) -> int:
    """The same, or 0 for `unlimited`."""
    return 0 if value == "unlimited" else size(value)


def spoken_size(octets: int) -> str:
    """The shortest way to write a size: 2**30 is `1 GiB`."""
    unit = next(unit for unit, each in reversed(_SIZE_UNITS.items()) if octets % each == 0)
    return f"{octets // _SIZE_UNITS[unit]} {unit}"


def count(value: Any) -> int:
    text = typed(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) > 0):
        raise ValueError(f"{shown(text)} is not a number from 1 to 9999")
    return int(text)


def rate(value: Any) -> str:
    return filters.fold_rate(typed(value))


def percent(value: Any) -> int:
    text = typed(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 0 < int(text) <= 100):
        raise ValueError(f"{shown(text)} is not a percentage (a number from 1 to 100)")
    return int(text)


def ttl(value: Any) -> int:
    seconds = duration(value)
    if seconds > dns.MAX_TTL:
        raise ValueError(f"{shown(value)} is longer than a TTL can be ({dns.MAX_TTL} seconds)")
    return seconds


def day(value: Any) -> date:
    text = typed(value)
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a date (write 2027-03-31)") from None


def name(value: Any) -> str:
    text = typed(value)
    if not NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a name (lower-case letters, digits and hyphens, at most 63)")
    return text


def role(value: Any) -> str:
    text = typed(value)
    if not _ROLE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not what a driver calls a secret (lower-case letters, digits and _)")
    return text


def network(value: Any) -> str:
    text = typed(value)
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        hint = "host bits" in str(error) and f"write {ipaddress.ip_network(text, strict=False)}"
        raise ValueError(f"{shown(text)} is not a network ({hint or 'write 10.20.0.0/24'})") from None


def ip(value: Any) -> str:
    text = typed(value)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{shown(text)} is not an address (write 192.0.2.53 or 2001:db8::53)") from None


def is_here(host: str) -> bool:
    """Whether a host is this machine, so that nobody else hears what is said to it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def email(value: Any) -> str:
    text = typed(value)
    local, at, domain = text.rpartition("@")
    if not (at and local and "." in domain) or re.search(r"[\s<>(),;:\"\\]", text):
        raise ValueError(f"{shown(text)} is not an e-mail address (write name@example.com)")
    dns.fold(domain)
    return text


def address(value: Any) -> str:
    """An e-mail address as servers compare it: lower-case, its domain in A-labels."""
    return mail.fold_address(typed(value))


def port(value: Any) -> int:
    text = typed(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ValueError(f"{shown(text)} is not a port (a number from 1 to 65535)")
    return int(text)


def zone_name(value: Any) -> str:
    return dns.fold_zone(typed(value))


_SPF_TERM = re.compile(r"[+?~-]?(?:(?:include|exists):\S+|(?:a|mx)(?:[:/]\S+)?|ip[46]:[0-9a-fA-F.:/]+)", re.ASCII)


def spf_term(value: Any) -> str:
    text = one_line(value)
    if not _SPF_TERM.fullmatch(text):
        raise ValueError(
            f"{shown(text)} is not a term of SPF (write include:_spf.example.com, ip4:192.0.2.0/24, a or mx)"
        )
    return text


def host(value: Any) -> str:
    text = one_line(value)
    if "@" in text:
        raise ValueError(
            f"{shown(text)} is not a domain name (write hostmaster.example.com for hostmaster@example.com)"
        )
    return dns.fold(text.rstrip(".") + ".")


def mx(value: Any) -> str:
    return dns.fold_value("MX", one_line(value), lambda name: name + ".")


def timezone(value: Any) -> str:
    return moments.timezone(typed(value)).key


def until(value: Any) -> moments.Moment:
    """A day, which is included, or a time; when that is depends on the customer's time zone."""
    return moments.Moment.parse(typed(value))


def window(value: Any) -> moments.Window:
    return moments.Window.parse(typed(value))


def label(value: Any) -> str:
    text = typed(value)
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a label of a runner (letters, digits, dots, hyphens and _)")
    return text


def one_or_many(value: Any) -> Any:
    """A single value where a list is meant."""
    return [value] if isinstance(value, str) else value


def _field(read: Callable[[Any], Any], schema: dict[str, Any]) -> tuple[BeforeValidator, WithJsonSchema]:
    return BeforeValidator(read), WithJsonSchema(schema)


UNTIL = {"type": "string", "examples": ["2027-03-31", "2027-03-31 18:00"]}
WINDOW = {"type": "string", "examples": ["sun 05:00-06:00", "mon-fri 07:30-18:30", "22:00-05:00"]}
_TEXT = {"type": ["string", "number", "boolean"]}

Text = Annotated[str, *_field(one_line, _TEXT)]
Boolean = Annotated[bool, *_field(boolean, {"type": "boolean"})]
Seconds = Annotated[int, *_field(duration, {"type": ["integer", "string"], "examples": ["1h", "5m", 300]})]
Ttl = Annotated[int, *_field(ttl, {"type": ["integer", "string"], "examples": ["1h", "5m", 300]})]
Count = Annotated[int, *_field(count, {"type": "integer", "minimum": 1, "maximum": 9999})]
Percent = Annotated[int, *_field(percent, {"type": "integer", "minimum": 1, "maximum": 100})]
SIZE = {"type": "string", "examples": ["10 GiB", "500 MiB"]}
Size = Annotated[int, *_field(size, SIZE)]
Quota = Annotated[int, *_field(quota, {"type": "string", "examples": ["10 GiB", "500 MiB", "unlimited"]})]
Rate = Annotated[str, *_field(rate, {"type": "string", "examples": ["200/1h", "1000/1d"]})]
Day = Annotated[date, *_field(day, {"type": "string", "format": "date"})]
_AS_TYPED = PlainSerializer(str)
Until = Annotated[moments.Moment, PlainValidator(until), _AS_TYPED, WithJsonSchema(UNTIL)]
Window = Annotated[moments.Window, PlainValidator(window), _AS_TYPED, WithJsonSchema(WINDOW)]
Name = Annotated[str, *_field(name, {"type": "string", "pattern": f"^{NAME.pattern}$"})]
Label = Annotated[str, *_field(label, {"type": "string", "examples": ["self-hosted"]})]
Labels = Annotated[tuple[Label, ...], BeforeValidator(one_or_many)]
Role = Annotated[str, *_field(role, {"type": "string", "pattern": f"^{_ROLE.pattern}$"})]
Network = Annotated[str, *_field(network, {"type": "string", "examples": ["10.20.0.0/22"]})]
Ip = Annotated[str, *_field(ip, {"type": "string", "examples": ["192.0.2.53"]})]
Email = Annotated[str, *_field(email, {"type": "string", "format": "email"})]
Address = Annotated[str, *_field(address, {"type": "string", "format": "email"})]
Port = Annotated[int, *_field(port, {"type": "integer", "minimum": 1, "maximum": 65535})]
ZoneName = Annotated[str, *_field(zone_name, {"type": "string"})]
Timezone = Annotated[str, *_field(timezone, {"type": "string", "examples": ["Europe/Rome"]})]
Host = Annotated[str, *_field(host, {"type": "string"})]  # absolute, whether its dot is typed or not
Hosts = Annotated[tuple[Host, ...], BeforeValidator(one_or_many)]
Mx = Annotated[str, *_field(mx, {"type": "string", "examples": ["10 mx.example.com."]})]
Mxs = Annotated[tuple[Mx, ...], BeforeValidator(one_or_many)]
Ips = Annotated[tuple[Ip, ...], BeforeValidator(one_or_many)]
SpfTerm = Annotated[str, *_field(spf_term, {"type": "string", "examples": ["include:_spf.example.com"]})]
SpfTerms = Annotated[tuple[SpfTerm, ...], BeforeValidator(one_or_many)]
Names = Annotated[tuple[Name, ...], BeforeValidator(one_or_many)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(one_or_many)]


class SectionModel(Model):
    """What every section may say of itself."""

    mode: Mode | None = None  # how far we may go here; unless it is said, as far as the customer's mode lets us
    window: Window | None = None  # changes here are carried out only inside it; by default inside the customer's
