"""The pages of the documentation that come from the code: enters networks, recipes, tags and studies, leaves Markdown and SVG.

A hook of mkdocs, which calls the functions `on_...` as it builds the site that `mkdocs.yml` describes. What `inceptions study` wrote into
docs/studies/NAME is shown with its plot; where a page says `<!-- weights -->`, the list goes there, and the same for forms, protocols,
studies and names. The shipped network's page for browsers is exported into live/, which needs ONNX Runtime from the npm registry, or from
the cache: where it can't be had the site is built without, and where it says `<!-- live -->` it is said how to make one. The guide's pages
get theirs by `guide.py`, those of the reference by `reference.py`, and the explorer of networks, a page of its own, by `explorer.py`.
"""

from __future__ import annotations

import atexit
import json
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs runs this file, and not as a module of a package
from backward_graph import draw_backward
from explorer import MARK, explorer_files
from guide import figures, fill
from mkdocs.structure.files import File
from prose import Column, plain, table
from reference import command_page, name_list
from study_pages import measured, plot_of, study_list, with_numbers, with_plot

from inceptions.errors import UserError
from inceptions.evaluation.protocols import PROTOCOLS
from inceptions.networks.describe import describe
from inceptions.networks.drawing.page import draw
from inceptions.networks.registry import ALIASES, NETWORKS
from inceptions.networks.spec import Network
from inceptions.networks.trace import smallest_image, trace
from inceptions.training.recipe import Recipe
from inceptions.training.recipes import RECIPES
from inceptions.weights.card import read_card
from inceptions.weights.shipped import shipped_models
from inceptions.weights.tags import Tag, list_tags

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.inceptions")

DOCS = Path(__file__).parents[1] / "docs"
LIVE = "inception_small.cifar10"
WORDS = ("name", "source", "cost", "expect")  # fields of a recipe that describe it
GUIDE = ("index", "googlenet", "batch-normalisation", "inception-v3", "inception-v4", "xception", "claims")
REFERENCE = (
    *("index", "commands", "networks", "vocabulary", "reshape", "trace", "data", "weights"),
    *("training", "evaluation", "studies", "prediction", "explain", "serving", "errors"),
)
FAMILY = """\
# The family

Every network is a table in the code, and this page and those of the networks are made from these tables. Parameters are those that train,
for 1000 classes unless the source has others (`inception_v3_fid` 1008, `inception_small` 10, `inception_resnet_v1_facenet` an embedding of
512); multiply-adds (G = 10⁹) are those of convolutions and linear layers at the given image size. [The explorer](../explorer/index.html)
has them all with their drawings, block by block, at other image sizes, classes and output strides, and two beside each other.

```sh
inceptions list                          # this table, shorter
inceptions list --json                   # the same for programs
inceptions describe inception_v3         # a network stage by stage
inceptions draw inception_v3             # all of it as SVG
inceptions draw inception_v3 --stage 5b  # one module
```
"""

NOTATION = """\
A number is a convolution's width; its kernel follows where it is not 1x1, then the stride, and V for VALID padding (otherwise SAME).
→ is a chain, | separates branches that are concatenated, x is the input of a residual sum.
"""

RECIPE_PAGE = """\
# Recipes

A recipe is a value with everything that decides how a network is trained but the network and the images. `--recipe NAME` takes one,
`--set FIELD=VALUE` changes a field of it; values are YAML. Costs and scores of the papers' recipes are those of their sources, on ImageNet
or the images named there.

```sh
inceptions recipes
inceptions train photos --recipe inception_v3_2015 --set epochs=30 --set optimizer.momentum=0.8 --dry-run
inceptions train photos --recipe quick --set schedule=constant --set average.decay=0.999 --dry-run
```
"""


def generated_pages() -> dict[str, str]:
    """Return every page and drawing that is made from the code, by its place in docs/."""
    pages = {"family/index.md": family_page(), "recipes.md": recipe_page(), "reference/commands.md": command_page(), **guide_figures()}
    for name, network in NETWORKS.items():
        pages |= {f"family/{name}.md": network_page(network), f"family/{name}.svg": draw(network)}
    return pages


def guide_figures() -> dict[str, str]:
    """Return the drawings of the guide's chapters, by their place in docs/."""
    pages = [page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("guide/*.md"))]
    drawn = {f"guide/{name}": svg for page in pages for name, svg in figures(page)}
    return {**drawn, "guide/batch-normalisation-backward.svg": draw_backward()}


def family_page() -> str:
    """Return the table of all networks."""
    numbers = [Column(head, is_number=True) for head in ("Pixels", "Parameters", "…with auxiliary heads", "Multiply-adds, G")]
    rows = []
    for name, network in NETWORKS.items():
        counted = trace(network)
        with_aux = f"{counted.total_with_aux.parameters:,}" if network.aux else ""
        cost = (f"{counted.total.parameters:,}", with_aux, f"{counted.total.multiply_adds / 1e9:.2f}")
        rows.append((f"[`{name}`]({name}.md)", plain(network.source), str(network.image_size), *cost))
    also = "; ".join(f"`{alias}` is another name of `{name}`" for alias, name in ALIASES.items())
    return f"{FAMILY}\n{table((Column('Name'), Column('Source'), *numbers), rows)}\n{also}.\n"


def network_page(network: Network) -> str:
    """Return what is known of one network: source, deviations, weights, table and drawing."""
    name, sections = network.name, [f"# {network.name}", f"**{plain(network.title)}**"]
    sections.append("\n".join(f"- {line}" for line in _facts(network)))
    if network.differs_from_paper:
        differs = "\n".join(f"- {plain(difference)}" for difference in network.differs_from_paper)
        sections.append(f"Differs from the paper:\n\n{differs}")
    sections.append(f"```sh\ninceptions describe {name}\ninceptions draw {name}\n```")
    sections.append(f"## Stages\n\n{NOTATION}\n{_stages(network)}")
    beside = f"[Alone]({name}.svg), it can be enlarged; [block by block](../explorer/index.html#a={name}), it shows other sizes too."
    picture = f"[![Drawing of {name}]({name}.svg)]({name}.svg)"
    sections.append(f'## Drawing\n\n<div class="drawing" markdown>\n{picture}\n</div>\n\n{beside}')
    weights = [*(row for row in _shipped_rows() if row[0].startswith(f"`{name}.")), *map(_tag_row, tags_of(network))]
    if weights:
        sections.append(f"## Weights\n\nBy tag, as [Weights](../weights.md) says.\n\n{_weights_table(weights)}")
    return "\n\n".join(sections) + "\n"


def _facts(network: Network) -> Iterator[str]:
    counted, numerics = trace(network), network.numerics
    extra = f", {counted.total_with_aux.parameters:,} with auxiliary heads after {_listed(side.after for side in network.aux)}"
    yield f"Source: {plain(network.source)}"
    yield f"Images: {network.image_size} x {network.image_size} pixels; the smallest square that fits has {smallest_image(network)}"
    yield f"Parameters: {counted.total.parameters:,}{extra if network.aux else ''}"
    yield f"Multiply-adds: {counted.total.multiply_adds / 1e9:.2f} G an image"
    yield f"Classes: {network.classes}" if network.classes else "Classes: none, it ends in an embedding"
    counts = f"average pooling {'counts' if numerics.avg_pool_counts_padding else 'does not count'} padding"
    padding = f"strided SAME convolutions pad as `{numerics.conv_padding}`, pools as `{numerics.pool_padding}`"
    yield f"Numerics, where weights don't bring theirs: batch-norm epsilon {numerics.bn_epsilon:g}; {padding}; {counts}"
    if network.features:
        yield f"Stages of `features_only`: {_listed(network.features)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _stages(network: Network) -> str:
    described = describe(network)
    columns = (Column("Stage"), Column("Node"), *(Column(head, is_number=True) for head in ("Output", "Parameters", "Multiply-adds, M")))
    rows = []
    for row in (*described["stages"], *described["auxiliary_heads"]):
        channels, height, width = row["output"]
        node = plain(row["node"]).replace("→", "→<wbr>")
        cost = (f"{row['parameters']:,}", f"{row['multiply_adds'] / 1e6:,.1f}")
        rows.append((row["name"].replace("_", r"\_"), node, f"{height}x{width}x{channels}", *cost))
    rows.append(("**Total**", "", "", f"**{described['parameters']:,}**", f"**{described['multiply_adds'] / 1e6:,.1f}**"))
    if network.aux:
        rows.append(("**With aux**", "as it trains", "", f"**{described['parameters_with_aux']:,}**", ""))
    return table(columns, rows)


def tags_of(network: Network) -> list[Tag]:
    """Return the published weights of a network; a form that has no name of its own is shown with the network its tag begins with."""

    def owner(tag: Tag) -> str:
        return tag.network if tag.network in NETWORKS else tag.name.partition(".")[0]

    return [tag for tag in list_tags() if owner(tag) == network.name]


def _weights_table(rows: Iterable[Sequence[str]]) -> str:
    numbers = [Column(head, is_number=True) for head in ("Classes", "Pixels", "Top-1, %", "Top-5, %")]
    return table((Column("Tag"), *numbers, Column("Form"), Column("Licence")), rows)


def _tag_row(tag: Tag) -> tuple[str, ...]:
    accuracy = ("" if value is None else f"{value:.1f}" for value in (tag.top1, tag.top5))
    form, licence = f"`{tag.framework}`", tag.licence or "not stated"
    return (f"`{tag.name}`", str(tag.classes or "none"), str(tag.preprocess.image_size), *accuracy, form, licence)


def _shipped_rows() -> Iterator[tuple[str, ...]]:
    for name, folder in shipped_models().items():
        card = read_card(folder)
        accuracy, classes = f"{100 * card.metrics['test_accuracy']:.1f}", str(len(card.classes))
        yield f"`{name}`", classes, str(card.preprocess.image_size), accuracy, "", "in the package", card.licence or "not stated"


def recipe_page() -> str:
    """Return every recipe with its fields that differ from the default, and what the fields mean."""
    summary = [
        (f"[`{recipe.name}`](#{recipe.name})", f"[`{recipe.model}`](family/{recipe.model}.md)", plain(recipe.expect))
        for recipe in RECIPES.values()
    ]
    overview = table((Column("Recipe"), Column("Network"), Column("Score")), summary)
    sections = "\n".join(map(_recipe_section, RECIPES.values()))
    page = f"{RECIPE_PAGE}\n{overview}\n{sections}\n## Fields\n\n{_field_list()}\n"
    return page.replace("docs/results.md", "[Measured results](results.md)")


def _recipe_section(recipe: Recipe) -> str:
    weights = " --weights TAG" if recipe.finetune else ""
    default = dict(flatten(Recipe().to_dict()))
    different = ((name, value) for name, value in flatten(recipe.to_dict()) if name not in WORDS and default.get(name, ...) != value)
    rows = [
        (f"`{name}`", f"`{json.dumps(value)}`", f"`{json.dumps(default[name])}`" if name in default else "") for name, value in different
    ]
    fields = table((Column("Field"), Column("Value"), Column("Default")), rows) if rows else "All fields have their default.\n"
    return (
        f"## {recipe.name} {{ #{recipe.name} }}\n\n- Source: {plain(recipe.source)}\n- Cost: {plain(recipe.cost)}\n"
        f"- Score: {plain(recipe.expect)}\n\n```sh\ninceptions train DATA --recipe {recipe.name}{weights}\n```\n\n{fields}"
    )


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a recipe by dotted name, as `--set` takes them."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _field_list() -> str:
    """Return the defaults, and the lines of the recipe's docstring, which say what its fields mean."""
    defaults = [(f"`{name}`", f"`{json.dumps(value)}`") for name, value in flatten(Recipe().to_dict()) if name not in WORDS]
    lines = (line.strip() for line in (Recipe.__doc__ or "").splitlines()[2:])
    said = "\n".join(f"- {plain(line)}" for line in lines if line)
    return f"{said}\n\n{table((Column('Field'), Column('Default')), defaults)}"


def weights_list() -> str:
    """Return the table of the models in the package and of the published weights."""
    return _weights_table((*_shipped_rows(), *map(_tag_row, list_tags())))


def form_list() -> str:
    """Return the table of other frameworks' forms, and the networks that each is known for."""
    from inceptions.weights.adapters.catalog import ADAPTERS  # imports torch

    forms: dict[str, dict[str, None]] = {}
    for adapter in ADAPTERS:
        name = adapter.network.name
        link = f"[`{name}`](family/{name}.md)" if name in NETWORKS else f"`{name}`"
        forms.setdefault(adapter.framework, {})[link] = None
    return table((Column("Form"), Column("Networks")), ((f"`{form}`", ", ".join(links)) for form, links in forms.items()))


def protocol_list() -> str:
    """Return the table of protocols."""
    return table((Column("Protocol"), Column("One crop")), ((f"`{name}`", plain(said)) for name, (_, said) in PROTOCOLS.items()))


@cache
def live_page() -> Path | None:
    """Return a folder with the shipped network's page for browsers, made once; None where it can't be, which is logged."""
    from inceptions.inference.web import export_web  # imports torch

    folder = Path(tempfile.mkdtemp(prefix="inceptions-live-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        export_web(shipped_models()[LIVE], folder / "live")
    except UserError as error:
        log.info("the site has no live network: %s", error)
        return None
    return folder / "live"


def live_link() -> str:
    """Return the link to the live page, or that it isn't there and how to have one."""
    if live_page():
        return f"**[Try it](live/index.html)**: `{LIVE}`, here in your browser."
    return "This copy of the documentation was built where ONNX Runtime for browsers couldn't be fetched; the command above makes the page."


def on_config(config: MkDocsConfig) -> None:
    """Put the pages of the networks, and those of the studies and benchmarks that were measured, into the navigation."""
    docs = Path(config.docs_dir)
    benchmarks = sorted(file.parent.name for file in docs.glob("benchmarks/*/benchmark.md"))
    pages = {
        "guide/": [f"guide/{name}.md" for name in GUIDE],
        "reference/": [f"reference/{name}.md" for name in REFERENCE],
        "family/": ["family/index.md", *({name: f"family/{name}.md"} for name in NETWORKS)],
        "studies/": ["studies/index.md", *({name: f"studies/{name}/study.md"} for name in measured(docs))],
        "benchmarks/": ["benchmarks/index.md", *({name: f"benchmarks/{name}/benchmark.md"} for name in benchmarks)],
    }
    config.nav = [{title: pages.get(place, place) for title, place in entry.items()} for entry in config.nav or ()]


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add the generated pages to those in docs/."""
    for uri, content in (generated_pages() | explorer_files()).items():
        files.append(File.generated(config, uri, content=content))
    files.append(File.generated(config, "explorer/mark.svg", abs_src_path=str(MARK)))
    if live := live_page():
        for file in sorted(live.iterdir()):
            files.append(File.generated(config, f"live/{file.name}", abs_src_path=str(file)))


def on_page_content(html: str, **_: object) -> str:
    """Let the long names of the reference be broken after their dots, and not within a word."""
    return re.sub(r"(?<=doc-object-name )(doc-\w+-name\">)([^<]+)", lambda found: found[1] + found[2].replace(".", ".<wbr>"), html)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the lists and plots where they belong in the pages that are written by hand or by `inceptions study`."""
    docs = Path(config.docs_dir)
    if re.fullmatch(r"studies/[^/]+/study\.md", page.file.src_uri):
        file = docs / page.file.src_uri
        markdown = with_plot(markdown, has_numbers=file.with_suffix(".json").is_file(), shows=plot_of(file.parent.name))
    if page.file.src_uri.startswith("guide/"):
        markdown = fill(markdown, docs)
    if page.file.src_uri == "studies/index.md":
        markdown = with_numbers(markdown, docs)
    lists = {"weights": weights_list, "forms": form_list, "protocols": protocol_list, "studies": lambda: study_list(docs)}
    lists |= {"live": live_link, "names": lambda: name_list(docs)}
    return re.sub(r"<!-- (weights|forms|protocols|studies|live|names) -->", lambda found: lists[found[1]](), markdown)
