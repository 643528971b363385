"""`mspctl inventory collect`: asks hosts what they are made of, and writes it where Git sees what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.assets import Answers
    from mspctl.errors import TargetError
    from mspctl.kinds.assets import Inspected
    from mspctl.load import Estate
    from mspctl.targets import Targets


HELP = """Ask hosts what they are made of, and write inventory/assets/CUSTOMER.yaml.

Hardware, system, packages, what listens, and who else is on their networks. What differs in Git is what changed; a host
that gives no answer keeps what was known of it. Without CUSTOMER, all."""


@click.command("collect", help=HELP)
@click.argument("customers", metavar="[CUSTOMER]...", nargs=-1)
@click.pass_obj
def command(directory: str | None, customers: tuple[str, ...]) -> Exit:
    from mspctl import assets
    from mspctl.cli.workspace import find_root, now
    from mspctl.kinds.assets import Inspected
    from mspctl.load import load
    from mspctl.model.sections.hosts import entries
    from mspctl.moments import Clock
    from mspctl.targets import Targets

    root = find_root(directory)
    estate = load(root, customers, now())
    chosen = {name: customer for name, customer in estate.customers.items() if entries(customer)}
    before = {name: assets.read(root, name) for name in chosen}
    answers = asked(estate, Targets(estate))
    for name, customer in chosen.items():
        if not any(isinstance(answer, Inspected) for answer in answers[name].values()):
            nobody(name, answers[name])  # its file says when hosts were asked: that they could not be is no news for it
            continue
        today = Clock(estate.now, customer.info.timezone).today
        new = assets.collected(customer, before[name], answers[name], today)
        console.say(f"{name}  {assets.write(root, name, new)}")
        for subject, said in assets.changes(before[name], new):
            error = answers[name].get(subject)
            console.say(f"  {subject}  {said}" + (f": {error}" if isinstance(error, Exception) else ""))
    every = [answer for each in answers.values() for answer in each.values()]
    silent = sum(isinstance(answer, Exception) for answer in every)
    console.say(f"{len(every) - silent} of {len(every)} hosts answered.")
    return Exit.UNREACHABLE if silent else Exit.DONE


def nobody(customer: str, answers: Answers) -> None:
    if answers:
        console.say(f"{customer}  no host answered: nothing is written")
    for host, error in answers.items():
        console.say(f"  {host}  {error}")


def asked(estate: Estate, targets: Targets) -> Mapping[str, Answers]:
    """What all hosts that are driven say, by customer and name; target by target, side by side."""
    from mspctl.assets import looked_for
    from mspctl.cli.workspace import WORKERS
    from mspctl.kinds.hosts import full_name
    from mspctl.model.sections.hosts import entries

    by_target: dict[str, dict[str, Sequence[str]]] = {}
    for customer in estate.customers.values():
        for name, entry in entries(customer).items():
            if entry.target and entry.address:
                hosts = by_target.setdefault(entry.target, {})
                hosts[full_name(customer.name, name)] = looked_for(customer)
    with ThreadPoolExecutor(WORKERS) as executor:
        jobs = [executor.submit(_ask, targets, target, hosts) for target, hosts in by_target.items()]
    found = {host: answer for job in jobs for host, answer in job.result().items()}
    return {
        customer.name: {
            name: found[full] for name in entries(customer) if (full := full_name(customer.name, name)) in found
        }
        for customer in estate.customers.values()
    }


def _ask(targets: Targets, target: str, hosts: Mapping[str, Sequence[str]]) -> Mapping[str, Inspected | TargetError]:
    """A target that fails costs only its own hosts."""
    from mspctl.driver import Collects, translated
    from mspctl.errors import TargetError
    from mspctl.kinds.hosts import FACET
    from mspctl.resource import Scope

    try:
        with translated():
            reader = targets.reader(Scope(target, FACET, ""))
            if not isinstance(reader, Collects):
                raise TargetError(f"target {target} cannot say what hosts are made of")
            return reader.collect(hosts)
    except TargetError as error:
        return dict.fromkeys(hosts, error)
