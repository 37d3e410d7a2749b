"""What an API sends by itself, taken in when its signature is right: an ASGI application for whoever serves HTTP.
Belongs here: verifying, leaving out what was sent before, answering once the rest is on disk. Not here: a server,
segments (mounted), what a body means (domains)."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from starlette.types import ASGIApp, Receive, Scope, Send

from data_platform.core.errors import PlatformError
from data_platform.sources.rest.declarations import ApiObject, Webhook

Write = Callable[[Sequence[bytes]], Awaitable[None]]
"""Takes lines, each with its line break, and returns when they are on disk. Raises OSError when they are not."""

MOST_BYTES = 8 << 20
OLDEST = dt.timedelta(hours=25)
"""Of a delivery. SendGrid tries for 24 hours to deliver, and does not say that a later attempt is signed anew: a
shorter bound might refuse what was sent while we were down. What is sent again within it is known by its ids."""
NEWEST = dt.timedelta(minutes=5)
"""So far the sender's clock may be ahead of ours."""
REMEMBERED = 200_000
"""Ids of events, about 30 MB. One that was forgotten, or told before a restart, is a second row of the same event."""
log = logging.getLogger(__name__)


def webhook(declared: Webhook, verify_key: str, write: Write) -> ASGIApp:
    """The application that takes in POSTs of a webhook. `verify_key` is the sender's public key as its settings show
    it: base64 of DER, P-256. Raises PlatformError for any other."""
    return SignedWebhook(declared, _public_key(verify_key), write)


class SignedWebhook:
    """Answers 200 when the events are on disk, or were before; 403 to a wrong signature or a time that is none of now;
    400, 405 and 413 to what no sender means; 503 when the disk does not take it, so that it is sent again."""

    def __init__(self, declared: Webhook, key: ec.EllipticCurvePublicKey, write: Write) -> None:
        self._declared = declared
        self._key = key
        self._write = write
        self._known: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = await self._taken_in(scope, receive) if scope["method"] == "POST" else 405
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _taken_in(self, scope: Scope, receive: Receive) -> int:
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        signature = headers.get(self._declared.signature_header, b"")
        timestamp = headers.get(self._declared.timestamp_header, b"")
        if not signature or not self._is_of_now(timestamp):
            return 403
        body = await _body(receive)
        if body is None:
            return 413
        if not self._is_signed(signature, timestamp + body):
            return 403
        found = [one for one in self._lines(body) if one[0] not in self._known]
        try:
            if found:
                await self._write([line for _, line in found])
        except OSError as error:
            log.error("webhook %s: %s; it is to be sent again", self._declared.name, error)
            return 503
        self._remember([name for name, _ in found if name])
        return 200

    def _is_of_now(self, timestamp: bytes) -> bool:
        try:
            told = dt.datetime.fromtimestamp(int(timestamp), dt.UTC)
        except (ValueError, OverflowError, OSError):
            return False
        return -NEWEST <= dt.datetime.now(dt.UTC) - told <= OLDEST

    def _is_signed(self, signature: bytes, message: bytes) -> bool:
        try:
            self._key.verify(base64.b64decode(signature, validate=True), message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True

    def _lines(self, body: bytes) -> list[tuple[str, bytes]]:
        """(id or nothing, line) of what is in a body, each id once. What was signed and cannot be read is a line too,
        which is rejected where it can be seen; the sender would only send it again."""
        received_at = dt.datetime.now(dt.UTC)
        try:
            objects: list[ApiObject] = list(self._declared.read(body, received_at))
        except ValueError:
            return [("", b" ".join(body.splitlines()) + b"\n")]
        found: dict[object, tuple[str, bytes]] = {}
        for one in objects:
            name = str(one.object_id or "")
            found[name or len(found)] = (name, one.line)
        return list(found.values())

    def _remember(self, names: Sequence[str]) -> None:
        self._known.update(dict.fromkeys(names))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when it is larger than any delivery."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _public_key(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PlatformError(
            "webhook_key is no public key of a signed webhook.",
            "Copy the verification key from the sender's settings as it stands there, without BEGIN and END.",
        )
    return key
