"""Drawings are read back from their SVG: what is written in them, and where boxes, lines and text lie."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import pytest

from inceptions.networks.drawing.labels import layers_of
from inceptions.networks.drawing.page import draw
from inceptions.networks.drawing.svg import FONT_SIZE, text_width
from inceptions.networks.registry import NETWORKS, get_network
from inceptions.networks.reshape import dilate, scale_width, truncate, with_conv_bias, with_depthwise_activation
from inceptions.networks.spec import (
    Activation,
    AvgPool,
    Conv,
    MaxPool,
    Network,
    NetworkError,
    Node,
    Parallel,
    Residual,
    Stage,
    pair,
)
from inceptions.networks.tables import inception_v3
from inceptions.networks.trace import trace

SVG = "{http://www.w3.org/2000/svg}"
V3_7B = draw(get_network("inception_v3"), stage="7b")


@dataclass(frozen=True)
class Rectangle:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Rectangle, slack: float = 0.2) -> bool:
        across = min(self.right, other.right) - max(self.left, other.left)
        return across > slack and min(self.bottom, other.bottom) - max(self.top, other.top) > slack

    def holds(self, other: Rectangle, slack: float = 0.2) -> bool:
        return (
            self.left - slack <= other.left
            and other.right <= self.right + slack
            and self.top - slack <= other.top
            and other.bottom <= self.bottom + slack
        )


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in parsed(svg).iter(f"{SVG}text")]


def kinds(svg: str) -> set[str | None]:
    return {group.get("class") for group in parsed(svg).iter(f"{SVG}g")}


def rectangle(element: ElementTree.Element) -> Rectangle:
    x, y, width, height = (float(element.get(name, "0")) for name in ("x", "y", "width", "height"))
    return Rectangle(x, y, x + width, y + height)


def text_rectangle(text: ElementTree.Element) -> Rectangle:
    size = float(text.get("font-size", FONT_SIZE))
    x, y = float(text.get("x", "0")), float(text.get("y", "0"))
    width = text_width(text.text or "", size, bold=text.get("font-weight") == "bold")
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[text.get("text-anchor", "start")]
    return Rectangle(left, y - 0.75 * size, left + width, y + 0.22 * size)


def boxes(svg: str) -> list[tuple[Rectangle, list[Rectangle]]]:
    found = []
    for group in parsed(svg).iter(f"{SVG}g"):
        outline = group.find(f"{SVG}rect")
        assert outline is not None
        found.append((rectangle(outline), [text_rectangle(text) for text in group.findall(f"{SVG}text")]))
    return found


def wires(svg: str) -> list[Rectangle]:
    """Return every straight piece of every line, as a rectangle without width or height."""
    pieces = []
    for line in parsed(svg).iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        for (x0, y0), (x1, y1) in pairwise(points):
            assert x0 == x1 or y0 == y1, "lines are level or upright"
            pieces.append(Rectangle(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    return pieces


def crosses(wire: Rectangle, box: Rectangle, slack: float = 0.6) -> bool:
    return (
        wire.left < box.right - slack and wire.right > box.left + slack and wire.top < box.bottom - slack and wire.bottom > box.top + slack
    )


def check_geometry(svg: str) -> None:
    page = rectangle(parsed(svg))
    outlines = [outline for outline, _ in boxes(svg)]
    loose = [text_rectangle(text) for text in parsed(svg).findall(f"{SVG}text")]
    for outline, lines in boxes(svg):
        assert page.holds(outline)
        assert all(outline.holds(line) for line in lines), (outline, lines)
        assert not any(a.overlaps(b) for a, b in combinations(lines, 2))
    assert not [pair for pair in combinations([*outlines, *loose], 2) if pair[0].overlaps(pair[1])]
    assert all(page.holds(text) for text in loose)
    assert not [(wire, thing) for wire in wires(svg) for thing in [*outlines, *loose] if crosses(wire, thing)]
    panels = [rectangle(panel) for panel in parsed(svg).findall(f"{SVG}rect") if panel.get("class") == "panel"]
    assert not any(a.overlaps(b) for a, b in combinations(panels, 2))
    for panel in panels:
        assert all(panel.holds(thing) for thing in [*outlines, *loose] if panel.overlaps(thing))


def network_of(*nodes: Node, **changes: object) -> Network:
    stages = tuple(Stage(f"s{number}", node, 1, 1) for number, node in enumerate(nodes))
    return replace(Network("odd", "Odd", "nowhere", 64, stages), **changes)  # type: ignore[arg-type]


ODD: dict[str, Network] = {
    "an identity branch beside a residual branch": network_of(
        (Conv(8, 1), Parallel(same=(), sum=Residual(Conv(8, 3), scale=0.5), deep=(Parallel(a=Conv(8, 1), b=AvgPool(3)), Conv(8, 3))))
    ),
    "a single branch": network_of(Parallel(only=Residual((Conv(3, 1), Activation()), shortcut=Conv(3, 1)))),
    "a residual of nothing": network_of(Residual(())),
    "residuals in residuals": network_of(Residual((Residual(Conv(3, 3), activation="elu"), Conv(3, 3))), Residual(Residual(Conv(3, 1)))),
    "a parallel repeated, then more": network_of(((Parallel(a=Conv(8, 1), b=MaxPool(3)),) * 3, Conv(8, 1, dilation=2))),
    "repeats in branches": network_of(Parallel(a=(Residual(Conv(3, 3)),) * 4, b=(Residual(Conv(3, 3)),) * 12, c=Conv(8, 1))),
    "a split that ends the shortcut": network_of(
        Residual(Conv(8, 1), shortcut=Parallel(a=Conv(4, 1), b=Parallel(c=Conv(2, 1), d=Conv(2, 1))))
    ),
    "an empty stage": network_of((), Conv(8, 3, activation="sigmoid")),
    "many words": replace(
        get_network("inception_v3"), title="A title of very many words " * 12, source="and_a_source_without_any_blank_in_it" * 3
    ),
    "oblong and dilated": dilate(get_network("xception65p"), 8),
    "no head": truncate(get_network("inception_resnet_v2"), "6a"),
    "wide": scale_width(get_network("inception_v4"), 40),
    "everything unusual": with_depthwise_activation(with_conv_bias(get_network("xception71")), "elu"),
    "no panels": network_of(Conv(8, 3, stride=2), MaxPool(2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_poster_is_well_formed_and_names_every_stage(name: str) -> None:
    svg = draw(NETWORKS[name])
    words = set(re.split(r"[ ,:]+", " ".join(parsed(svg).itertext())))
    assert [stage.name for stage in NETWORKS[name].stages if stage.name not in words] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_overlaps_and_text_stays_in_its_box_in_any_drawing_of_a_network(name: str) -> None:
    check_geometry(draw(NETWORKS[name]))
    for stage in NETWORKS[name].stages:
        check_geometry(draw(NETWORKS[name], stage=stage.name))


@pytest.mark.parametrize("case", ODD)
def test_nothing_overlaps_in_networks_that_no_paper_has(case: str) -> None:
    check_geometry(draw(ODD[case]))
    for stage in ODD[case].stages:
        check_geometry(draw(ODD[case], stage=stage.name))


@pytest.mark.parametrize("name", ["inception_v3", "inception_v4", "googlenet", "bn_inception", "inception_resnet_v2_paper"])
def test_module_shows_every_kernel_and_width_of_its_branches(name: str) -> None:
    for stage in NETWORKS[name].stages:
        node = stage.node[0] if isinstance(stage.node, tuple) else stage.node  # the blocks of these tuples are all alike
        if not isinstance(node, Parallel | Residual):
            continue
        wanted = Counter("{}x{} conv ({})".format(*pair(conv.kernel), conv.channels) for conv in layers_of(node) if isinstance(conv, Conv))
        drawn = Counter(text.removesuffix(", V") for text in texts(draw(NETWORKS[name], stage=stage.name)) if " conv (" in text)
        assert drawn == wanted, stage.name


def test_module_shows_the_shapes_that_it_reads_and_leaves() -> None:
    written = texts(draw(get_network("inception_v3"), stage="5b"))
    assert "output of 5a: 35x35x192" in written
    assert "Filter concat: 35x35x256" in written
    assert "image" in texts(draw(get_network("inception_v3"), stage="1a"))


def test_stride_valid_padding_and_dilation_are_marked() -> None:
    assert texts(draw(get_network("inception_v3"), stage="6a")).count("stride 2, V") == 3
    assert "3x3 conv (96), V" in texts(draw(get_network("inception_v4"), stage="4a"))
    assert "3x3 max pool" in texts(draw(get_network("inception_v3"), stage="6a"))
    assert "dilation 2" in texts(draw(dilate(get_network("inception_v4"), 16), stage="7b"))


def test_nested_split_stands_side_by_side_over_what_it_splits() -> None:
    places = [(text.text, float(text.get("x", "")), float(text.get("y", ""))) for text in parsed(V3_7B).iter(f"{SVG}text")]
    pairs = [[(x, y) for text, x, y in places if text == name] for name in ("1x3 conv (384)", "3x1 conv (384)")]
    below = [(x, y) for text, x, y in places if text in ("1x1 conv (384)", "3x3 conv (384)")]
    assert len(below) == 2
    for (left, height), (right, other), (x, y) in zip(*pairs, below, strict=True):
        assert height == other < y
        assert left < x < right


def test_data_flows_upwards() -> None:
    for line in parsed(V3_7B).iter(f"{SVG}polyline"):
        first, *_, last = (float(point.split(",")[1]) for point in line.get("points", "").split())
        assert last < first
    heights = {(text.text or "").split(":")[0]: float(text.get("y", "")) for text in parsed(V3_7B).iter(f"{SVG}text")}
    assert heights["Filter concat"] < heights["1x1 conv (320)"] < heights["output of 7a"]


def test_residual_block_shows_shortcut_sum_scale_and_activation() -> None:
    network = get_network("inception_resnet_v2")
    scaled, last = texts(draw(network, stage="block35")), texts(draw(network, stage="block8_last"))
    assert {"+", "x0.17", "ReLU", "1x1 conv (320)", "no BN, linear"} <= set(scaled)
    assert "+" in last
    assert "ReLU" not in last
    assert not [text for text in last if re.fullmatch(r"x[\d.]+", text)]
    shortcut = texts(draw(get_network("xception"), stage="block3"))
    assert {"+", "1x1 conv (256)", "stride 2, linear", "3x3 max pool"} <= set(shortcut)
    assert shortcut.count("3x3 separable conv (256)") == shortcut.count("ReLU") == 2


def test_separable_convolution_shows_what_stands_between_its_halves() -> None:
    assert texts(draw(get_network("xception65"), stage="exit2")).count("BN + ReLU after depthwise") == 3
    assert not [text for text in texts(draw(get_network("xception"), stage="block3")) if "depthwise" in text]


def test_block_that_repeats_is_drawn_once_with_how_often() -> None:
    written = texts(draw(get_network("inception_resnet_v2"), stage="block35"))
    assert "x10" in written
    assert written.count("+") == 1
    assert "x16" in texts(draw(get_network("xception65p"), stage="middle"))  # a repeat of two nodes, in a nested chain
    flat = network_of((Conv(8, 1), *(Activation(), Residual(Conv(8, 3))) * 5))
    assert "x5" in texts(draw(flat, stage="s0"))
    assert not [text for text in texts(draw(get_network("xception"), stage="block5")) if re.fullmatch(r"x\d+", text)]


@pytest.mark.parametrize("name", NETWORKS)
def test_boxes_and_panels_of_a_poster_name_their_rows_of_the_table(name: str) -> None:
    svg = parsed(draw(NETWORKS[name]))
    named = [row for group in svg.iter(f"{SVG}g") for row in group.get("data-rows", "").split(", ") if row]
    rows = [row.name for row in (*trace(NETWORKS[name]).rows, *trace(NETWORKS[name]).aux)]
    assert sorted(set(named)) == sorted(rows)
    assert [row for row in rows if named.count(row) > 1] == ["head"] * (named.count("head") > 1)
    panels = [panel for panel in svg.iter(f"{SVG}rect") if panel.get("class") == "panel"]
    assert {row for panel in panels for row in panel.get("data-rows", "").split(", ")} <= set(rows)
    assert "data-rows" not in V3_7B


def test_poster_merges_stages_in_a_row_that_are_alike() -> None:
    written = texts(draw(get_network("inception_v4")))
    assert written.count("5b, 5c, 5d, 5e") == 2  # in the schema and over the panel
    assert "module of 4 branches, x4" in written
    assert "module of 4 branches, x7" in written
    assert "6b to 6h" in written


def test_stage_with_an_auxiliary_head_ends_a_run_of_stages_that_are_alike() -> None:
    network = get_network("inception_v4")
    written = texts(draw(replace(network, aux=(inception_v3.aux_classifier("5c"),))))
    assert "5b, 5c" in written
    assert "5d, 5e" in written


@pytest.mark.parametrize(("name", "panels"), [("inception_v3", 9), ("inception_v4", 9), ("xception", 5), ("googlenet", 10)])
def test_poster_has_one_panel_for_every_distinct_module_and_auxiliary_head(name: str, panels: int) -> None:
    svg = draw(get_network(name))
    assert len([rect for rect in parsed(svg).iter(f"{SVG}rect") if rect.get("class") == "panel"]) == panels


def test_poster_shows_auxiliary_heads_head_and_totals() -> None:
    written = texts(draw(get_network("inception_v3")))
    assert {"auxiliary head", "weight 0.4", "global avg pool", "dropout 0.2", "1000 classes", "35x35x288"} <= set(written)
    line = next(text for text in written if "multiply-adds" in text)
    assert "23.8 M parameters (27.2 M with auxiliary heads)" in line
    assert "5.7 G multiply-adds" in line
    assert "299x299" in line
    assert {"fully connected (512), BN", "L2 normalise"} <= set(texts(draw(get_network("inception_resnet_v1_facenet"))))


@pytest.mark.parametrize("name", NETWORKS)
def test_poster_has_the_proportions_of_a_sheet_of_paper(name: str) -> None:
    page = rectangle(parsed(draw(NETWORKS[name])))
    assert 1 <= page.right / page.bottom <= 2


def test_legend_explains_every_colour_and_no_other() -> None:
    assert kinds(V3_7B) == {"conv", "pool", "concat", "end"}
    words = {"convolution", "pooling", "filter concatenation", "residual sum", "separable convolution", "fully connected"}
    assert words & set(texts(V3_7B)) == {"convolution", "pooling", "filter concatenation"}


def test_drawing_has_a_title_a_description_and_a_size() -> None:
    root = parsed(draw(get_network("xception")))
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert root[0].text == "Xception"
    assert "22.9 M parameters" in (root[1].text or "")
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"


def test_special_characters_are_escaped() -> None:
    stage = Stage("a<b>&\"c'", Parallel(a=Conv(8, 1), b=Conv(8, 1)), 64, 16)
    network = Network("n", "<script>alert('x & y')</script>\x00\x1b", "a & b]]>", 64, (stage,))
    for svg in (draw(network), draw(network, stage=stage.name)):
        assert any(stage.name in text for text in texts(svg))
        assert not list(parsed(svg).iter(f"{SVG}script"))
    assert "<script>alert('x & y')</script>" in (parsed(draw(network))[0].text or "")


def test_wrong_stage_is_an_error_that_lists_the_stages() -> None:
    with pytest.raises(NetworkError, match=r"inception_v3 has no stage '9z'; stages are 1a, 2a, .*7c"):
        draw(get_network("inception_v3"), stage="9z")


def test_drawing_is_the_same_every_time() -> None:
    assert draw(get_network("inception_v4")) == draw(get_network("inception_v4"))


def test_drawing_does_not_import_torch() -> None:
    code = (
        "import sys; from inceptions.networks.drawing.page import draw; from inceptions.networks.tables.inception_v3 import INCEPTION_V3; "
        "draw(INCEPTION_V3); draw(INCEPTION_V3, stage='5b'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
