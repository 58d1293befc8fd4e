"""Every published preset of every installed strategy can be trained: its recipe, options, head and losses fit."""

import pytest
import torch

from assignbench.config import load_recipe, settings
from assignbench.contract.laws import trials
from assignbench.core import Assigner, Regions, Setting, Targets
from assignbench.core.head import MAIN
from assignbench.core.parts import Network, Preset
from assignbench.core.priors import pyramid_priors
from assignbench.detector.pixels import PIXELS
from assignbench.options import check_options
from assignbench.plugins import construct, known_strategies, load_class, resolve
from assignbench.run.matrix.protocol import protocol_of
from assignbench.run.training.learner import Learner, build_learner
from assignbench.run.training.optimizer import build_optimizer

CLASSES = {one.name: load_class(resolve(one.name)) for one in known_strategies()}
CASES = [(cls, name) for cls in CLASSES.values() for name in cls.presets]
SMALL = ("model.backbone=miniature", "model.weights=a file", "model.channels=32", "model.towers=1")
# presets under which the order of annotations decides, as in the references
BROKEN = {
    *(("RetinaNet", "mmdet"), ("AutoAssign", "mmdet"), ("AutoAssign", "official")),
    *(("Uniform", "mmdet"), ("PAA", "mmdet"), ("DW", "official"), ("DW", "unrefined")),
}

presets = pytest.mark.parametrize(("cls", "name"), CASES, ids=[f"{cls.__name__.lower()}-{name}" for cls, name in CASES])


def small_learner(cls: type[Assigner], name: str, *overrides: str) -> Learner:
    """The preset's learner around the smallest network that it can be built with."""
    protocol = protocol_of(cls, "published", name)
    model = protocol.recipe(load_recipe("1x", (*SMALL, *overrides))).recipe.model
    return build_learner(cls, protocol.options({}), model, classes=3, seed=0, protocol=protocol, pretrained=False)


def batch() -> tuple[torch.Tensor, torch.Tensor, Targets]:
    """Two pictures, the second padded and without objects, with a crowd in the first."""
    images = torch.randint(0, 256, (2, 3, 96, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[10.0, 12, 70, 80], [60, 20, 150, 90], [20, 20, 28, 29]])
    crowd = Regions(torch.tensor([[100.0, 0, 160, 96]]), torch.tensor([0]))
    zero = torch.zeros(3, dtype=torch.int64)
    return images, torch.tensor([[96, 160], [64, 96]]), Targets(boxes, torch.tensor([0, 1, 2]), zero, 2, crowd)


def test_all_strategies_but_the_floor_are_published() -> None:
    assert {name for name, cls in CLASSES.items() if cls.presets} >= {
        *("autoassign", "retinanet", "fcos", "atss", "freeanchor"),
    }
    assert all(next(iter(cls.presets)) == "mmdet" for cls in CLASSES.values() if "mmdet" in cls.presets)


@presets
def test_the_preset_says_where_it_comes_from_and_fits_its_strategy(cls: type[Assigner], name: str) -> None:
    preset = cls.presets[name]
    assert isinstance(preset, Preset)
    assert len(preset.source) > 10
    assert check_options(cls, preset.options) == dict(preset.options)
    extras = {type(extra) for extra in construct(cls, preset.options, Setting(classes=3)).head.extras}
    assert {type(extra) for extra in preset.head.extras} == extras
    # as many kinds of priors: several sizes on one level are as good as one size on several
    assert preset.head.priors_per_cell * len(preset.head.levels) == cls.head.priors_per_cell * len(cls.head.levels)


@presets
@pytest.mark.parametrize("recipe", ["1x", "2x", "tiny", "small", "scratch"])
def test_its_settings_are_valid_under_every_shipped_recipe(cls: type[Assigner], name: str, recipe: str) -> None:
    preset, before = cls.presets[name], load_recipe(recipe)
    assert set(preset.recipe) | set(preset.schedule) <= set(settings())
    assert not set(preset.recipe) & set(preset.schedule)
    after = protocol_of(cls, "published", name).recipe(before)
    changed = {key for key, origin in after.origins.items() if origin == f"preset {name}"}
    assert changed == set(preset.recipe) | (set(preset.schedule) if before.recipe.train.papers else set())
    if not before.recipe.train.papers:  # no download under a recipe that starts from scratch
        assert after.recipe.model.weights == before.recipe.model.weights
        assert after.recipe.train == before.recipe.train.model_copy(
            update={
                key.removeprefix("train."): value for key, value in preset.recipe.items() if key.startswith("train.")
            }
        )


@presets
def test_caffes_weights_go_with_caffes_pixels_and_strides(cls: type[Assigner], name: str) -> None:
    model = protocol_of(cls, "published", name).recipe(load_recipe("1x")).recipe.model
    assert (model.weights in ("msra", "detectron")) == (model.style == "caffe") == PIXELS[model.pixels].bgr


@presets
def test_it_trains_a_step(cls: type[Assigner], name: str) -> None:
    preset = cls.presets[name]
    learner = small_learner(cls, name).train()
    images, sizes, targets = batch()
    predictions, priors = learner.detector(images, sizes)
    wanted = pyramid_priors(preset.head, 96, 160)
    assert torch.equal(priors.points, wanted.points)
    assert torch.equal(priors.boxes, wanted.boxes) or preset.head.make is not None  # which may predict them
    assert (priors.inside is None) == preset.padding_is_background
    step = learner.charge({MAIN: (predictions, priors)}, targets, timed=True)  # checks the record, too
    assert preset.padding_is_background or step.assignment.ignored is not None
    total = torch.stack(list(step.losses.values())).sum()
    assert total.isfinite()
    total.backward()
    train = protocol_of(cls, "published", name).recipe(load_recipe("1x")).recipe.train
    before = [parameter.detach().clone() for parameter in learner.parameters()]
    build_optimizer(learner, train).step()
    moved = [not torch.equal(one, other) for one, other in zip(before, learner.parameters(), strict=True)]
    assert moved == [parameter.requires_grad for parameter in learner.parameters()]


@presets
def test_crowds_and_padding_are_background_as_the_preset_says(cls: type[Assigner], name: str) -> None:
    preset = cls.presets[name]
    learner = small_learner(cls, name)
    images, sizes, targets = batch()
    predictions, priors = learner.detector(images, sizes)
    ignored = learner.charge({MAIN: (predictions, priors)}, targets).assignment.ignored
    points = priors.points
    in_crowd = (points[:, 0] > 100) & (points[:, 0] < 160) & (points[:, 1] > 0) & (points[:, 1] < 96)
    in_padding = (points >= torch.tensor([96, 64])).any(-1)
    # two objects reach into neither; what is in between two thresholds is left out as well
    far = in_crowd & (points[:, 0] >= 152) & (priors.level == 0)
    assert bool(far.any()) == (0 in preset.head.levels)  # a coarse level has no location that far
    taught = torch.ones(2, len(priors), dtype=torch.bool) if ignored is None else ~ignored
    if 0 in preset.head.levels:
        assert bool(taught[0, far].all()) == preset.crowd_is_background
    assert bool(taught[1, in_padding].all()) == preset.padding_is_background


@presets
def test_the_order_of_objects_matters_only_where_a_reference_lets_it(cls: type[Assigner], name: str) -> None:
    """The other laws are tried with every preset's own head, see test_contract."""
    tried = trials(cls, check_options(cls, cls.presets[name].options))
    (law,) = (one for one in tried if one.name == "order does not matter")
    assert law().passed == ((cls.__name__, name) not in BROKEN)


@presets
def test_its_head_starts_as_the_preset_says(cls: type[Assigner], name: str) -> None:
    wanted, head = cls.presets[name].head, small_learner(cls, name).detector.head
    assert head.class_output.bias is not None
    assert head.box_output.bias is not None
    torch.testing.assert_close(
        head.class_output.bias.sigmoid(), torch.full_like(head.class_output.bias, wanted.class_prior)
    )
    assert head.box_output.bias.unique().tolist() == pytest.approx([wanted.box_bias])
    assert (head.scale is not None) == wanted.level_scale
    shared = wanted.make == Network("task_aligned")  # one tower for both tasks, in layers
    tower = head.tower[0] if shared else head.class_tower
    kinds = [type(layer).__name__ for layer in tower]
    assert kinds == (["Conv2d", "GroupNorm", "ReLU"] if wanted.group_norm else ["Conv2d", "ReLU"])
    first = tower[0]
    assert (first.bias is not None) == (wanted.conv_bias or not wanted.group_norm)
    assert first.weight.std().item() == pytest.approx(0.01, rel=0.05)  # as every reference starts
