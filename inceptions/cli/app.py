"""The verbs and their options; each calls one module of this folder, which is imported then and not before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    help="The Inception family of image networks: look at it, train it on your own images, use it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A network; `inceptions list` shows all.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _version(value: bool) -> None:
    if value:
        import inceptions

        typer.echo(inceptions.__version__)
        raise typer.Exit


@app.callback()
def _inceptions(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None: ...


@app.command("list")
def list_networks(
    json: Json = False,
    weights: Annotated[bool, typer.Option("--weights", help="List the published weights that are known, by tag.")] = False,
) -> None:
    """List the networks with their parameters and multiply-adds, or the published weights."""
    from inceptions.cli.show import show_list, show_weights

    show = show_weights if weights else show_list
    show(as_json=json)


@app.command()
def describe(
    name: Name,
    json: Json = False,
    image_size: Annotated[int | None, typer.Option(min=1, help="Side of the image in pixels; the network's own when not given.")] = None,
    num_classes: Annotated[int | None, typer.Option(min=0, help="Outputs; the network's own number when not given.")] = None,
) -> None:
    """Print a network as its paper's table: stages, shapes, parameters, multiply-adds."""
    from inceptions.cli.show import show_table

    show_table(name, as_json=json, image_size=image_size, num_classes=num_classes)


@app.command()
def draw(
    name: Name,
    stage: Annotated[str | None, typer.Option(help="One stage's module instead of the whole network, such as 5b.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the SVG; NAME.svg when not given.")] = None,
) -> None:
    """Draw a network, or one module of it, as the papers do."""
    from inceptions.cli.show import write_drawing

    write_drawing(name, stage=stage, output=output)


@app.command()
def train(
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="Class folders, a table, shards, a built-in set. [digits]")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="A network. [the recipe's; `inceptions list` shows all]")] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", "-r", help="How to train. [quick; finetune with --weights]")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe; may be repeated.")] = None,
    weights: Annotated[str | None, typer.Option("--weights", "-w", help="A tag or model folder to train further.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times to go through the training images. [the recipe's]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step. [the recipe's]")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate. [the recipe's]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation. [0]")] = None,
    split_seed: Annotated[int | None, typer.Option(help="Of val and test, where they are set aside. [0, or that of --weights]")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images in pixels. [the network's]")] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Channels of the images: 1 grey, 3 colour, more. [the network's]")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder, new. [runs/MODEL-DATA]")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped; DATA if it has moved.")] = None,
    on_error: Annotated[Literal["fail", "skip"] | None, typer.Option(help="What to do with an image that can't be read.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, xpu. [an accelerator if there is one]")] = None,
    precision: Annotated[Literal["auto", "float32", "bfloat16"] | None, typer.Option(help="Arithmetic; auto is what is fast here.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read images, or of asynchronous SGD. [by the machine]")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster for asynchronous recipes. [this machine]")] = None,
    log_with: Annotated[list[str] | None, typer.Option(help="Tell a tracker too: tensorboard, wandb, mlflow…; may be repeated.")] = None,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="Between checkpoints within an epoch.")] = 5.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe, cost, memory and time, and train nothing.")] = False,
) -> None:
    """Train a classifier on your images; test it; write a run folder with the model, its curves and a report."""
    from inceptions.cli.train import Asked, resume_training, run_training

    said = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, "split_seed": split_seed}
    said |= {"on_error": on_error, "precision": precision}
    lines = [f"{name}={value}" for name, value in said.items() if value is not None] + list(changes or ())
    if resume is not None:
        named = (model, recipe, weights, image_size, channels, output, device)
        given = [*lines, *(log_with or ()), *(value for value in named if value is not None)]
        if given or dry_run:
            raise typer.BadParameter("--resume takes its settings from the run; leave out the others")
        resume_training(resume, data=data, workers=workers, minutes=checkpoint_minutes, address=address)
        return
    places = (weights, image_size, channels, output, device, workers, checkpoint_minutes, address)
    asked = Asked(data or "digits", model, recipe, tuple(lines), *places, tuple(log_with or ()))
    run_training(asked, dry_run=dry_run)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders that `train` wrote.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Draw their curves over each other: .png, .svg or .pdf.")] = None,
) -> None:
    """Put runs side by side: accuracies with intervals, whether the difference is chance, and what differs in their settings."""
    from inceptions.cli.compare import run_comparison

    run_comparison(runs, output)


@app.command()
def study(
    name: Annotated[str, typer.Argument(metavar="NAME|list", help="A comparison of the papers; `list` shows all and what each takes.")],
    data: Annotated[str | None, typer.Option("--data", "-d", help="Labelled images, as `train` takes them.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each arm. [the study's, mostly 3]")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each run. [the study's]")] = None,
    split_seed: Annotated[int, typer.Option(help="Of val and test, where they are set aside; the same in all runs.")] = 0,
    images: Annotated[int, typer.Option(min=10, help="Training images at most, evenly of each class.")] = 10_000,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Its folder; one that is there goes on. [runs/study-NAME]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, xpu. [an accelerator if there is one]")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read images. [by the machine]")] = None,
) -> None:
    """Run one of the papers' comparisons on your images: equal budgets, several seeds, a table, a plot, a verdict."""
    from inceptions.cli.study import Asked, run_study_command, show_studies

    if name == "list":
        show_studies()
        return
    if data is None:
        raise typer.BadParameter("give the images to compare on: --data DATA")
    run_study_command(Asked(name, data, seeds, epochs, split_seed, images, output, device, workers))


@app.command()
def recipes(json: Json = False) -> None:
    """List the training recipes, the papers' and ours, with what each is from, costs and gives."""
    from inceptions.cli.recipes import show_recipes

    show_recipes(as_json=json)


@app.command()
def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Model folders or tags; several are averaged too.")],
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images, as `train` takes them; of unlabelled, predictions alone.")],
    crops: Annotated[str, typer.Option(help="1, 10, 12 or 144 of each image, as the papers; 1,10,144 makes GoogLeNet's table.")] = "1",
    protocol: Annotated[str, typer.Option(help="How one crop is taken: model, tensorflow, torchvision, timm, caffe.")] = "model",
    part: Annotated[Literal["auto", "test", "val", "train", "all"], typer.Option(help="Which images; auto: test, val or all.")] = "auto",
    split_seed: Annotated[int | None, typer.Option(help="Of parts that are set aside. [the models', else 0]")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops at a time.")] = 64,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read images. [by the machine]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, xpu. [an accelerator if there is one]")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for report and predictions. [runs/evaluate-DATA]")] = None,
    json: Json = False,
) -> None:
    """Measure models as the papers do: errors with intervals, calibration and cost, one by one and averaged.

    Folders that are named by WordNet ids, as ImageNet's are, are matched with ImageNet's classes by id. Several processes share the images:
    `torchrun --nproc-per-node 2 -m inceptions evaluate MODEL --data DATA`.
    """
    from inceptions.cli.evaluate import Asked, read_crops, run_evaluation

    asked = Asked(tuple(models), data, read_crops(crops), protocol, part, split_seed, batch_size, workers, device, output)
    run_evaluation(asked, as_json=json)


@app.command()
def predict(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="An image file, a folder (with all below it), or a quoted glob.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model folder such as runs/NAME/best, or a tag of published weights.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A CSV file to write, a row for each image.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to give for each image.")] = 5,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 32,
    on_error: Annotated[Literal["fail", "skip"], typer.Option(help="What to do with an image that can't be read.")] = "fail",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, xpu. [an accelerator if there is one]")] = None,
) -> None:
    """Tell the class of image files, with probabilities."""
    from inceptions.cli.predict import run_prediction

    run_prediction(source, model, output=output, top_k=top_k, batch_size=batch_size, on_error=on_error, device=device)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A checkpoint file; with --to, a model folder.")],
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="With --to, the file to write.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The model folder to make, new; with --to, the file.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The network, where the tensors leave a choice.")] = None,
    framework: Annotated[str | None, typer.Option("--from", help="The framework, where the tensors leave a choice.")] = None,
    no_top: Annotated[bool, typer.Option("--no-top", help="Make a model that ends in its features.")] = False,
    classes: Annotated[Path | None, typer.Option(help="A text file with the class names in order, one on each line.")] = None,
    mean: Annotated[str | None, typer.Option(help="Mean of the pixels (0 to 255) it was trained on, if not its framework's.")] = None,
    std: Annotated[str | None, typer.Option(help="Their scale: 255 with --mean 0 gives the network [0, 1].")] = None,
    to: Annotated[str | None, typer.Option(help="Write a model folder as torchvision, timm or keras.")] = None,
) -> None:
    """Make a model folder of another framework's checkpoint, with an account of every tensor; or, with --to, its file of a folder."""
    from inceptions.cli.convert import run_export, run_import

    target = output or file
    if target is None or (output and file) or (file and to is None):
        wanted = "the file to write: --to FRAMEWORK FILE" if to else "the model folder to make: --output FOLDER"
        raise typer.BadParameter(f"give {wanted}, once")
    if to is not None:
        run_export(source, target, framework=to)
    else:
        run_import(source, target, model=model, framework=framework, no_top=no_top, classes_file=classes, mean=mean, std=std)
