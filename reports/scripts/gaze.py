"""Where a detector's boxes look from: the centre of |∂ box / ∂ picture|, seen from the box's own location.

    python reports/scripts/gaze.py RUNS… [--data-root DIR]

In strides, x to the right and y down, mean over the levels P3 to P5, the two locations next to the middle and eight
pictures of the evaluation split, each cut to a square and enlarged so that no edge is near. Beside it the mean over
classes of the learned μ, and the same look of the network before any training (weights drawn anew).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from assignbench.data.pictures import read_picture
from assignbench.detector.detector import Detector
from assignbench.figures.runs import evaluation_split, open_runs

SIDE, PICTURES, LEVELS = 320, 8, (8, 16, 32)  # pixels; strides


def gaze(detector: Detector, pictures: list[Tensor]) -> Tensor:
    """``[2]`` mean offset of what a box depends on from the box's location, in strides."""
    pixel = torch.arange(SIDE) + 0.5
    offsets = []
    for picture in pictures:
        picture = picture.clone().requires_grad_()
        predictions, priors = detector(picture, torch.tensor([[SIDE, SIDE]]))
        for stride in LEVELS:
            away = (priors.points - SIDE / 2).abs().sum(-1).masked_fill(priors.stride != stride, torch.inf)
            for location in away.topk(2, largest=False).indices.tolist():
                output = predictions.boxes[0, location].sum()
                (gradient,) = torch.autograd.grad(output, picture, retain_graph=True)
                mass = gradient[0].abs().sum(0)
                center = torch.stack((mass.sum(0) @ pixel, mass.sum(1) @ pixel)) / mass.sum()
                offsets.append((center - priors.points[location]) / stride)
    return torch.stack(offsets).mean(0)


def untrained(detector: Detector, seed: int) -> Detector:
    """The same network with new weights."""
    torch.manual_seed(seed)
    for module in detector.modules():
        if isinstance(module, nn.Conv2d | nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
            module.reset_parameters()
    return detector


def square(pixels: np.ndarray) -> Tensor:
    """The upper left square of a picture, enlarged: ``[1, 3, SIDE, SIDE]``."""
    side = min(pixels.shape[:2])
    part = torch.from_numpy(pixels[:side, :side].copy()).permute(2, 0, 1)[None].float()
    return functional.interpolate(part, (SIDE, SIDE), mode="bilinear")


def shown(pair: Tensor) -> str:
    """``+0.12, −0.30``."""
    return ", ".join(f"{value:+.2f}".replace("-", "−") for value in pair.tolist())


def main() -> None:
    """Print a Markdown table and the correlation over its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data-root", type=Path)
    given = parser.parse_args()

    runs = open_runs(given.runs, "cpu")
    dataset = evaluation_split(runs[0].record, given.data_root)
    pictures = [square(read_picture(image)) for image in dataset.images[:PICTURES]]
    print("| run | looks from | mean μ | looks from, untrained |\n| --- | --- | --- | --- |")
    looks, priors = [], []
    for run in runs:
        table = run.record.learned
        look = gaze(run.learner.detector, pictures)
        fresh = gaze(untrained(run.learner.detector, run.record.seed), pictures)
        mean = torch.tensor([[prior["mu_x"], prior["mu_y"]] for prior in table.values()]).mean(0) if table else None
        print(f"| {run.name} | {shown(look)} | {'' if mean is None else shown(mean)} | {shown(fresh)} |")
        if mean is not None:
            looks.append(look)
            priors.append(mean)
    if len(looks) > 1:
        r = torch.corrcoef(torch.stack((torch.cat(looks), torch.cat(priors))))[0, 1]
        print(f"\nr = {r:+.2f} over {2 * len(looks)} values of {len(looks)} runs".replace("-", "−"))


if __name__ == "__main__":
    main()
