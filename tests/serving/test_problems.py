"""What is refused, and how: every refusal is problem details."""

import asyncio
import json
import re
import shlex
import threading
import time
from html import unescape

import numpy as np
import pytest

from inceptions.errors import UserError
from inceptions.serving import app, documents
from inceptions.serving.bodies import split_pictures
from inceptions.serving.gate import Drain
from inceptions.serving.models import name_models
from inceptions.serving.problems import REASONS
from inceptions.serving.settings import Settings

PICTURE = {"content": b"\x01 a picture", "headers": {"content-type": "image/jpeg"}}
TOKEN = "0123456789abcdef"


def problem(answer, status: int, reason: str) -> str:
    """Check that the answer is a problem of this kind, and return what it says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert set(found) - {"error"} == {"type", "title", "status", "detail", "instance"}
    assert (found["type"], found["status"], found["title"]) == (f"/docs#{reason}", status, REASONS[reason][1])
    assert ("retry-after" in answer.headers) == (status == 503)
    return found["detail"]


def refused(client, reason: str) -> float:
    lines = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f'inceptions_refused_total{{reason="{reason}"}}')))


def test_what_is_not_there_is_a_problem(fake):
    client, _ = fake(("a", "b"))
    assert "nothing at /nothing" in problem(client.get("/nothing"), 404, "not_found")
    wrong = client.get("/v1/predict")
    assert "another method" in problem(wrong, 405, "method")
    assert wrong.headers["allow"] == "POST"
    for path in ("/v1/nothing", "/v1/predict/", "/nothing"):
        assert "nothing at" in problem(client.post(path, **PICTURE), 404, "not_found")
    assert "no model is called 'c'; there are a, b" in problem(client.get("/v1/models/c"), 404, "not_found")
    assert "one of a, b" in problem(client.post("/v1/predict", **PICTURE), 422, "invalid")
    assert "top_k: Input should be" in problem(client.post("/v1/predict?model=a&top_k=0", **PICTURE), 422, "invalid")
    assert "'gradcam'" in problem(client.post("/v1/predict?model=a&heat_map=magic", **PICTURE), 422, "invalid")
    assert (refused(client, "not_found"), refused(client, "invalid")) == (5, 3)


def test_what_can_be_got_can_be_asked_for_without_its_body(fake):
    drain = Drain()
    client, _ = fake(drain=drain)
    for path in ("/healthz", "/readyz", "/", "/page.js", "/v1/models", "/docs"):
        assert (client.head(path).status_code, client.head(path).content) == (200, b""), path
    assert (client.head("/v1/predict").status_code, client.head("/nothing").status_code) == (405, 404)
    assert client.put("/healthz").headers["allow"] == "GET, HEAD"
    drain.is_on = True
    assert (client.head("/readyz").status_code, client.head("/healthz").status_code) == (503, 200)


def test_the_page_is_served_by_its_files_own_names(fake):
    client, _ = fake()
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert client.get("/index.html").content == page.content
    assert client.get("/", headers={"if-none-match": page.headers["etag"]}).status_code == 304
    assert client.get("/classifier.js").content == client.get("/remote.js").content


def test_bodies_that_hold_no_pictures_are_refused(fake):
    client, _ = fake()
    assert "holds no pictures" in problem(client.post("/v1/predict", json={"url": "http://example.org/a.jpg"}), 415, "media_type")
    assert "holds no pictures" in problem(client.post("/v1/predict", data={"a": "b"}), 415, "media_type")
    compressed = client.post("/v1/predict", content=b"x", headers={"content-encoding": "gzip", "content-type": "image/jpeg"})
    assert "leave Content-Encoding out" in problem(compressed, 415, "media_type")
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert "no end" in problem(
        client.post("/v1/predict", content=b'--x\r\nContent-Disposition: form-data; name="a"', headers=form), 400, "bad_request"
    )
    assert "can't be read" in problem(client.post("/v1/predict", content=b"y" * 100, headers=form), 400, "bad_request")
    assert "no boundary" in problem(
        client.post("/v1/predict", content=b"y", headers={"content-type": "multipart/form-data"}), 400, "bad_request"
    )
    assert "no picture" in problem(client.post("/v1/predict", content=b"--x--\r\n", headers=form), 422, "invalid")
    field = b'--x\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n3\r\n--x--\r\n'
    assert "'top_k' is no file" in problem(client.post("/v1/predict", content=field, headers=form), 422, "invalid")


def test_a_single_bad_picture_is_refused_and_among_several_each_for_itself(fake):
    client, _ = fake()
    assert problem(client.post("/v1/predict", files={"x": ("a.jpg", b"bad")}), 422, "unreadable") == "a.jpg: no image"
    answer = client.post("/v1/predict", files=[("x", ("a.jpg", b"bad")), ("x", ("b.jpg", b"\x02"))]).json()["predictions"]
    assert answer[0] == {
        "name": "a.jpg",
        "error": {
            "type": "/docs#unreadable",
            "title": "The picture can't be read",
            "status": 422,
            "detail": "no image",
            "instance": "/v1/predict",
        },
    }
    assert (answer[1]["name"], answer[1]["classes"][0]["class"]) == ("b.jpg", "green")
    embedded = client.post("/v1/embed", files=[("x", ("a.jpg", b"bad")), ("x", ("b.jpg", b"\x02"))]).json()["embeddings"]
    assert embedded[0]["error"]["status"] == 422
    assert embedded[1] == {"name": "b.jpg", "vector": [1.5, -2.0]}
    assert refused(client, "unreadable") == 3


def test_limits_of_a_request_hold(fake):
    client, processes = fake(settings=Settings(picture_mb=0.001, request_mb=0.003, held_mb=0.004, images_per_request=2))
    assert "may have 0.001" in problem(client.post("/v1/predict", content=bytes(1001)), 413, "too_large")
    assert "may have 0.003 MB" in problem(client.post("/v1/predict", content=bytes(3001)), 413, "too_large")
    streamed = client.post("/v1/predict", content=iter([bytes(1000)] * 4))  # whose length nobody says
    assert "may have 0.003 MB" in problem(streamed, 413, "too_large")
    files = [("x", ("a.jpg", b"\x02"))]
    assert "may have 2 pictures" in problem(client.post("/v1/predict", files=3 * files), 413, "too_many_images")
    assert client.post("/v1/predict", files=2 * files).status_code == 200
    assert "inceptions_held_bytes 0.0" in client.get("/metrics").text
    assert not processes[0].asked


def infer(client, **also):
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": ["AQ=="]}
    return client.post("/v2/models/tiny/infer", json={"inputs": [tensor], **also})


def test_tensors_are_asked_for_once_each_and_what_is_wrong_is_told_before_the_model_works(fake):
    client, processes = fake(held=True)
    assert "probabilities is asked for twice" in problem(infer(client, outputs=[{"name": "probabilities"}] * 100_000), 422, "invalid")
    assert "there is no output 'x'" in problem(infer(client, outputs=[{"name": "embeddings"}, {"name": "x"}]), 422, "invalid")
    for parameters in ("x", [1], 5):
        assert "must be an object" in problem(infer(client, parameters=parameters), 400, "bad_request")
    long = client.post("/v2/models/tiny/infer", content=b"{}", headers={"inference-header-content-length": "9" * 5000})
    assert "at most the body's 2" in problem(long, 400, "bad_request")
    assert not processes[0].asked


@pytest.mark.parametrize(
    ("data", "said"), [("[]," * 200_000 + "[]", "more than 300000 values"), ('"' + "A" * 2_000_000 + '"', "1.9 are allowed")]
)
def test_json_that_would_take_long_is_refused_before_it_is_read(fake, monkeypatch, data, said):
    client, _ = fake(settings=Settings(picture_mb=1.0))
    monkeypatch.setattr("inceptions.serving.infer.json", None)
    body = '{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 16, 16, 3], "data": [' + data + "]}]}"
    assert said in problem(client.post("/v2/models/tiny/infer", content=body), 413, "too_large")


@pytest.mark.parametrize("shape", [(768,), (1, 768), (16, 48), (1, 16, 16, 3)])
def test_numbers_of_pixels_may_be_nested(fake, shape):
    client, _ = fake()
    values = np.arange(768).reshape(shape) % 256
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 16, 16, 3], "data": values.tolist()}
    answer = client.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
    assert answer.json()["outputs"][1]["data"][0] == "amber"


def test_pictures_are_parts_of_the_body_and_not_copies():
    form = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n%s\r\n--x--\r\n'
    for data in (b"a picture", b"", b"\r\n--", b"\r\n--\r\n--y\r", b"\r\n-" * 1000):
        body = bytearray(form % data)
        (picture,) = split_pictures("multipart/form-data; boundary=x", body, Settings())
        assert (bytes(picture.data), isinstance(picture.data, memoryview) and picture.data.obj is body) == (data, True)


@pytest.mark.parametrize("name", [".", "..", "-", "_", "a b"])
def test_names_that_no_address_can_have_are_refused(name):
    with pytest.raises(UserError, match="can't be the name of a model"):
        name_models([f"{name}=x"])


def test_a_folder_with_an_equals_sign_in_its_name_can_be_served(tmp_path, monkeypatch):
    (tmp_path / "lr=0.1" / "best").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert name_models(["lr=0.1/best", "a=lr=0.1"]) == {"lr=0.1": "lr=0.1/best", "a": "lr=0.1"}
    assert name_models(["lr=0.1"]) == {"lr=0.1": "lr=0.1"}


def test_of_a_full_queue_and_of_an_answer_that_comes_too_late_one_is_told(fake):
    client, processes = fake(held=True, settings=Settings(queue_images=2, images_per_request=2, timeout_s=0.2))
    first = threading.Thread(target=lambda: problem(client.post("/v1/predict", files=[("x", ("a", b"\x02"))] * 2), 503, "deadline"))
    first.start()
    while not processes or processes[0].waiting < 2:
        time.sleep(0.005)
    assert "2 pictures wait for tiny" in problem(client.post("/v1/predict", **PICTURE), 503, "queue_full")
    first.join()
    assert refused(client, "deadline") == 1
    processes[0].asked.clear()
    processes[0].is_held = False
    assert client.post("/v1/predict", **PICTURE).status_code == 200


def test_a_model_that_is_being_started_again_is_told(fake):
    client, processes = fake(settings=Settings(watch_s=1000))
    client.portal.call(processes[0].ended.set)
    processes[0].ended.clear = None  # stays as it is
    answer = client.post("/v1/predict", **PICTURE)
    assert answer.status_code in (200, 503)  # by then it may be back
    while client.get("/readyz").status_code != 200:
        time.sleep(0.01)
    assert client.post("/v1/predict", **PICTURE).status_code == 200
    assert len(processes) == 2
    assert 'inceptions_worker_restarts_total{model="tiny"} 1.0' in client.get("/metrics").text


def test_a_model_that_is_being_started_again_hides_no_other(fake, monkeypatch):
    client, processes = fake(("a", "b"), settings=Settings(watch_s=1000))

    async def wait(order):
        await asyncio.Event().wait()

    monkeypatch.setattr("inceptions.serving.models.start_process", wait)
    client.portal.call(processes[0].ended.set)
    first, second = client.get("/v1/models").json()["models"]
    assert (first["name"], first["ready"], second["name"], second["ready"]) == ("a", False, "b", True)
    assert (first["classes"], second["classes"]) == (3, 3)
    assert client.get("/v1/models/a").json()["ready"] is False
    assert client.get("/v1/models/b").json()["ready"] is True
    problem(client.post("/v1/predict?model=a", **PICTURE), 503, "starting")


def test_a_request_line_with_a_whole_address_and_two_lengths_are_refused(fake):
    client, _ = fake()
    both = client.post("/v1/predict", content=b"x", headers={"transfer-encoding": "chunked", "content-length": "1"})
    assert "Content-Length and Transfer-Encoding" in problem(both, 400, "bad_request")
    assert both.headers["connection"] == "close"


def test_a_token_opens_what_answers_pictures_and_the_rest_is_open(fake):
    client, _ = fake(token=TOKEN)
    for path in ("/v1/models", "/v2/health/ready", "/v2", "/metrics"):
        answer = client.get(path)
        assert "Authorization: Bearer" in problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get(path, headers={"authorization": "Bearer another0123456789"}).status_code == 401
        assert client.get(path, headers={"authorization": TOKEN}).status_code == 401
        assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    for path in ("/healthz", "/readyz", "/docs", "/"):
        assert client.get(path).status_code == 200
    assert refused(client, "unauthorized") == 12


def test_other_pages_may_ask_only_where_their_origin_was_named(fake):
    asked = {"origin": "https://example.org"}
    client, _ = fake()
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=asked).headers
    client, _ = fake(cors=("https://example.org",), token=TOKEN)
    before = client.options("/v1/predict", headers={**asked, "access-control-request-method": "POST"})
    for refusal in (client.get("/v1/models", headers=asked), client.get("/nothing", headers={**asked, "x": "a" * 40_000})):
        assert (refusal.status_code in (401, 431), refusal.headers["access-control-allow-origin"]) == (True, "https://example.org")
        assert "Retry-After" in refusal.headers["access-control-expose-headers"]
    assert "inference-header-content-length" in before.headers["access-control-allow-headers"]
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, "https://example.org")
    other = client.options("/v1/predict", headers={"origin": "https://else.org", "access-control-request-method": "POST"})
    assert "access-control-allow-origin" not in other.headers


def test_every_answer_tells_browsers_what_it_may_do(fake):
    client, _ = fake()
    for path in ("/", "/nothing", "/docs", "/v1/models"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' blob: data:")


def test_while_the_server_is_stopped_what_is_new_is_refused(fake):
    drain = Drain()
    client, _ = fake(drain=drain)
    assert client.get("/readyz").status_code == 200
    drain.is_on = True
    answer = client.post("/v1/predict", **PICTURE)
    assert "being stopped" in problem(answer, 503, "draining")
    assert answer.headers["connection"] == "close"
    assert problem(client.get("/readyz"), 503, "draining")
    assert client.get("/healthz").status_code == 200


def test_a_mistake_of_the_servers_is_a_line_in_its_log_and_nothing_in_its_answer(fake, monkeypatch, caplog):
    client, _ = fake()
    monkeypatch.setattr("inceptions.serving.predict.summarise", lambda *_: 1 / 0)
    found = problem(client.get("/v1/models"), 500, "internal")
    assert "division" not in found
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "GET /v1/models: ZeroDivisionError: division by zero"
    ]
    assert "Traceback" not in caplog.text


def test_heat_maps_need_their_libraries(fake, monkeypatch):
    client, _ = fake()
    monkeypatch.setattr("inceptions.serving.predict.missing_modules", lambda *_: [])
    assert client.get("/v1/models/tiny").json()["heat_maps"] is True
    monkeypatch.setattr("inceptions.serving.predict.missing_modules", lambda *_: ["captum"])
    assert client.get("/v1/models/tiny").json()["heat_maps"] is False
    assert "pip install 'inceptions[explain]'" in problem(client.post("/v1/predict?heat_map=gradcam", **PICTURE), 501, "no_heat_maps")


def test_a_model_without_classes_is_there_for_its_vectors(fake):
    client, _ = fake(classes=())
    assert "/v1/embed" in problem(client.post("/v1/predict", **PICTURE), 422, "invalid")
    assert client.post("/v1/embed", **PICTURE).json()["embeddings"] == [{"name": "picture", "vector": [1.5, -2.0]}]
    assert [output["name"] for output in client.get("/v2/models/tiny").json()["outputs"]] == ["embeddings"]


def test_the_interface_is_described_with_examples_and_without_anything_from_elsewhere(fake):
    client, _ = fake()
    document = client.get("/openapi.json").json()
    for path in ("/v1/predict", "/v1/embed", "/v2/models/{name}/infer", "/v1/models/{name}"):
        (operation,) = document["paths"][path].values()
        assert operation["responses"]["200"]["content"]["application/json"]["example"]
        assert "422" not in operation["responses"] or "problem" in json.dumps(operation["responses"]["422"])
    page = client.get("/docs").text
    assert "/v1/predict" in page
    assert all(f'id="{reason}"' in page for reason in REASONS)
    assert "curl -F image=@picture.jpg &#x27;http://testserver/v1/predict?top_k=3&#x27;" in page
    assert "http" not in page.replace("http://testserver/", "")
    assert (
        "curl -F image=@picture.jpg &#x27;https://x.org/v1/"
        in client.get("/docs", headers={"Host": "x.org", "X-Forwarded-Proto": "https"}).text
    )
    assert "<script" not in page
    assert '<link rel="icon" href="/mark.svg"' in page
    assert client.get("/docs.css").headers["content-type"].startswith("text/css")


def test_examples_name_a_model_of_several_and_a_token_and_nothing_in_them_is_markup_or_shell():
    shown = documents.page({"paths": {}}, address="http://x'<script>/", models=["a&b'", "c"], needs_token=True)
    commands = unescape(re.search("<pre>(.+?)</pre>", shown, re.DOTALL)[1]).splitlines()
    assert "<script" not in shown
    asked = [shlex.split(command) for command in commands]
    assert [words[:3] for words in asked] == [["curl", "-H", "Authorization: Bearer TOKEN"]] * 3
    assert asked[0][-1] == "http://x'<script>/v1/predict?model=a%26b%27&top_k=3"
    assert asked[1][-1] == "http://x'<script>/v1/embed?model=a%26b%27"
    assert asked[2][-1] == "http://x'<script>/v1/models"


def test_without_a_page_the_interface_is_shown(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(app, "PAGE", tmp_path)
    client, _ = fake()
    assert "What this server answers" in client.get("/").text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timeout_s": 0.0}, "timeout_s is 0.0; it must be at least 0.001"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"queue_images": 0}, "queue_images is 0; it must be at least 1"),
        ({"queue_images": 10}, "images_per_request is 64, more than queue_images, 10"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, said):
    with pytest.raises(UserError, match=said):
        Settings(**settings)
