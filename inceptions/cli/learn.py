"""train, compare, study, evaluate: how well networks learn; the options of these verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from inceptions.cli.app import (
    BatchSize,
    Data,
    Device,
    EngineChoice,
    ExitEarly,
    Explain,
    Json,
    MostLost,
    Network,
    Protocol,
    Workers,
    command,
    models_like,
    once,
    points_to_lose,
    recipes_like,
    studies_like,
)


@command()
def train(
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="Class folders, a table, shards, a built-in set. [digits]")] = None,
    model: Network = None,
    named_data: Data = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="How to train. [quick; finetune with --weights]", autocompletion=recipes_like)
    ] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe; may be repeated.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", "-w", help="A tag or model folder to train further.", autocompletion=models_like)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder, new. [runs/MODEL-DATA]")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped; DATA if it has moved.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Times to go through the training images; with --resume: in all. [the recipe's]")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate. [the recipe's]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation. [0]")] = None,
    split_seed: Annotated[int | None, typer.Option(help="Of val and test, where they are set aside. [0, or that of --weights]")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images in pixels. [the network's]")] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Channels of the images: 1 grey, 3 colour, more. [the network's]")] = None,
    on_error: Annotated[Literal["fail", "skip"] | None, typer.Option(help="What to do with an image that can't be read.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"] | None, typer.Option(help="Arithmetic; auto is what is fast here.")
    ] = None,
    log_with: Annotated[list[str] | None, typer.Option(help="Tell a tracker too: tensorboard, wandb, mlflow…; may be repeated.")] = None,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="Between checkpoints within an epoch; 0: none there.")] = 5.0,
    address: Annotated[str | None, typer.Option(help="A Ray cluster for asynchronous recipes. [this machine]")] = None,
    explain: Explain = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe, cost, memory and time, and train nothing.")] = False,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Try rising learning rates, draw the loss, suggest one; train nothing.")
    ] = False,
    batch_size: Annotated[str | None, typer.Option(help="Images per step; auto: as many as memory holds. [the recipe's]")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read images, or of asynchronous SGD. [by the machine]")] = None,
    device: Device = None,
) -> None:
    """Train a classifier on your images; test it; write a run folder with the model, its curves and a report."""
    from inceptions.cli.train import heat_maps, resume_training, run_training
    from inceptions.training.progress import Pace

    if data is not None or named_data is not None:  # "" is what a shell makes of a variable that isn't set
        data = once("the images to train on: DATA or --data DATA", data, named_data)
    fitting = batch_size == "auto"
    if find_lr and (dry_run or resume is not None):
        other = "--dry-run" if dry_run else "--resume"
        raise typer.BadParameter(f"--find-lr looks for the learning rate of a run to come; leave out one of --find-lr and {other}")
    said = {
        "epochs": epochs if resume is None else None,
        "batch_size": None if fitting else batch_size,
        "lr": lr,
        "seed": seed,
        "split_seed": split_seed,
    }
    said |= {"on_error": on_error, "precision": precision}
    lines = [f"{name}={value}" for name, value in said.items() if value is not None] + list(changes or ())
    pace = Pace(minutes=checkpoint_minutes, workers=workers, address=address, explain=heat_maps() if explain else None)
    if resume is not None:
        named = (model, recipe, weights, image_size, channels, output, device)
        given = [*lines, *(log_with or ()), *(value for value in named if value is not None)]
        if given or dry_run or fitting:
            raise typer.BadParameter("--resume takes its settings from the run, but for --epochs; leave out the others")
        resume_training(resume, data=data, epochs=epochs, pace=pace)
        return
    run_training(
        "digits" if data is None else data,
        model=model,
        recipe=recipe or ("finetune" if weights else "quick"),
        changes=lines,
        weights=weights,
        image_size=image_size,
        channels=channels,
        output=output,
        device=device,
        log_with=log_with or (),
        pace=pace,
        finds_batch=fitting,
        instead="plan" if dry_run else "find_lr" if find_lr else None,
    )


@command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders that `train` wrote.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Draw their curves over each other: .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Put runs side by side: accuracies with intervals, whether the difference is chance, and what differs in their settings."""
    from inceptions.cli.compare import run_comparison

    run_comparison(runs, output, as_json=json)


@command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|all|list",
            help="A comparison of the papers, or `all` of them; `list` shows what there is.",
            autocompletion=studies_like,
        ),
    ],
    data: Data = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Its folder, or that of all; one that is there goes on. [runs/study-NAME]")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each arm. [the study's, mostly 3]")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each run. [the study's]")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe of every arm; may be repeated.")
    ] = None,
    split_seed: Annotated[int, typer.Option(help="Of val and test, where they are set aside; the same in all runs.")] = 0,
    images: Annotated[int, typer.Option(min=10, help="Training images at most, evenly of each class.")] = 50_000,
    half_and_double: Annotated[bool, typer.Option("--half-and-double", help="Judge with half and with double the epochs too.")] = False,
    known: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A folder of studies done elsewhere on these images, whose runs count here."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print how long what is left takes here, and train nothing.")] = False,
    workers: Workers = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Run one of the papers' comparisons on your images: equal budgets, several seeds, a table, a plot, a verdict."""
    from inceptions.cli.study import run_studies, show_cost, show_studies

    if name == "list":
        show_studies(as_json=json)
        return
    if data is None:
        raise typer.BadParameter("give the images to compare on: --data DATA")
    budget = {"seeds": seeds, "epochs": epochs, "images": images, "half_and_double": half_and_double}
    where = {"changes": changes or [], "output": output, "known": known, "split_seed": split_seed, "device": device, "as_json": json}
    if dry_run:
        show_cost(name, data, **budget, **where)
    else:
        run_studies(name, data, **budget, **where, workers=workers)


@command()
def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", help="Model folders or tags; several are averaged too.", autocompletion=models_like),
    ] = None,
    *,
    named_models: Annotated[list[str] | None, typer.Option("--model", "-m", help="The same by name; may be repeated.")] = None,
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images, as `train` takes them; of unlabelled, predictions alone.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for report and predictions. [runs/evaluate-DATA]")] = None,
    crops: Annotated[
        str, typer.Option(help="1, 10, 12 or 144 of each image, as the papers; 1,10,144 makes GoogLeNet's table; 2 or 6 of all of it.")
    ] = "1",
    protocol: Annotated[Protocol, typer.Option(help="How one crop is taken.")] = "model",
    part: Annotated[Literal["auto", "test", "val", "train", "all"], typer.Option(help="Which images; auto: test, val or all.")] = "auto",
    split_seed: Annotated[int | None, typer.Option(help="Of parts that are set aside. [the models', else 0]")] = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option("--engine", help="What runs the network. [torch; of a quantised model, openvino]"),
    ] = None,
    exit_early: ExitEarly = False,
    most_lost: MostLost = None,
    uncalibrated: Annotated[bool, typer.Option("--uncalibrated", help="Don't divide logits by the temperatures of the models.")] = False,
    explain: Explain = False,
    batch_size: BatchSize = 64,
    workers: Workers = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Measure models as the papers do: errors with intervals, calibration and cost, one by one and averaged.

    Folders that are named by WordNet ids, as ImageNet's are, are matched with ImageNet's classes by id. Several processes share the images:
    `torchrun --nproc-per-node 2 -m inceptions evaluate MODEL --data DATA`.
    """
    from inceptions.cli.evaluate import Options, read_crops, run_evaluation

    options = Options(
        models=tuple(once("the models: MODEL... or --model MODEL", models, named_models)),
        data=data,
        crops=read_crops(crops),
        protocol=protocol,
        part=part,
        split_seed=split_seed,
        batch_size=batch_size,
        workers=workers,
        engine=engine,
        most_lost=points_to_lose(exit_early, most_lost),
        device=device,
        output=output,
        explain=explain,
        calibrated=not uncalibrated,
    )
    run_evaluation(options, as_json=json)
