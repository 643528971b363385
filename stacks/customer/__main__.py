"""All that one customer's YAML declares: `pulumi stack init CUSTOMER`, then `pulumi preview` and `pulumi up`."""

import pulumi

from mspctl.pulumi import Customer

customer = Customer(pulumi.get_stack())
for (facet, name), scope in customer.scopes.items():
    pulumi.export(f"{facet} {name}", scope.outputs)
