"""`mspctl mail allow`: a sender whose mail is not taken for spam."""

from __future__ import annotations

import click

from mspctl.cli import editing

HELP = """Put a sender on the allow list of one mail domain, and show the plan.

It holds for that domain only. SENDER is a domain, an address, or an IP address or network; everybody can write any
name, so a name needs --must-pass. DAY is the customer's, as 2027-06-30."""

command = editing.on_list(
    "allow",
    HELP,
    "Whose mail is not taken for spam.",
    click.option("--must-pass", type=click.Choice(["dkim", "spf"]), help="How a message proves that it is from there."),
)
