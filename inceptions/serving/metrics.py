"""What is counted, for Prometheus: enters events, leaves the text of `/metrics`. A registry of its own, so that servers don't share one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from inceptions.serving.problems import REASONS

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        here = self._registry
        self.requests = Counter("inceptions_requests", "Requests answered.", ["route", "method", "status"], registry=here)
        self.seconds = Histogram("inceptions_request_seconds", "From head to answer.", ["route"], buckets=_SECONDS, registry=here)
        self.in_flight = Gauge("inceptions_in_flight_requests", "Requests that are being answered.", registry=here)
        self.held = Gauge("inceptions_held_bytes", "Bytes of requests in memory.", registry=here)
        self.refused = Counter("inceptions_refused", "Requests, and pictures among others, refused, by reason.", ["reason"], registry=here)
        self.images = Counter("inceptions_images", "Pictures answered.", ["model"], registry=here)
        self.queue = Gauge("inceptions_queue_images", "Pictures that wait or are in the engine.", ["model"], registry=here)
        self.batches = Histogram("inceptions_batch_images", "Pictures in a batch.", ["model"], buckets=_SIZES, registry=here)
        self.restarts = Counter("inceptions_worker_restarts", "Processes of models that were started again.", ["model"], registry=here)
        self.swaps = Counter("inceptions_new_versions", "New versions of model folders.", ["model", "outcome"], registry=here)
        for reason in REASONS:  # so that each is there from the beginning, at 0
            self.refused.labels(reason)

    def text(self) -> bytes:
        """Return what Prometheus reads."""
        return generate_latest(self._registry)
