"""The verbs and their options; each calls one module of this folder, which is imported then and not before.

One order everywhere. What a command is about comes first and needs no name: images to predict, models to evaluate, data to train on. All
else is an option, called the same in every command and in the same order; models and data may be named everywhere: `--model`, `--data`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from inceptions.errors import StoppedError

T = TypeVar("T")

app = typer.Typer(
    help="The Inception family of image networks: look at it, train it on your own images, use it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _networks(incomplete: str) -> list[str]:
    from inceptions.networks.registry import list_models

    return [name for name in list_models() if name.startswith(incomplete)]


def _models(incomplete: str) -> list[str]:
    """Return what a tag may be; folders are what the shell itself completes."""
    from inceptions.weights.shipped import shipped_models
    from inceptions.weights.tags import list_tags

    return [name for name in (*shipped_models(), *(tag.name for tag in list_tags())) if name.startswith(incomplete)]


def _recipes(incomplete: str) -> list[str]:
    from inceptions.training.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


def _studies(incomplete: str) -> list[str]:
    from inceptions.studies.catalog import list_studies

    return [name for name in ("list", *(study.name for study in list_studies())) if name.startswith(incomplete)]


Protocol = Literal["model", "tensorflow", "torchvision", "timm", "caffe"]  # written out, for what knows them takes long to import
Framework = Literal[
    "torchvision", "pytorch_fid", "timm", "cadene", "facenet_pytorch", "tf_slim", "tf_deeplab", "tf_facenet", "keras", "caffe", "onnx"
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A network; `inceptions list` shows all.", autocompletion=_networks)]
Network = Annotated[
    str | None, typer.Option("--model", "-m", help="A network. [what the rest says; `inceptions list` shows all]", autocompletion=_networks)
]
Data = Annotated[str | None, typer.Option("--data", "-d", help="Class folders, a table, shards, a built-in set.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time.")]
Workers = Annotated[int | None, typer.Option("--workers", min=0, help="Processes that read images. [by the machine]")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, mps, xpu. [an accelerator if there is one]")]
Engine = Annotated[
    Literal["auto", "torch", "compiled", "openvino", "onnxruntime"] | None,
    typer.Option("--engine", help="What runs the network; auto: the fastest that is installed here. [auto]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and no table.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell every event, and where an error came from.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors, nothing else.")]


def command(name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that makes a command of a function, with the options that every command has."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(*, verbose: bool, quiet: bool, **settings: Any) -> None:
            from inceptions.cli.terminal import set_verbosity

            set_verbosity(quiet=quiet, verbose=verbose)
            try:
                function(**settings)
            except KeyboardInterrupt as error:  # typer would end without a word of what is done
                raise StoppedError("; ".join(["interrupted", *getattr(error, "__notes__", ())])) from error

        own = [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for option, kind in (("verbose", Verbose), ("quiet", Quiet))
        ]
        parameters = [*inspect.signature(function, eval_str=True).parameters.values(), *own]
        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue] - what typer reads
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name)(run)
        return function

    return register


def once(what: str, first: T | None, named: T | None) -> T:
    """Return the one of two ways of giving a thing that was used; BadParameter when none was, or both."""
    if bool(first) == bool(named):
        raise typer.BadParameter(f"give {what}, once")
    return first or named  # pyright: ignore[reportReturnType] - one of them is there


def _version(value: bool) -> None:
    if value:
        import inceptions

        typer.echo(inceptions.__version__)
        raise typer.Exit


@app.callback()
def _inceptions(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None: ...


@command("list")
def list_networks(
    weights: Annotated[bool, typer.Option("--weights", help="List the published weights that are known, by tag.")] = False,
    json: Json = False,
) -> None:
    """List the networks with their parameters and multiply-adds, or the published weights."""
    from inceptions.cli.show import show_list, show_weights

    show = show_weights if weights else show_list
    show(as_json=json)


@command()
def describe(
    name: Name,
    image_size: Annotated[int | None, typer.Option(min=1, help="Side of the image in pixels; the network's own when not given.")] = None,
    num_classes: Annotated[int | None, typer.Option(min=0, help="Outputs; the network's own number when not given.")] = None,
    json: Json = False,
) -> None:
    """Print a network as its paper's table: stages, shapes, parameters, multiply-adds."""
    from inceptions.cli.show import show_table

    show_table(name, as_json=json, image_size=image_size, num_classes=num_classes)


@command()
def draw(
    name: Name,
    stage: Annotated[str | None, typer.Option(help="One stage's module instead of the whole network, such as 5b.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the SVG; NAME.svg when not given.")] = None,
) -> None:
    """Draw a network, or one module of it, as the papers do."""
    from inceptions.cli.show import write_drawing

    write_drawing(name, stage=stage, output=output)


@command()
def train(
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="Class folders, a table, shards, a built-in set. [digits]")] = None,
    model: Network = None,
    named_data: Data = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="How to train. [quick; finetune with --weights]", autocompletion=_recipes)
    ] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe; may be repeated.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", "-w", help="A tag or model folder to train further.", autocompletion=_models)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder, new. [runs/MODEL-DATA]")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped; DATA if it has moved.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times to go through the training images. [the recipe's]")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate. [the recipe's]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation. [0]")] = None,
    split_seed: Annotated[int | None, typer.Option(help="Of val and test, where they are set aside. [0, or that of --weights]")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images in pixels. [the network's]")] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Channels of the images: 1 grey, 3 colour, more. [the network's]")] = None,
    on_error: Annotated[Literal["fail", "skip"] | None, typer.Option(help="What to do with an image that can't be read.")] = None,
    precision: Annotated[Literal["auto", "float32", "bfloat16"] | None, typer.Option(help="Arithmetic; auto is what is fast here.")] = None,
    log_with: Annotated[list[str] | None, typer.Option(help="Tell a tracker too: tensorboard, wandb, mlflow…; may be repeated.")] = None,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="Between checkpoints within an epoch; 0: none there.")] = 5.0,
    address: Annotated[str | None, typer.Option(help="A Ray cluster for asynchronous recipes. [this machine]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe, cost, memory and time, and train nothing.")] = False,
    batch_size: Annotated[str | None, typer.Option(help="Images per step; auto: as many as memory holds. [the recipe's]")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read images, or of asynchronous SGD. [by the machine]")] = None,
    device: Device = None,
) -> None:
    """Train a classifier on your images; test it; write a run folder with the model, its curves and a report."""
    from inceptions.cli.train import resume_training, run_training
    from inceptions.training.progress import Pace

    if data is not None or named_data is not None:  # "" is what a shell makes of a variable that isn't set
        data = once("the images to train on: DATA or --data DATA", data, named_data)
    fitting = batch_size == "auto"
    said = {"epochs": epochs, "batch_size": None if fitting else batch_size, "lr": lr, "seed": seed, "split_seed": split_seed}
    said |= {"on_error": on_error, "precision": precision}
    lines = [f"{name}={value}" for name, value in said.items() if value is not None] + list(changes or ())
    pace = Pace(minutes=checkpoint_minutes, workers=workers, address=address)
    if resume is not None:
        named = (model, recipe, weights, image_size, channels, output, device)
        given = [*lines, *(log_with or ()), *(value for value in named if value is not None)]
        if given or dry_run or fitting:
            raise typer.BadParameter("--resume takes its settings from the run; leave out the others")
        resume_training(resume, data=data, pace=pace)
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
        dry_run=dry_run,
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
        str, typer.Argument(metavar="NAME|list", help="A comparison of the papers; `list` shows all.", autocompletion=_studies)
    ],
    data: Data = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Its folder; one that is there goes on. [runs/study-NAME]")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each arm. [the study's, mostly 3]")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each run. [the study's]")] = None,
    split_seed: Annotated[int, typer.Option(help="Of val and test, where they are set aside; the same in all runs.")] = 0,
    images: Annotated[int, typer.Option(min=10, help="Training images at most, evenly of each class.")] = 10_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print how long it takes here, and train nothing.")] = False,
    workers: Workers = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Run one of the papers' comparisons on your images: equal budgets, several seeds, a table, a plot, a verdict."""
    from inceptions.cli.study import run_study_command, show_cost, show_studies

    if name == "list":
        show_studies(as_json=json)
        return
    if data is None:
        raise typer.BadParameter("give the images to compare on: --data DATA")
    if dry_run:
        show_cost(name, data, seeds=seeds, epochs=epochs, split_seed=split_seed, images=images, device=device, as_json=json)
        return
    run_study_command(
        name,
        data,
        seeds=seeds,
        epochs=epochs,
        split_seed=split_seed,
        images=images,
        output=output,
        workers=workers,
        device=device,
        as_json=json,
    )


@command()
def recipes(json: Json = False) -> None:
    """List the training recipes, the papers' and ours, with what each is from, costs and gives."""
    from inceptions.cli.recipes import show_recipes

    show_recipes(as_json=json)


@command()
def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", help="Model folders or tags; several are averaged too.", autocompletion=_models),
    ] = None,
    *,
    named_models: Annotated[list[str] | None, typer.Option("--model", "-m", help="The same by name; may be repeated.")] = None,
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images, as `train` takes them; of unlabelled, predictions alone.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for report and predictions. [runs/evaluate-DATA]")] = None,
    crops: Annotated[str, typer.Option(help="1, 10, 12 or 144 of each image, as the papers; 1,10,144 makes GoogLeNet's table.")] = "1",
    protocol: Annotated[Protocol, typer.Option(help="How one crop is taken.")] = "model",
    part: Annotated[Literal["auto", "test", "val", "train", "all"], typer.Option(help="Which images; auto: test, val or all.")] = "auto",
    split_seed: Annotated[int | None, typer.Option(help="Of parts that are set aside. [the models', else 0]")] = None,
    engine: Annotated[
        Literal["auto", "torch", "compiled", "openvino", "onnxruntime"] | None,
        typer.Option("--engine", help="What runs the network. [torch; of a quantised model, openvino]"),
    ] = None,
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
        device=device,
        output=output,
    )
    run_evaluation(options, as_json=json)


@command()
def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGES...", help="Files, folders (with all below), quoted globs, tables, tar shards, or - for a list."),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A model folder such as runs/NAME/best, or a published tag.", autocompletion=_models)
    ],
    named_images: Annotated[list[str] | None, typer.Option("--data", "-d", metavar="IMAGES", help="The same; may be repeated.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv, .jsonl or .parquet file, which grows as images are predicted.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over --output where there is such a file.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --output where an earlier run was stopped.")] = False,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Write the vectors before the classifier too, as Parquet.")] = False,
    copy_to: Annotated[Path | None, typer.Option(help="Copy the images into a folder for each class; nothing is written over.")] = None,
    link_to: Annotated[Path | None, typer.Option(help="The same with links.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to give for each image.")] = 5,
    on_error: Annotated[Literal["fail", "skip"], typer.Option(help="What to do with an image that can't be read.")] = "skip",
    engine: Engine = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Images at a time. [the engine's]")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Threads that read images. [one for each core]")] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Tell the class of image files, with probabilities."""
    from inceptions.cli.predict import Output, run_prediction
    from inceptions.inference.sorting import Sorter

    if copy_to and link_to:
        raise typer.BadParameter("give --copy-to or --link-to, not both")
    folder = copy_to or link_to
    sorter = Sorter(folder, "copy" if copy_to else "link") if folder else None
    run_prediction(
        once("the images: IMAGES or --data IMAGES", images, named_images),
        model,
        output=Output(output, embeddings, sorter, force, resume),
        as_json=json,
        top_k=top_k,
        on_error=on_error,
        engine=engine,
        batch_size=batch_size,
        workers=workers,
        device=device,
    )


@command()
def engines(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A model folder or tag. [all that is prepared]", autocompletion=_models)
    ] = None,
    named_model: Annotated[str | None, typer.Option("--model", "-m", help="The same by name.")] = None,
    engine: Engine = None,
    prepare: Annotated[bool, typer.Option("--prepare", help="Prepare those that aren't yet, and compare them with torch.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Delete all that is prepared.")] = False,
    device: Device = None,
    json: Json = False,
) -> None:
    """Show what can run a model here: how each engine compares with torch, and how fast it is; or what is prepared."""
    from inceptions.cli.engines import clear_engines, show_engines, show_prepared

    if model and named_model:
        raise typer.BadParameter("give MODEL or --model MODEL, once")
    if clear and (model or named_model or prepare):
        raise typer.BadParameter("--clear deletes all that is prepared, and goes with nothing else")
    if clear:
        clear_engines()
    elif wanted := model or named_model:
        show_engines(wanted, engine=engine, device=device, prepare_them=prepare, as_json=json)
    else:
        show_prepared(as_json=json)


@command()
def benchmark(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a published tag.", autocompletion=_models)],
    against: Annotated[str | None, typer.Option(help="What people write by hand: torchvision, timm, openvino, with commas.")] = None,
    images: Annotated[str | None, typer.Option("--data", "-d", help="Pictures to go from files to CSV with. [500 of 500x375]")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a page, the numbers and a plot into this folder.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Times that all take turns.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of each in a round.")] = 2.0,
    engine: Engine = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Measure how fast a model runs here: images per second, latency, files to CSV, cold start; against others in turns."""
    from inceptions.cli.benchmark import run_benchmark_command

    run_benchmark_command(
        model, against=against, images=images, output=output, rounds=rounds, seconds=seconds, engine=engine, device=device, as_json=json
    )


@command("export")
def export_file(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a published tag.", autocompletion=_models)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write: .onnx, .xml (OpenVINO) or .pt2 (torch.export).")],
    to: Annotated[Literal["onnx", "openvino", "torch"] | None, typer.Option(help="The form. [by the file's ending]")] = None,
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="Put scaling and softmax into the file: uint8 pixels to probabilities.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over the file where there is one.")] = False,
    json: Json = False,
) -> None:
    """Write a model as one file of another runtime, which then runs it on real pictures: it agrees with torch, or no file is left."""
    from inceptions.cli.export import run_export

    run_export(model, file, to=to, preprocess=preprocess, force=force, as_json=json)


@command()
def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a published tag.", autocompletion=_models)],
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images with training and test or validation parts.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The model folder to make, new. [MODEL-int8]")] = None,
    most_lost: Annotated[float, typer.Option(min=0, max=100, help="Points of accuracy that may be lost.")] = 0.5,
    json: Json = False,
) -> None:
    """Make a model of 8-bit integers, which runs faster on CPUs; what it loses is measured, and refused where it is too much."""
    from inceptions.cli.quantize import run_quantization

    run_quantization(model, data, output, most_lost=most_lost, as_json=json)


@command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A checkpoint file; with --to, a model folder.")],
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="With --to, the file to write.")] = None,
    model: Network = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The model folder to make, new; with --to, the file.")] = None,
    framework: Annotated[Framework | None, typer.Option("--from", help="The framework, where the tensors leave a choice.")] = None,
    to: Annotated[
        Literal["torchvision", "timm", "keras"] | None, typer.Option(help="Write a model folder as this framework's file.")
    ] = None,
    no_top: Annotated[bool, typer.Option("--no-top", help="Make a model that ends in its features.")] = False,
    classes: Annotated[Path | None, typer.Option(help="A text file with the class names in order, one on each line.")] = None,
    mean: Annotated[str | None, typer.Option(help="Mean of the pixels (0 to 255) it was trained on, if not its framework's.")] = None,
    std: Annotated[str | None, typer.Option(help="Their scale: 255 with --mean 0 gives the network [0, 1].")] = None,
    json: Json = False,
) -> None:
    """Make a model folder of another framework's checkpoint, with an account of every tensor; or, with --to, its file of a folder."""
    from inceptions.cli.convert import run_export, run_import

    target = output or file
    if target is None or (output and file) or (file and to is None):
        wanted = "the file to write: --to FRAMEWORK --output FILE" if to else "the model folder to make: --output FOLDER"
        raise typer.BadParameter(f"give {wanted}, once")
    if to is not None:
        run_export(source, target, framework=to, as_json=json)
        return
    run_import(source, target, model=model, framework=framework, no_top=no_top, classes_file=classes, mean=mean, std=std, as_json=json)
