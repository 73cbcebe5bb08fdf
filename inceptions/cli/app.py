"""What all verbs share, options above all. A verb calls one module of this folder, which is imported then and not before.

One order everywhere. What a command is about comes first and needs no name: images to predict, models to evaluate, data to train on. All
else is an option, called the same in every command and in the same order; models and data may be named everywhere: `--model`, `--data`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
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


def networks_like(incomplete: str) -> list[str]:
    """Return the names of networks that complete what is typed."""
    from inceptions.networks.registry import list_models

    return [name for name in list_models() if name.startswith(incomplete)]


def models_like(incomplete: str) -> list[str]:
    """Return what a tag may be; folders are what the shell itself completes."""
    from inceptions.weights.shipped import shipped_models
    from inceptions.weights.tags import list_tags

    return [name for name in (*shipped_models(), *(tag.name for tag in list_tags())) if name.startswith(incomplete)]


def recipes_like(incomplete: str) -> list[str]:
    """Return the names of recipes that complete what is typed."""
    from inceptions.training.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


def studies_like(incomplete: str) -> list[str]:
    """Return the names of studies that complete what is typed."""
    from inceptions.studies.catalog import list_studies

    return [name for name in ("all", "list", *(study.name for study in list_studies())) if name.startswith(incomplete)]


Protocol = Literal["model", "tensorflow", "torchvision", "timm", "caffe"]  # written out, for what knows them takes long to import
Framework = Literal[
    "torchvision", "pytorch_fid", "timm", "cadene", "facenet_pytorch", "tf_slim", "tf_deeplab", "tf_facenet", "keras", "caffe", "onnx"
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A network; `inceptions list` shows all.", autocompletion=networks_like)]
Network = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A network. [what the rest says; `inceptions list` shows all]", autocompletion=networks_like),
]
Data = Annotated[str | None, typer.Option("--data", "-d", help="Class folders, a table, shards, a built-in set.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time.")]
Workers = Annotated[int | None, typer.Option("--workers", min=0, help="Processes that read images. [by the machine]")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, mps, xpu. [an accelerator if there is one]")]
EngineChoice = Literal["auto", "torch", "compiled", "openvino", "onnxruntime"]
Engine = Annotated[
    EngineChoice | None,
    typer.Option("--engine", help="What runs the network; auto: the fastest that is installed here. [auto]"),
]
ExitEarly = Annotated[bool, typer.Option("--exit-early", help="Auxiliary heads answer what they are sure of, as `inceptions exits` found.")]
MostLost = Annotated[float | None, typer.Option(min=0, max=100, help="With --exit-early: points of accuracy it may lose. [0.3]")]
Explain = Annotated[bool, typer.Option("--explain", help="Show in the report what spoke for the class of each mistake (Grad-CAM).")]
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


def points_to_lose(exit_early: bool, most_lost: float | None) -> float | None:
    """Return how many points early exits may lose, None where there are to be none; BadParameter for a number that nothing reads."""
    if most_lost is not None and not exit_early:
        raise typer.BadParameter("--most-lost is of early exits: give --exit-early too")
    return (0.3 if most_lost is None else most_lost) if exit_early else None


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
