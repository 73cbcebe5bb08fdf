"""The page of the interface at /docs: enters the OpenAPI document, leaves plain HTML that fetches nothing; and the examples in it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from inceptions.serving.problems import MEDIA_TYPE, REASONS

_MODEL = {
    "name": "inception_small.cifar10",
    "version": "1f0e27a6c5d3",
    "network": "inception_small",
    "classes": 10,
    "image_size": 28,
    "ready": True,
}
_CLASSES = [{"class": "cat", "probability": 0.986}, {"class": "dog", "probability": 0.009}]
_PROBLEM = {
    "type": "/docs#queue_full",
    "title": REASONS["queue_full"][1],
    "status": 503,
    "detail": "256 pictures wait for inception_small.cifar10; try again in a second, or send fewer at a time",
    "instance": "/v1/predict",
}
_EXAMPLES: dict[str, Any] = {
    "models": {"models": [_MODEL]},
    "model": {
        **_MODEL,
        "class_names": ["airplane", "automobile"],
        "trained_on": {"data": "CIFAR-10", "recipe": "cifar10", "images": {"train": 45000, "val": 5000, "test": 10000}},
        "metrics": {"test_accuracy": 0.8928},
        "accuracy": {"value": 0.8928, "low": 0.8866, "high": 0.8987, "images": 10000, "part": "test"},
        "confusions": [{"truth": "cat", "predicted": "dog", "count": 96}],
        "heat_maps": True,
    },
    "predict": {"model": _MODEL["name"], "version": _MODEL["version"], "predictions": [{"name": "chelsea.jpg", "classes": _CLASSES}]},
    "embed": {"model": _MODEL["name"], "version": _MODEL["version"], "embeddings": [{"name": "chelsea.jpg", "vector": [0.12, 0.0]}]},
    "metadata": {
        "name": _MODEL["name"],
        "versions": [_MODEL["version"]],
        "platform": "inceptions_openvino",
        "inputs": [
            {"name": "images", "datatype": "BYTES", "shape": [-1]},
            {"name": "pixels", "datatype": "UINT8", "shape": [-1, 28, 28, 3]},
        ],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
    },
    "infer": {
        "model_name": _MODEL["name"],
        "model_version": _MODEL["version"],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [1, 10], "data": [0.0, 0.01, 0.0, 0.98, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0]}
        ],
    },
}
PICTURES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
TENSORS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": ["/9j/4AAQSkZJRgABAQ…"]}]},
            }
        },
    }
}
STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid #8886; border-radius: 0.4rem; }
th { text-align: left; }
td, th { padding: 0.2rem 1rem 0.2rem 0; vertical-align: top; }
section { border-top: 1px solid #8886; }
"""


def examples(name: str) -> dict[int | str, dict[str, Any]]:
    """Return the answers of a route, with an example of each kind, as FastAPI takes them."""
    return {
        200: {"description": "The answer", "content": {"application/json": {"example": _EXAMPLES[name]}}},
        "4XX": {"description": "Refused, with what to do", "content": {MEDIA_TYPE: {"example": _PROBLEM}}},
        "5XX": {"description": "Not now, or not here", "content": {MEDIA_TYPE: {"example": _PROBLEM}}},
    }


def _commands(address: str, models: Sequence[str], *, needs_token: bool) -> str:
    """Return requests as they are made of a shell; the model is named where there are several."""
    curl = "curl -H 'Authorization: Bearer TOKEN'" if needs_token else "curl"
    which = {"model": models[0]} if len(models) > 1 else {}
    predict, embed = f"v1/predict?{urlencode({**which, 'top_k': 3})}", f"v1/embed?{urlencode(which)}".rstrip("?")
    predict, embed, listed = (shlex.quote(f"{address}{path}") for path in (predict, embed, "v1/models"))
    return "\n".join(
        (
            f"{curl} -F image=@picture.jpg {predict}",
            f"{curl} --data-binary @picture.jpg -H 'Content-Type: image/jpeg' {embed}",
            f"{curl} {listed}",
        )
    )


def page(document: dict[str, Any], *, address: str, models: Sequence[str], needs_token: bool = False) -> str:
    """Return the page of an OpenAPI document; address: of the server, with a slash behind it. needs_token: whether requests do."""
    routes = "".join(
        section
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for section in _section(method.upper(), path, operation)
    )
    reasons = "".join(
        f'<tr id="{name}"><td><code>{name}</code></td><td>{status}</td><td>{escape(title)}</td></tr>'
        for name, (status, title) in REASONS.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>inceptions: the interface</title><link rel="stylesheet" href="/docs.css">
<link rel="icon" href="/mark.svg" type="image/svg+xml"></head><body><main>
<h1>What this server answers</h1>
<p>The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>
<pre>{escape(_commands(address, models, needs_token=needs_token))}</pre>
{routes}
<section><h2>Refusals</h2>
<p>Each is problem details (RFC 9457): <code>detail</code> says what to do, <code>type</code> names the reason, which
<code>inceptions_refused_total</code> counts in <code>/metrics</code>.</p>
<table><thead><tr><th>Reason</th><th>Status</th><th>Title</th></tr></thead><tbody>{reasons}</tbody></table></section>
</main></body></html>
"""


def _section(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{method} {escape(path)}</code></h2><p>{escape(operation.get('summary', ''))}</p>"
    rows = "".join(
        f"<tr><td><code>{escape(item['name'])}</code></td><td>{item['in']}</td><td>{escape(item.get('description', ''))}</td></tr>"
        for item in operation.get("parameters", ())
    )
    if rows:
        yield f"<table><thead><tr><th>Parameter</th><th>In</th><th>What it is</th></tr></thead><tbody>{rows}</tbody></table>"
    contents = [("Body", operation.get("requestBody", {}).get("content", {}))]
    contents += [
        (f"Answer {status}", answer.get("content", {})) for status, answer in operation.get("responses", {}).items() if status == "200"
    ]
    for what, content in contents:
        for kind, media in content.items():
            yield f"<p>{what}: <code>{escape(kind)}</code></p>"
            if "example" in media:
                yield f"<pre>{escape(json.dumps(media['example'], indent=1, ensure_ascii=False))}</pre>"
    yield "</section>"
