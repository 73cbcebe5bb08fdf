"""What is sent to do harm is refused, and the next good request is answered."""

import json
import random
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving import hostile_tensors  # noqa: F401 - adds its kinds
from tests.serving.hostile import KINDS, Hostile
from tests.serving.test_live import PHOTO, post


def send(live, hostile: Hostile) -> int:
    """Send it, and return the status of the answer; 0 where there is none. What comes slowly, or ends too early, never sends the rest."""
    if hostile.pause_s < 0:
        with socket.create_connection(("127.0.0.1", live.port)) as connection:
            connection.sendall(hostile.request)
        return 0
    found = live.raw(hostile.request)
    if not found:
        return 0
    head, _, body = found.partition(b"\r\n\r\n")
    status = int(head[9:12])
    if status != 200:
        assert b"content-type: application/problem+json" in head, found
        details, _ = json.JSONDecoder().raw_decode(body.decode())  # what follows is the answer to what it smuggled behind
        assert (details["status"], bool(details["detail"])) == (status, True)
    for secret in (b"Traceback", b"site-packages", b'File "', b"root:"):
        assert secret not in found
    return status


def check(live, name: str, seed: int) -> None:
    hostile = KINDS[name](random.Random(f"{name} {seed}"))
    status = send(live, hostile)
    assert status in hostile.allowed, (name, seed, status, hostile.request[:500])


def is_well(live) -> bool:
    return live.raw(post(PHOTO.read_bytes())).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("name", [name for name in KINDS if "slowly" not in name])
def test_the_request_is_refused_and_the_next_answered(live, name):
    check(live, name, 0)
    assert is_well(live)


def test_several_at_a_time_those_that_come_slowly_too_end_no_process(live, impatient):
    harm(live, impatient, len(KINDS))


@pytest.mark.exhaustive
def test_a_thousand_of_all_kinds_end_no_process_and_leave_no_traceback(live, impatient):
    harm(live, impatient, 1000)


def harm(live, impatient, count: int) -> None:
    before, names = live.children(), [list(KINDS)[number % len(KINDS)] for number in range(count)]
    with ThreadPoolExecutor(12) as pool:
        sent = [pool.submit(check, impatient if "slowly" in name else live, name, 1 + number) for number, name in enumerate(names)]
        for found in sent:
            found.result()
    assert is_well(live)
    assert live.children() == before
    for server in (live, impatient):
        log = server.log.read_text()
        assert "Traceback" not in log
        assert "ended" not in log
