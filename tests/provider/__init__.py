"""mspctl as a provider of Pulumi."""

from mspctl import provider as provider  # before grpc: it sees to it that gRPC leaves forks alone
