"""A small server of the page, for the tests: its files, and answers as `inceptions serve` gives them, made up."""

import base64
import io
import json
import time
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

import inceptions
from tests.page.file_server import ThreadedServer

PAGE = Path(inceptions.__file__).parent / "page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript"}
TYPES |= {".svg": "image/svg+xml", ".json": "application/json", ".wasm": "application/wasm"}
POLICY = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'"
CLASSES = ["amber", "blue", "green", "<b>bold</b>", "a class with a name that is quite long, longer than most"]
PROBABILITIES = [0.712, 0.251, 0.03, 0.0065, 0.0005]


def card(name: str, **changes) -> dict:
    told = {
        "name": name,
        "version": "1",
        "network": "inception_v3",
        "classes": len(CLASSES),
        "image_size": 299,
        "class_names": CLASSES,
        "trained_on": {
            "data": "flowers",
            "images": {"train": 2341, "val": 412, "test": 0},
            "recipe": "finetune",
            "date": "2026-11-24T15:26:42+00:00",
        },
        "metrics": {"val_accuracy": 0.93},
        "accuracy": {"value": 0.93, "low": 0.9, "high": 0.951, "images": 412, "part": "val"},
        "confusions": [
            {"truth": "amber", "predicted": "green", "count": 9},
            {"truth": "blue", "predicted": "<img src=x onerror=alert(1)>", "count": 4},
            {"truth": "green", "predicted": "amber", "count": 2},
        ],
        "preprocess": {"image_size": 299},
        "licence": "Apache-2.0",
        "engine": "openvino",
        "precision": "float32",
    }
    return told | changes


class FakeServer(ThreadedServer):
    """Serves until it is closed; what it does is in its fields."""

    def __init__(self, cards=None, token: str | None = None):
        super().__init__(_Handler)
        self.cards = [card("flowers")] if cards is None else cards
        self.token, self.busy, self.asked = token, 0, []
        self.refusal: tuple[int, str] | None = None  # of the list of models
        self.restarting: set[str] = set()  # models that give no card
        self.heat_refusal = ""  # why there are no heat maps


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # a connection for each request, so that none is left when the server closes
    server: FakeServer

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        if path.startswith("/v1/"):
            self.api(path)
            return
        name = {"/": "index.html", "/classifier.js": "remote.js"}.get(path, path.removeprefix("/"))
        file = PAGE / name
        if not file.is_file():
            self.refuse(404, "no such page")
            return
        self.send(200, file.read_bytes(), TYPES[file.suffix])

    def api(self, path):
        if not self.allowed():
            return
        models = {told["name"]: told for told in self.server.cards}
        if path == "/v1/models" and self.server.refusal:
            self.refuse(*self.server.refusal, {"Retry-After": "0.01"})
        elif path == "/v1/models":
            self.json({"models": self.server.cards})
        elif (name := path.removeprefix("/v1/models/")) in self.server.restarting:
            self.refuse(503, f"{name} is being restarted", {"Retry-After": "30"})
        else:
            self.json(models[name])

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        settings = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.asked.append(settings)
        if not self.allowed():
            return
        if self.server.busy:
            self.server.busy -= 1
            self.refuse(503, "the queue is full; try again in a second", {"Retry-After": "1"})
            return
        if self.server.heat_refusal and settings.get("heat_map"):
            self.refuse(501, self.server.heat_refusal)
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        found = [self.answer(part.get_filename(), part.get_payload(decode=True), settings) for part in parts]
        if len(found) == 1 and "error" in found[0]:
            self.send(422, json.dumps(found[0]["error"]).encode(), "application/problem+json")
        else:
            self.json({"model": settings["model"], "version": "1", "predictions": found})

    def answer(self, name, data, settings):
        try:
            with Image.open(io.BytesIO(data)) as picture:
                size = picture.size
        except OSError:
            told = f"{name}: no image, or one without a whole header; replace the file or leave it out"
            return {"name": name, "error": {"type": "about:blank", "title": "Unreadable picture", "status": 422, "detail": told}}
        time.sleep(0.02)
        classes = [{"class": one, "probability": value} for one, value in zip(CLASSES, PROBABILITIES, strict=True)]
        told = {"name": name, "classes": classes[: int(settings["top_k"])]}
        return told | ({"heat_map": heat_map(size)} if settings.get("heat_map") else {})

    def allowed(self):
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.refuse(401, "give the token that the server was started with")
            return False
        return True

    def json(self, values):
        self.send(200, json.dumps(values).encode(), "application/json")

    def refuse(self, status, detail, headers=()):
        told = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail}
        self.send(status, json.dumps(told).encode(), "application/problem+json", headers)

    def send(self, status, body, kind, headers=()):
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Security-Policy": POLICY, **dict(headers)}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def heat_map(size: tuple[int, int]) -> str:
    """A spot in the colours of fire over a quarter of the picture."""
    width, height = size[0] // 4 or 1, size[1] // 4 or 1
    y, x = np.mgrid[0:height, 0:width]
    heat = np.exp(-(((x / width - 0.45) / 0.2) ** 2) - ((y / height - 0.4) / 0.22) ** 2)
    layer = np.dstack([255 * np.ones_like(heat), 210 * (1 - heat), 40 * (1 - heat), 255 * heat]).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(layer).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
