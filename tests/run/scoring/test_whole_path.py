"""Every format, whole: files → reader → loader → head outputs → post-processing → detections file → metrics.

The network is replaced by one that knows the evaluation pictures by their shape, and puts out their objects.
"""

import math

import pytest
import torch
from torch import Tensor, nn

from assignbench.config import load_recipe
from assignbench.core import Head
from assignbench.core.parts import RawOutputs, predictions_of
from assignbench.core.priors import pyramid_priors
from assignbench.data.spec.locate import open_dataset
from assignbench.run.scoring.detect import detections_of
from assignbench.run.scoring.detections import write_detections
from assignbench.run.scoring.evaluate import evaluate
from assignbench.run.training.device import build_accelerator

# one a picture and object, by the width of the box: no two are equal, so that order decides nothing
SCORES = {64: 0.9, 32: 0.8, 40: 0.7, 16: 0.6}
FORMATS = ("coco", "voc", "objects365", "widerface", "yolo")


class Knows(nn.Module):
    """Puts out each object that counts, ``shift`` original pixels too far right."""

    spec = Head()

    def __init__(self, mini, classes: tuple[str, ...], shift: float) -> None:
        super().__init__()
        self.classes, self.shift = classes, shift
        self.pictures = {(one.height / one.width): one for one in mini.evaluation}
        assert len(self.pictures) == len(mini.evaluation)

    def forward(self, images: Tensor, sizes: Tensor):
        priors = pyramid_priors(self.spec, *images.shape[-2:], images.device)
        logits = torch.full((len(images), len(priors), len(self.classes)), -20.0)
        regression = torch.zeros(len(images), len(priors), 4)
        for slot, (height, width) in enumerate(sizes.tolist()):
            picture = self.pictures[height / width]
            counted = [truth for truth in picture.objects if not truth.ignored]
            for place, truth in enumerate(counted):  # any location can put out any box
                x0, y0, x1, y1 = truth.box
                box = torch.tensor([x0 + self.shift, y0, x1 + self.shift, y1]) * (width / picture.width)
                coded = self.spec.coding.encode(box, priors.boxes[place], priors.stride[place])
                score = SCORES[x1 - x0]
                regression[slot, place] = coded
                logits[slot, place, self.classes.index(truth.name)] = math.log(score / (1 - score))
        return predictions_of(RawOutputs(logits, regression, {}), self.spec, priors), priors


def metrics_of(name: str, shift: float, miniatures, folder):
    mini = miniatures.WRITERS[name](folder / name)
    dataset = open_dataset(mini.spec, folder / name).evaluation
    recipe = load_recipe("tiny", ["data.workers=0"]).recipe
    found = detections_of(
        Knows(mini, tuple(map(str.lower, dataset.classes)), shift),  # type: ignore[arg-type]  # stands in for a Detector
        dataset,
        build_accelerator("cpu", "no"),
        data=recipe.data,
        settings=recipe.evaluate,
    )
    write_detections(dataset, found, folder / f"{name}.json")
    return evaluate(dataset, folder / f"{name}.json")


@pytest.mark.parametrize("name", FORMATS)
def test_perfect_detections_score_exactly_one(name, miniatures, tmp_path):
    result = metrics_of(name, 0.0, miniatures, tmp_path)
    assert result.metrics["AP"] == result.metrics["AP50"] == result.metrics["AP75"] == 1
    assert set(result.per_class.values()) == {1}
    assert result.detections == 4
    if name == "voc":
        assert (result.metrics["VOC07-AP50"], result.metrics["VOC10-AP50"]) == (1, 1)


@pytest.mark.parametrize("name", FORMATS)
def test_six_pixels_off_score_what_the_hand_says(name, miniatures, tmp_path):
    """Boxes w wide, 6 pixels off: IoU (w − 6) / (w + 6) = 0.83 (64), 0.68 (32), 0.74 (40), 0.45 (16)."""
    result = metrics_of(name, 6.0, miniatures, tmp_path)
    if name == "widerface":  # one class; by score: 0.83, 0.68, 0.74, 0.45
        wanted = (
            4 * 76 / 101  # up to 0.65: right, right, right, wrong; recall 0.75
            + (26 + 25 * 2 / 3) / 101  # 0.70: right, wrong, right, wrong; recall 0.25 at precision 1, 0.5 at 2/3
            + 2 * 26 / 101  # 0.75, 0.80: the first alone
        ) / 10
        assert result.metrics["AP"] == pytest.approx(wanted, abs=1e-12)
        return
    cat = (5 + 2 * 51 / 101) / 10  # up to 0.70 both right; at 0.75 and 0.80 the better one alone, recall 0.5
    dog = 4 * 51 / 101 / 10  # up to 0.65 the better one alone
    per_class = {label.lower(): value for label, value in result.per_class.items()}
    assert per_class == {"cat": pytest.approx(cat, abs=1e-12), "dog": pytest.approx(dog, abs=1e-12)}
    assert result.metrics["AP"] == pytest.approx((cat + dog) / 2, abs=1e-12)
    if name == "voc":  # cats both right; dogs one right, one wrong: recall 0.5 at precision 1
        assert result.metrics["VOC07-AP50"] == pytest.approx((1 + 6 / 11) / 2)
        assert result.metrics["VOC10-AP50"] == pytest.approx((1 + 0.5) / 2)
