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
