"""
For programs of Pulumi: a class for each kind of scope, and `Customer`, which is all that a customer's YAML declares.

    import pulumi
    from mspctl.pulumi import Customer

    Customer(pulumi.get_stack())
"""

from mspctl.pulumi.customer import Customer as Customer
from mspctl.pulumi.resources import *  # noqa: F403 (made from the schema: it says itself what it has)
from mspctl.pulumi.scoped import Provider as Provider
