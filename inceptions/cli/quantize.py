"""quantize: a model folder with its 8-bit form, and what that costs."""

from __future__ import annotations

from pathlib import Path

from inceptions.cli.terminal import Download, err, print_json, say, tell, tell_on
from inceptions.errors import UserError
from inceptions.extras import require
from inceptions.weights.locate import find_model


def run_quantization(model: str, data: str, output: Path | None, *, most_lost: float, as_json: bool) -> None:
    """Quantise the model and print what it lost."""
    require("quantize", "nncf", "openvino", needed_for="quantising")
    target = output or (Path(f"{Path(model)}-int8") if "/" in model or Path(model).exists() else Path(f"runs/{model}-int8"))
    if target.exists():
        raise UserError(f"{target} exists already; give another folder, or delete it")
    with Download(model) as download:
        folder = find_model(model, progress=download.step)
    with err.status("loading torch…") as status:
        from inceptions.inference.quantize import quantize_model

        found = quantize_model(folder, data, target, most_lost=most_lost, tell=tell_on(status))
    if as_json:
        print_json({"model": str(target), **found.to_dict(), "notes": list(found.notes)})
        return
    lost, images = found.lost, f"{found.judged} {found.part} images"
    say(f"accuracy {100 * found.float32:.2f} % in float32, {100 * found.int8:.2f} % in int8, on {images}")
    say(f"lost: {lost.value:.2f} points (95 % interval {lost.low:.2f} to {lost.high:.2f}, paired)")
    say(
        f"{found.layers - len(found.kept)} of {found.layers} layers in int8"
        + (f"; in floating point: {', '.join(found.kept)}" if found.kept else "")
    )
    for note in found.notes:
        tell(f"note: {note}")
    tell(f"wrote {target}; predict, evaluate and export take it as any other model")
