"""calibrate: the temperature that makes a model as sure as it is right, kept in its folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from inceptions.cli.terminal import Download, err, print_json, say, tell, tell_on
from inceptions.errors import UserError


def run_calibration(model: str, data: str, output: Path | None, *, as_json: bool, **how: Any) -> None:
    """Fit the temperature, keep it, and print how far confidence was from accuracy, and is now."""
    if output is None and not Path(model).is_dir() and "/" not in model:
        raise UserError(f"{model} is no folder; the temperature is kept in the model's own, so give one that is yours, or --output FOLDER")
    with Download(model) as download:
        from inceptions.weights.locate import find_model

        folder = find_model(model, progress=download.step)
    with err.status("loading torch…") as status:
        from inceptions.evaluation.calibrate import calibrate_model

        found = calibrate_model(folder, data, target=output, tell=tell_on(status), **how)
    if as_json:
        print_json({"model": str(output or folder), **asdict(found)})
        return
    for note in found.notes:
        tell(f"note: {note}")
    errors = f"{100 * found.error_undivided:.1f} % without, {100 * found.error:.1f} % with it"
    part = "validation" if found.part == "val" else "training"
    say(f"temperature {found.temperature:.4g}, fitted on {found.fitted_on} {part} images", style="bold")
    say(f"  calibration error on {found.judged_on} images ({found.judged_part}): {errors}")
    tell(f"kept in {output or folder}; the weights and every answer are what they were")
