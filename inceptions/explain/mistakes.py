"""Why images were taken for other classes: enters a model, leaves what the reports of training and evaluation show heat maps with."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from inceptions.data.stored import Stored
from inceptions.evaluation.report import HeatMap
from inceptions.explain.attribution import explain_image
from inceptions.weights.folder import LoadedModel

SIDE_PX = 400  # of what is shown small


def heat_map_of(model: LoadedModel, device: torch.device | None = None) -> HeatMap:
    """Return what lays Grad-CAM's map of a class on a picture; it raises UserError where the model can't be explained.

    device: where the module is taken; None leaves it where it is.
    """
    if device is not None:
        model.module.to(device)

    def heat_map(image: Path | Stored, target: str) -> Image.Image:
        return explain_image(model, image, target=target).overlay(0.6, max_side=SIDE_PX)

    return heat_map
