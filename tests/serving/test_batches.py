import threading
import time

import numpy as np
import pytest

from inceptions.data.preprocess import for_training
from inceptions.inference.engines.base import Answers, Engine
from inceptions.inference.engines.prepare import photograph
from inceptions.serving.batches import Batches, Job, Sent


class Sums(Engine):
    """Answers the first pixel; it waits at each batch until it may go on."""

    name, precision = "torch", "float32"

    def __init__(self, gate=None):
        self.gate, self.sizes = gate, []

    def run(self, pixels):
        self.sizes.append(len(pixels))
        if self.gate is not None:
            self.gate.acquire()
        return Answers(pixels[:, 0, 0, :1].astype(np.float32), pixels[:, 0, 0, :1].astype(np.float32))


def pixels(value: int) -> Sent:
    return Sent(f"pixels {value}", bytes([value]) * (4 * 4 * 3))


def encoded(name="a.png") -> Sent:
    import io

    file = io.BytesIO()
    photograph().resize((30, 20)).save(file, "PNG")
    return Sent(name, file.getvalue())


class Run:
    def __init__(self, engine, **settings):
        self.answers, self.refused = {}, {}
        settings = {"batch_size": 4, "wait_s": 0.0, "max_pixels": 10_000} | settings
        self.batches = Batches(engine, for_training(4), answer=self.take, refuse=self.refuse, **settings)
        self.thread = threading.Thread(target=self.batches.run)

    def take(self, numbers, answers):
        self.answers |= dict(zip(numbers, answers.logits[:, 0].tolist(), strict=True))

    def refuse(self, refused):
        self.refused[refused.number] = refused

    def add(self, number, picture, *, is_pixels=True, seconds=1000.0):
        self.batches.add(Job(number, picture, is_pixels, time.monotonic() + seconds))

    def finish(self):
        if not self.thread.is_alive():
            self.thread.start()
        self.batches.finish()
        self.thread.join()


def test_pictures_that_wait_are_answered_in_full_batches_each_with_its_own_answer():
    engine = Sums()
    run = Run(engine, wait_s=1000.0)  # until the batch is full, or no more can come
    for number in range(10):
        run.add(number, pixels(number))
    run.finish()
    assert run.answers == {number: float(number) for number in range(10)}
    assert engine.sizes == [4, 4, 2]


def test_while_the_engine_is_busy_a_batch_gathers():
    gate = threading.Semaphore(0)
    engine = Sums(gate)
    run = Run(engine)
    run.thread.start()
    run.add(0, pixels(0))
    while not engine.sizes:
        time.sleep(0.001)
    for number in range(1, 4):
        run.add(number, pixels(number))
    run.batches._pool.shutdown(wait=True)
    gate.release(4)
    run.finish()
    assert engine.sizes == [1, 3]
    assert len(run.answers) == 4


def test_a_picture_that_cannot_be_read_is_refused_alone():
    run = Run(Sums())
    run.add(0, encoded(), is_pixels=False)
    run.add(1, Sent("b.jpg", encoded().data[:-40]), is_pixels=False)
    run.add(2, Sent("c.jpg", b"<html>"), is_pixels=False)
    run.add(3, pixels(7))
    run.finish()
    assert set(run.answers) == {0, 3}
    assert {refused.reason for refused in run.refused.values()} == {"unreadable"}
    assert run.refused[1].detail.startswith("cut off or damaged")
    assert run.refused[2].detail.startswith("no image")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded():
    run = Run(Sums(), max_pixels=599)
    run.add(0, encoded(), is_pixels=False)
    run.finish()
    assert run.refused[0].reason == "too_many_pixels"
    assert run.refused[0].detail.startswith("30x20 pixels, more than the 599 that are allowed")


def test_what_a_decoder_does_wrong_is_its_own_pictures_matter(monkeypatch):
    run = Run(Sums())

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("inceptions.serving.batches.read_pixels", fail)
    run.add(0, encoded(), is_pixels=False)
    run.add(1, pixels(3))
    run.finish()
    assert run.answers == {1: 3.0}
    assert "MemoryError" in run.refused[0].detail


@pytest.mark.parametrize("is_pixels", [True, False])
def test_a_picture_whose_time_is_over_is_not_answered(is_pixels):
    engine = Sums()
    run = Run(engine)
    run.add(0, pixels(1) if is_pixels else encoded(), is_pixels=is_pixels, seconds=-1)
    run.add(1, pixels(2))
    run.finish()
    assert run.answers == {1: 2.0}
    assert run.refused[0].reason == "deadline"
    assert engine.sizes == [1]


def test_an_engine_that_fails_ends_the_run():
    class Broken(Sums):
        def run(self, pixels):
            raise RuntimeError("the engine is broken")

    run = Run(Broken())
    run.add(0, pixels(0))
    with pytest.raises(RuntimeError, match="is broken"):
        run.batches.run()
