"""The feature pyramid: C3, C4, C5 → P3 … P7 (FPN, arXiv 1612.03144; P6 and P7 after RetinaNet)."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn


class Pyramid(nn.Module):
    """P6 from P5 or C5, P7 from P6, with or without ReLU in between: implementations differ in both.

    Args:
        widths: channels of C3, C4, C5.
        channels: of every level.
        form: ``p5_relu``, ``p5_plain``, ``c5_relu`` or ``c5_plain``: what P6 is computed from, what comes before P7.
        init: ``kaiming`` (uniform, a = 1) or ``xavier`` (uniform); biases start at 0.
    """

    def __init__(self, widths: tuple[int, ...], channels: int, form: str = "p5_relu", init: str = "kaiming") -> None:
        super().__init__()
        source, _, activation = form.partition("_")
        self.from_c5, self.relu = source == "c5", activation == "relu"
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        self.p6 = nn.Conv2d(widths[-1] if self.from_c5 else channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                if init == "xavier":
                    nn.init.xavier_uniform_(module.weight)
                else:
                    nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)

    def learn_only(self, levels: Iterable[int]) -> None:
        """Freeze all that none of these levels, 0 for P3 to 4 for P7, is made of: it would never see a gradient."""
        read = set(levels)
        coarse = bool(read & {3, 4})
        top = len(self.lateral) - 1
        through = coarse and not self.from_c5  # whether P5 feeds P6
        finest = min(read | {top}) if through or min(read) <= top else top + 1
        for level, (lateral, smooth) in enumerate(zip(self.lateral, self.smooth, strict=True)):
            lateral.requires_grad_(level >= finest)
            smooth.requires_grad_(level in read or (level == top and through))
        self.p6.requires_grad_(coarse)
        self.p7.requires_grad_(4 in read)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """C3, C4, C5 → P3, P4, P5, P6, P7."""
        merged = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for fine in range(len(merged) - 2, -1, -1):
            merged[fine] = merged[fine] + F.interpolate(merged[fine + 1], size=merged[fine].shape[-2:])
        levels = [smooth(x) for smooth, x in zip(self.smooth, merged, strict=True)]
        p6 = self.p6(widened(maps[-1] if self.from_c5 else levels[-1]))
        return (*levels, p6, self.p7(widened(F.relu(p6) if self.relu else p6)))


def widened(x: Tensor) -> Tensor:
    """A map of one column with a column of zeros beside it: the strided 3×3 convolution gives the same.

    On a CPU the bf16 weight gradient of that convolution over a single column is memory that nobody wrote to
    (torch 2.15, oneDNN): NaN in one run, a number in the next.
    """
    return F.pad(x, (0, 1)) if x.shape[-1] == 1 else x
