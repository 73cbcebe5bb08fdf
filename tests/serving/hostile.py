"""Requests that mean no good, by kind: enters a generator of random numbers, leaves the bytes to send and the statuses that are right."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

INFER = "/v2/models/inception_small.cifar10/infer"
FORM = "multipart/form-data; boundary=x"


class Hostile(NamedTuple):
    """Bytes; the statuses that fit, of which 0 is no answer; pause_s: between its halves."""

    request: bytes
    allowed: tuple[int, ...]
    pause_s: float = 0.0


KINDS: dict[str, Callable[[random.Random], Hostile]] = {}


def kind(function: Callable[[random.Random], Hostile]) -> Callable[[random.Random], Hostile]:
    KINDS[function.__name__] = function
    return function


def http(body: bytes = b"", *, path="/v1/predict", content_type="image/jpeg", method="POST", length: object = None, extra="") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\n"
    head += f"content-type: {content_type}\r\ncontent-length: {len(body) if length is None else length}\r\n" if method != "GET" else ""
    return f"{head}{extra}\r\n".encode("utf-8", "surrogateescape") + body


def part(data: bytes, name: str = "a.jpg", extra: bytes = b"") -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="f"; filename="' + name.encode() + b'"\r\n' + extra + b"\r\n" + data + b"\r\n"


def image(form: str, rng: random.Random, size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1])).save(file, form)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, bits: int = 1) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@kind
def picture_cut_off(rng):
    whole = image(rng.choice(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"]), rng)
    return Hostile(http(whole[: rng.randrange(1, len(whole) // 2)]), (422,))


@kind
def picture_with_flipped_bytes(rng):
    whole = bytearray(image(rng.choice(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"]), rng))
    for _ in range(rng.randrange(1, 40)):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    return Hostile(http(bytes(whole)), (200, 413, 422))


@kind
def bomb_of_pixels(rng):
    side = rng.choice([8_000, 30_000, 65_000, 2**31 - 1])
    return Hostile(http(png(side, side, zlib.compress(bytes(10_000)))), (413, 422))


@kind
def bomb_of_text(rng):
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    whole = png(4, 4, zlib.compress(bytes(8)))
    return Hostile(http(whole[:33] + text + whole[33:]), (200, 422))


@kind
def bomb_of_data(rng):
    return Hostile(http(png(4, 4, zlib.compress(bytes(rng.randrange(10, 50) * 1_000_000)))), (200, 422))


@kind
def tiff_that_lies(rng):
    entries = [
        (256, 4, 1, rng.choice([10**4, 10**9])),
        (257, 4, 1, 10**4),
        (259, 3, 1, rng.choice([1, 5, 8])),
        (273, 4, 2**30, 8),
        (279, 4, 1, 2**31 - 1),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 8)
    return Hostile(http(b"II*\0" + struct.pack("<I", 8) + directory), (413, 422))


@kind
def other_types_as_a_picture(rng):
    kinds = (
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>",
        b"%PDF-1.7\n",
        b"%!PS\n(%pipe%id) (w) file",
        b"PK\x03\x04" + rng.randbytes(99),
    )
    return Hostile(
        http(rng.choice([*kinds, b"MZ" + rng.randbytes(500), b"push graphic-context\nimage over 0,0 0,0 'https://x'", b"\0"])), (422,)
    )


@kind
def random_bytes_as_a_picture(rng):
    return Hostile(
        http(rng.choice([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"RIFF"]) + rng.randbytes(rng.randrange(2000))),
        (413, 422),
    )


@kind
def nothing_as_a_picture(rng):
    return Hostile(http(b"", path=rng.choice(["/v1/predict", "/v1/embed"])), (422,))


@kind
def pickle_as_an_array(rng):
    body = part(
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }" + b" " * 60 + pickle.dumps(print), "a.npy"
    )
    return Hostile(http(body + b"--x--\r\n", content_type=FORM), (422,))


@kind
def types_without_pictures(rng):
    types = ["application/json", "text/html", "application/xml", "application/x-www-form-urlencoded", "multipart/mixed; boundary=x"]
    return Hostile(http(b'{"a": 1}', content_type=rng.choice(types)), (415,))


@kind
def address_in_place_of_a_picture(rng):
    address = rng.choice(
        ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "https://example.org/a.jpg"]
    )
    return Hostile(http(address.encode(), path=rng.choice(["/v1/predict", f"/v1/predict?url={address}"])), (422,))


@kind
def compressed_bomb(rng):
    return Hostile(http(gzip.compress(bytes(10_000_000)), extra="content-encoding: gzip\r\n"), (415,))


@kind
def length_that_is_huge(rng):
    return Hostile(http(b"x", length=rng.choice([10**10, 10**18])), (413,))


@kind
def length_that_is_none(rng):
    return Hostile(http(b"x", length=rng.choice(["-1", "1e9", "0x10", "a", "1, 2"])), (400,))


@kind
def length_and_chunks(rng):
    return Hostile(http(b"0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n", extra="transfer-encoding: chunked\r\n"), (400,))


@kind
def chunks_that_are_damaged(rng):
    head = "POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    return Hostile(
        head.encode() + rng.choice([b"zz\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloworld\r\n", b"f" * 30 + b"\r\n"]) + b"x" * 99, (400,)
    )


@kind
def head_that_comes_slowly(rng):
    return Hostile(b"POST /v1/predict HTTP/1.1\r\nhost: x\r\nx-a: b\r\n", (408,), pause_s=3.0)


@kind
def body_that_comes_slowly(rng):
    return Hostile(http(b"x" * 50, length=5000), (408,), pause_s=3.0)


@kind
def head_that_is_huge(rng):
    extra = rng.choice(
        ["x-a: " + "b" * 100_000 + "\r\n", "".join(f"x-{n}: b\r\n" for n in range(9000)), "cookie: " + "a=b;" * 30_000 + "\r\n"]
    )
    return Hostile(http(b"x", extra=extra), (400, 431))


@kind
def address_that_is_huge(rng):
    return Hostile(http(path="/" + "a" * 60_000, method="GET"), (400, 431))


@kind
def no_http(rng):
    tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    return Hostile(
        rng.choice(
            [
                tls + rng.randbytes(500),
                rng.randbytes(300) + b"\r\n\r\n",
                b"HELO x\r\n\r\n",
                b"GET /\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ]
        ),
        (400,),
    )


@kind
def other_methods(rng):
    method = rng.choice(["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
    return Hostile(http(b"x", method=method, path=rng.choice(["/v1/predict", "/v1/models", "/healthz"])), (405,))


@kind
def thousands_of_parts(rng):
    return Hostile(http(part(b"x") * rng.randrange(2000, 5000) + b"--x--\r\n", content_type=FORM), (413,))


@kind
def thousands_of_headers_in_a_part(rng):
    return Hostile(http(part(b"x", extra=b"x-a: b\r\n" * 5000) + b"--x--\r\n", content_type=FORM), (400,))


@kind
def part_without_an_end(rng):
    return Hostile(http(rng.choice([part(b"x"), b"--x\r\n", b"--y\r\n\r\n--y--", b"\r\n" * 5000]), content_type=FORM), (400,))


@kind
def boundary_that_is_none(rng):
    boundary = rng.choice(["", "; boundary=", "; boundary=" + "b" * 500, '; boundary="\\"', "; boundary=\x01"])
    return Hostile(http(part(b"x"), content_type=f"multipart/form-data{boundary}"), (400,))


@kind
def boundaries_that_almost_are(rng):
    return Hostile(http(part(b"\r\n--" * 500_000) + b"--x--\r\n", content_type=FORM), (422,))


@kind
def names_with_tricks(rng):
    tricks = [
        "../../etc/passwd",
        "..\\..\\windows\\win.ini",
        "/etc/passwd",
        "C:\\x",
        "a\0.jpg",
        "\u202egpj.exe",
        "a" * 3000,
        "<script>x</script>.png",
    ]
    body = part(image("PNG", rng), rng.choice([*tricks, "con", "$(id).png", "%2e%2e%2f", "\x1b[31m.png"]))
    return Hostile(http(body + b"--x--\r\n", content_type=FORM), (200, 400))


@kind
def paths_with_tricks(rng):
    paths = [
        "/../../etc/passwd",
        "/v1/models/../../../etc/passwd",
        "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "//etc/passwd",
        "/%00",
        "/v1/models/a%00b",
    ]
    more = [
        "/v1/models/..%5c..%5cx",
        "/..%252f..%252fetc",
        "/v2/models/%ff/infer",
        "/index.html%00.jpg",
        "/%c0%ae%c0%ae/",
    ]
    return Hostile(http(path=rng.choice(paths + more), method="GET"), (404, 405))


@kind
def whole_address_in_the_request_line(rng):
    return Hostile(http(path=rng.choice(["http://169.254.169.254/", "https://x/healthz", "*"]), method="GET"), (400,))


@kind
def parameters_that_cannot_be(rng):
    query = rng.choice(
        [
            "top_k=-1",
            "top_k=1e9",
            "top_k=NaN",
            "top_k=" + "9" * 4000,
            "heat_map=../..",
            "top_k=%00",
            "model=%2e%2e%2f",
            "heat_map=" + "a" * 999,
        ]
    )
    return Hostile(http(b"x", path=f"/v1/predict?{query}"), (404, 422))


@kind
def connection_that_ends_within_the_body(rng):
    return Hostile(http(b"x" * rng.randrange(1, 5000), length=100_000), (0,), pause_s=-1)
