"""A new server's address flows into a customer's zone, and into the firewall that lets it in."""

import pulumi
from cloud import Server

from mspctl.pulumi import Firewall, Zone

config = pulumi.Config()
customer, zone = config.require("customer"), config.require("zone")
server = Server("web", location="padova")

site = Zone(
    "site",
    customer=customer,
    target=config.require("name-server"),
    name=zone,
    resources={"rrset": {"www A": {"ttl": 300, "values": [server.ipv4_address]}}},
)
if device := config.get("firewall"):
    rule = {"from": ["wan"], "to": ["lan"], "destination": ["any"], "services": ["tcp/5432"], "action": "accept"}
    rule |= {"source": [server.ipv4_address], "log": False, "until": "", "hours": []}
    Firewall(
        "office",
        customer=customer,
        target=device,
        name=config.require("site"),
        resources={"rule": {"database": rule}},
        opts=pulumi.ResourceOptions(depends_on=[site]),
    )
pulumi.export("address", server.ipv4_address)
