"""serve: models behind HTTP, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from inceptions.cli.terminal import Download, tell
from inceptions.errors import UserError
from inceptions.extras import require
from inceptions.serving.settings import Settings
from inceptions.weights.card import read_card
from inceptions.weights.locate import find_model

MODULES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
TOKEN_VARIABLE = "INCEPTIONS_TOKEN"
SHORTEST_TOKEN = 16


def run_server(
    models: Sequence[str],
    *,
    host: str,
    port: int,
    settings: Settings,
    engine: str | None,
    device: str | None,
    token_file: Path | None,
    cors: Sequence[str],
) -> None:
    """Serve the models. Raises UserError: no such model, an address that is taken, a library that is missing."""
    require("serve", *MODULES, needed_for="serving")
    from inceptions.serving.models import Models, name_models
    from inceptions.serving.server import listen, serve
    from inceptions.serving.worker import Order

    token = _read_token(token_file)
    folders = {name: _find(source) for name, source in name_models(models).items()}
    listening = listen(host, port)
    order = Order("answer", "", settings.batch_size, settings.batch_wait_ms, settings.megapixels, engine, device)
    served = Models(folders, order, settings=settings)
    if not _is_local(host) and token is None:
        tell(f"warning: whoever reaches {host} can ask: set {TOKEN_VARIABLE}, or give --token-file", style="yellow")
    tell(f"starting {', '.join(folders)}…")

    def started() -> None:
        place, at = listening.getsockname()[:2]
        shown = "127.0.0.1" if place == "0.0.0.0" else f"[{place}]" if ":" in place else place
        tell(f"serving {', '.join(folders)} at http://{shown}:{at}")
        tell(f"  a page to drop pictures on: http://{shown}:{at}/    what programs can ask: http://{shown}:{at}/docs")
        tell(f"  curl -F image=@photo.jpg http://{shown}:{at}/v1/predict    Ctrl-C stops")

    with listening:
        cut_off = serve(served, listening, token=token, cors=cors, started=started)
    tell(f"stopped; requests that were taken and cut off: {cut_off}" if cut_off else "stopped; every request that was taken is answered")


def _find(source: str) -> Path:
    with Download(source) as download:
        folder = find_model(source, progress=download.step)
    read_card(folder)
    return folder


def _read_token(file: Path | None) -> str | None:
    """Return the token that clients have to give; None where there is none. Raises UserError for one that is easily guessed."""
    try:
        given = file.read_text(encoding="utf-8") if file else os.environ.get(TOKEN_VARIABLE, "")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the token can't be read from {file} ({getattr(error, 'strerror', None) or error}); give a text file") from None
    token = given.strip()
    if not token and file is None:
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        wanted = f"at least {SHORTEST_TOKEN} letters, digits or signs without spaces"
        raise UserError(f"the token has {len(token)} characters; give {wanted}, as `openssl rand -hex 32` makes")
    return token


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
