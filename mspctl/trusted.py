"""
What a pull request must not have us contact: a target, or a host, that it makes new or has reached in another way.

Before the merge nobody has agreed to it, and whoever can change an address, a driver, or which secret goes where could
have the secret sent to themselves. So a plan with a base compares where things are with what the base says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mspctl.affected import changed
from mspctl.errors import Error, InputError
from mspctl.git.command import Git
from mspctl.kinds import hosts
from mspctl.kinds.hosts import FACET, Host
from mspctl.load import Estate, load
from mspctl.model import secret_names
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.hosts import entries as entries_of
from mspctl.model.sections.hosts import jumps, reached
from mspctl.resource import Scope

WHERE = ("address", "secrets", "facets", "mail")  # of a target: how it is reached, and with what


def check_merge(root: Path, head: str) -> None:
    """
    Fail unless what is checked out merges `head`: the forge makes that commit when it gets round to it, and until then
    it is one of an earlier `head`, or into another branch. Raises InputError.
    """
    parents = Git(root).call("rev-list", "--parents", "--max-count=1", "HEAD").text.split()[1:]
    if len(parents) != 2 or parents[1] != head:
        raise InputError.at("", f"what is checked out does not merge {head[:12]} (run it again in a minute)")


def check_base(root: Path, base: str, main: Path) -> str:
    """
    The commit of `base`. Fails unless it is in the history of what is checked out in `main`: what somebody says there
    who may push a branch, but not into main, is believed by nobody. Raises InputError.
    """
    commit = Git(root).call("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}").text.strip()
    if not commit or Git(main).call("merge-base", "--is-ancestor", commit, "HEAD").code:
        raise InputError.at("", f"{base} is no commit of main: what is merged into another branch gets no plan")
    return commit


def check_newest(main: Path, commit: str, concerned: Callable[[Sequence[str]], Collection[str]]) -> None:
    """
    Fail when what came into `main` after `commit` concerns the same customers: the forge makes a merge when it gets
    round to it, and until then a plan of it would be of what is not so any more. Raises InputError.
    """
    if names := concerned(changed(Git(main), commit, "HEAD")):
        text = f"has other files of {min(names)} by now than what this would be merged into (run it again in a minute)"
        raise InputError.at("", f"main {text}")


@dataclass(frozen=True, slots=True)
class Trusted:
    """Where the base says that things are."""

    now: Estate
    then: Inventory = field(default_factory=Inventory)
    hosts: Mapping[str, Host] = field(default_factory=dict)  # by full name
    customers: Mapping[str, Customer] = field(default_factory=dict)  # everyone

    def refusal(self, scope: Scope) -> str:
        """Why a scope is not to be contacted; "" when it may be."""
        then, now = self.then.targets.get(scope.target), self.now.inventory.targets.get(scope.target)
        if now is not None and (then is None or any(getattr(then, key) != getattr(now, key) for key in WHERE)):
            how = "is new" if then is None else "is reached otherwise than before"
            return f"{scope.target} {how}: it is contacted once that is merged"
        host = self._host(scope) if scope.facet == FACET and now is not None else ""
        return (
            f"{host} is new, or is reached otherwise than before: it is contacted once that is merged" if host else ""
        )

    def moved(self) -> Iterator[str]:
        """Secrets that would go somewhere else, in words: whoever reviews the change agrees to that, too."""
        before, after = _goes(self.then), _goes(self.now.inventory)
        others = dict(self.then.secrets_beside_targets())
        for name in sorted(before.keys() & after.keys()):
            if new := after[name] - before[name]:
                so_far = ", ".join(sorted(before[name])) or "this machine"
                text = f"will be sent to a new address, {', '.join(sorted(new))}, once this is merged (so far {so_far})"
                yield f"the secret {name} {text}"
        for name in sorted(after.keys() - before.keys()):
            there = ", ".join(sorted(after[name])) or "where its drivers send it"
            named = f" (so far {others[name].partition(':')[0]} names it)" if name in others else ""
            yield f"the secret {name} will be sent to {there} for the first time, once this is merged{named}"
        yield from self._moved_of_customers()

    def _moved_of_customers(self) -> Iterator[str]:
        """Of what customers' files name: what goes to another server, and what somebody else's files named so far."""
        before, after = _of_customers(self.customers), _of_customers(self.now.customers)
        for (customer, name), goes in sorted(after.items()):
            was, once = before.get((customer, name)), "once this is merged"
            there = ", ".join(sorted(goes - (was or set())))
            others = sorted(each for each, called in before if called == name) if was is None else []
            will = f"the secret {name} of {customer} will be"
            if there and was is not None:
                so_far = ", ".join(sorted(was)) or "nowhere else"
                yield f"{will} used at a new address, {there}, {once} (so far {so_far})"
            elif there or others:
                where = f"at {there}" if there else "there"
                named = f" (so far {others[0]} names it)" if others else ""
                yield f"{will} used {where} for the first time, {once}{named}"

    def _host(self, scope: Scope) -> str:
        """The first of a host, and those it is reached through, that is not as it was."""
        customer, name, _ = hosts.parts(scope)
        here = self.now.everyone[customer]
        now = {host.full: host for host in reached(here)}
        way = (hosts.full_name(customer, each) for each in (name, *jumps(entries_of(here), name)))
        return next((full for full in way if _way(now.get(full)) != _way(self.hosts.get(full))), "")


def _goes(inventory: Inventory) -> dict[str, frozenset[str]]:
    """Secret → addresses of the targets that ask for it."""
    found: dict[str, frozenset[str]] = {}
    for target, info in inventory.targets.items():
        for name in info.secrets.values():
            found[name] = found.get(name, frozenset()) | inventory.addresses(target)
    return found


def _of_customers(customers: Mapping[str, Customer]) -> dict[tuple[str, str], frozenset[str]]:
    """Customer and secret → the servers that it goes to. What a baseline names, everybody has as their own."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for customer in customers.values():
        for each in secret_names.named(customer):
            if each.goes or not each.shared:
                key = (customer.name, each.name)
                found[key] = found.get(key, frozenset()) | each.goes
    return found


def _way(host: Host | None) -> tuple[object, ...] | None:
    return (host.address, host.port, host.user, host.keys, host.jump) if host else None


def trusted(now: Estate, base: str) -> Trusted:
    """What `base`, a commit, says; one whose files are wrong is trusted in nothing. Raises InputError for no commit."""
    git = Git(now.root)
    answer = git.call("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if answer.code:
        raise InputError.at("", f"{base!r} is no commit that is here (git fetch it)")
    with checked_out(git, answer.text.strip()) as folder:
        try:
            then = load(folder, [*now.customers.keys() & {each.name for each in (folder / "customers").iterdir()}])
        except (Error, OSError):
            return Trusted(now)
    found = {host.full: host for customer in then.everyone.values() for host in reached(customer)}
    return Trusted(now, then.inventory, found, then.everyone)


@contextmanager
def checked_out(git: Git, commit: str) -> Iterator[Path]:
    """customers/ and inventory/ of a commit, in a folder that is gone afterwards."""
    said = git("ls-tree", "-r", "-z", commit, "--", "customers", "inventory").split("\0")[:-1]
    entries = [[*about.split(" "), path] for about, _, path in (entry.partition("\t") for entry in said)]
    blobs = {
        path: blob for mode, _, blob, path in entries if mode.startswith("100")
    }  # no links: load would refuse them
    contents = git.objects(blobs.values())
    with tempfile.TemporaryDirectory(prefix="mspctl-base-") as folder:
        for path, blob in blobs.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(contents[blob] or b"")
        yield Path(folder)
