"""The yardstick for the recipe `cifar10`: the network and the training of "94% on CIFAR-10 in 3.29 seconds", arXiv:2404.00498, airbench94.

`python scripts/measure_cifar.py DATA [EPOCHS] [SEED]`: DATA is a folder of train/CLASS/* and test/CLASS/* or the built-in set `cifar10`.
Images come from this package's loader, moved and mirrored in turns as there; the rest is the paper's sections 3.1 to 3.6 in plain PyTorch.
Prints minutes, and the test accuracy with one view, two and six; test images are looked at after the last epoch alone.
"""

import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from inceptions.data.augment import Augment
from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.data.preprocess import Preprocess
from inceptions.evaluation.crops import whole_views
from inceptions.training.head_start import principal_directions

BATCH, MOMENTUM, WARM_UP, FIRST, LAST, BIAS_EPOCHS = 1024, 0.85, 0.23, 0.2, 0.07, 3
LR = 11.5 / (1 + 1 / (1 - MOMENTUM))  # of the mean loss of a batch; biases of normalisation have 64 times that
WEIGHT_DECAY = 0.0153 / 11.5
PREPROCESS = Preprocess(32, resize_size=32, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))


def block(inputs: int, channels: int) -> list[nn.Module]:
    """Two convolutions, a pool after the first; their first filters hand on what they get."""
    layers: list[nn.Module] = []
    for width, pool in ((inputs, nn.MaxPool2d(2)), (channels, nn.Identity())):
        conv, norm = nn.Conv2d(width, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
        nn.init.dirac_(conv.weight[:width])
        norm.weight.requires_grad_(False)
        layers += [conv, pool, norm, nn.GELU()]
    return layers


class Yardstick(nn.Module):
    """64, 256 and 256 channels, behind 24 filters of 2x2 that whiten."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2, bias=False)
        directions = principal_directions(images, (2, 2))
        self.whiten.weight.data = torch.cat([directions, -directions]).contiguous()
        self.whiten.weight.requires_grad_(False)
        self.bias = nn.Parameter(torch.zeros(24, 1, 1))
        self.body = nn.Sequential(nn.GELU(), *block(24, 64), *block(64, 256), *block(256, 256), nn.MaxPool2d(3))
        self.head = nn.Linear(256, 10, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        return self.head(self.body(self.whiten(images) + self.bias).flatten(1)) / 9


def groups(network: Yardstick) -> list[dict]:
    """Return the biases of normalisation, and all else that learns."""
    biases = [layer.bias for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    others = [network.bias, *(layer.weight for layer in network.body if isinstance(layer, nn.Conv2d)), network.head.weight]
    return [{"params": biases, "lr": 64 * LR, "weight_decay": WEIGHT_DECAY / 64}, {"params": others, "lr": LR}]


def train(network: Yardstick, dataset: ImageDataset, epochs: int) -> None:
    """Train, with a slow copy of all that changes which the weights go back to every five steps, and at the end."""
    optimizer = torch.optim.SGD(groups(network), momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
    peaks = [group["lr"] for group in optimizer.param_groups]
    loader = image_loader(dataset, batch_size=BATCH, shuffle=True, even=True)
    steps, step = epochs * len(loader), 0
    slow = {name: value.clone() for name, value in network.state_dict().items()}
    for dataset.epoch in range(1, epochs + 1):
        network.train()
        network.bias.requires_grad_(dataset.epoch <= BIAS_EPOCHS)
        for batch in loader:
            share = step / steps
            up = FIRST + (1 - FIRST) * share / WARM_UP
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * (up if share < WARM_UP else LAST + (1 - LAST) * (1 - share) / (1 - WARM_UP))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(batch.images())
                loss = functional.cross_entropy(logits.float(), batch.labels, label_smoothing=0.2)
            loss.backward()
            optimizer.step()
            step += 1
            if step % 5 == 0 or step == steps:
                follow(network, slow, 0.95**5 * (step / steps) ** 3 if step < steps else 1.0)


@torch.no_grad()
def follow(network: nn.Module, slow: dict[str, Tensor], kept: float) -> None:
    """Move the slow copy towards the weights, of which 1 - `kept`, and give the weights what it then is."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            slow[name].lerp_(value, 1 - kept)
            value.copy_(slow[name])


@torch.inference_mode()
def test(network: nn.Module, dataset: ImageDataset) -> dict[int, float]:
    """Return the share of right answers by the mean probability of 1, 2 and 6 views."""
    network.eval()
    right = dict.fromkeys((1, 2, 6), 0)
    for batch in image_loader(dataset, batch_size=500, shuffle=False):
        views = torch.stack([torch.from_numpy(whole_views(image.permute(1, 2, 0).numpy(), 6)) for image in batch.pixels])
        pixels = views.flatten(0, 1).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(batch._replace(pixels=pixels).images())
        shares = logits.float().softmax(1).reshape(len(views), 6, -1)
        for count in right:
            right[count] += int((shares[:, :count].mean(1).argmax(1) == batch.labels).sum())
    return {count: found / len(dataset) for count, found in right.items()}


if __name__ == "__main__":
    data, epochs, seed = sys.argv[1], int((sys.argv[2:] or ["10"])[0]), int((sys.argv[3:] or ["0"])[0])
    torch.manual_seed(seed)
    splits = load_splits(data)
    images = ImageDataset(
        sorted((*splits.train, *splits.val), key=lambda sample: str(sample.path)),
        PREPROCESS,
        augment=Augment(area=(1, 1), aspect=(1, 1), move=2, alternate=True),
        seed=seed,
    )
    began = time.perf_counter()
    first = next(iter(image_loader(images, batch_size=500, shuffle=True, workers=0)))
    network = Yardstick(first.images()).to(memory_format=torch.channels_last)
    train(network, images, epochs)
    minutes = (time.perf_counter() - began) / 60
    found = ", ".join(f"{count}: {100 * share:.2f} %" for count, share in test(network, ImageDataset(splits.test, PREPROCESS)).items())
    print(f"{epochs} epochs, seed {seed}: {minutes:.1f} minutes; views: {found}")
