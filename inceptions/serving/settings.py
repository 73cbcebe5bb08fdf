"""What a server allows: enters nothing, leaves its limits. Each is an option of `inceptions serve`. Standard library alone."""

from __future__ import annotations

from dataclasses import dataclass, fields

from inceptions.errors import UserError

MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """The limits of a server.

    batch_size: pictures that the engine is given at a time; None is what it runs fastest with. batch_wait_ms: how long a batch that isn't
        full waits for more pictures.
    queue_images: pictures of a model that are on the way at a time, those in the engine included; more are refused with 503.
    timeout_s: from a request's last byte to its answer; heat_map_timeout_s: the same where heat maps are asked for.
    images_per_request, picture_mb, request_mb, megapixels: the most that one request, or one picture, may have.
    held_mb: what all requests together may hold in memory as bytes; connections: how many there may be at a time.
    head_timeout_s, body_timeout_s: how long a client may take to send the head of a request, and then its body.
    heat_maps: pictures that wait for a heat map at a time. watch_s: how often a model folder is looked at for a new version.
    drain_s: how long requests that are on the way have when the server is stopped; linger_s: how long it at least goes on answering that it
        stops, so that whoever shares the load out sees it.
    """

    batch_size: int | None = None
    batch_wait_ms: float = 2.0
    queue_images: int = 128
    timeout_s: float = 10.0
    heat_map_timeout_s: float = 60.0
    images_per_request: int = 64
    picture_mb: float = 20.0
    request_mb: float = 64.0
    megapixels: float = 50.0
    held_mb: float = 512.0
    connections: int = 500
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    heat_maps: int = 8
    watch_s: float = 2.0
    drain_s: float = 30.0
    linger_s: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("batch_wait_ms", "linger_s") else 1 if isinstance(value, int) else 1e-3
            if value is not None and not value >= least:
                raise UserError(f"{field.name} is {value}; it must be at least {least:g}")
        if self.images_per_request > self.queue_images:
            raise UserError(
                f"images_per_request is {self.images_per_request}, more than queue_images, {self.queue_images}: such a request would never "
                "find room; raise the one or lower the other"
            )
