"""SimCLR as PyTorch usually trains it: a DataLoader's workers augment on the host.

Pillow changes one image at a time, as torchvision does. Probabilities and strengths are the
defaults of `assl_jax.tasks.simclr`.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.torch_resnet import ResNet

JITTER, HUE, GREY, BLUR, TEMPERATURE = 0.8, 0.2, 0.2, 2.0, 0.5


class Views(Dataset):
    """Two augmented views `[2, c, h, w]` float32 of an image."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> torch.Tensor:
        image = Image.fromarray(self.images[row].squeeze())
        rng = np.random.default_rng(torch.randint(2**62, ()).item())
        views = [np.asarray(_augment(image, rng), np.float32) for _ in range(2)]
        stacked = torch.from_numpy(np.stack(views)).reshape(2, *self.images.shape[1:])
        return (stacked.movedim(-1, 1) / 255 - 0.5) / 0.25


def _augment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    size = np.asarray(image.size)
    stretch = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)) / 2)
    share = np.sqrt(rng.uniform(0.2, 1.0)) * np.asarray([stretch, 1 / stretch])
    sides = size * np.minimum(share, 1.0)
    corner = rng.uniform(0, size - sides)
    image = image.resize(image.size, Image.Resampling.BILINEAR, box=(*corner, *(corner + sides)))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.8:
        for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = change(image).enhance(rng.uniform(1 - JITTER, 1 + JITTER))
        if image.mode == "RGB":
            h, s, v = image.convert("HSV").split()
            turned = (np.asarray(h, np.int16) + round(255 * rng.uniform(-HUE, HUE))) % 256
            h = Image.fromarray(turned.astype(np.uint8))
            image = Image.merge("HSV", (h, s, v)).convert("RGB")
    if rng.random() < GREY:
        image = image.convert("L").convert(image.mode)
    if rng.random() < 0.5:
        largest = BLUR * max(image.size) / 96
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.05 * largest, largest)))
    return image


def nt_xent(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The loss of Chen et al. 2020 for `[b, d]` projections of two views."""
    z = functional.normalize(torch.cat([first, second]), dim=1)
    b = len(first)
    own = torch.eye(2 * b, dtype=torch.bool, device=z.device)
    logits = (z @ z.T / TEMPERATURE).masked_fill(own, -torch.inf)
    return functional.cross_entropy(logits, torch.arange(2 * b, device=z.device).roll(b))


def training(setting: Any, workers: int) -> Callable[[], None]:
    """A function that makes `setting.steps` steps, reading and augmentation included.

    Workers augment ahead only within one call of the function.
    """
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    depth = int(setting.backbone.removeprefix("resnet"))
    network = ResNet(2, setting.channels, depth, setting.width)
    features = max(1, round(512 * setting.width))
    head = torch.nn.Sequential(
        torch.nn.Linear(features, features), torch.nn.ReLU(), torch.nn.Linear(features, 128)
    )
    # For this network, channels last is the slower of the two layouts on a CPU.
    layout = torch.channels_last if on_gpu else torch.contiguous_format
    model: Any = torch.nn.Sequential(network, head).to(device, memory_format=layout)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    if on_gpu:
        model = torch.compile(model)
    half = torch.autocast(device.type, torch.bfloat16, enabled=setting.dtype == "bfloat16")
    views = Views(setting.images())
    loader = DataLoader(
        views,
        setting.batch,
        sampler=RandomSampler(views, True, setting.steps * setting.batch),
        num_workers=workers or len(os.sched_getaffinity(0)),
        persistent_workers=True,
        pin_memory=on_gpu,
    )

    def work() -> None:
        for batch in loader:
            batch = batch.to(device, non_blocking=True)
            inputs = batch.flatten(0, 1).contiguous(memory_format=layout)
            with half:
                z = model(inputs)
            z = z.float().unflatten(0, (-1, 2))
            loss = nt_xent(z[:, 0], z[:, 1])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        if on_gpu:
            torch.cuda.synchronize()

    return work
