"""
A stand-in for Bitdefender GravityZone: it answers as the vendor documents its public API, and is nobody's tenant.

https://www.bitdefender.com/business/support/en/77209-125277-public-api.html. It can only show that our client does what
we read there.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "an-example-key-of-gravityzone"
INHERITED = "Default policy"
AGENT = {
    "engineVersion": "7.61184",
    "lastUpdate": "2027-03-14T13:40:06",
    "licensed": 1,
    "productOutdated": False,
    "productVersion": "6.2.3.569",
    "signatureOutdated": False,
}


class Wrong(Exception):
    """Told as an error of JSON-RPC."""


class GravityZone:
    def __init__(self) -> None:
        self.policies = {f"p{n}": name for n, name in enumerate((INHERITED, "Servers", "Mail", "Strict"))}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.licence: dict[str, Any] = {
            "subscriptionType": 2,
            "expiryDate": "2027-05-31T00:00:00",
            "usedSlots": 2,
            "totalSlots": 25,
        }
        self.broken: dict[str, Any] = {}  # method → what it answers instead
        self.refused = ""  # an endpoint, or a group of them, to which nothing is assigned
        self.pages = 2  # entries on one; the documented limit is higher
        self.asked: list[str] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                log_in = f"Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}"
                status, said = 401, {"message": "no"}
                if self.headers.get("Authorization") == log_in:
                    status, said = 200, stand_in.answer(self.path, body)
                content = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}/api"

    def add(self, group: str, *names: str) -> None:
        for name in names:
            self.endpoints[f"{group}-{name}"] = {
                "id": f"{group}-{name}",
                "name": name.upper(),
                "group": {"id": group, "name": group},
                "agent": dict(AGENT),
                "malwareStatus": {"detection": False, "infected": False},
                "modules": {"antimalware": True, "firewall": False},
                "policy": {"id": "p0", "name": INHERITED, "applied": True},
            }

    def give(self, endpoint: str, policy: str) -> None:
        id_ = next(id_ for id_, name in self.policies.items() if name == policy)
        self.endpoints[endpoint]["policy"] = {"id": id_, "name": policy, "applied": True}

    def answer(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        method, module = body["method"], path.removeprefix("/api/v1.0/jsonrpc/")
        self.asked.append(method)
        frame = {"jsonrpc": "2.0", "id": body["id"]}
        try:
            if method in self.broken:
                return frame | {"result": self.broken[method]}
            do = getattr(self, f"_{module}_{method}", None)
            if do is None:
                return frame | {"error": {"code": -32601, "message": "Method not found"}}
            return frame | {"result": do(**body["params"])}
        except (Wrong, TypeError) as error:
            details = {"code": -32602, "message": "Invalid params", "data": {"details": str(error)}}
            return frame | {"error": details}

    def _paged(self, items: list[Any], page: int, perPage: int) -> dict[str, Any]:  # noqa: N803
        size = min(perPage, self.pages)
        count = -(-len(items) // size) or 1
        shown = items[(page - 1) * size : page * size]
        return {"page": page, "pagesCount": count, "perPage": size, "total": len(items), "items": shown}

    def _network_getEndpointsList(  # noqa: N802
        self,
        parentId: str,  # noqa: N803
        isManaged: bool,  # noqa: N803
        filters: object,
        page: int,
        perPage: int,  # noqa: N803
    ) -> dict[str, Any]:
        mine = [e for e in self.endpoints.values() if e["group"]["id"] == parentId]
        items = [{"id": e["id"], "name": e["name"], "isManaged": isManaged, "machineType": 1} for e in mine]
        return self._paged(items, page, perPage)

    def _network_getManagedEndpointDetails(self, endpointId: str) -> dict[str, Any]:  # noqa: N802, N803
        if endpointId not in self.endpoints:
            raise Wrong(f"The endpoint {endpointId} is not managed.")
        return deepcopy(self.endpoints[endpointId])

    def _network_assignPolicy(  # noqa: N802
        self,
        targetIds: list[str],  # noqa: N803
        inheritFromAbove: bool = True,  # noqa: N803
        policyId: str = "",  # noqa: N803
    ) -> bool:
        if bool(policyId) is inheritFromAbove:
            raise Wrong("You can not use inheritFromAbove with policyId.")
        if any(self.refused in (each, self.endpoints[each]["group"]["id"]) for each in targetIds):
            return False
        for each in targetIds:
            self.give(each, self.policies[policyId or "p0"])
        return True

    def _policies_getPoliciesList(self, page: int, perPage: int) -> dict[str, Any]:  # noqa: N802, N803
        items = [{"id": id_, "name": name, "companyId": "c", "companyName": "c"} for id_, name in self.policies.items()]
        return self._paged(items, page, perPage)

    def _licensing_getLicenseInfo(self) -> dict[str, Any]:  # noqa: N802
        return self.licence


@contextmanager
def gravityzone() -> Iterator[GravityZone]:
    made = GravityZone()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()
