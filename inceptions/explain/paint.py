"""Pictures as gradients can paint them: enters numbers to be learnt, leaves pixels; and the same pixels seen a little otherwise each time.

After Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017, and the numbers of their code (tensorflow/lucid): a picture is
learnt as its Fourier coefficients, all frequencies alike, in colours that are as uncorrelated as those of photos are not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# What makes uncorrelated numbers correlated as the colours of ImageNet's pixels are: lucid, optvis/param/color.py, where it is scaled too.
COLOURS = torch.tensor(((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03)))
START = 0.01  # standard deviation of the first coefficients: lucid, optvis/param/spatial.py
PAD, JITTER, RESCALE, TURN = 12 / 128, 8 / 128, 0.1, 10.0  # sides for 128 pixels there; scale by up to a tenth; degrees


class Painting(nn.Module):
    """`count` pictures of `side` pixels, learnt as spectra; called, they are float (count, channels, side, side), 0 to 1."""

    energy: Tensor
    colours: Tensor

    def __init__(self, count: int, side: int, *, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.side = side
        down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)
        self.spectrum = nn.Parameter(START * torch.randn(count, channels, side, len(across), 2, generator=generator))
        self.register_buffer("energy", 1 / torch.hypot(down, across).clamp_min(1 / side)[..., None])
        self.register_buffer("colours", COLOURS / COLOURS.norm(dim=0).max() if channels == 3 else torch.ones(1, 1))

    def forward(self) -> Tensor:
        """Return the pictures."""
        waves = torch.view_as_complex(self.spectrum * self.energy)
        values = torch.fft.irfft2(waves, s=(self.side, self.side), norm="ortho") / 4
        return torch.einsum("rc,nchw->nrhw", self.colours, values).sigmoid()


def vary(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (N, C, S, S), of which 0 is grey, in a grey margin, scaled, turned and moved by a little, all alike.

    What an image is painted for then lasts, and is no accident of single pixels.
    """
    side = images.shape[-1]
    margin, jitter = max(1, round(PAD * side)), max(1, round(JITTER * side))
    scale, turn = 1 + RESCALE * _between(generator), math.radians(TURN * _between(generator))
    padded = nn.functional.pad(images, 4 * (margin,))
    matrix = [[scale * math.cos(turn), -scale * math.sin(turn), 0.0], [scale * math.sin(turn), scale * math.cos(turn), 0.0]]
    grid = nn.functional.affine_grid(images.new_tensor([matrix]).expand(len(images), 2, 3), list(padded.shape), align_corners=False)
    turned = nn.functional.grid_sample(padded, grid, align_corners=False)
    down, across = (round(margin + jitter * _between(generator)) for _ in range(2))
    return turned[..., down : down + side, across : across + side]


def _between(generator: torch.Generator) -> float:
    """Return a number between -1 and 1."""
    return 2 * float(torch.rand((), generator=generator)) - 1
