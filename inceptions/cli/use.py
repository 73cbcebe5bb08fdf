"""predict, serve, engines, quantize, exits, calibrate, benchmark, export, convert: what is done with a model; these verbs' options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from inceptions.cli.app import (
    BatchSize,
    Device,
    Engine,
    ExitEarly,
    Framework,
    Json,
    MostLost,
    Network,
    Workers,
    command,
    models_like,
    once,
    points_to_lose,
)


@command()
def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGES...", help="Files, folders (with all below), quoted globs, tables, tar shards, or - for a list."),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A model folder such as runs/NAME/best, or a published tag.", autocompletion=models_like)
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
    exit_early: ExitEarly = False,
    most_lost: MostLost = None,
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
        most_lost=points_to_lose(exit_early, most_lost),
        batch_size=batch_size,
        workers=workers,
        device=device,
    )


@command()
def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Model folders or tags, or NAME=FOLDER for a name of one's own.", autocompletion=models_like
        ),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 is any that is free.")] = 8000,
    token_file: Annotated[Path | None, typer.Option(help="A file with the token that clients must give. [INCEPTIONS_TOKEN]")] = None,
    cors: Annotated[list[str] | None, typer.Option(metavar="ORIGIN", help="Let pages of this origin ask; may be repeated.")] = None,
    engine: Engine = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Images at a time. [the engine's]")] = None,
    batch_wait_ms: Annotated[float, typer.Option(min=0, help="How long a batch waits for more images.")] = 2.0,
    queue_images: Annotated[int, typer.Option(min=1, help="Images of a model on the way at a time; more get 503.")] = 128,
    timeout_s: Annotated[float, typer.Option(min=0.001, help="From a request's last byte to its answer; later is 503.")] = 10.0,
    heat_map_timeout_s: Annotated[float, typer.Option(min=0.001, help="The same where heat maps are asked for.")] = 60.0,
    heat_maps: Annotated[int, typer.Option(min=1, help="Images that wait for heat maps at a time.")] = 8,
    images_per_request: Annotated[int, typer.Option(min=1, help="Images in one request.")] = 64,
    picture_mb: Annotated[float, typer.Option(min=0.001, help="Megabytes of one image.")] = 20.0,
    request_mb: Annotated[float, typer.Option(min=0.001, help="Megabytes of one request.")] = 64.0,
    held_mb: Annotated[float, typer.Option(min=0.001, help="Megabytes of all requests at a time.")] = 512.0,
    megapixels: Annotated[float, typer.Option(min=0.001, help="Millions of pixels of one image.")] = 50.0,
    connections: Annotated[int, typer.Option(min=1, help="Connections at a time.")] = 500,
    head_timeout_s: Annotated[float, typer.Option(min=0.001, help="How long a client may take to send a request's head.")] = 10.0,
    body_timeout_s: Annotated[float, typer.Option(min=0.001, help="And its body.")] = 30.0,
    watch_s: Annotated[float, typer.Option(min=0.001, help="How often model folders are looked at for a new version.")] = 2.0,
    drain_s: Annotated[float, typer.Option(min=0.001, help="How long requests on the way have when the server is stopped.")] = 30.0,
    linger_s: Annotated[float, typer.Option(min=0, help="How long it at least answers 503 before it stops.")] = 1.0,
    device: Device = None,
) -> None:
    """Answer pictures over HTTP: a web page, an API, the Open Inference Protocol, metrics."""
    from inceptions.cli.serve import run_server
    from inceptions.serving.settings import Settings

    settings = Settings(
        batch_size=batch_size,
        batch_wait_ms=batch_wait_ms,
        queue_images=queue_images,
        timeout_s=timeout_s,
        heat_map_timeout_s=heat_map_timeout_s,
        heat_maps=heat_maps,
        images_per_request=images_per_request,
        picture_mb=picture_mb,
        request_mb=request_mb,
        held_mb=held_mb,
        megapixels=megapixels,
        connections=connections,
        head_timeout_s=head_timeout_s,
        body_timeout_s=body_timeout_s,
        watch_s=watch_s,
        drain_s=drain_s,
        linger_s=linger_s,
    )
    run_server(models, host=host, port=port, settings=settings, engine=engine, device=device, token_file=token_file, cors=cors or ())


@command()
def engines(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A model folder or tag. [all that is prepared]", autocompletion=models_like)
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
def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a published tag.", autocompletion=models_like)],
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images with training and test or validation parts.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The model folder to make, new. [MODEL-int8]")] = None,
    most_lost: Annotated[float, typer.Option(min=0, max=100, help="Points of accuracy that may be lost.")] = 0.5,
    json: Json = False,
) -> None:
    """Make a model of 8-bit integers, which runs faster on CPUs; what it loses is measured, and refused where it is too much."""
    from inceptions.cli.quantize import run_quantization

    run_quantization(model, data, output, most_lost=most_lost, as_json=json)


@command()
def exits(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder of a network with auxiliary heads.")],
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images with validation and, better, test parts.")],
    engine: Engine = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Find when auxiliary heads may answer in place of the whole network, and what that loses and gains; the model folder keeps it."""
    from inceptions.cli.exits import run_exits

    run_exits(model, data, engine=engine, device=device, as_json=json)


@command()
def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder; with --output, a tag too.", autocompletion=models_like)],
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images with validation and, better, test parts.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new folder for a copy. [the model's card is changed]")] = None,
    part: Annotated[Literal["val", "train"], typer.Option(help="Which images to fit on; train for want of others.")] = "val",
    batch_size: BatchSize = 64,
    workers: Workers = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Find the temperature that makes a model as sure as it is right; the model folder keeps it, as training does of its own accord."""
    from inceptions.cli.calibrate import run_calibration

    how = {"part": part, "batch_size": batch_size, "workers": workers, "device": device}
    run_calibration(model, data, output, as_json=json, **how)


@command()
def benchmark(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a published tag.", autocompletion=models_like)],
    against: Annotated[str | None, typer.Option(help="What people write by hand: torchvision, timm, openvino, with commas.")] = None,
    images: Annotated[str | None, typer.Option("--data", "-d", help="Pictures to go from files to CSV with. [made, of 500x375]")] = None,
    photos: Annotated[int | None, typer.Option(min=0, help="How many pictures are made for that. [500]")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a page, the numbers and a plot into this folder.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Times that all take turns.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of each in a round.")] = 2.0,
    cold: Annotated[int, typer.Option(min=0, help="How many new processes predict one picture.")] = 10,
    engine: Engine = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Measure how fast a model runs here: images per second, latency, files to CSV, cold start; against others in turns."""
    from inceptions.cli.benchmark import run_benchmark_command

    if images is not None and photos is not None:
        raise typer.BadParameter("--photos makes pictures, and --data gives them: leave out one of the two")
    made = {} if photos is None else {"photos": photos}
    settings = {"images": images, **made, "rounds": rounds, "seconds": seconds, "cold": cold, "engine": engine, "device": device}
    run_benchmark_command(model, against=against, output=output, as_json=json, **settings)


@command("export")
def export_file(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a published tag.", autocompletion=models_like)],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What to write: .onnx, .xml (OpenVINO), .pt2 (torch.export), a folder (web).")
    ],
    to: Annotated[Literal["onnx", "openvino", "torch", "web"] | None, typer.Option(help="The form. [by the file's ending]")] = None,
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="Put scaling and softmax into the file: uint8 pixels to probabilities.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over the file where there is one.")] = False,
    json: Json = False,
) -> None:
    """Write a model as one file of another runtime, which then runs it on real pictures: it agrees with torch, or no file is left.

    With --to web FILE is a folder: a page for any web server, which classifies in the visitor's browser.
    """
    from inceptions.cli.export import run_export

    run_export(model, file, to=to, preprocess=preprocess, force=force, as_json=json)


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
