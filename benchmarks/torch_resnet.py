"""The network of `assl_jax.models.resnet` in PyTorch, with PyTorch's own layers, for comparison."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

DEPTHS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2)}


class Block(nn.Module):
    """Two 3-wide convolutions and a shortcut, which is a projection if the shape changes."""

    def __init__(self, rank: int, c: int, d: int, stride: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.Conv3d)[rank - 2], (nn.BatchNorm2d, nn.BatchNorm3d)[rank - 2]
        self.conv1, self.bn1 = conv(c, d, 3, stride, 1, bias=False), norm(d)
        self.conv2, self.bn2 = conv(d, d, 3, 1, 1, bias=False), norm(d)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or c != d:
            self.shortcut = nn.Sequential(conv(c, d, 1, stride, bias=False), norm(d))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Images `[b, c, *space]` to features `[b, d]`, with the ImageNet stem."""

    def __init__(self, rank: int, channels: int, depth: int = 18, width: float = 1.0) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.Conv3d)[rank - 2], (nn.BatchNorm2d, nn.BatchNorm3d)[rank - 2]
        widths = [max(1, round(64 * 2**i * width)) for i in range(4)]
        pool = (nn.MaxPool2d, nn.MaxPool3d)[rank - 2](3, 2, 1)
        stem = conv(channels, widths[0], 7, 2, 3, bias=False)
        self.stem = nn.Sequential(stem, norm(widths[0]), nn.ReLU(), pool)
        blocks: list[nn.Module] = []
        c = widths[0]
        for stage, (count, d) in enumerate(zip(DEPTHS[depth], widths, strict=True)):
            for block in range(count):
                blocks.append(Block(rank, c, d, 2 if stage and not block else 1))
                c = d
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.stem(x)).flatten(2).mean(2)


def memory_format(space: Sequence[int]) -> torch.memory_format:
    """Channels last, which PyTorch recommends for both ranks."""
    return (torch.channels_last, torch.channels_last_3d)[len(space) - 2]
