"""What is refused, and how that is said: enters a reason, leaves problem details (RFC 9457) that say what to do."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from inceptions.names import shown

MEDIA_TYPE = "application/problem+json"
REASONS: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request can't be read"),
    "unauthorized": (401, "The token is missing or another"),
    "not_found": (404, "There is no such thing here"),
    "method": (405, "This is asked for in another way"),
    "slow": (408, "The request came too slowly"),
    "too_large": (413, "The request is too large"),
    "too_many_images": (413, "There are too many pictures in one request"),
    "too_many_pixels": (413, "The picture has too many pixels"),
    "media_type": (415, "The request is of a kind that isn't taken"),
    "invalid": (422, "The request asks for what can't be"),
    "unreadable": (422, "The picture can't be read"),
    "head_too_large": (431, "The head of the request is too large"),
    "internal": (500, "The server made a mistake"),
    "no_heat_maps": (501, "Heat maps aren't installed"),
    "busy": (503, "The server holds as much as it may"),
    "queue_full": (503, "The queue is full"),
    "deadline": (503, "The answer took too long"),
    "draining": (503, "The server is being stopped"),
    "starting": (503, "The model is being started"),
    "worker_lost": (503, "The process that runs the model ended"),
}
"""By name, which is the label of the metric too: the status, and the title."""


class Problem(Exception):
    """A request, or a picture of one, that is refused."""

    def __init__(self, reason: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail
        self.status, self.title = REASONS[reason]
        self.headers = {**({"retry-after": "1"} if self.status == HTTPStatus.SERVICE_UNAVAILABLE else {}), **(headers or {})}

    def details(self, path: str) -> dict[str, Any]:
        """Return the problem details; for clients of the Open Inference Protocol, `error` says the same."""
        details = {
            "type": f"/docs#{self.reason}",
            "title": self.title,
            "status": self.status,
            "detail": shown(self.detail),
            "instance": shown(path),
        }
        return {**details, "error": details["detail"]} if path.startswith("/v2") else details

    def to_bytes(self, path: str) -> bytes:
        """Return the problem details as JSON."""
        return json.dumps(self.details(path)).encode()


def mistake() -> Problem:
    """Return the problem of a request that the server can't answer by a fault of its own, of which its log has more."""
    return Problem("internal", "the server made a mistake, which is in its log; try again, or another picture")


def of_status(status: int, detail: str, headers: dict[str, str] | None = None) -> Problem:
    """Return the problem that a status of Starlette's means."""
    reasons = {404: "not_found", 405: "method", 413: "too_large", 415: "media_type"}
    reason = reasons.get(status, "internal" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "bad_request")
    return Problem(reason, detail, headers=headers)
