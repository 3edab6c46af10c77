"""A webhook POST -> a delivery. Pure: headers and raw bytes in, a delivery or a refusal out.

The signature covers the raw body only, so the event's name and the delivery's id are a stranger's words until they are compared with it.
Source: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from potato.forges.github.normalise import MAX_BYTES
from potato.ports import Delivery

_SIGNATURE: Final = re.compile(rb"sha256=([0-9a-f]{64})")
_EVENT: Final = re.compile(rb"[a-z][a-z0-9_]{0,63}")
_NEVER: Final = frozenset({b"schedule", b"pull_request_target", b"workflow_call"})
"""Events of GitHub Actions only: under such a name a signed delivery of another event would be sent again."""

_ID: Final = re.compile(rb"[!-~]{1,200}")
_CONTENT_TYPE: Final = re.compile(rb"application/json[ \t]*(?:;[ \t]*charset=\"?utf-8\"?[ \t]*)?", re.IGNORECASE)
_WANTED: Final = (b"x-hub-signature-256", b"x-github-event", b"x-github-delivery", b"content-type", b"content-encoding", b"content-length")


class Refused(Exception):  # noqa: N818 - it names what happened to the request
    """`status` is HTTP's, `code` stable, the message fit to show."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers say, unverified until the body is there."""

    unverified_event: str
    unverified_delivery_id: str
    signature: bytes


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Check everything that needs no body, so that nothing is read for a request that cannot be accepted. Raises `Refused`."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _WANTED and found.setdefault(name, value) is not value:
            raise Refused(400, "repeated-header", f"the header {name.decode()} stands there twice.")
    length = found.get(b"content-length", b"0")
    if not length.isdigit():
        raise Refused(400, "bad-length", "Content-Length is no number.")
    if len(length) > 12 or int(length) > MAX_BYTES:  # noqa: PLR2004 - digits of any size that is bearable
        raise Refused(413, "payload-too-large", f"GitHub's limit is {MAX_BYTES:,} bytes.")
    if found.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Refused(415, "encoded-body", "a body with a Content-Encoding is not decoded; GitHub sends none.")
    if not _CONTENT_TYPE.fullmatch(found.get(b"content-type", b"").strip()):
        raise Refused(415, "bad-content-type", "set the webhook's content type to application/json.")
    signature = _SIGNATURE.fullmatch(found.get(b"x-hub-signature-256", b""))
    if not signature:
        raise Refused(401, "no-signature", "there is no X-Hub-Signature-256; set a secret for the webhook.")
    event, delivery_id = found.get(b"x-github-event", b""), found.get(b"x-github-delivery", b"")
    if event in _NEVER:
        raise Refused(400, "bad-header", "GitHub sends no webhook for this event.")
    if not _EVENT.fullmatch(event) or not _ID.fullmatch(delivery_id):
        raise Refused(400, "bad-header", "X-GitHub-Event or X-GitHub-Delivery is missing or not as GitHub sends them.")
    return Head(event.decode(), delivery_id.decode(), signature[1])


def verify(head: Head, body: bytes, secrets: Sequence[bytes]) -> Delivery:
    """The delivery, if one of the secrets signed exactly these bytes. Every secret is tried, whichever fits. Raises `Refused`."""
    fits = False
    for secret in secrets:
        expected = hmac.digest(secret, body, "sha256").hex().encode()
        fits |= hmac.compare_digest(expected, head.signature)
    if not fits:
        raise Refused(401, "bad-signature", "the signature is not of this body and our secret.")
    return Delivery(head.unverified_delivery_id, head.unverified_event, body, "webhook")
