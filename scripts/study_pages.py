"""The studies on the site: enters those of the code and what was written into docs/studies/NAME, leaves the list and the pages."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from guide import measured_on, verdicts_of
from prose import Column, plain, table

from inceptions.networks.trace import trace
from inceptions.studies import known
from inceptions.studies.catalog import list_studies
from inceptions.studies.study import Study

MEASURES = {
    "accuracy": "accuracy on held-out images",
    "cost": "multiply-adds, where the accuracy is no lower",
    "steps": "steps to the accuracy of the arm it is compared with",
    "deaths": "runs that die",
    "averages": "top-1 error of models averaged over crops and over seeds",
    "smoothness": "loss and gradient along the gradient, and what becomes of layers' inputs, at steps of the training",
    "surface": "the loss on planes round the ends of runs, and through their start and ends",
}
NUMBER = re.compile(r"\{\{ ([\w-]+)(?:@(\d+))?(?:/([^{}]+))? (?:(accuracy)|points (\w+) ([1-9])) \}\}")
PLOTS = {
    "averages": "Top-1 error over multiply-adds, by crops and models",
    "smoothness": "Loss, gradient and smoothness along the gradient, accuracy in training, and the drift of layers",
    "surface": "The loss on planes, with contours",
}


def measured(docs: Path) -> list[str]:
    """Return the names of the studies that have results in docs/studies: those of the code in its order, then others."""
    found = {file.parent.name for file in docs.glob("studies/*/study.md") if file.with_name("study.svg").is_file()}
    of_code = [study.name for study in list_studies()]
    return [name for name in of_code if name in found] + sorted(found.difference(of_code))


def study_list(docs: Path) -> str:
    """Return what all took, and a section for each study: what is compared, on what networks, and what was found."""
    with_results = measured(docs)
    sections = (_study_section(study, docs, is_measured=study.name in with_results) for study in list_studies())
    return "\n".join((f"{machine_time(docs)}\n", *sections))


def machine_time(docs: Path) -> str:
    """Return how many of the studies have results of the networks as they are now, of how many runs, and what these took in all.

    A run that several studies share is counted once.
    """
    of_code = {study.name for study in list_studies()}
    names = [name for name in measured(docs) if name in of_code and not measured_on(name, docs)]
    files = [docs / "studies" / name / "study.json" for name in names]
    done = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    took = f"{known.machine_time(done)}, and what is measured of models after it is not counted"
    return f"{len(done)} of the {len(list_studies())} studies have results of these networks: {took}."


def _study_section(study: Study, docs: Path, *, is_measured: bool) -> str:
    rows = []
    for arm in study.arms:
        total = trace(replace(arm.network, aux=())).total
        rows.append((plain(arm.name), f"{total.parameters:,}", f"{total.multiply_adds / 1e6:.1f}"))
    numbers = [Column(head, is_number=True) for head in ("Parameters", "Multiply-adds, M")]
    said = f"{study.hypothesis[0].upper()}{study.hypothesis[1:]}"
    lines = [f"### {study.name}: {plain(study.title)} {{ #{study.name} }}", f"{plain(said)} ({plain(study.source)})."]
    measures = dict.fromkeys((study.measure, *map(study.measure_of, study.claims)))
    lines += [f"Compared by {'; by '.join(MEASURES[measure] for measure in measures)}.", table((Column("Arm"), *numbers), rows)]
    if is_measured:
        lines.append(
            "\n".join((f"[What was measured]({study.name}/study.md){measured_on(study.name, docs)}:", "", *verdicts_of(study.name, docs)))
        )
    return "\n\n".join((*lines, f"```sh\ninceptions study {study.name} --data DATA\n```")) + "\n"


def with_numbers(text: str, docs: Path) -> str:
    """Return a page with what it asks the studies for: `{{ residual/scaled accuracy }}`, of verdict 2 `{{ residual points less 2 }}`.

    `residual@10` is the study with 10 epochs, where those aren't its own.

    Raises ValueError where nothing stands for what it asks, or the points aren't less (or more, or fewer), as the page takes them for.
    """
    text = NUMBER.sub(lambda asked: _number(docs, asked), text)
    if left := re.search(r"\{\{.*", text):
        raise ValueError(f"nothing is known to stand for {left[0]!r}")
    return text


def _number(docs: Path, asked: re.Match[str]) -> str:
    name, epochs, arm, accuracy, word, place = asked.groups()
    try:
        study = json.loads((docs / "studies" / name / "study.json").read_text(encoding="utf-8"))
        if epochs:
            study = {str(other["epochs"]): other for other in study["other_budgets"]}[epochs]
        if accuracy:
            return f"{100 * {each['name']: each['accuracy']['value'] for each in study['arms']}[arm]:.1f} %"
        return re.search(rf"([\d.]+ points) {word} ", study["verdicts"][int(place) - 1]["said"])[1]
    except (OSError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"nothing stands for {asked[0]} ({error!r})") from error


def plot_of(name: str) -> str:
    """Return what is to be seen on the plot of the study of that name."""
    measure = next((study.measure for study in list_studies() if study.name == name), "accuracy")
    return PLOTS.get(measure, "Accuracy over steps, and in the end")


def with_plot(text: str, *, has_numbers: bool, shows: str = "Accuracy over steps, and in the end") -> str:
    """Return a study.md with its plot under its last table, and a link to the numbers. shows: what is to be seen on the plot."""
    lines = text.splitlines()
    last = max((place for place, line in enumerate(lines) if line.startswith("|")), default=len(lines) - 1)
    plot = ["", f"![{shows}](study.svg)"]
    numbers = ["", "Every run in numbers: [study.json](study.json)."] if has_numbers else []
    return "\n".join((*lines[: last + 1], *plot, *lines[last + 1 :], *numbers)) + "\n"
