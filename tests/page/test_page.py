"""The page in a browser, against a server that answers what `inceptions serve` would: at a telephone's width and a desk's, light, dark."""

import io
import re

import pytest
from PIL import Image

from tests.page.conftest import REFUSED, drop
from tests.page.fake_server import FakeServer, card

pytest.importorskip("axe_playwright_python")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

HOSTILE = "<img src=x onerror=document.title='owned'>\u202egnp.png"
LOOKS = [(390, "light"), (1440, "dark")]
EVERY_LOOK = [*LOOKS, *(pytest.param(*look, marks=pytest.mark.exhaustive) for look in [(390, "dark"), (1440, "light")])]


def picture(colour="orange", size=(120, 80)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


def serious(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]]


def is_too_wide(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.mark.parametrize(("width", "scheme"), EVERY_LOOK)
def test_pictures_are_dropped_read_and_seen_through(server, visit, width, scheme):
    """From the empty page to several pictures with heat maps and one that can't be read; nothing that a screen reader can't read."""
    page = visit(server.url, width=width, scheme=scheme, allow=REFUSED)
    expect(page.locator("#status")).to_have_text("Ready.")
    assert serious(page) == []
    drop(page, ("first.png", picture()))
    first = page.locator(".bars li").first
    expect(first).to_contain_text("amber")
    expect(first).to_contain_text("71.2")
    expect(page.locator("#status")).to_contain_text("amber, 71.2")
    assert "heat_map" not in server.asked[-1]

    page.get_by_label("Heat map").check()
    heat = page.locator(".frame .heat")
    expect(heat).to_have_css("opacity", "0.6")
    assert server.asked[-1]["heat_map"] == "gradcam"
    slider = page.get_by_label("Opacity")
    slider.fill("25")
    expect(heat).to_have_css("opacity", "0.25")
    slider.press("ArrowRight")
    expect(heat).to_have_css("opacity", "0.26")
    expect(page.locator("#shown")).to_have_text("26 %")
    assert heat.bounding_box() == page.locator(".frame img").first.bounding_box()

    drop(page, ("second.png", picture("blue", (60, 200))), ("third.png", picture("green")), ("notes.txt", b"no picture"))
    expect(page.locator(".bars")).to_have_count(3)
    expect(page.locator(".picture.failed")).to_contain_text("notes.txt: no image, or one without a whole header; replace the file")
    expect(page.locator("#status")).to_contain_text("2 of 3 pictures answered, 1 refused")
    expect(page.locator(".picture .name")).to_have_text(["second.png", "third.png", "notes.txt", "first.png"])
    assert serious(page) == []
    assert not is_too_wide(page)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".picture")).to_have_count(0)


def test_the_card_says_what_the_model_knows(server, visit):
    page = visit(server.url)
    about = page.get_by_role("complementary", name="About the model")
    for text in ("flowers, 2,341 images", "93.0\u202f%", "of 412 validation images", "between 90.0\u202f% and 95.1\u202f%"):
        expect(about).to_contain_text(text)
    expect(about.locator("tbody tr").first).to_have_text("ambergreen9")
    about.get_by_text("5 classes").click()
    expect(about.get_by_role("listitem")).to_have_count(5)


def test_names_are_text_whatever_is_in_them(server, visit):
    page = visit(server.url)
    drop(page, (HOSTILE, picture()))
    expect(page.locator(".picture .name")).to_have_text(HOSTILE)
    expect(page.locator(".bars")).to_contain_text("<b>bold</b>")
    expect(page.locator("#card")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("main b, img[src=x]").count() == 0
    assert page.title() == "Pictures, classified"


def test_pictures_are_pasted_chosen_by_keyboard_and_photographed(server, visit, tmp_path):
    page = visit(server.url)
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    drop(page, ("pasted.png", picture()), how="paste")
    expect(page.locator(".bars")).to_have_count(1)
    (tmp_path / "chosen.png").write_bytes(picture())
    page.locator("body").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(1000):
        if not choosers:
            page.wait_for_timeout(20)
    choosers[0].set_files([tmp_path / "chosen.png"])
    expect(page.locator(".bars")).to_have_count(2)
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the picture").click()
    expect(page.locator(".bars")).to_have_count(3)
    expect(page.locator(".picture .name").first).to_have_text("From the camera")


def test_several_models_are_chosen_from(visit):
    with FakeServer([card("flowers"), card("birds", accuracy=None, confusions=None, trained_on=None, licence=None)]) as server:
        page = visit(server.url, width=390)
        drop(page, ("a.png", picture()))
        expect(page.locator(".bars")).to_have_count(1)
        page.get_by_label("Model", exact=True).select_option("birds")
        expect(page.locator("#card")).to_contain_text("How often it is right was not measured.")
        expect(page.locator("#status")).to_contain_text("amber")
        expect(page.locator(".picture")).not_to_have_attribute("aria-busy", "true")
        assert [asked["model"] for asked in server.asked] == ["flowers", "birds"]
        assert not is_too_wide(page)


def test_a_model_that_is_not_ready_leaves_the_others_usable(visit):
    """Whether the list says so, or its card is refused; nobody waits until it is ready."""
    with FakeServer([card("birds", ready=False), card("trees"), card("flowers", ready=True)]) as server:
        server.restarting = {"birds", "trees"}
        page = visit(server.url, width=390, allow=REFUSED)
        expect(page.locator("#status")).to_have_text("Ready.")
        expect(page.locator("#model option")).to_have_text(["birds (not ready)", "trees (not ready)", "flowers"])
        expect(page.locator("#model option:disabled")).to_have_count(2)
        drop(page, ("a.png", picture()))
        expect(page.locator(".bars")).to_have_count(1)
        assert server.asked[-1]["model"] == "flowers"
        assert serious(page) == []
        assert not is_too_wide(page)


def test_models_that_become_ready_answer_the_next_picture(visit):
    with FakeServer([card("birds", ready=False), card("trees")]) as server:
        server.restarting = {"trees"}
        page = visit(server.url, allow=REFUSED)
        told = "birds is not ready, trees is not ready (trees is being restarted); give a picture again in a moment."
        expect(page.locator("#trouble")).to_have_text(told)
        server.cards, server.restarting = [card("birds", ready=True), card("trees", ready=True)], set()
        drop(page, ("a.png", picture()))
        expect(page.locator(".bars")).to_have_count(1)
        expect(page.locator("#model option:disabled")).to_have_count(0)


def test_heat_maps_are_offered_for_the_models_that_have_them(visit):
    with FakeServer([card("flowers", heat_maps=True), card("birds", heat_maps=False)]) as server:
        page = visit(server.url)
        page.get_by_label("Heat map").check()
        drop(page, ("a.png", picture()))
        expect(page.locator(".frame .heat")).to_have_count(1)
        page.get_by_label("Model", exact=True).select_option("birds")
        expect(page.get_by_label("Heat map")).to_be_hidden()
        expect(page.locator(".frame .heat")).to_have_count(0)
        expect(page.locator(".bars")).to_have_count(1)
        assert "heat_map" not in server.asked[-1]
        page.get_by_label("Model", exact=True).select_option("flowers")
        expect(page.locator(".frame .heat")).to_have_count(1)


def test_a_heat_map_that_is_refused_leaves_the_classes(server, visit):
    server.heat_refusal = "heat maps need captum; pip install 'inceptions[explain]' where the server runs"
    page = visit(server.url, allow=REFUSED)
    page.get_by_label("Heat map").check()
    drop(page, ("a.png", picture()))
    expect(page.locator(".bars li").first).to_contain_text("amber")
    expect(page.locator(".answer")).to_contain_text(f"No heat map: {server.heat_refusal}")
    expect(page.locator("#status")).to_contain_text("amber, 71.2")
    page.get_by_label("Heat map").uncheck()
    expect(page.locator(".answer")).not_to_contain_text("No heat map")


def test_a_token_is_asked_for_where_the_server_wants_one(visit):
    with FakeServer(token="open sesame") as server:
        page = visit(server.url, width=390, allow=REFUSED)
        field = page.get_by_label("Token", exact=True)
        field.fill("open barley")
        assert serious(page) == []
        field.press("Enter")
        expect(page.locator("#refused")).to_have_text("give the token that the server was started with")
        field.fill("open sesame")
        field.press("Enter")
        expect(page.locator("#status")).to_have_text("Ready.")
        drop(page, ("a.png", picture()))
        expect(page.locator(".bars")).to_have_count(1)


@pytest.mark.parametrize("token", ["жетон", "a\u2013b", "🔑"])
def test_a_token_that_no_header_holds_is_asked_for_anew(visit, token):
    """It isn't kept: the next one is taken, also after the page is loaded again."""
    with FakeServer(token="open sesame") as server:
        page = visit(server.url, allow=REFUSED)
        field = page.get_by_label("Token", exact=True)
        field.fill(token)
        field.press("Enter")
        expect(page.locator("#refused")).to_contain_text("That can't be sent: it has characters that no token has")
        assert page.evaluate("sessionStorage.length") == 0
        field.fill("open sesame")
        field.press("Enter")
        expect(page.locator("#status")).to_have_text("Ready.")


def test_a_token_that_was_not_given_is_asked_for_with_the_next_picture(visit):
    """Escape in the window: the pictures say what is missing, and have their answers once it is given."""
    with FakeServer(token="open sesame") as server:
        page = visit(server.url, allow=REFUSED)
        field, trouble = page.get_by_label("Token", exact=True), page.locator("#trouble")
        told = "No token was given; give a picture again to be asked for it."
        for times in range(3):
            expect(field).to_be_visible()  # a key doesn't wait for the window
            field.press("Escape")
            expect(trouble).to_have_text(told)
            expect(page.locator(".picture.failed .error")).to_have_text([told] * times)
            expect(page.locator("#status")).to_have_text("")
            drop(page, (f"{times}.png", picture()))
        field.fill("open sesame")
        field.press("Enter")
        expect(page.locator(".bars")).to_have_count(3)
        expect(page.locator(".picture.failed")).to_have_count(0)
        expect(trouble).to_be_hidden()
        expect(page.locator("#status")).to_contain_text("3 pictures answered")


@pytest.mark.parametrize("refusal", [(503, "the models are being loaded; try again in a minute"), (404, "no such page")])
def test_models_that_could_not_be_opened_are_opened_with_the_next_picture(server, visit, refusal):
    server.refusal = refusal
    page = visit(server.url, allow=REFUSED)
    trouble = page.locator("#trouble")
    expect(trouble).to_have_text(refusal[1])
    drop(page, ("a.png", picture()))
    expect(page.locator(".picture.failed")).to_contain_text(refusal[1])
    expect(trouble).to_have_text(refusal[1])
    page.get_by_role("button", name="Clear").click()
    expect(trouble).to_have_text(refusal[1])
    drop(page, ("a.png", picture()))
    expect(page.locator(".picture.failed")).to_contain_text(refusal[1])
    server.refusal = None
    drop(page, ("b.png", picture()))
    expect(page.locator(".bars")).to_have_count(2)
    expect(page.locator("#card")).to_contain_text("flowers")
    expect(trouble).to_be_hidden()


def test_a_server_without_models_says_so_of_every_picture(visit):
    with FakeServer([]) as server:
        page = visit(server.url)
        drop(page, ("a.png", picture()))
        expect(page.locator(".picture.failed")).to_contain_text("No model is served here; start the server with one.")
        expect(page.locator("#trouble")).to_have_text("No model is served here; start the server with one.")


def test_a_busy_server_is_asked_again_and_one_that_is_gone_is_told(server, visit):
    page = visit(server.url, allow=REFUSED)
    expect(page.locator("#status")).to_have_text("Ready.")
    server.busy = 1
    drop(page, ("a.png", picture()))
    expect(page.locator(".bars")).to_have_count(1)
    assert len(server.asked) == 2
    server.shutdown()
    server.socket.close()
    drop(page, ("b.png", picture()))
    expect(page.locator(".picture.failed")).to_contain_text("The server can't be reached; see whether it runs, and try again.")


def test_scripts_name_no_other_host_and_make_no_markup():
    """What is on the page is text, and what it asks for is its own."""
    from tests.page.fake_server import PAGE

    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\(", text), file.name
        links = re.findall(r"https?://[^\s<`\"']+", text)
        assert file.name == "LICENCES.txt" or set(links) <= {"http://localhost:8000", "http://www.w3.org/2000/svg"}, file.name
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", html)
