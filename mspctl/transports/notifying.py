"""
Messages through Apprise, which knows the services, and the sign of life of a job: one request to one address.

Addresses hold secrets (a token in a path, a password), so no part of one is ever in an error or a log: what a service
says is not repeated, but for the number of its answer. Apprise comes late: it is an extra.
"""

from __future__ import annotations

import http.client
import logging
import re
import urllib.error
import urllib.request
import warnings
from typing import Any

from mspctl.errors import SecretError, TargetError, Unreachable
from mspctl.secrets import Secret

TIMEOUT = 15.0  # seconds, for a sign of life
_ERROR = re.compile(r"\berror=(\d{3})\b")


class _Numbers(logging.Handler):
    """Keeps the numbers of answers; the rest of what Apprise logs may hold what is secret."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found += _ERROR.findall(record.getMessage())


def send(address: Secret, title: str, text: str) -> None:
    """
    One message. Raises SecretError for an address that Apprise cannot use, Unreachable when it was not delivered, and
    TargetError without Apprise.
    """
    logger, numbers = logging.getLogger("apprise"), _Numbers()
    kept = logger.propagate, logger.handlers
    logger.propagate, logger.handlers = False, [numbers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what its plug-ins import
            import apprise

            delivered = _notify(_service(apprise, address), apprise, title, text)
    except ModuleNotFoundError as error:
        if error.name != "apprise":
            raise
        raise TargetError("Apprise is not installed (pip install 'mspctl[notify]')") from None
    finally:
        logger.propagate, logger.handlers = kept
    if not delivered:
        answer = f" (it answered {numbers.found[0]})" if numbers.found else ""
        raise Unreachable(f"it was not delivered: the service refused it or gave no answer{answer}")


def _service(apprise: Any, address: Secret) -> Any:
    asset = apprise.AppriseAsset(
        app_id="mspctl", app_desc="mspctl", app_url="", image_url_mask="", image_url_logo="", async_mode=False
    )
    found = apprise.Apprise.instantiate(address.reveal_text().strip(), asset=asset)
    if found is None:
        raise SecretError(f"secret {address.name} holds no address that Apprise knows (slack://…, mailtos://…)")
    service = apprise.Apprise(asset=asset)  # which turns the text into what this one takes
    service.add(found)
    return service


def _notify(service: Any, apprise: Any, title: str, text: str) -> bool:
    try:
        return bool(service.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT))
    except Exception:  # noqa: BLE001 # whatever a service's plug-in makes of it, its text may hold the address
        return False


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: object) -> None:
        return None


def ping(address: Secret) -> None:
    """Tell a dead man's switch that we live. Raises SecretError or Unreachable."""
    url = address.reveal_text().strip()
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+(?:/[!-~]*)?", url):
        raise SecretError(f"secret {address.name} holds no address (write https://…)")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)
    try:
        with opener.open(url, timeout=TIMEOUT) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        raise Unreachable(f"the address answered {error.code}") from None
    except (OSError, ValueError, http.client.HTTPException):  # whose text may hold the address
        raise Unreachable("the address gave no answer") from None
