"""Put a trained model into the package: python scripts/ship.py RUN/best NAME DATA "WHAT DATA IS" LICENCE "COMMAND".

Kernels are stored in bfloat16; accuracy and commonest mistakes in the card are of the stored file, measured on the test images of DATA.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.evaluation.metrics import calibration_error, commonest_confusions
from inceptions.evaluation.score import score
from inceptions.files import write_whole
from inceptions.training.report import CARD_CONFUSIONS
from inceptions.weights.card import CARD_NAME, read_card
from inceptions.weights.folder import load_model, save_model, update_metrics


def ship(source: Path, name: str, data: str, said: str, licence: str, command: str) -> None:
    """Write the model folder in the package, then measure it."""
    model = load_model(source, calibrated=False)
    folder = Path(__file__).parent.parent / "inceptions" / "weights" / "shipped" / name
    provenance = {**model.card.provenance, "data": said, "command": command}
    if "calibration" in provenance:  # its notes name the run's place, too
        provenance["calibration"] = {**provenance["calibration"], "data": said, "notes": []}
    save_model(
        model.module,
        folder,
        preprocess=model.card.preprocess,
        classes=model.card.classes,
        licence=licence,
        split=model.card.split and replace(model.card.split, source=said),
        provenance=provenance,
        temperature=model.card.temperature,
        kernels=torch.bfloat16,
    )
    shipped = load_model(folder)
    loader = image_loader(ImageDataset(load_splits(data).test, shipped.card.preprocess), batch_size=256, shuffle=False)
    tested = score(shipped.module.to(memory_format=torch.channels_last), loader, device=torch.device("cpu"))
    measured = {"test_accuracy": tested.accuracy, "test_loss": tested.loss, "test_images": tested.count}
    measured["test_calibration_error"] = calibration_error(tested)
    update_metrics(folder, measured, confusions=commonest_confusions(tested, model.card.classes, most=CARD_CONFUSIONS))
    card = read_card(folder)
    write_whole(folder / CARD_NAME, replace(card, metrics={**model.card.metrics, **card.metrics}).to_json())
    whole = model.card.metrics["test_accuracy"]
    print(f"{name}: {100 * tested.accuracy:.2f} % of {tested.count} test images, and {100 * whole:.2f} % before it was rounded")


if __name__ == "__main__":
    ship(Path(sys.argv[1]), *sys.argv[2:7])
