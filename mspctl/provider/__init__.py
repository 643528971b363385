"""
The same drivers as a provider of Pulumi: the program `pulumi-resource-mspctl`, which Pulumi's engine starts.

One type of resource per kind of scope; what Pulumi's state holds is what our ledger would. `shapes` says what a
resource looks like there, `inputs` makes resources of it and judges them, `scopes` plans and carries out, `service`
answers the engine's calls, `serve` is the process around that. Only these two know of gRPC.
"""

import os

# Before grpc is imported: else a driver that forks (ansible-runner does) loses a child now and then.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
