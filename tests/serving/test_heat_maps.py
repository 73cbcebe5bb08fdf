"""Heat maps, which a process of its own makes."""

import base64
import io
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from inceptions.errors import ImageError
from inceptions.serving.frames import pack, read_frame
from inceptions.serving.process import Reply
from inceptions.serving.settings import Settings
from inceptions.serving.worker import Order, Pipe, _explain
from tests.serving.processes import FakeProcess
from tests.serving.test_problems import problem
from tests.tiny import save_tiny


class FakeExplainer(FakeProcess):
    def ask(self, head, body):
        future = super().ask(head, body)
        future.set_result(Reply({"numbers": [0]}, f"{head['method']} of {head['target']} to {head['max_side']}".encode(), 0))
        return future


@pytest.fixture
def explaining(fake, monkeypatch):
    """A client of a server whose explainer is a fake, and the orders that it gave."""
    monkeypatch.setattr("inceptions.serving.predict.missing_modules", lambda *_: [])
    orders = []

    def make(**options):
        client, _ = fake(**options)
        import inceptions.serving.models as models

        start = models.start_process

        async def start_any(order):
            orders.append(order)
            return FakeExplainer(3) if order.work == "explain" else await start(order)

        monkeypatch.setattr("inceptions.serving.models.start_process", start_any)
        return client, orders

    return make


def test_heat_map_of_the_likeliest_class_comes_with_each_picture_that_can_be_read(explaining):
    client, orders = explaining()
    files = [("x", ("a", b"\x02")), ("x", ("b", b"bad")), ("x", ("c", b"\x01"))]
    for _ in range(2):
        first, second, third = client.post("/v1/predict?heat_map=occlusion&top_k=1", files=files).json()["predictions"]
        prefix, _, data = first["heat_map"].partition(",")
        assert prefix == "data:image/png;base64"
        assert base64.b64decode(data) == b"occlusion of green to 512"
        assert base64.b64decode(third["heat_map"].partition(",")[2]) == b"occlusion of blue to 512"
        assert set(second) == {"name", "error"}
    assert [order.work for order in orders] == ["explain"]  # started once


def test_more_pictures_than_may_wait_for_heat_maps_are_refused(explaining):
    client, _ = explaining(settings=Settings(heat_maps=2))
    answer = client.post("/v1/predict?heat_map=gradcam", files=[("x", ("a", b"\x02"))] * 3)
    assert "may have 2 pictures where heat maps are asked for" in problem(answer, 413, "too_many_images")


def test_the_process_that_explains_answers_each_picture(tmp_path, monkeypatch):
    def explain_image(model, image, *, method, target):
        if not image.read_bytes():
            raise ImageError(f"{image}: an empty file")
        assert (model.card.classes[2], method, target) == ("green", "gradcam", "blue")
        return SimpleNamespace(layer=lambda *, max_side: Image.new("RGBA", (max_side, 2)))

    module = ModuleType("inceptions.explain")
    module.explain_image = explain_image
    monkeypatch.setitem(sys.modules, "inceptions.explain", module)
    head = {"name": "a.jpg", "method": "gradcam", "target": "blue", "max_side": 5}
    source = io.BytesIO(pack({**head, "number": 7}, b"picture") + pack({**head, "number": 8}, b""))
    sent = io.BytesIO()
    order = Order("answer", str(save_tiny(tmp_path / "model")), None, 2.0, 50.0)
    _explain(replace(order, work="explain"), source, Pipe(sent))
    sent.seek(0)
    assert read_frame(sent) == ({}, b"")
    answered, png = read_frame(sent)
    assert answered == {"numbers": [7]}
    assert Image.open(io.BytesIO(png)).size == (5, 2)
    assert read_frame(sent) == ({"number": 8, "reason": "unreadable", "detail": "a.jpg: an empty file"}, b"")
    assert read_frame(sent) is None
