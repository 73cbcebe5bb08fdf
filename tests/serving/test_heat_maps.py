"""Heat maps, which a process of its own makes."""

import base64
import io
import math
import sys
import time
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
    def __init__(self, classes):
        super().__init__(classes)
        self.heads = []

    def ask(self, head, body):
        self.heads.append(head)
        future = super().ask(head, body)
        future.set_result(Reply({"numbers": [0]}, f"{head['method']} of {head['target']} to {head['max_side']}".encode(), 0))
        return future


@pytest.fixture
def explaining(fake, monkeypatch):
    """A client of a server whose explainer is a fake, the orders that it gave, and with `explainers` a list that the fakes go into."""
    monkeypatch.setattr("inceptions.serving.predict.missing_modules", lambda *_: [])
    orders = []

    def make(explainers=None, **options):
        explainers = [] if explainers is None else explainers
        client, _ = fake(**options)
        import inceptions.serving.models as models

        start = models.start_process

        async def start_any(order):
            orders.append(order)
            if order.work != "explain":
                return await start(order)
            explainers.append(FakeExplainer(3))
            return explainers[-1]

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


def test_of_a_request_that_finds_no_room_no_heat_map_is_asked_for(explaining):
    explainers = []
    client, _ = explaining(explainers, settings=Settings(heat_maps=3))
    assert client.post("/v1/predict?heat_map=gradcam", files=[("x", ("a", b"\x02"))]).status_code == 200
    (explainer,) = explainers
    explainer.is_held, explainer.asked = True, {8: None, 9: None}
    answer = client.post("/v1/predict?heat_map=gradcam", files=[("x", ("a", b"\x02"))] * 2)
    assert "2 pictures wait for heat maps already, and with 2 more" in problem(answer, 503, "queue_full")
    assert len(explainer.heads) == 1
    explainer.asked.clear()


def test_pictures_of_a_request_go_to_the_process_with_the_time_at_which_nobody_waits_any_more(explaining):
    explainers = []
    client, _ = explaining(explainers, settings=Settings(heat_map_timeout_s=1000.0))
    before = time.monotonic()
    for _ in range(2):
        client.post("/v1/predict?heat_map=gradcam", files=[("x", ("a", b"\x02"))] * 2)
    first, second, third, fourth = explainers[0].heads
    assert before + 1000 <= first["deadline"] == second["deadline"] < third["deadline"] <= time.monotonic() + 1000
    assert first["request"] == second["request"] != third["request"] == fourth["request"]


@pytest.fixture
def explain(tmp_path, monkeypatch):
    """Have `_explain` answer frames: heads and pictures in, frames out. An empty picture can't be read."""

    def explain_image(model, image, *, method, target):
        if not image.read_bytes():
            raise ImageError(f"{image}: an empty file")
        assert (model.card.classes[2], method, target) == ("green", "gradcam", "blue")
        return SimpleNamespace(layer=lambda *, max_side: Image.new("RGBA", (max_side, 2)))

    module = ModuleType("inceptions.explain")
    module.explain_image = explain_image
    monkeypatch.setitem(sys.modules, "inceptions.explain", module)
    order = Order("explain", str(save_tiny(tmp_path / "model")), None, 2.0, 50.0)
    shared = {"name": "a.jpg", "method": "gradcam", "target": "blue", "max_side": 5}

    def run(*asked):
        source, sent = io.BytesIO(b"".join(pack({**shared, **head}, picture) for head, picture in asked)), io.BytesIO()
        _explain(order, source, Pipe(sent))
        sent.seek(0)
        ready, *answers = iter(lambda: read_frame(sent), None)
        assert ready == ({}, b"")
        return answers

    return run


def test_the_process_that_explains_answers_each_picture(explain):
    (answered, png), unreadable = explain(
        ({"number": 7, "request": 0, "deadline": math.inf}, b"picture"), ({"number": 8, "request": 0, "deadline": math.inf}, b"")
    )
    assert answered == {"numbers": [7]}
    assert Image.open(io.BytesIO(png)).size == (5, 2)
    assert unreadable == ({"number": 8, "reason": "unreadable", "detail": "a.jpg: an empty file"}, b"")


def test_the_process_that_explains_leaves_out_what_nobody_waits_for(explain):
    late = explain(
        ({"number": 0, "request": 0, "deadline": 0.0}, b"picture"), ({"number": 1, "request": 1, "deadline": math.inf}, b"picture")
    )
    assert [head.get("reason", "answered") for head, _ in late] == ["deadline", "answered"]
    asked = [(number, request, picture) for number, (request, picture) in enumerate([(5, b""), (5, b"b"), (5, b"c"), (6, b"d")])]
    failed = explain(*[({"number": number, "request": request, "deadline": math.inf}, picture) for number, request, picture in asked])
    assert [head.get("reason", "answered") for head, _ in failed] == ["unreadable", "deadline", "deadline", "answered"]
