"""Objects in pictures of one's own: boxes drawn on a PNG, and as JSON."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from assignbench.data.dataset import ImageInfo
from assignbench.data.load.batch import padded
from assignbench.data.load.transforms import Geometry, move_picture, resized
from assignbench.data.pictures import picture_size, read_picture
from assignbench.detector.detector import Detector
from assignbench.errors import UsageError
from assignbench.files import write_json_atomic, written
from assignbench.recipe import DataSettings, EvaluateSettings
from assignbench.run.scoring.detect import detect_images
from assignbench.run.scoring.reopen import open_run
from assignbench.run.training.device import build_accelerator


def predict(folder: Path, images: Sequence[Path], output: Path, threshold: float, device: str = "auto") -> list[Path]:
    """Detect in pictures with a finished run.

    Args:
        folder: of the run.
        images: picture files.
        output: folder that gets ``NAME.png`` and ``NAME.json`` for each.
        threshold: least score of a box that is kept.
        device: auto, cpu or cuda.

    Returns:
        The files written.

    Raises:
        UsageError: no such run, or two pictures that would write the same files.
        DataError: a picture is missing or damaged.
        SystemProblem: the output cannot be written.
    """
    stems = [image.stem for image in images]
    if repeated := {stem for stem in stems if stems.count(stem) > 1}:
        raise UsageError(f"several pictures are called {sorted(repeated)[0]!r}; predict them into different folders")
    infos = [ImageInfo(0, image, *picture_size(image)) for image in images]
    finished = open_run(folder)
    classes, recipe = finished.record.dataset.classes, finished.recipe.recipe
    accelerator = build_accelerator(device, "no")
    detector = finished.learner.detector.to(accelerator.device).eval()
    files = []
    for info in infos:
        pixels = read_picture(info)
        found = [one for one in detect_picture(detector, pixels, recipe.data, recipe.evaluate) if one[0] >= threshold]
        rows = [
            {"class": classes[label], "score": round(score, 4), "box": [round(value, 2) for value in box]}
            for score, label, box in found
        ]
        files.append(output / f"{info.path.stem}.json")
        write_json_atomic(files[-1], {"image": info.path.name, "box": "x0 y0 x1 y1", "detections": rows})
        files.append(output / f"{info.path.stem}.png")
        labelled = [(f"{classes[label]} {score:.2f}", label, box) for score, label, box in found]
        with written(files[-1]) as temporary:
            draw_boxes(pixels, labelled, len(classes)).save(temporary, format="PNG")
    return files


@torch.no_grad()
def detect_picture(
    detector: Detector, pixels: np.ndarray, data: DataSettings, settings: EvaluateSettings
) -> list[tuple[float, int, list[float]]]:
    """Score, label and box in original pixels of what is in one picture ``[H, W, 3]``, best first."""
    height, width = pixels.shape[:2]
    geometry = Geometry(*resized(width, height, *data.test_sides))
    image = torch.zeros(1, 3, *padded([geometry]), dtype=torch.uint8)
    image[0, :, : geometry.height, : geometry.width] = move_picture(pixels, geometry)
    device = detector.mean.device
    sizes = torch.tensor([[geometry.height, geometry.width]], device=device)
    (found,) = detect_images(detector, image.to(device), sizes, settings)
    scale = torch.tensor([width / geometry.width, height / geometry.height]).repeat(2)
    boxes = found.boxes.cpu() * scale
    return list(zip(found.scores.tolist(), found.labels.tolist(), boxes.tolist(), strict=True))


def draw_boxes(pixels: np.ndarray, boxes: Sequence[tuple[str, int, Sequence[float]]], classes: int) -> Image.Image:
    """A copy of a picture with boxes and captions; every class has its colour."""
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    size = max(10, min(picture.size) // 40)
    font = ImageFont.load_default(size)
    for caption, label, (x0, y0, x1, y1) in reversed(boxes):  # the best on top
        red, green, blue = colorsys.hsv_to_rgb(label / max(1, classes), 0.9, 0.95)
        colour = (round(255 * red), round(255 * green), round(255 * blue))
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=max(1, size // 6))
        left, top, right, bottom = pen.textbbox((x0, max(0, y0 - 1.2 * size)), caption, font=font)
        pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=colour)
        pen.text((x0, max(0, y0 - 1.2 * size)), caption, fill=(0, 0, 0), font=font)
    return picture
