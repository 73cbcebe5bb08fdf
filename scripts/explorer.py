"""What the explorer of networks gets from the code as the site is built: enters the family, leaves scripts with its tables and posters.

docs/explorer/ holds the page as it is sent. Beside it go `networks.js`, every table as `codec` writes it with the vocabulary's defaults,
and `posters/NAME.js`, the poster of a network. Other sizes and classes the page works out and writes into the poster itself; with another
output stride the layers differ, so that has a poster of its own, `posters/NAME-STRIDE.js`. They are scripts and not JSON files, since
browsers fetch nothing for a page that is opened from a folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args

import inceptions
from inceptions.networks import spec
from inceptions.networks.codec import encode
from inceptions.networks.drawing.figure import Pen
from inceptions.networks.drawing.labels import habit_of
from inceptions.networks.drawing.page import LEGEND
from inceptions.networks.drawing.poster import draw_poster
from inceptions.networks.drawing.svg import COLOURS, render
from inceptions.networks.registry import NETWORKS
from inceptions.networks.reshape import dilate, with_classes
from inceptions.networks.spec import Network
from inceptions.networks.trace import reduction, trace

MARK = Path(inceptions.__file__).parent / "page" / "mark.svg"
STRIDES = (4, 8, 16, 32)  # what reshape.dilate takes
MARGIN = 12.0
"""Pixels around a poster."""
ENCODED = (*get_args(spec.Layer), spec.Residual, spec.Stage, spec.AuxHead, spec.Numerics, spec.Network)


def explorer_files(names: Iterable[str] = NETWORKS) -> dict[str, str]:
    """Return the scripts that are made from the code, by their place in docs/; names: the networks whose posters are drawn."""
    scripts = {"explorer/networks.js": f"// Made from the tables.\nconst family = {_script(tables())};\n"}
    for name in names:
        for key, form in forms(NETWORKS[name]).items():
            scripts[f"explorer/posters/{key}.js"] = f"keepPoster({_script(key)}, {_script(draw_bare(form))});\n"
    return scripts


def tables() -> dict[str, Any]:
    """Return the networks, the fields of their nodes with defaults, which of these have none, and the words and colours of the legend."""
    return {
        "networks": [encode(network) for network in NETWORKS.values()],
        "fields": {kind.__name__: dict(_defaults(kind)) for kind in ENCODED},
        "needs": {kind.__name__: [f.name for f in fields(kind) if not _has_default(f)] for kind in ENCODED},
        "strides": STRIDES,
        "legend": {kind: {"words": words, "fill": COLOURS[kind][0], "stroke": COLOURS[kind][1]} for kind, words in LEGEND.items()},
        "habits": {name: habit_of(network).sentence for name, network in NETWORKS.items()},
    }


def _defaults(kind: type) -> Iterator[tuple[str, Any]]:
    for field in fields(kind):
        value = field.default_factory() if field.default_factory is not MISSING else field.default
        yield field.name, None if value is MISSING else encode(value)


def _has_default(field: Any) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def forms(network: Network) -> dict[str, Network]:
    """Return what posters are drawn of, by key: the network at each output stride, also with a classifier if it ends in an embedding."""
    ends = {"": network}
    if network.embedding != () and not network.classes:
        ends["-classes"] = with_classes(network, 1000)
    found = {f"{network.name}{end}": form for end, form in ends.items()}
    for stride in STRIDES:
        if stride < reduction(network):
            found |= {f"{network.name}{end}-{stride}": dilate(form, stride) for end, form in ends.items()}
    return found


def draw_bare(network: Network) -> str:
    """Return the poster of a network without what the page says beside it: title, totals, legend."""
    picture = draw_poster(network, trace(network), Pen(network.numerics, habit_of(network)))
    return render(
        [item.moved(MARGIN, MARGIN) for item in picture.items],
        width=picture.width + 2 * MARGIN,
        height=picture.height + 2 * MARGIN,
        title=network.title,
        description="From the image at the bottom to the classifier on top; beside it a panel for every distinct module.",
    )


def _script(value: Any) -> str:
    """Return a value as JSON that can stand in a script."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("</", "<\\/")
