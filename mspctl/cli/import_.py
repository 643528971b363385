"""`mspctl import`: write YAML from zone files, octoDNS, a target, a mail server, a firewall, or a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspctl.amounts import count
from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mspctl.cli.workspace import Workspace
    from mspctl.imports import Found
    from mspctl.resource import Resource

FOLDERS = ("octodns", "zonefiles")  # sources that are a folder of files
CSV = "csv"

HELP = """Write YAML from zone files, octoDNS, a target, a mail server, a firewall, or a spreadsheet.

--from octodns PATH and --from zonefiles PATH read a folder with a file per zone; --from TARGET reads
what lives on a target of inventory/targets.yaml, and --from DRIVER does so where one target has that driver; of a
mail server, the domains that --zone names; of a firewall, all rules that others put there, or with PATH what
"nft list ruleset" wrote into that file. --from csv PATH reads mailboxes and groups from a spreadsheet.
Everything that cannot come in is named."""


@click.command("import", help=HELP)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--from", "source", required=True, metavar="SOURCE", help="octodns, zonefiles, csv, a target, a driver.")
@click.option("-c", "--customer", required=True, metavar="NAME", help="Whose they become; made when missing.")
@click.option("-t", "--target", metavar="NAME", help="Where they live; the source itself when it is a target.")
@click.option("--name", default="", metavar="TEXT", help="A new customer's full name.")
@click.option("-z", "--zone", "zones", multiple=True, metavar="ZONE", help="Only this zone, or mail domain.")
@click.option("--generate-passwords", is_flag=True, help="Of a spreadsheet: one for each mailbox, to be handed over.")
@click.option("--site", default="main", metavar="NAME", help="Of a firewall: write firewall/NAME.yaml.")
@click.option(
    "--management",
    multiple=True,
    metavar="ADDRESS",
    help="Of a firewall: from where it is administered, if no rule says it.",
)
@click.option("--outside", multiple=True, metavar="INTERFACE", help="Of a firewall: by it the Internet is reached.")
@click.pass_obj
def command(
    directory: str | None,
    path: Path | None,
    source: str,
    customer: str,
    target: str | None,
    name: str,
    zones: tuple[str, ...],
    generate_passwords: bool,
    site: str,
    management: tuple[str, ...],
    outside: tuple[str, ...],
) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.imports.write import write

    work = Workspace(directory, Selection())
    if source == CSV:
        return import_csv(work, path, customer, target, name, zones, passwords=generate_passwords)
    if device := firewall_target(work, source, target):
        return import_firewall(work, device, customer, site, management, name, path, outside)
    if server := mail_server(work, source):
        return import_mail(work, server, customer, name, zones)
    if source not in FOLDERS or path is None:
        source = _living(work, source)
    target = check_names(work, customer, source, target)
    found = _read(work, source, path)
    only = _only(found, zones)
    console_problems(found)
    written = write(work.root, customer, only, target, name)
    said = f"{len(only):,} zones, {written.rrsets:,} RRsets, {written.values:,} values"
    console.say(f"in:  {found.files:,} files, {found.rrsets:,} RRsets, {found.values:,} values")
    console.say(f"out: {said}, written to customers/{customer}/")
    if not zones:
        _say_rest(found, written.rrsets, written.values)
    Workspace(directory, Selection([customer]))  # what was written loads, or we say so now
    return Exit.PARTLY if found.left_out else Exit.DONE


def _living(work: Workspace, source: str) -> str:
    """The target that is meant: by its own name, or by its driver's when no other target has that driver."""
    from mspctl.errors import InputError
    from mspctl.model.base import nearest

    targets = work.estate.inventory.targets
    able = work.estate.inventory.with_facet("dns")
    driven = [name for name in able if targets[name].facets["dns"].driver == source]
    if source in able or len(driven) == 1:
        return source if source in able else driven[0]
    if driven:
        raise InputError.at("--from", f"{source} drives {len(driven)} targets: {', '.join(driven)} (name one)")
    if source in FOLDERS:
        raise click.UsageError(f"--from {source} needs a PATH")
    drivers = {targets[name].facets["dns"].driver for name in able}
    raise InputError.at(
        "--from", f"there is no source {source}{nearest(source, [*FOLDERS, CSV, *able, *sorted(drivers)])}"
    )


def mail_server(work: Workspace, source: str) -> str:
    """The target whose mailboxes are meant; "" when the source is something else."""
    from mspctl.errors import InputError
    from mspctl.kinds import mail

    holding = work.estate.inventory.with_facet(mail.FACET)
    targets = work.estate.inventory.targets
    found = [name for name in holding if source == targets[name].facets[mail.FACET].driver]
    if source in holding and "dns" not in targets[source].facets:
        return source
    if not found or source in targets:
        return ""
    if len(found) > 1:
        raise InputError.at("--from", f"{source} drives {len(found)} targets: {', '.join(found)} (name one)")
    return found[0]


def firewall_target(work: Workspace, source: str, target: str | None) -> str:
    """The device whose rules are meant; "" when the source is something else."""
    from mspctl.errors import InputError
    from mspctl.kinds.firewall import FACET

    able = work.estate.inventory.with_facet(FACET)
    targets = work.estate.inventory.targets
    if source in able and not {"dns", "mailboxes"} & {*targets[source].facets}:
        return source
    found = [name for name in able if targets[name].facets[FACET].driver == source and target in (None, name)]
    if len(found) > 1:
        raise InputError.at("--from", f"{source} drives {len(found)} targets: {', '.join(found)} (name one)")
    return found[0] if found and source not in targets else ""


def import_firewall(
    work: Workspace,
    target: str,
    customer: str,
    site: str,
    management: tuple[str, ...],
    full_name: str,
    path: Path | None,
    outside: tuple[str, ...],
) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.driver import Grows
    from mspctl.errors import InputError
    from mspctl.fields import name
    from mspctl.imports import firewall
    from mspctl.kinds.firewall import FACET, ZONE
    from mspctl.resource import Scope

    check_customer(customer)
    try:
        name(site)
    except ValueError as error:
        raise InputError.at("--site", str(error)) from None
    reader = work.targets.reader(Scope(target, FACET, ""))
    if not isinstance(reader, Grows):
        raise InputError.at("--from", f"{target} cannot say in our words what others put there")
    found = reader.grown(_text(path) if path else None, outside)
    if not found.taken:
        where = str(path) if path else target
        raise InputError.at("--from", f"{where} has no rules but those that mspctl put there; nothing was written")
    if path and not any(r.fields["outside"] for r in found.resources if r.id.kind == ZONE):
        raise InputError.at("--outside", f"is needed: {path} does not say by which interface the Internet is reached")
    made = firewall.write(work.root, customer, target, site, found, management, full_name)
    if made.told or made.left_out:
        console.problems([*made.told, *made.left_out])
    console.say(f"in:  {count(found.taken, 'rule')} in {', '.join(found.tables)}")
    parts = [count(made.rules, "rule"), count(made.forwards, "forward"), f"{made.raw} raw"]
    console.say(f"out: {', '.join(parts)}, written to {', '.join(made.files)}")
    console.hint(
        "The old tables still count on the device. Apply first, then take them away (docs/firewall-import.md)."
    )
    Workspace(str(work.root), Selection([customer]))  # what was written loads, or we say so now
    return Exit.PARTLY if made.left_out else Exit.DONE


MOST_RULES = 32 * 1024 * 1024  # octets of a file


def _text(path: Path) -> str:
    """Raises InputError."""
    from mspctl.errors import InputError

    try:
        with path.open("rb") as file:
            held = file.read(MOST_RULES + 1)
        if len(held) > MOST_RULES:
            raise InputError.at(str(path), f"is larger than {MOST_RULES // 1024**2} MiB")
        return held.decode("utf-16" if held[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError.at(str(path), "is no text (nft list ruleset >FILE on the device writes it)") from None


def import_mail(work: Workspace, target: str, customer: str, name: str, domains: tuple[str, ...]) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.imports import domains as domains_
    from mspctl.imports import mail
    from mspctl.kinds import mail as kinds
    from mspctl.resource import Scope

    check_customer(customer)
    others = domains_.owners(work.estate, customer)
    found = mail.read(work.targets.reader(Scope(target, kinds.FACET, "")), target, domains, others)
    if found.left_out:
        console.problems(found.left_out)
    files = domains_.write(work.root, customer, found.domains, target, name)
    console.say(f"in:  {len(domains):,} domains, {found.held:,} resources")
    console.say(f"out: {len(found.domains):,} domains, {found.taken:,} of these, written to {', '.join(files)}")
    Workspace(str(work.root), Selection([customer]))  # what was written loads, or we say so now
    return Exit.PARTLY if found.left_out else Exit.DONE


def import_csv(
    work: Workspace,
    path: Path | None,
    customer: str,
    target: str | None,
    name: str,
    zones: tuple[str, ...],
    *,
    passwords: bool,
) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.imports import domains, spreadsheet
    from mspctl.kinds import mail

    if path is None:
        raise click.UsageError(f"--from {CSV} needs a PATH")
    check_customer(customer)
    target = _holding(work, target, mail.FACET, "mailboxes")
    found = spreadsheet.read(path, zones, passwords=passwords)
    if found.warnings:
        console.problems(found.warnings)
    files = domains.write(work.root, customer, found.domains, target, name)
    boxes, lists = found.count(mail.MAILBOX), found.count(mail.ALIAS)
    console.say(
        f"in:  {count(found.rows, 'row')}" + (f", {found.elsewhere:,} of other domains" if found.elsewhere else "")
    )
    said = (
        f"{count(boxes, 'mailbox', 'mailboxes')}, {lists:,} aliases and groups in {count(len(found.domains), 'domain')}"
    )
    console.say(f"out: {said}, written to {', '.join(files)}")
    if found.unread:
        console.hint(f"Columns that were not read: {', '.join(found.unread)}")
    _say_passwords(found.secret, boxes, passwords=passwords)
    Workspace(str(work.root), Selection([customer]))  # what was written loads, or we say so now
    return Exit.PARTLY if found.warnings else Exit.DONE


def _say_passwords(column: str, boxes: int, *, passwords: bool) -> None:
    if column:
        console.hint(f"The column {column} was not read: YAML holds no passwords. Delete the file when you are done.")
    if boxes and not passwords:
        console.hint("No password was made for new mailboxes, so nobody can log in (--generate-passwords makes them).")


def _holding(work: Workspace, target: str | None, facet: str, what: str) -> str:
    """The target that is meant; the only one that can hold it, unless it is said."""
    from mspctl.errors import InputError
    from mspctl.model.base import nearest

    able = work.estate.inventory.with_facet(facet)
    chosen = target or (able[0] if len(able) == 1 else "")
    if chosen not in able:
        text = f"{chosen} holds no {what}" if chosen else f"is needed: which target do the {what} live on?"
        raise InputError.at("--target", text + nearest(chosen, able))
    return chosen


def check_names(work: Workspace, customer: str, source: str, target: str | None) -> str:
    """The target, after all names were found to be right."""
    check_customer(customer)
    own = source if source in work.estate.inventory.with_facet("dns") else None
    return _holding(work, target or own, "dns", "zones")


def check_customer(customer: str) -> None:
    from mspctl.errors import InputError
    from mspctl.fields import name

    try:
        name(customer)
    except ValueError as error:
        raise InputError.at("--customer", str(error)) from None


def _read(work: Workspace, source: str, folder: Path | None) -> Found:
    from importlib import import_module

    from mspctl.imports import target as from_target
    from mspctl.resource import Scope

    if source in FOLDERS and folder is not None:
        found: Found = import_module(f"mspctl.imports.{source}").read(folder)
        return found
    return from_target.read(work.targets.reader(Scope(source, "dns", "")), source, "dns")


def _only(found: Found, zones: tuple[str, ...]) -> dict[str, Sequence[Resource]]:
    from mspctl.errors import InputError
    from mspctl.model.base import nearest

    for zone in zones:
        if zone not in found.zones:
            raise InputError.at("--zone", f"{zone} was not found{nearest(zone, found.zones)}")
    return {zone: resources for zone, resources in found.zones.items() if not zones or zone in zones}


def console_problems(found: Found) -> None:
    if found.left_out or found.warnings:
        console.problems([*found.warnings, *found.left_out])


def _say_rest(found: Found, rrsets: int, values: int) -> None:
    """What did not come in, counted against what was found: the two must agree."""
    if found.doubled:
        console.say(f"     {found.doubled:,} values stood twice and are written once")
    if found.left_out:
        left = found.rrsets - rrsets
        console.say(f"left out: {left:,} RRsets, {found.values - values - found.doubled:,} values (named above)")
