"""What the guide's pages get from the code as the site is built: enters Markdown, leaves it with drawings, counts and verdicts.

A page says `{{ inception_v3:5b parameters }}` for a number, `{{ = 3*3 / (5*5) % }}` for arithmetic, and in lines of their own

    <!-- drawn googlenet_naive:3a googlenet:3a -->     stages side by side, with what each costs
    <!-- counted googlenet:3a -->                      every convolution of a stage with its cost, by formula
    <!-- found modules -->                             what a study found
    <!-- claims -->                                    the list of the note's claims, and what stands for each

Where the sum of the formulas is not what `trace` counts, or nothing stands for what a page asks for, the site is not built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple

from claims import CHAPTERS, Claim
from prose import Column, plain, table

from inceptions.networks import reshape, spec
from inceptions.networks.drawing.labels import amount
from inceptions.networks.drawing.page import draw
from inceptions.networks.registry import get_network
from inceptions.networks.spec import Conv, Network, Node, Numerics, Stage, pair
from inceptions.networks.trace import Cost, Row, Shape, trace, trace_node
from inceptions.studies import variants
from inceptions.studies.catalog import get_study

CLAIMS = "<!-- claims -->"
WIDE = 600  # pixels: two drawings of more can't be read beside each other
DIRECTIVE = re.compile(r"^<!-- (drawn|counted|found) (.+?) -->$", re.MULTILINE)
NUMBER = re.compile(r"\{\{ (\S+) (parameters|multiply-adds|channels|grid|share) ?(\S*) \}\}")
ARITHMETIC = re.compile(r"\{\{ = ([\d+*/(). -]+?) (%|M|) ?\}\}")


def _with_stage(network: Network, stage: Stage) -> Network:
    """Return a network with another stage in the place of the one that is called alike."""
    return reshape.declare(replace(network, stages=tuple(stage if each.name == stage.name else each for each in network.stages)))


def _steps_to_xception(*node: Node) -> Callable[[], Network]:
    """Return what makes an Inception-v3 with another module in the place of its 5c, of 288 channels as that."""
    return lambda: _with_stage(get_network("inception_v3"), Stage("5c", node, 35, 288))


RESHAPED: dict[str, tuple[str, Callable[[], Network]]] = {  # which no paper has, drawn beside those of the papers: title and network
    "googlenet_separable": (
        "GoogLeNet with a separable first convolution",
        lambda: _with_stage(get_network("googlenet"), get_network("bn_inception").stage("conv1")),
    ),
    "googlenet_two_3x3": ("GoogLeNet with two 3x3 for a 5x5", lambda: reshape.factorize_5x5(get_network("googlenet"))),
    "inception_v3_square": ("Inception-v3 with whole 7x7", lambda: reshape.merge_factorized(get_network("inception_v3"))),
    "one_kernel": (
        "Three branches of one kind",
        _steps_to_xception(spec.Parallel(**{f"part{n}": (Conv(96, 1), Conv(96, 3)) for n in (1, 2, 3)})),
    ),
    "three_parts": ("One 1x1, and a 3x3 for each third of its channels", _steps_to_xception(Conv(288, 1), Conv(288, 3, groups=3))),
    "all_parts": ("One 1x1, and a 3x3 for each channel", _steps_to_xception(Conv(288, 1), Conv(288, 3, groups=288))),
    "xception_extreme": ("Xception with the 1x1 first", lambda: variants.pointwise_first(get_network("xception"))),
    "xception_plain": ("Xception without residuals", lambda: reshape.without_residuals(get_network("xception"))),
    "xception_relu": ("Xception with ReLU between", lambda: reshape.with_depthwise_activation(get_network("xception"), "relu")),
}


class Convolved(NamedTuple):
    """A convolution or linear layer of a stage: on which way through it, what it reads, and what it costs."""

    way: str
    layer: spec.Convolution | spec.Linear
    reads: Shape
    cost: Cost


@cache
def network_called(name: str) -> Network:
    """Return a network of the family, or one that is made of it for a chapter."""
    if name not in RESHAPED:
        return get_network(name)
    title, make = RESHAPED[name]
    return replace(make(), title=title)


@cache
def rows_of(name: str) -> dict[str, Row]:
    """Return the rows of a network's trace by name."""
    traced = trace(network_called(name))
    return {row.name: row for row in (*traced.rows, *traced.aux)}


def row_of(place: str) -> Row:
    """Return the row of `network:stage`."""
    name, _, stage = place.replace("aux-", "aux ").partition(":")
    if stage not in rows_of(name):
        raise ValueError(f"{name} has no row {stage}; it has {', '.join(rows_of(name))}")
    return rows_of(name)[stage]


def cost_of(place: str) -> Cost:
    """Return the cost of `network`, or of `network:stage`."""
    return row_of(place).cost if ":" in place else trace(network_called(place)).total


def figures(text: str) -> Iterator[tuple[str, str]]:
    """Yield the drawings that a page asks for, by their place beside it, as SVG."""
    for kind, given in DIRECTIVE.findall(text):
        for place in given.split() if kind == "drawn" else ():
            yield figure_name(place), drawing_of(place)


@cache
def drawing_of(place: str) -> str:
    """Return the drawing of `network:stage` as SVG."""
    name, _, stage = place.partition(":")
    return draw(network_called(name), stage=stage)


def figure_name(place: str) -> str:
    """Return the file name of the drawing of `network:stage`."""
    return f"{place.replace(':', '-')}.svg"


def fill(text: str, docs: Path) -> str:
    """Return a page with everything that it asks for."""
    made = {"drawn": _drawn, "counted": _counted, "found": lambda given: found(given, docs)}
    if CLAIMS in text:
        text = text.replace(CLAIMS, claim_table(docs))
    text = DIRECTIVE.sub(lambda asked: made[asked[1]](asked[2]), text)
    text = ARITHMETIC.sub(lambda asked: _worked_out(*asked.groups()), text)
    text = NUMBER.sub(lambda asked: _number(*asked.groups()), text)
    if left := re.search(r"\{\{.*|<!--.*", text):
        raise ValueError(f"nothing is known to stand for {left[0]!r}")
    return text


def _worked_out(expression: str, unit: str) -> str:
    """Return what an expression of numbers alone comes to."""
    value = eval(expression, {"__builtins__": {}})
    match unit:
        case "%":
            return f"{value:.0f} %"
        case "M":
            return f"{value / 1e6:.1f} M"
        case _:
            return f"{value:,.0f}"


def _number(place: str, what: str, other: str) -> str:
    """Return a number in words; share: of the multiply-adds of `other`, in per cent."""
    cost = cost_of(place)
    match what:
        case "parameters":
            return f"{cost.parameters:,}"
        case "multiply-adds":
            return amount(cost.multiply_adds)
        case "channels":
            return f"{cost.output.channels:,}"
        case "grid":
            return cost.output.grid
        case _:
            return f"{100 * cost.multiply_adds / cost_of(other).multiply_adds:.0f} %"


def _drawn(given: str) -> str:
    cells, is_wide = [], False
    for place in given.split():
        name, _, stage = place.partition(":")
        cost = cost_of(place)
        title = RESHAPED[name][0] if name in RESHAPED else f"`{name}`"
        said = (
            f"{title}, {_repeated(row_of(place).node)}{stage}: {cost.parameters:,} parameters, {amount(cost.multiply_adds)} multiply-adds"
        )
        picture = f"![Stage {stage} of {name}]({figure_name(place)})"
        cells.append(f"[{picture}]({figure_name(place)})\n\n{said}\n{{ .said }}")
        is_wide |= float(re.search(r'width="([\d.]+)"', drawing_of(place))[1]) > WIDE
    inside = "\n\n</div>\n\n<div markdown>\n\n".join(cells)
    return f'<div class="beside{" wide" if is_wide else ""}" markdown>\n\n<div markdown>\n\n{inside}\n\n</div>\n\n</div>'


def _repeated(node: Node) -> str:
    """Return "5 x " of a stage that is five times the same."""
    return f"{len(node)} x " if isinstance(node, tuple) and len(node) > 1 and len({*map(repr, node)}) == 1 else ""


def _counted(given: str) -> str:
    row, rows, parts = row_of(given), [], []
    numerics = network_called(given.partition(":")[0]).numerics
    for way, layer, reads, cost in convolutions(row.node, row.reads, numerics):
        out, factors = cost.output, _factors(layer, reads)
        weights = sum(map(prod, factors))
        work = weights * out.height * out.width
        parts.append((weights, work, layer.has_bias * layer.channels))
        kernel = "all" if isinstance(layer, spec.Linear) else "x".join(map(str, pair(layer.kernel)))
        formula = " + ".join(" · ".join(map(str, part)) for part in factors)
        rows.append((way, kernel, f"{reads.channels} → {out.channels}", out.grid, f"{formula} = {weights:,}", amount(work)))
    weights, work, biases = (sum(part[place] for part in parts) for place in range(3))
    others = biases + 2 * row.cost.norm_channels
    if (work, weights + others) != (row.cost.multiply_adds, row.cost.parameters):
        raise ValueError(f"{given}: the formulas come to {work} and {weights} + {others}, and trace to {row.cost}")
    rows.append(("**together**", "", "", "", f"**{weights:,}**", f"**{amount(work)}**"))
    heads = [Column(head) for head in ("On the way", "Kernel", "Channels", "Grid")]
    said = f"With {others:,} biases, or scales and shifts of batch normalisation, {row.cost.parameters:,} parameters."
    return f"{table([*heads, Column('Weights', is_number=True), Column('Multiply-adds', is_number=True)], rows)}\n{said}"


def _factors(layer: spec.Convolution | spec.Linear, reads: Shape) -> list[tuple[int, ...]]:
    """Return what is multiplied for the number of weights, of one product or of the two of a separable convolution."""
    match layer:
        case spec.Linear():
            return [(prod(reads), layer.channels)]
        case spec.SeparableConv():
            middle = reads.channels * layer.multiplier
            return [(*pair(layer.kernel), middle), (middle, layer.channels)]
        case _:
            return [(*pair(layer.kernel), reads.channels // layer.groups, layer.channels)]


def convolutions(node: Node, reads: Shape, numerics: Numerics, way: str = "") -> Iterator[Convolved]:
    """Yield the convolutions and linear layers of a node in order, each with the way that leads to it."""
    match node:
        case tuple():
            for part in node:
                yield from convolutions(part, reads, numerics, way)
                reads = trace_node(part, reads, numerics).output
        case spec.Parallel():
            for name, branch in node.branches:
                yield from convolutions(branch, reads, numerics, f"{way} {name}".strip())
        case spec.Residual():
            yield from convolutions(node.body, reads, numerics, way or "body")
            yield from convolutions(node.shortcut, reads, numerics, f"{way} shortcut".strip())
        case spec.Conv() | spec.SeparableConv() | spec.Linear():
            yield Convolved(way or "all of it", node, reads, trace_node(node, reads, numerics))
        case _:
            return


def verdicts_of(name: str, docs: Path) -> list[str]:
    """Return the verdicts of a study's page, a line of Markdown each; none where nobody has run it."""
    return [line for line in _page_of(name, docs) if line.startswith("- **")]


def _page_of(name: str, docs: Path) -> list[str]:
    file = docs / "studies" / name / "study.md"
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def measured_on(name: str, docs: Path) -> str:
    """Return " on an earlier form of its networks" where a study's numbers are of arms that cost otherwise than today's; else nothing."""
    file = docs / "studies" / name / "study.json"
    if not file.is_file():
        return ""
    then = {arm["name"]: (arm["parameters"], arm["multiply_adds"]) for arm in json.loads(file.read_text(encoding="utf-8"))["arms"]}
    costs = {arm.name: trace(replace(arm.network, aux=())).total for arm in get_study(name).arms}
    now = {arm: (cost.parameters, cost.multiply_adds) for arm, cost in costs.items()}
    return "" if then == now else " on an earlier form of its networks"


def found(name: str, docs: Path) -> str:
    """Return what a study found, with other epochs too, and its command; where nobody has run it, how it is run."""
    verdicts = verdicts_of(name, docs)
    if not verdicts:
        return f"*Not run yet*: `inceptions study {name} --data DATA`."
    page = _page_of(name, docs)
    command = next(line.strip() for line in page if line.startswith("    inceptions study "))
    others = [line for text in page if re.match(r"With \d+ epochs? and not ", text) for line in ("", text)]
    said = f"What [our study](../studies/{name}/study.md) found{measured_on(name, docs)}, by `{command}`:"
    return "\n".join([said, "", *verdicts, *others])


def claim_table(docs: Path) -> str:
    """Return the list of claims by chapter, each with what stands for it."""
    sections = []
    for number, (chapter, claims) in enumerate(CHAPTERS.items(), start=1):
        rows = [
            (f"{number}.{place}", plain(claim.said), _standing(claim, docs), plain(claim.source))
            for place, claim in enumerate(claims, start=1)
        ]
        sections.append(f"## {chapter}\n\n{table([Column(''), Column('Claim'), Column('Here'), Column('Source')], rows)}")
    return "\n".join(sections)


def _standing(claim: Claim, docs: Path) -> str:
    match claim.kind:
        case "run" if ".md" not in claim.place:
            verdicts = [re.fullmatch(r"- \*\*(.+?)\*\*: (.+)", line) for line in verdicts_of(claim.place, docs)]
            found = [f"{verdict[1].lower()}, {verdict[2]}" for verdict in verdicts if verdict and re.search(claim.about, verdict[2])]
            if not found:
                return f"[not run yet](../studies/index.md#{claim.place}){' on networks of today' if verdicts else ''}"
            said = "<br>".join(filter(None, (*found, claim.outcome)))
            return f"[run](../studies/{claim.place}/study.md){measured_on(claim.place, docs)}: {said}"
        case "not possible here":
            return f"not possible here: it takes {claim.place}"
        case _:
            return f"[{claim.kind}]({claim.place}){claim.outcome and f': {claim.outcome}'}"
