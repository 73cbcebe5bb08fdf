"""explain, visualize, dream: what a network looks at and answers to; the options of these verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from inceptions.cli.app import Device, Json, command, models_like, once

Model = Annotated[
    str, typer.Option("--model", "-m", help="A model folder such as runs/NAME/best, or a published tag.", autocompletion=models_like)
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Write over what is there.")]
Seed = Annotated[int, typer.Option(help="Of what is drawn at random.")]


@command()
def explain(
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGES...", help="Files, folders (with all below), quoted globs, as `predict` takes them."),
    ] = None,
    *,
    model: Model,
    named_images: Annotated[list[str] | None, typer.Option("--data", "-d", metavar="IMAGES", help="The same; may be repeated.")] = None,
    method: Annotated[
        Literal["gradcam", "integrated-gradients", "smoothgrad", "occlusion"], typer.Option(help="How the map is worked out.")
    ] = "gradcam",
    target: Annotated[str | None, typer.Option("--class", metavar="NAME", help="The class to explain. [the likeliest]")] = None,
    stage: Annotated[str | None, typer.Option(help="Whose channels Grad-CAM weights. [the last with a grid]")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes the page has side by side.")] = 3,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for overlays and explanations.html. [runs/explain-NETWORK]")
    ] = None,
    force: Force = False,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Show what in pictures spoke for their classes: a heat map on each, and a page with the likeliest classes side by side."""
    from inceptions.cli.explain import Options, run_explanation

    options = Options(
        model=model, method=method, target=target, stage=stage, top_k=top_k, output=output, force=force, seed=seed, device=device
    )
    run_explanation(once("the images: IMAGES or --data IMAGES", images, named_images), options, as_json=json)


@command()
def visualize(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A model folder, or a tag; networks without weights know nothing.", autocompletion=models_like
        ),
    ] = None,
    named_model: Annotated[str | None, typer.Option("--model", "-m", help="The same by name.")] = None,
    *,
    stage: Annotated[str, typer.Option(help="The stage, such as 5b; `inceptions describe NETWORK` lists them.")],
    branch: Annotated[str | None, typer.Option(help="One branch of its module, such as conv5x5. [all]")] = None,
    channel: Annotated[
        int | None, typer.Option(min=0, help="One channel, as a PNG. [some of each branch, in the module's drawing]")
    ] = None,
    each: Annotated[int, typer.Option(min=1, max=64, help="Channels of each branch in the drawing, evenly spread.")] = 4,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The SVG, or with --channel the PNG. [NETWORK-STAGE-BRANCH-CHANNEL]")
    ] = None,
    force: Force = False,
    steps: Annotated[int, typer.Option(min=1, help="Of the ascent.")] = 256,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Paint what a part of a network answers to most: one channel, or some of every branch of a module, in its drawing."""
    from inceptions.cli.visualize import Wanted, run_visualization

    wanted = Wanted(stage, branch, channel, each)
    name = once("the model: MODEL or --model MODEL", model, named_model)
    run_visualization(name, wanted, output=output, force=force, steps=steps, seed=seed, device=device)


@command()
def dream(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photo.")],
    *,
    model: Model,
    stage: Annotated[str, typer.Option(help="The stage that is to find more in it; late ones find things, early ones textures.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The picture to write, .png or .jpg. [IMAGE-dream.png]")] = None,
    force: Force = False,
    octaves: Annotated[int, typer.Option(min=1, max=20, help="Sizes to dream at, each 1.4 times the one before.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="At each size.")] = 10,
    max_side: Annotated[int, typer.Option("--max-side", min=1, help="Pixels of the longer side; a larger photo is made smaller.")] = 768,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Have a network dream: a photo with more in it of what a stage finds there (DeepDream)."""
    from inceptions.cli.visualize import run_dream

    settings = {"octaves": octaves, "steps": steps, "max_side": max_side, "seed": seed}
    run_dream(image, model, stage, output=output, force=force, device=device, **settings)
