"""`mspctl mail block`: a sender whose mail is refused."""

from __future__ import annotations

from mspctl.cli import editing

HELP = """Put a sender on the block list of one mail domain, and show the plan.

It holds for that domain only. SENDER is a domain, an address, or an IP address or network. DAY is the customer's, as
2027-06-30."""

command = editing.on_list("block", HELP, "Whose mail is refused.")
