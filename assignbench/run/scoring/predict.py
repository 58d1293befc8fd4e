"""Objects in pictures of one's own: boxes drawn on a PNG, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from assignbench.data.dataset import ImageInfo
from assignbench.data.folders import HIDDEN, SUFFIXES, UNREADABLE, pictures_below
from assignbench.data.images import Stored
from assignbench.data.load.batch import padded
from assignbench.data.load.transforms import Geometry, move_picture, resized
from assignbench.data.pictures import picture_size, read_picture, refuse_dim
from assignbench.data.show.draw import colour_of_class, ink_on
from assignbench.detector.detector import Detector
from assignbench.errors import DataError, RunError, UsageError
from assignbench.files import read_json, write_json_atomic, written
from assignbench.overwriting import is_png_of, png_mark, refuse_among, refuse_strangers
from assignbench.plain_text import one_line
from assignbench.recipe import DataSettings, EvaluateSettings
from assignbench.run.scoring.detect import detect_images
from assignbench.run.scoring.reopen import open_run
from assignbench.run.training.device import build_accelerator

KEYS = ("image", "box", "detections")  # of a JSON file that is written here
COMMAND = "predict"


@dataclass(frozen=True)
class Predicted:
    """What was written, and which pictures of a folder had no part in it."""

    files: tuple[Path, ...]  # of each picture a JSON and a PNG
    left_aside: tuple[Path, ...]  # hidden ones, and drawings of an earlier prediction


@dataclass(frozen=True)
class _Target:
    """A picture, and what its two files are called."""

    picture: Path
    image: str  # name, or path below the folder that was asked for, with slashes
    name: str  # path of its files below the output, with slashes, without ".png" and ".json"

    def files(self, output: Path) -> tuple[Path, Path]:
        """Its JSON and its PNG."""
        return output / f"{self.name}.json", output / f"{self.name}.png"


def predict(
    folder: Path,
    places: Sequence[Path],
    output: Path,
    threshold: float,
    device: str = "auto",
    *,
    watch: Callable[[int, int], None] = lambda _done, _all: None,
    trust: bool = False,
) -> Predicted:
    """Detect in pictures with a finished run.

    Args:
        folder: of the run.
        places: picture files, and folders of such.
        output: folder that gets ``NAME.png`` and ``NAME.json`` for each. Of a folder it gets the folders, too, below
            the folder's own name where that is not all that is asked for. Where two pictures of a folder have one name
            but for the suffix, NAME holds the suffix.
        threshold: least score of a box that is kept.
        device: auto, cpu or cuda.
        watch: called with the number of pictures done, and of all.
        trust: as `open_run`.

    Raises:
        UsageError: as `open_run`, the output lies in a folder that is read, two pictures would write the same files, or
            a file would be overwritten that was not written here.
        DataError: a picture is missing or damaged, a folder holds none, or pictures of 16 bits use fewer: nearly black.
        SystemProblem: the output cannot be written.
    """
    refuse_among(output, [place for place in places if place.is_dir()])
    finished = open_run(folder, trust=trust)
    data = finished.record.dataset
    targets, left_aside = _targets(places)
    stored = Stored(data.upright, data.bits)  # as training saw its pictures
    infos = [ImageInfo(0, target.picture, *picture_size(target.picture, stored), stored) for target in targets]
    _refuse_overwriting(targets, output)
    _refuse_own_folder(targets, output)
    refuse_dim(infos, str(places[0]) if len(places) == 1 else f"{len(targets)} pictures")
    classes, recipe = data.classes, finished.recipe.recipe
    accelerator = build_accelerator(device, "no")
    detector = finished.learner.detector.to(accelerator.device).eval()
    files = []
    for target, info in zip(targets, infos, strict=True):
        pixels = read_picture(info)
        found = [one for one in detect_picture(detector, pixels, recipe.data, recipe.evaluate) if one[0] >= threshold]
        rows = [
            {"class": classes[label], "score": round(score, 4), "box": [round(value, 2) for value in box]}
            for score, label, box in found
        ]
        document, drawing = target.files(output)
        write_json_atomic(document, dict(zip(KEYS, (target.image, "x0 y0 x1 y1", rows), strict=True)))
        labelled = [(f"{classes[label]} {score:.2f}", label, box) for score, label, box in found]
        with written(drawing) as temporary:
            draw_boxes(pixels, labelled).save(temporary, format="PNG", pnginfo=png_mark(COMMAND))
        files += [document, drawing]
        watch(len(files) // 2, len(targets))
    return Predicted(tuple(files), left_aside)


def _targets(places: Sequence[Path]) -> tuple[list[_Target], tuple[Path, ...]]:
    """Every picture that is asked for, and those of folders that are left aside.

    Raises:
        UsageError: two pictures would write the same files.
        DataError: a folder holds no picture.
    """
    asked: list[tuple[Path, PurePosixPath]] = []
    left_aside: list[Path] = []
    for place in places:
        if not place.is_dir():
            asked.append((place, PurePosixPath(place.name)))
            continue
        pictures, aside = _pictures_of(place)
        left_aside += aside
        own = PurePosixPath(place.resolve().name) if len(places) > 1 else PurePosixPath()
        asked += [(path, own / path.relative_to(place).as_posix()) for path in pictures]
    stems = Counter((image.parent, image.stem) for _, image in asked)
    full = {parent for (parent, _), count in stems.items() if count > 1}  # folders in which the suffix tells more
    targets = [
        _Target(picture, str(image), str(image if image.parent in full else image.with_suffix("")))
        for picture, image in asked
    ]
    if repeated := [name for name, count in Counter(target.name for target in targets).items() if count > 1]:
        raise UsageError(f"several pictures are called {repeated[0]!r}; predict them into different folders")
    return targets, tuple(left_aside)


def _pictures_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """Pictures of a folder that are to be predicted, and those that are left aside.

    Raises:
        DataError: there is none.
    """
    found = pictures_below(folder)
    drawings = [path for path in found.paths if _is_our_drawing(path)]
    pictures = sorted({*found.paths} - {*drawings})
    left_aside = [*(path for why in (HIDDEN, UNREADABLE) for path in found.left_aside.get(why, ())), *drawings]
    if not pictures:
        but = f" but {len(left_aside)} that are hidden, unreadable or drawn by predict" if left_aside else ""
        raise DataError(f"{folder} holds no picture{but}; pictures end in {', '.join(sorted(SUFFIXES))}")
    return pictures, left_aside


def _refuse_overwriting(targets: Sequence[_Target], output: Path) -> None:
    """Only what was written here is written over, and of that no picture that is to be predicted.

    Raises:
        UsageError: another file is there.
    """
    pictures = {target.picture.resolve() for target in targets}
    for target in targets:
        for file, ours in zip(target.files(output), (_is_our_document, _is_our_drawing), strict=True):
            if file.resolve() in pictures:
                what = "the picture itself" if file.resolve() == target.picture.resolve() else "a picture to predict"
                raise UsageError(f"{file} is {what}, and would be overwritten; name another folder by --output")
            refuse_strangers(file, ours, COMMAND, "folder")


def _refuse_own_folder(targets: Sequence[_Target], output: Path) -> None:
    """Of pictures that are named one by one.

    Raises:
        UsageError: drawings would lie beside them.
    """
    own = output.resolve()
    if beside := next((target.picture for target in targets if target.picture.parent.resolve() == own), None):
        raise UsageError(
            f"--output {output} is the folder of {beside.name}: drawings would be taken for pictures of it; name "
            "another folder"
        )


def _is_our_document(file: Path) -> bool:
    try:
        content = read_json(file)
    except RunError:
        return False
    return isinstance(content, dict) and tuple(content) == KEYS


def _is_our_drawing(file: Path) -> bool:
    return file.suffix.lower() == ".png" and is_png_of(file, COMMAND)


@torch.no_grad()
def detect_picture(
    detector: Detector, pixels: np.ndarray, data: DataSettings, settings: EvaluateSettings
) -> list[tuple[float, int, list[float]]]:
    """Score, label and box in original pixels of what is in one picture ``[H, W, 3]``, best first."""
    image, sizes = network_input(pixels, data)
    device = detector.mean.device
    (found,) = detect_images(detector, image.to(device), sizes.to(device), settings)
    boxes = found.boxes.cpu() * to_original(pixels, sizes)
    return list(zip(found.scores.tolist(), found.labels.tolist(), boxes.tolist(), strict=True))


def network_input(pixels: np.ndarray, data: DataSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture ``[H, W, 3]`` as the network gets it: uint8 ``[1, 3, height, width]``, padded, and its own size."""
    height, width = pixels.shape[:2]
    geometry = Geometry(*resized(width, height, *data.test_sides))
    image = torch.zeros(1, 3, *padded([geometry]), dtype=torch.uint8)
    image[0, :, : geometry.height, : geometry.width] = move_picture(pixels, geometry)
    return image, torch.tensor([[geometry.height, geometry.width]])


def to_original(pixels: np.ndarray, sizes: torch.Tensor) -> torch.Tensor:
    """What boxes in pixels of the network's input are multiplied by: ``[4]``."""
    height, width = pixels.shape[:2]
    own = sizes[0].tolist()
    return torch.tensor([width / own[1], height / own[0]]).repeat(2)


def draw_boxes(pixels: np.ndarray, boxes: Sequence[tuple[str, int, Sequence[float]]]) -> Image.Image:
    """A copy of a picture with boxes and captions; every class has its colour, as in ``data show``."""
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    size = max(10, min(picture.size) // 40)
    font = ImageFont.load_default(size)
    for caption, label, (x0, y0, x1, y1) in reversed(boxes):  # the best on top
        caption, colour, width = one_line(caption), colour_of_class(label), max(1, size // 6)
        pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline="black", width=width + 2)  # seen on any ground
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=width)
        left, top, right, bottom = pen.textbbox((x0, max(0, y0 - 1.2 * size)), caption, font=font)
        pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=colour)
        pen.text((x0, max(0, y0 - 1.2 * size)), caption, fill=ink_on(colour), font=font)
    return picture
