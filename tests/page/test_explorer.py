"""The explorer of networks in a browser: its numbers, words and drawings are those of the tables, and everybody can use it."""

import importlib.util
import itertools
import re
import shutil
from pathlib import Path

import pytest

from inceptions.networks import spec
from inceptions.networks.describe import describe
from inceptions.networks.registry import NETWORKS
from inceptions.networks.reshape import dilate, with_classes, with_image_size
from inceptions.networks.spec import Network, NetworkError, pair
from inceptions.networks.trace import reduction, smallest_image, trace
from tests.page.file_server import Server

pytest.importorskip("axe_playwright_python")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "docs" / "explorer"
WITH_POSTERS = "googlenet inception_v3 inception_v4 inception_resnet_v1_facenet inception_resnet_v2 xception xception65p".split()
STRIDES = (None, 4, 8, 16, 32)
WORK_OUT = """(cases) => {
  const networks = new Map(arithmetic.expand(family.networks, family.fields).map((network) => [network.name, network]));
  return cases.map(([name, size, classes, stride]) => {
    let network = networks.get(name);
    if (classes !== null) network = arithmetic.withClasses(network, classes);
    if (stride !== null) network = arithmetic.dilate(network, stride);
    const refused = arithmetic.refuse(network, size);
    if (refused) return { described: refused.message };
    const { rows, aux } = arithmetic.trace(network, size);
    const fields = Object.fromEntries(rows.map((row) => [row.name, row.flow.field]));
    return { described: words.describe(network, size), fields, code: [...rows, ...aux].map((row) => words.code(row.node)) };
  });
}"""
READ = """async (addresses) => {
  const found = [];
  for (const address of addresses) {
    const changed = new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
    location.hash = address;
    await changed;
    const lines = [...document.querySelectorAll(".stages tbody tr")].map((row) => [...row.children].map((cell) => cell.innerText));
    const totals = [...document.querySelectorAll(".totals div")].map((one) => [...one.children].map((part) => part.textContent));
    found.push([lines, Object.fromEntries(totals)]);
  }
  return found;
}"""
TEXTS = """() => [...document.querySelectorAll(".viewport text:not(.gone, .gone *)")].map((text) => text.textContent)"""


def load_script():
    description = importlib.util.spec_from_file_location("explorer_script", ROOT / "scripts" / "explorer.py")
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


SCRIPT = load_script()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The explorer as the site has it, with some of the drawings."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(SOURCE, site / "explorer")
    shutil.copy(SCRIPT.MARK, site / "explorer")
    (site / "explorer" / "posters").mkdir()
    for place, text in SCRIPT.explorer_files(WITH_POSTERS).items():
        (site / place).write_text(text, encoding="utf-8")
    return site / "explorer"


@pytest.fixture
def url(folder):
    with Server(folder) as server:
        yield f"{server.url}index.html"


def changed(name: str, classes: int | None = None, stride: int | None = None) -> Network:
    network = NETWORKS[name] if classes is None else with_classes(NETWORKS[name], classes)
    return network if stride is None else dilate(network, stride)


def sizes_of(network: Network) -> tuple[int, int, int]:
    return smallest_image(network), network.image_size, network.image_size + 64


def described(network: Network, size: int):
    try:
        return describe(network, image_size=size)
    except NetworkError as refusal:
        return str(refusal)


def check(page, cases: list[tuple]) -> None:
    for (name, size, classes, stride), found in zip(cases, page.evaluate(WORK_OUT, cases), strict=True):
        network = changed(name, classes, stride)
        assert found["described"] == described(network, size), (name, size, classes, stride)


@pytest.mark.parametrize("which", [0, pytest.param(1, marks=pytest.mark.exhaustive), pytest.param(2, marks=pytest.mark.exhaustive)])
def test_page_shows_what_describe_says_of_every_network_at_three_sizes(url, visit, which):
    cases = [(network, sizes_of(network)[which]) for network in NETWORKS.values()]
    page = visit(f"{url}#a=xception41", allow="Failed to load resource")  # most have no drawing here
    shown = page.evaluate(READ, [f"a={network.name}&a.size={size}" for network, size in cases])
    for (network, size), (lines, totals) in zip(cases, shown, strict=True):
        told = describe(network, image_size=size)
        rows = [*told["stages"], *told["auxiliary_heads"]]
        assert [line[0].replace("\u200b", "").split("\n") for line in lines] == [[row["name"], row["node"]] for row in rows]
        outputs = ("{1}x{2}x{0}".format(*row["output"]) for row in rows)
        costs = [(output, f"{row['parameters']:,}", f"{row['multiply_adds']:,}") for output, row in zip(outputs, rows, strict=True)]
        assert [(line[1], line[3].strip(), line[4].strip()) for line in lines] == costs, (network.name, size)
        with_aux = {"With auxiliary heads": told["parameters_with_aux"]} if told["auxiliary_heads"] else {}
        wanted = {"Parameters": told["parameters"], "Multiply-adds": told["multiply_adds"], **with_aux}
        assert {name: text for name, text in totals.items() if name in wanted} == {name: f"{value:,}" for name, value in wanted.items()}


def test_numbers_follow_classes_and_output_stride_and_refusals_are_those_of_python(url, visit):
    """Each network at some strides, in turn; also at a size that is too small for some, or lies between two that fit."""
    strides = itertools.cycle(STRIDES)
    cases = [(name, size, classes, next(strides)) for name in NETWORKS for size, classes in ((331, 0), (224, 7), (76, None))]
    check(visit(url), cases)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_follow_every_change(url, visit, name):
    sizes = {*sizes_of(NETWORKS[name]), *range(smallest_image(NETWORKS[name]) - 2, smallest_image(NETWORKS[name]) + 10), 512}
    check(visit(url), list(itertools.product([name], sizes, (None, 0, 7), STRIDES)))


def test_code_of_every_node_makes_the_node_again(url, visit):
    cases = [(name, network.image_size, None, stride) for name, network in NETWORKS.items() for stride in (None, 16)]
    for (name, size, classes, stride), found in zip(cases, visit(url).evaluate(WORK_OUT, cases), strict=True):
        table = trace(changed(name, classes, stride), size)
        for row, code in zip((*table.rows, *table.aux), found["code"], strict=True):
            assert eval(code, dict(vars(spec))) == row.node, (name, row.name, code)


def seen_from(node: spec.Node, low: int, high: int, side: int) -> tuple[int, int]:
    """Return the first and last cell that a node reads for the cells `low` to `high`, on a grid without borders and without padding."""
    match node:
        case tuple():
            for part in reversed(node):
                low, high = seen_from(part, low, high, side)
            return low, high
        case spec.Parallel():
            ends = [seen_from(branch, low, high, side) for _, branch in node.branches]
        case spec.Residual():
            ends = [seen_from(branch, low, high, side) for branch in (node.body, node.shortcut)]
        case spec.Conv() | spec.SeparableConv() | spec.MaxPool() | spec.AvgPool():
            reach = getattr(node, "dilation", 1) * (pair(node.kernel)[side] - 1)
            before = reach // 2
            ends = [(low * node.stride - before, high * node.stride - before + reach)]
        case _:
            return low, high
    return min(first for first, _ in ends), max(last for _, last in ends)


@pytest.mark.parametrize("stride", [8, pytest.param(None, marks=pytest.mark.exhaustive)])
def test_receptive_fields_are_what_one_gets_going_back_from_a_cell(url, visit, stride):
    cases = [(name, network.image_size, None, stride) for name, network in NETWORKS.items()]
    for (name, *_), found in zip(cases, visit(url).evaluate(WORK_OUT, cases), strict=True):
        stages = changed(name, stride=stride).stages
        for last, stage in enumerate(stages):
            both = [seen_from(tuple(one.node for one in stages[: last + 1]), 0, 0, side) for side in (0, 1)]
            assert found["fields"][stage.name] == [high - low + 1 for low, high in both], (name, stage.name)


def test_receptive_fields_are_those_that_were_published(url, visit):
    """Araujo et al., Computing receptive fields of convolutional neural networks (Distill, 2019): google-research/receptive_field."""
    published = {"inception_v2_slim": 699, "inception_v3": 1311, "inception_v4": 2071, "inception_resnet_v2": 3039}
    found = visit(url).evaluate(WORK_OUT, [(name, 299, None, None) for name in published])
    assert [one["fields"][NETWORKS[name].stages[-1].name] for one, name in zip(found, published, strict=True)] == [
        [field, field] for field in published.values()
    ]


DRAWN = [("googlenet", 288, 7, 16), ("inception_resnet_v1_facenet", 224, 5, 16), ("inception_v4", 299, 0, None)]
ALSO_DRAWN = [
    ("inception_v3", 331, 10, None),
    ("inception_resnet_v2", 331, None, 8),
    ("xception65p", 513, 21, 16),
    ("xception", 71, None, 4),
]


@pytest.mark.parametrize(
    ("name", "size", "classes", "stride"), [*DRAWN, *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in ALSO_DRAWN)]
)
def test_poster_says_what_one_drawn_for_the_choice_would(url, visit, name, size, classes, stride):
    given = {"a.size": size, "a.classes": classes, "a.stride": stride}
    page = visit(f"{url}#a={name}" + "".join(f"&{key}={value}" for key, value in given.items() if value is not None))
    expect(page.locator(".viewport svg .chosen").first).to_be_visible()
    wanted = SCRIPT.draw_bare(with_image_size(changed(name, classes, stride), size))
    assert page.evaluate(TEXTS) == re.findall(r"<text[^>]*>([^<]*)</text>", wanted)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(390, "light"), (1440, "dark"), *(pytest.param(*look, marks=pytest.mark.exhaustive) for look in [(390, "dark"), (1440, "light")])],
)
def test_everybody_can_use_it_and_the_page_is_never_too_wide(url, visit, width, scheme):
    page = visit(f"{url}#a=googlenet&b=inception_resnet_v2&b.size=139&b.stride=16&b.row=block17", width=width, scheme=scheme)
    expect(page.locator(".viewport svg")).to_have_count(2)
    expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
    assert not is_too_wide(page)
    page.get_by_label("Image, pixels").first.fill("9")
    page.get_by_label("Image, pixels").first.press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("the smallest square image is 32x32")
    assert serious(page) == []  # of a refusal, and of a network beside it
    page.get_by_role("button", name="Remove").first.click()
    expect(page.locator(".viewport svg")).to_have_count(1)
    assert not is_too_wide(page)


def serious(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]]


def is_too_wide(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_blocks_are_chosen_by_mouse_and_by_keyboard_in_drawing_and_table(url, visit):
    page = visit(url)
    details = page.get_by_role("complementary")
    expect(details.get_by_role("heading", name="Stage 5b")).to_be_visible()
    page.get_by_role("button", name=re.compile("^7b, 7c, module")).click()
    expect(details.get_by_role("heading", name="Stage 7b")).to_be_visible()
    expect(details.locator(".figure")).to_contain_text("Filter concat: 8x8x2048")
    page.keyboard.press("Enter")  # a block of several stages shows the next
    expect(details.get_by_role("heading", name="Stage 7c")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    expect(details.get_by_role("heading", name="Stage 7a")).to_be_visible()
    expect(page.locator(".stages tr.chosen")).to_contain_text("7a")
    page.get_by_role("button", name="Inside 5c, 5d").focus()
    page.keyboard.press("Enter")
    expect(details.get_by_role("heading", name="Stage 5c")).to_be_visible()
    expect(details).to_contain_text("Parallel(")
    page.locator(".stages").get_by_role("button", name="aux 6e").press("Enter")
    expect(details.get_by_role("heading", name="Auxiliary head on 6e")).to_be_visible()
    expect(page.locator(".stages").get_by_role("button", name="aux 6e")).to_be_focused()
    expect(page.locator(".viewport .chosen")).to_have_count(2)


def test_address_keeps_what_was_chosen(url, visit):
    page = visit(url)
    page.get_by_role("combobox", name="Network").select_option("inception_v4")
    page.get_by_label("Image, pixels").fill("320")
    page.get_by_label("Classes", exact=True).fill("12")
    page.get_by_role("combobox", name="Output stride").select_option("16")
    page.locator(".stages").get_by_role("button", name="6b", exact=True).click()
    page.get_by_role("button", name="Compare with another").click()
    page.get_by_role("combobox", name="Network").last.select_option("googlenet")
    address = page.url
    assert address.partition("#")[2] == "a=inception_v4&a.size=320&a.classes=12&a.stride=16&a.row=6b&b=googlenet&b.size=320&b.classes=12"
    again = visit(address)
    for view in (page, again):
        expect(view.get_by_role("heading", name="Stage 6b")).to_be_visible()
        expect(view.locator(".compared thead th")).to_contain_text(["320 px, 12 classes, stride 16", "320 px, 12 classes"])
        expect(view.locator(".compared tr", has_text="Multiply-adds")).to_contain_text(
            f"{trace(changed('inception_v4', 12, 16), 320).total.multiply_adds:,}"
        )
    assert reduction(changed("inception_v4", stride=16)) == 16


def test_wrong_numbers_are_told_and_mended(url, visit):
    page = visit(url)
    size, alert = page.get_by_label("Image, pixels"), page.get_by_role("alert")
    size.press_sequentially("1")  # 2991
    expect(page.locator(".stages tbody tr").first).to_contain_text("1495x1495x32")
    size.fill("60")
    expect(alert).to_be_hidden()  # perhaps there is more to come
    size.press("Enter")
    expect(alert).to_contain_text(str(described(NETWORKS["inception_v3"], 60)))
    expect(page.locator(".stages")).to_be_hidden()
    page.get_by_role("button", name="Take 75 pixels").click()
    expect(page.locator(".stages tbody tr").first).to_contain_text("37x37x32")
    expect(size).to_have_value("75")
    page.get_by_label("Classes", exact=True).fill("1.5")
    page.get_by_label("Classes", exact=True).press("Enter")
    expect(alert).to_contain_text('Classes is "1.5"; give a whole number of outputs from 0 to 1,000,000')
    page.get_by_role("button", name="Its own values").click()
    expect(alert).to_be_hidden()
    expect(size).to_have_value("299")


def test_an_address_that_asks_for_what_there_is_not_shows_a_network(url, visit):
    page = visit(f"{url}#a=nothing&b=neither")
    for address in ("#a=nothing&b=neither", "#a.row=9z&a.stride=3", "#a=__proto__&b=constructor", "#&&=%"):
        page.goto(url + address)
        expect(page.get_by_role("heading", name="Inception-v3 as released")).to_be_visible()
        expect(page.get_by_role("heading", name="Stage 5b")).to_be_visible()
        expect(page.locator(".pane")).to_have_count(1)
    page.goto(f"{url}#a.size=<b>")
    expect(page.get_by_role("alert")).to_contain_text('Image size is "<b>"; give a whole number of pixels from 1 to 10,000')


def test_page_works_from_a_folder_and_without_its_drawings(folder, visit, tmp_path):
    page = visit((folder / "index.html").as_uri() + "#a=xception")
    expect(page.locator(".viewport svg")).to_have_count(1)
    bare = shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("posters"))
    page = visit((bare / "index.html").as_uri() + "#a=xception", allow="Failed to load resource")
    expect(page.locator(".viewport")).to_contain_text("The drawing can't be loaded. The table has all of it.")
    page.locator(".stages").get_by_role("button", name="block3").click()
    expect(page.get_by_role("heading", name="Stage block3")).to_be_visible()


def test_scripts_name_no_other_host_and_make_no_markup(folder):
    for file in SOURCE.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\(", text), file.name
        assert set(re.findall(r"https?://[^\s<`\"']+", text)) <= {"http://www.w3.org/2000/svg"}, file.name
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", (folder / "index.html").read_text(encoding="utf-8"))
