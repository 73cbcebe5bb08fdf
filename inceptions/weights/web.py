"""How files are asked for: enters an address, leaves an opener that goes nowhere else than it should. Standard library alone."""

from __future__ import annotations

import http.client
from http.client import HTTPMessage, HTTPResponse
from typing import IO
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from inceptions.errors import UserError

CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0  # without a byte
REDIRECTS = 5

# Hosts that serve checkpoints by http only; a hash must be known.
HTTP_HOSTS = frozenset({"data.lip6.fr", "dl.caffe.berkeleyvision.org", "download.tensorflow.org"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def require_safe(url: str, *, verified: bool) -> None:
    """Raise UserError unless nobody on the way could change the file unnoticed; verified: its hash is known and will be checked."""
    parts = urlsplit(url)
    trusted = parts.scheme == "https" or (
        parts.scheme == "http" and (parts.hostname in _LOOPBACK or (parts.hostname in HTTP_HOSTS and verified))
    )
    if not trusted or not parts.hostname:
        raise UserError(f"{url}: files are fetched by https only (from {', '.join(sorted(HTTP_HOSTS))} by http where the hash is known)")


class _HTTPConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class _HTTPSConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class _HTTP(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_HTTPConnection, req)


class _HTTPS(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_HTTPSConnection, req)


class _Redirect(HTTPRedirectHandler):
    max_redirections = REDIRECTS
    max_repeats = 2

    def __init__(self, *, verified: bool) -> None:
        self.verified = verified

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str) -> Request | None:
        try:
            require_safe(newurl, verified=self.verified)
        except UserError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def make_opener(*, verified: bool) -> OpenerDirector:
    """Return an opener of http and https alone; a redirect must be as safe as `require_safe` says.

    Errors are those of urllib. The timeout that it is given is for connecting; after that it is READ_TIMEOUT_S.
    """
    opener = OpenerDirector()
    opener.addheaders = [("User-Agent", "inceptions")]
    for handler in (ProxyHandler(), _HTTP(), _HTTPS(), _Redirect(verified=verified), HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    return opener
