"""
Mailboxes and what belongs to them → `mail.yaml`: entries of a new domain (import), or edits of what is there.

What a server holds and YAML cannot say (an alias that is switched off, say) is refused by name. What was edited is read
again as `load` reads it, and must come to what was meant, and change nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mspctl import edit, strict_yaml
from mspctl.desired import Rewritten
from mspctl.desired.mail import declare
from mspctl.desired.mail.filtering import spoken
from mspctl.errors import Error, InputError
from mspctl.fields import quota, rate, size, spoken_size
from mspctl.kinds import filter as filters
from mspctl.kinds import mail, shown
from mspctl.load import Estate
from mspctl.model.base import validate
from mspctl.model.customer import Customer
from mspctl.model.layers import merge
from mspctl.model.sections.mail import Section, domains_of
from mspctl.moments import DAY, Moment, timezone
from mspctl.resource import UNKNOWN, Id, Resource, Value
from mspctl.strict_yaml import Map, Problems

ROUNDING = 2**20  # octets; a server that counts in MB holds up to so much more than it was told


def rewrite(estate: Estate, customer: str, domain: str, adopted: Mapping[Id, Resource | None]) -> Rewritten:
    """The customer's mail.yaml, declaring `adopted` (None: no longer) besides all else that it says."""
    owner = estate.customers[customer]
    file = f"customers/{customer}/mail.yaml"
    text = (estate.root / file).read_bytes().decode() if (estate.root / file).is_file() else ""
    data = strict_yaml.parse(text, file, Problems())
    key = next((key for name, key, _ in domains_of(owner) if name == domain), domain)
    entry = strict_yaml.find_value(data, ("domains", key))
    if not isinstance(entry, Map):
        raise InputError.at(file, f"says nothing of {domain} (it comes from a baseline)")
    editor = DomainEditor(entry, domain)
    filtered = FilterEditor(editor.entry, owner.info.timezone)
    for id_, resource in in_order(adopted):
        try:
            (filtered if id_.kind.startswith(f"{filters.FACET}.") else editor).put(id_, resource)
        except ValueError as error:
            raise InputError.at(file, f"{id_.name} {error}; change it by hand, or undo it: apply --revert") from None
    edits = [edit.Rename(("domains", key, "mailboxes", old), new) for old, new in editor.renamed]
    after = edit.edit(text, [*edits, edit.Set(("domains", key), editor.entry)], file=file)
    _verify(estate, owner, domain, after, file, adopted)
    return Rewritten(file, text, after, len(adopted))


def in_order(adopted: Mapping[Id, Resource | None]) -> list[tuple[Id, Resource | None]]:
    """Aliases go before their mailbox, and come after it; a mailbox is renamed before its old name goes."""

    def rank(item: tuple[Id, Resource | None]) -> tuple[int, Id]:
        id_, resource = item
        if id_.kind != mail.MAILBOX:
            return (4 if resource else 0), id_
        return (3 if resource is None else 1 if resource.was else 2), id_

    return sorted(adopted.items(), key=rank)


def _verify(
    estate: Estate, owner: Customer, domain: str, text: str, file: str, adopted: Mapping[Id, Resource | None]
) -> None:
    before = _declared(estate, owner, domain)
    after = _declared(estate, _reread(estate, owner, text, file), domain)
    wrong = [i.name for i, meant in adopted.items() if not _same(after.get(i), meant)]
    others = {*before, *after} - adopted.keys()
    wrong += [i.name for i in sorted(others) if _fields(before.get(i)) != _fields(after.get(i))]
    if wrong:
        raise Error(f"{file}: the live values cannot be written there ({', '.join(wrong)}); nothing was changed")


def _declared(estate: Estate, owner: Customer, domain: str) -> dict[Id, Resource]:
    made = declare(owner, estate.inventory, {}, estate.now)
    return {r.id: r for d in made if d.scope.name == domain for r in d.resources}


def _reread(estate: Estate, owner: Customer, text: str, file: str) -> Customer:
    problems = Problems()
    data = strict_yaml.parse(text, file, problems)
    below = estate.inventory.baselines.get(owner.info.baseline or "", Map()).get("mail")
    merged = merge(below, data) if isinstance(below, Map) and isinstance(data, Map) else data
    model = validate(Section, merged, file, problems)
    if problems.errors or model is None:
        raise Error(f"{file}: the live values cannot be written there ({problems.errors[0].text}); nothing was changed")
    return replace(owner, sections={**owner.sections, "mail": model}, data={**owner.data, "mail": merged})


def _fields(resource: Resource | None) -> Mapping[str, Value] | None:
    return resource.fields if resource else None


def _same(found: Resource | None, meant: Resource | None) -> bool:
    """Whether what YAML says now is what was meant, as far as that can be known."""
    if found is None or meant is None:
        return found is meant
    return all(value is UNKNOWN or _rounded(found.fields.get(name), value) for name, value in meant.fields.items())


def _rounded(said: Value | None, live: Value) -> bool:
    if isinstance(said, int) and isinstance(live, int) and not isinstance(live, bool):
        return said == live or (said > 0 and 0 < live - said < ROUNDING)
    return said == live or (said is None and live == "")


class DomainEditor:
    """One domain's entry as it will be. `put` raises ValueError for what YAML cannot say."""

    def __init__(self, entry: Mapping[str, Any], domain: str) -> None:
        self.entry: dict[str, Any] = dict(entry)
        self.domain = domain
        self.renamed: list[tuple[str, str]] = []

    def put(self, id_: Id, live: Resource | None) -> None:
        if live is not None and id_.kind in (mail.ALIAS, mail.ALIAS_DOMAIN, mail.DOMAIN) and not live.fields["enabled"]:
            raise ValueError("is switched off, which YAML cannot say")
        if live is not None and id_.kind in (mail.MAILBOX, mail.ALIAS) and id_.name != mail.CATCH_ALL:
            _check_name(id_.name)
        if id_.kind == mail.MAILBOX:
            self._put_mailbox(id_.name, live)
        elif id_.kind == mail.ALIAS:
            self._put_alias(id_.name, live)
        elif id_.kind == mail.ALIAS_DOMAIN:
            self._put_alias_domain(id_.name, live)
        else:
            self._put_limits(live)

    # -- mailboxes --------------------------------------------------------------------------------------------

    def _put_mailbox(self, local: str, live: Resource | None) -> None:
        if self._key("leavers", local):
            raise ValueError("has left, and its mailbox is as its leaving says")
        boxes = dict(self.entry.get("mailboxes") or {})
        key = self._key("mailboxes", local)
        if live is None:
            if key is None:
                return  # renamed back already
            del boxes[key]
        else:
            was = self._key("mailboxes", live.was.name) if live.was else None
            if was:
                self.renamed.append((was, local))
                boxes = {local if each == was else each: value for each, value in boxes.items()}
            boxes[key or local] = self._mailbox(boxes.get(key or local) or {}, live)
        self._set("mailboxes", boxes)

    def _mailbox(self, old: Mapping[str, Any], live: Resource) -> dict[str, Any]:
        entry, fields = dict(old), live.fields
        if "name" in fields:
            _set(entry, "name", fields["name"])
        said = fields.get("quota")
        if isinstance(said, int) and not _rounded(quota(entry["quota"]) if "quota" in entry else 0, said):
            _set(entry, "quota", spoken_size(said) if said else "")
        if why := unsaid_share(live, self.domain):
            raise ValueError(why)
        for name in ("forwards", "shared_with"):
            if fields.get(name, UNKNOWN) is not UNKNOWN:
                _set(entry, name, self._members(entry.get(name), mail.addresses(fields[name])))
        enabled, forwards = fields.get("enabled", True), fields.get("forwards")
        _set(entry, "enabled", "" if enabled else "false")
        _set(entry, "keep_copy", "false" if forwards and enabled and not fields.get("keep_copy", True) else "")
        password = fields.get("password")
        if password is not None and password is not UNKNOWN:
            entry["password"] = _password(password)
        if live.was is not None:
            entry["was"] = live.was.name
        return entry

    # -- aliases, groups, the catch-all -----------------------------------------------------------------------

    def _put_alias(self, local: str, live: Resource | None) -> None:
        to = mail.addresses(live.fields["to"]) if live else []
        if local == mail.CATCH_ALL:
            self._set("catch_all", self._members(self.entry.get("catch_all"), to))
            return
        group = self._key("groups", local)
        own = [a.partition("@")[0] for a in to if a.endswith(f"@{self.domain}")]
        mailbox = self._key("mailboxes", own[0]) if len(to) == 1 and own and not group else None
        for key, box in dict(self.entry.get("mailboxes") or {}).items():
            names = _listed(box.get("aliases"))
            if any(mail.fold_local(name) == local for name in names) and key != mailbox:
                self._set_aliases(key, [name for name in names if mail.fold_local(name) != local])
            elif key == mailbox and not any(mail.fold_local(name) == local for name in names):
                self._set_aliases(key, [*names, local])
        groups = dict(self.entry.get("groups") or {})
        if to and not mailbox:
            groups[group or local] = self._members(groups.get(group or local), to)
        elif group:
            del groups[group]
        self._set("groups", groups)

    def _set_aliases(self, key: str, names: Sequence[str]) -> None:
        box = dict(self.entry["mailboxes"][key])
        _set(box, "aliases", [*names])
        self._set("mailboxes", {**self.entry["mailboxes"], key: box})

    def _members(self, typed: Any, live: Iterable[str]) -> list[str]:
        """The live addresses, those that stand there spelled and ordered as before; who left may stay named."""
        left, members = {*live}, []
        for each in _listed(typed):
            address = self._folded(each)
            local, _, domain = address.partition("@")
            if address in left or (domain == self.domain and self._key("leavers", mail.base_of(local))):
                left.discard(address)
                members.append(each)
        return [*members, *(self._typed(address) for address in sorted(left))]

    def _folded(self, typed: str) -> str:
        return mail.fold_address(typed) if "@" in typed else f"{mail.fold_local(typed)}@{self.domain}"

    def _typed(self, address: str) -> str:
        """An address as people write it: within the domain, its name."""
        if not mail.is_address(address):
            raise ValueError(f"sends mail to {address!r}, which is no address")
        local, _, domain = address.partition("@")
        return local if domain == self.domain and "+" not in local else address

    # -- the domain -------------------------------------------------------------------------------------------

    def _put_alias_domain(self, name: str, live: Resource | None) -> None:
        others = [each for each in _listed(self.entry.get("alias_domains")) if _zone(each) != name]
        self._set("alias_domains", [*others, name] if live else others)

    def _put_limits(self, live: Resource | None) -> None:
        old = dict(self.entry.get("limits") or {})
        fields = live.fields if live else mail.USUAL
        mailboxes, total = fields["mailboxes"], fields["quota"]
        assert isinstance(mailboxes, int), "its kind says so"
        assert isinstance(total, int), "its kind says so"
        if mailboxes < 0 or total < 0:
            raise ValueError("allows no mailboxes at all, which YAML cannot say")
        _set(old, "mailboxes", str(mailboxes) if mailboxes else "")
        if not _rounded(quota(old["quota"]) if "quota" in old else 0, total):
            _set(old, "quota", spoken_size(total) if total else "")
        self._set("limits", old)

    # -- entries ----------------------------------------------------------------------------------------------

    def _key(self, kind: str, local: str) -> str | None:
        """How the file spells a name, if it is there."""
        return next((key for key in self.entry.get(kind) or {} if mail.fold_local(key) == local), None)

    def _set(self, name: str, value: Any) -> None:
        _set(self.entry, name, value)


class FilterEditor:
    """The same for what the filter holds; it shares the entry. `put` raises ValueError for what YAML cannot say."""

    def __init__(self, entry: dict[str, Any], zone: str) -> None:
        self.entry = entry
        self.zone = zone

    def put(self, id_: Id, live: Resource | None) -> None:
        if id_.kind in filters.LISTS:
            self._put_entry(id_, live)
        elif id_ == filters.LIMITS:
            self._put_limits(live)
        elif id_.kind == filters.DKIM:
            self._put_key(filters.selector_of(id_), live)
        else:
            raise ValueError("follows from the domains and selectors that are declared")

    def _put_entry(self, id_: Id, live: Resource | None) -> None:
        name = "allow" if id_.kind == filters.ALLOW else "block"
        listed = self.entry.get(name)
        if isinstance(listed, Mapping):
            raise ValueError("is in a list that only says what it changes in its baseline's")
        entries = {filters.fold_sender(each["from"]): each for each in listed or ()}
        if live is None:
            entries.pop(id_.name, None)
        else:
            entries[id_.name] = self._entry(entries.get(id_.name) or {"from": id_.name}, live)
        _set(self.entry, name, [*entries.values()])

    def _entry(self, old: Mapping[str, Any], live: Resource) -> dict[str, Any]:
        entry, fields = dict(old), dict(live.fields)
        if not fields["why"]:
            raise ValueError("says nowhere why it is there")
        until = self._until(str(fields.pop("until")), entry.get("until"))
        for field in ("must_pass", "why"):
            _set(entry, field, fields.pop(field, ""))
        _set(entry, "until", until)
        for field, value in fields.items():
            _set(entry, field, value)
        return entry

    def _until(self, live: str, typed: str | None) -> str:
        """The day or the time at which it ends; as it is typed already where that is the same."""
        if not live:
            return ""
        if typed and spoken(Moment.parse(typed), self.zone) == live:
            return typed
        local = datetime.strptime(live, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).astimezone(timezone(self.zone))
        for text in map(str, (Moment(local.date() - DAY), Moment(local.date(), local.time()))):
            if spoken(Moment.parse(text), self.zone) == live:
                return text
        raise ValueError(f"ends at {live}, and times are whole minutes")

    def _put_limits(self, live: Resource | None) -> None:
        fields = live.fields if live else {"message_size": 0, "sending_rate": ""}
        octets, limits = fields["message_size"], dict(self.entry.get("limits") or {})
        assert isinstance(octets, int), "its kind says so"
        if octets != (size(limits["message_size"]) if "message_size" in limits else 0):
            _set(limits, "message_size", spoken_size(octets) if octets else "")
        if fields["sending_rate"] != (rate(limits["sending_rate"]) if "sending_rate" in limits else ""):
            _set(limits, "sending_rate", fields["sending_rate"])
        _set(self.entry, "limits", limits)

    def _put_key(self, selector: str, live: Resource | None) -> None:
        if "publish" not in self.entry:
            raise ValueError("is a key for a domain of which nothing is published")
        publish = dict(self.entry["publish"] or {})
        old = [each for each in _listed(publish.get("old_selectors")) if each != selector]
        if live is None and len(old) == len(_listed(publish.get("old_selectors"))):
            raise ValueError("is gone, and its domain signs with it")
        _set(publish, "old_selectors", [*old, selector] if live else old)
        self.entry["publish"] = publish


def unsaid_share(mailbox: Resource, domain: str) -> str:
    """Why YAML cannot say who uses a mailbox: it names mailboxes of the same domain, and all of the rights."""
    for person in mail.addresses(mailbox.fields.get("shared_with")):
        if not mail.is_address(person) or person.partition("@")[2] != domain:
            return f"shares with {person!r}, which YAML cannot say"
    return ""


def _check_name(local: str) -> None:
    try:
        mail.fold_local(local)
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{shown(local)} ")) from None


def _set(entry: dict[str, Any], name: str, value: Any) -> None:
    """A value, or for none of it no key."""
    if value:
        entry[name] = value
    else:
        entry.pop(name, None)


def _password(value: Value) -> Any:
    name, rev = mail.which_password(value)
    if name:
        return {"secret": name, "rev": str(rev)}
    return mail.GENERATED if rev == 1 else {"rev": str(rev)}


def _listed(typed: Any) -> list[str]:
    if isinstance(typed, Mapping):
        raise ValueError("is in a list that only says what it changes in its baseline's")
    return [] if typed is None else [typed] if isinstance(typed, str) else [*typed]


def _zone(typed: str) -> str:
    return mail.fold_address(f"x@{typed}").partition("@")[2]
