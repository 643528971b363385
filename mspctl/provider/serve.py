"""
The process that Pulumi's engine starts: `pulumi-resource-mspctl [--logtostderr] [-v=N] [--tracing ADDR] ENGINE`.

The first line of its output is the port, and nothing may stand before it. It ends when the engine says so, and when
the engine is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import signal
import sys

from mspctl import ending

GRACE = 4  # seconds for what was begun; the engine waits five
MOST = 400 << 20  # octets of a message, as the engine has it


def main() -> None:
    if importlib.util.find_spec("pulumi") is None or importlib.util.find_spec("grpc") is None:
        sys.exit("pulumi-resource-mspctl: the package pulumi is not installed (pip install 'mspctl[pulumi]')")
    out = os.dup(1)
    os.dup2(2, 1)  # whatever prints, prints to stderr
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--logtostderr", action="store_true")
    parser.add_argument("-v")
    parser.add_argument("--tracing")
    parser.add_argument("engine", nargs="?", default="")
    try:
        asyncio.run(_serve(parser.parse_known_args()[0].engine, out))
    finally:
        ending.end()
    os._exit(0)  # a driver that hangs is not waited for


async def _serve(engine: str, out: int) -> None:
    import grpc.aio
    from pulumi.runtime.proto import provider_pb2_grpc

    from mspctl.provider.service import Service

    parent = os.getppid()
    service = Service(engine)
    sizes = [("grpc.max_receive_message_length", MOST), ("grpc.max_send_message_length", MOST)]
    server = grpc.aio.server(options=sizes)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    os.write(out, f"{port}\n".encode())
    while not done.is_set() and os.getppid() == parent:  # an engine that was killed leaves no orphan
        try:
            await asyncio.wait_for(done.wait(), 1)
        except TimeoutError:
            continue
    service.stop.set()
    await server.stop(grace=GRACE)
    service.pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    main()
