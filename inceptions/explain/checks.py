"""Whether maps mean something: enters a network and a map, leaves how fast the answer goes, or comes, with what the map points at.

And networks that are made random from the top, in which a map that means something is another one.

Deletion and insertion are those of Petsiuk et al., arXiv:1806.07421; differs from there: whole cells of a grid go, the same for every map,
since single pixels that are scattered, as those of a random map, disturb a network more than as many that lie together. The cascade is
that of Adebayo et al., arXiv:1810.03292; differs from there: weights are shuffled and not drawn anew, so that their scale stays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from inceptions.networks.modules.models import Classifier

CELLS, STEPS = 14, 28  # of the grid along a side; of a curve, each so many cells
Answer = Callable[[Tensor], Tensor]


def to_cells(heat: np.ndarray, cells: int = CELLS) -> np.ndarray:
    """Return the mean of a map (S, S) in each of `cells` x `cells`, which needn't divide S: float32."""
    pooled = nn.functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(heat, dtype=np.float32))[None], cells)
    return pooled[0].numpy()


def centre_map(cells: int = CELLS) -> np.ndarray:
    """Return the map that looks at no picture: the nearer to the middle, the more."""
    at = np.linspace(-1, 1, cells, dtype=np.float32)
    return 2.0 - np.hypot(*np.meshgrid(at, at)).astype(np.float32)


def curves(
    answer: Answer, pixels: Tensor, heat: np.ndarray, number: int, *, grey: Tensor, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of class `number` as cells go in the order of the map, and as they come: float64 (steps + 1,) each.

    answer: images (N, C, S, S) to logits. pixels: the input (1, C, S, S). heat: (cells, cells). What is gone is `grey`, a pixel
    (1, C, 1, 1); what hasn't come yet is blurred beyond recognition, as Petsiuk et al. have it.
    """
    order = torch.from_numpy(np.argsort(-heat, axis=None, kind="stable").copy())
    rank = torch.empty(len(order))
    rank[order] = torch.arange(len(order), dtype=torch.float32)
    size = pixels.shape[-2:]
    rank = nn.functional.interpolate(rank.reshape(1, 1, *heat.shape), size=size, mode="nearest-exact").to(pixels.device)
    first = torch.linspace(0, len(order), steps + 1, device=pixels.device).reshape(-1, 1, 1, 1)
    taken = rank < first
    blurred = nn.functional.interpolate(nn.functional.adaptive_avg_pool2d(pixels, 4), size=size, mode="bilinear")
    found = []
    for images in (torch.where(taken, grey, pixels), torch.where(taken, pixels, blurred)):
        with torch.no_grad():
            found.append(answer(images).softmax(1)[:, number].double().cpu().numpy())
    return found[0], found[1]


def area(curve: np.ndarray) -> float:
    """Return the mean height of a curve, by the trapezoidal rule."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def interval(values: np.ndarray, *, seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values` (N,), by drawing the images again and again."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def made_random(module: Classifier, *, seed: int = 0) -> Iterator[tuple[str, Classifier]]:
    """Yield copies of a network with the weights of its top part shuffled: of the classifier, then of the last stage too, and so on."""
    random, generator = copy.deepcopy(module), torch.Generator().manual_seed(seed)
    parts = [("classifier", random.classifier), *reversed(list(random.stages.named_children()))]
    for name, part in parts:
        _shuffle(part, generator)
        yield name, random


def _shuffle(part: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for tensor in (*part.parameters(), *part.buffers()):
            if tensor.is_floating_point():
                order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
                tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation of two maps, -1 to 1; 0 where one of them is the same everywhere and so says nothing."""
    from scipy.stats import rankdata

    if min(np.ptp(first), np.ptp(second)) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
