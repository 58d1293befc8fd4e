"""Golden vectors of our own making: other image sizes, class counts and networks than the ones that were given to us.

What is written here is taken from our own outputs, by ways of its own wherever the layout is concerned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from assignbench.config import load_recipe
from assignbench.core import Assignment, Head, PairViews, Predictions, Priors, Setting, Targets, assign
from assignbench.core.head import MAIN
from assignbench.core.parts import Distances, RawOutputs, predictions_of
from assignbench.core.priors import pyramid_priors
from assignbench.detector.importers import theirs
from assignbench.detector.names import MMDET
from assignbench.detector.objective import objective
from assignbench.detector.postprocess import detect
from assignbench.golden.network import build_network
from assignbench.golden.verify import Subject
from assignbench.plugins import load_class, resolve
from assignbench.run.matrix.protocol import protocol_of
from assignbench.run.scoring.detect import rule_of
from assignbench.run.training.learner import Learner, build_learner

HERE = Path(__file__).parent
HEIGHT, WIDTH, CLASSES, IMAGES = 96, 136, 3, 2
MAPS = ((12, 17), (6, 9), (3, 5), (2, 3), (1, 2))
FLOORED = ((12, 17), (6, 8), (3, 4), (1, 2), (1, 1))  # of a network that rounds down, which ours is not
SMALL = ("model.backbone=miniature", "model.weights=a file", "model.channels=32", "model.towers=1")
# mmdetection's loss terms, of ours
TERMS = {
    "autoassign": {"pos": ("bag",), "neg": ("background",), "center": ("center",)},
    "freeanchor": {"positive_bag_loss": ("bag",), "negative_bag_loss": ("background",)},
    "retinanet": {"cls": ("class", "background"), "bbox": ("box",)},
    "fcos": {"cls": ("class", "background"), "bbox": ("box",), "centerness": ("centerness",)},
    "atss": {"cls": ("class", "background"), "bbox": ("box",), "centerness": ("centerness",)},
}

Change = Callable[[Assignment], Assignment]


def small(name: str, *overrides: str, preset: str = "mmdet") -> Subject:
    """An installed strategy around a network of a few thousand numbers."""
    cls = load_class(resolve(name))
    protocol = protocol_of(cls, "published", preset)
    return Subject(cls, protocol.options({}), protocol, protocol.recipe(load_recipe("1x", (*SMALL, *overrides))))


def raw_maps(head: Head, seed: int, sizes: Sequence[tuple[int, int]] = MAPS) -> dict[str, Tensor]:
    """Head outputs as mmdetection has them: ``[image, anchor · width, row, column]`` a level."""
    generator = torch.Generator().manual_seed(seed)
    cell = head.priors_per_cell
    widths = {"cls": CLASSES, "reg": 4} | ({"extra": 1} if head.extras else {})
    maps = {
        f"{name}.{level}": torch.randn(IMAGES, cell * width, *size, generator=generator)
        for level, size in enumerate(sizes)
        for name, width in widths.items()
    }
    for level in range(len(MAPS)):
        maps[f"cls.{level}"] -= 1
        if isinstance(head.coding, Distances):  # some sides are cut at 0, as they are at a random start
            maps[f"reg.{level}"] = maps[f"reg.{level}"] * 2 + 2
        else:
            maps[f"reg.{level}"] *= 0.3
    return maps


def joined(maps: Mapping[str, Tensor], name: str, width: int) -> Tensor:
    """All levels of an output: ``[image, location, width]``."""
    return torch.cat(
        [maps[f"{name}.{level}"].permute(0, 2, 3, 1).reshape(IMAGES, -1, width) for level in range(len(MAPS))], dim=1
    )


def predictions(maps: Mapping[str, Tensor], head: Head, priors: Priors) -> Predictions:
    extras = {extra.name: joined(maps, "extra", 1)[..., 0] for extra in head.extras}
    return predictions_of(RawOutputs(joined(maps, "cls", CLASSES), joined(maps, "reg", 4), extras), head, priors)


OBJECTS = (
    # two of a class that overlap, one of another class around them, one at the border; then a second image
    ((0, 0, (20.0, 16, 84, 72)), (0, 0, (36.0, 20, 100, 80)), (0, 1, (10.0, 8, 120, 90)), (0, 2, (100.0, 50, 136, 96))),
    ((1, 1, (30.0, 30, 70, 66)), (1, 2, (4.0, 6, 22, 20))),
)
BOTH = OBJECTS[0] + OBJECTS[1]


def targets_of(objects: Sequence[tuple[int, int, Sequence[float]]]) -> Targets:
    return Targets(
        torch.tensor([box for _, _, box in objects]).reshape(-1, 4),
        torch.tensor([label for _, label, _ in objects], dtype=torch.int64),
        torch.tensor([image for image, _, _ in objects], dtype=torch.int64),
        IMAGES,
    )


@dataclass(frozen=True)
class Writer:
    """Writes files of vectors for the preset ``mmdet``; returns their paths."""

    folder: Path

    def losses(
        self,
        strategy: str,
        case: str = "own",
        *,
        objects: Sequence[tuple[int, int, Sequence[float]]] = BOTH,
        seed: int = 0,
        change: Change = lambda assignment: assignment,
        reg: float | None = None,
        sizes: Sequence[tuple[int, int]] = MAPS,
        padding: Sequence[tuple[int, int]] | None = None,
    ) -> Path:
        """Losses of a strategy.

        ``change`` may alter the record before it is charged; ``reg`` is what the box output says everywhere;
        ``padding``: height and width of each image before it was padded.
        """
        subject = small(strategy)
        head = subject.protocol.head(subject.cls.head)
        assigner = subject.cls(Setting(classes=CLASSES), **subject.options)
        with torch.no_grad():
            for parameter in assigner.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
        maps = raw_maps(head, seed, sizes)
        if reg is not None:
            maps |= {name: torch.full_like(one, reg) for name, one in maps.items() if name.startswith("reg.")}
        maps = {name: one.requires_grad_() for name, one in maps.items()}
        priors, targets = pyramid_priors(head, HEIGHT, WIDTH, maps=sizes), targets_of(objects)
        padded = padding is not None and not (subject.protocol.preset and subject.protocol.preset.padding_is_background)
        priors = priors.padded(torch.tensor(padding)) if padded else priors
        view = PairViews(predictions(maps, head, priors), priors, targets, head.coding, subject.protocol.loss)
        record = change(assign(assigner, view))
        ours = objective(record, view, head.extras)
        leaves = {**maps, **dict(assigner.named_parameters())}
        total = torch.stack(list(ours.values())).sum()
        gradients = torch.autograd.grad(total, tuple(leaves.values()), allow_unused=True)
        content = {name: leaf.detach() for name, leaf in leaves.items()}
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
            content[f"grad.{name}"] = torch.zeros_like(leaf) if gradient is None else gradient
        for name, parts in TERMS[strategy].items():
            content[f"loss.{name}"] = sum((ours[part] for part in parts if part in ours), torch.zeros(())).reshape(1)
        for image, size in enumerate(padding or ()):
            content[f"size.{image}"] = torch.tensor(size)
        for image in range(IMAGES):
            content[f"boxes.{image}"] = targets.boxes[targets.image == image]
            content[f"labels.{image}"] = targets.labels[targets.image == image]
            content |= self._assigned(strategy, record, targets, image, len(priors))
            if not isinstance(head.coding, Distances):
                content[f"anchors_head.{image}"] = priors.boxes[:18]
        path = self.folder / "losses" / strategy / f"{case}.safetensors"
        return self._save(path, content, {"image_height": "96", "image_width": "136", "seed": str(seed)})

    def _assigned(
        self, strategy: str, record: Assignment, targets: Targets, image: int, locations: int
    ) -> dict[str, Tensor]:
        if strategy not in ("retinanet", "atss", "fcos"):
            return {}
        first = int((targets.image < image).sum())
        by_label = strategy == "fcos"
        table = [CLASSES if by_label else -1] * locations
        if record.ignored is not None:
            ignored = record.ignored[image].tolist()
            table = [-2 if one else entry for entry, one in zip(table, ignored, strict=True)]
        for index, location in zip(record.pairs.object.tolist(), record.pairs.location.tolist(), strict=True):
            if targets.image[index] == image:
                table[location] = int(targets.labels[index]) if by_label else index - first
        return {f"assigned{'_label' if by_label else ''}.{image}": torch.tensor(table)}

    def detections(self, strategy: str) -> Path:
        """The second image is padded, and was scaled by other factors along x and y."""
        subject = small(strategy)
        head = subject.protocol.head(subject.cls.head)
        maps = raw_maps(head, seed=3)
        metas = [
            {"img_shape": [96, 136], "scale_factor": [2.0, 2.0]},
            {"img_shape": [90, 120, 3], "scale_factor": [1.5, 0.75]},
        ]
        sizes = torch.tensor([[96, 136], [90, 120]])
        priors = pyramid_priors(head, HEIGHT, WIDTH)
        rule = rule_of(subject.recipe.recipe.evaluate)
        content = dict(maps)
        for image, one in enumerate(detect(predictions(maps, head, priors), priors, sizes, head.extras, rule)):
            x, y = metas[image]["scale_factor"]
            content[f"det_boxes.{image}"] = one.boxes / torch.tensor([x, y, x, y])
            content[f"det_scores.{image}"], content[f"det_labels.{image}"] = one.scores, one.labels
        return self._save(self.folder / "detections" / f"{strategy}.safetensors", content, {"metas": json.dumps(metas)})

    def network(self, strategy: str) -> Path:
        """Pyramid and outputs of a small network, and the names of its checkpoint."""
        subject = small(strategy)
        path = self.folder / "network" / f"{strategy}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        learner = build_learner(
            subject.cls,
            subject.options,
            subject.recipe.recipe.model,
            classes=CLASSES,
            seed=0,
            protocol=subject.protocol,
            pretrained=False,
        )
        names = MMDET.shared | (MMDET.normed if learner.head.group_norm else MMDET.bare)
        shapes = {
            key: [] if len(keys) > 1 else list(tensor.shape)
            for name, tensor in learner.state_dict().items()
            for keys in (theirs(name, names, {})[0],)
            for key in keys
        }
        path.with_suffix(".keys.json").write_text(json.dumps(shapes))

        image = torch.randn(IMAGES, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(5))
        learner = self.built(strategy, subject).eval()
        with torch.no_grad():
            levels = learner.detector.pyramid(learner.detector.backbone(image))
            content = {"image": image} | {f"fpn.{level}": features for level, features in enumerate(levels)}
            head = learner.detector.head
            for level, features in enumerate(levels):
                boxes = head.box_tower(features)
                content[f"cls.{level}"] = head.class_output(head.class_tower(features))
                raw = head.box_output(boxes) * (1 if head.scale is None else head.scale[level])
                is_distance = isinstance(learner.head.coding, Distances)
                content[f"reg.{level}"] = raw.relu() * 8 * 2**level if is_distance else raw
                for layer in head.extra_outputs.values():
                    content[f"extra.{level}"] = layer(boxes)
        return self._save(path, content, {})

    def built(self, strategy: str, subject: Subject) -> Learner:
        """The network whose names `network` has written."""
        keys = self.folder / "network" / f"{strategy}.keys.json"
        return build_network(keys, subject.cls, subject.options, subject.recipe.recipe.model, subject.protocol)

    def trajectory(self, strategy: str, image: Tensor, steps: int = 3) -> Path:
        """Losses of SGD with momentum 0.9 and decay 1e-4, by hand; after `network`."""
        learner = self.built(strategy, small(strategy)).train()
        trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
        velocity = [torch.zeros_like(parameter) for parameter in trained]
        losses = []
        for _ in range(steps):
            terms = learner.charge({MAIN: learner.detector.predict(image)}, targets_of(BOTH)).losses
            total = torch.stack(list(terms.values())).sum()
            gradients = torch.autograd.grad(total, trained, allow_unused=True)
            losses.append({name: sum(terms[part].item() for part in parts) for name, parts in TERMS[strategy].items()})
            with torch.no_grad():
                for parameter, moving, gradient in zip(trained, velocity, gradients, strict=True):
                    if gradient is not None:
                        moving.mul_(0.9).add_(gradient + 1e-4 * parameter)
                        parameter.sub_(1e-3 * moving)
        norms = [
            name for name, one in learner.detector.backbone.named_parameters() if "bn" in name and one.requires_grad
        ]
        path = self.folder / "trajectory" / f"{strategy}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "boxes": [[list(box) for image, _, box in BOTH if image == index] for index in range(IMAGES)],
            "labels": [[label for image, label, _ in BOTH if image == index] for index in range(IMAGES)],
            "steps": losses,
            "trainable": sum(parameter.numel() for parameter in trained),
            "trainable_norm_affine": bool(norms),
        }
        path.write_text(json.dumps(content))
        return path

    def _save(self, path: Path, content: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = {name: tensor.detach().clone().contiguous() for name, tensor in content.items()}
        save_file(plain, path, {"num_classes": str(CLASSES), **metadata})
        return path


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """A writer into a fresh folder."""
    return Writer(tmp_path)


@pytest.fixture(scope="session")
def subject() -> Callable[..., Subject]:
    return small


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The part of mmdetection's vectors that lies here."""
    return HERE / "vectors"


@pytest.fixture(scope="session")
def shared() -> Path:
    """All of them, where they lie beside the repository."""
    folder = HERE.parents[2] / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of all kinds for every strategy: 96 × 136 pixels, three classes, a small network."""
    writer = Writer(tmp_path_factory.mktemp("own"))
    for strategy in TERMS:
        writer.losses(strategy)
        writer.losses(strategy, "first_empty", objects=OBJECTS[1], seed=1)
        writer.losses(strategy, "all_empty", objects=(), seed=2)
        writer.losses(strategy, "floored", seed=4, sizes=FLOORED)
        writer.detections(strategy)
        network = writer.network(strategy)
        image = torch.randn(IMAGES, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(5))
        assert network.is_file()
        writer.trajectory(strategy, image)
    return writer.folder
