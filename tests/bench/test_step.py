import json
import warnings
from dataclasses import asdict

import pytest
import torch
from accelerate import Accelerator

from assignbench.bench.problem import Case
from assignbench.bench.rival import RIVALS, SAME_NETWORK
from assignbench.bench.step import bench_step, random_batch, step_of
from assignbench.bench.trace import host_syncs
from assignbench.config import load_recipe
from assignbench.errors import RunError, UsageError
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.learner import bare_learner

CPU = torch.device("cpu")
RECIPE = load_recipe("tiny", ["train.precision=no", "model.backbone=miniature", "model.channels=32", "model.towers=0"])


@pytest.fixture
def accelerator() -> Accelerator:
    return build_accelerator("cpu", "no")


def state(module: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_pictures_are_padded_as_in_training():
    batch = random_batch(Case(objects=1, height=70, width=97, batch=2, classes=3), CPU)
    assert batch.images.shape == (2, 3, 96, 128)
    assert batch.sizes.tolist() == [[70, 97]] * 2
    assert batch.images[..., :70, :97].float().std() > 50
    assert not batch.images[..., 70:, :].any()
    assert not batch.images[..., 97:].any()


@pytest.mark.parametrize("kind", ["train", "bare"])
def test_steps_do_all_the_work_and_move_nothing(one, small, kind, accelerator):
    step = step_of(one("autoassign"), RECIPE, small, accelerator)
    before = state(step.learner)
    getattr(step, kind)()
    assert all(torch.equal(a, b) for a, b in zip(before, state(step.learner), strict=True))
    moved = [parameter for parameter in step.learner.detector.parameters() if parameter in step.trainer.optimizer.state]
    assert len(moved) == len(list(step.learner.detector.parameters()))
    assert all(parameter.grad is None for parameter in step.learner.parameters())


def test_a_network_that_overflows_is_not_measured(one, small, accelerator):
    step = step_of(one("atss"), RECIPE, small, accelerator)
    with torch.no_grad():
        step.learner.detector.head.class_output.weight.fill_(float("nan"))
    step.train()
    with pytest.raises(RunError, match="not finite"):
        step.train()
    with pytest.raises(RunError, match="not finite"):
        step.look()


def run(candidates, cases, **changes):
    options = {"device": "cpu", "repeat": 1, "rivals": False, "trace": None, "progress": str}
    return bench_step(candidates, RECIPE, cases, **{**options, **changes})


def test_rows_and_trace(one, small, tmp_path):
    file = tmp_path / "deep" / "trace.json"
    rows, waits = run([one("atss")], [small], trace=file)
    assert list(asdict(rows[0])) == [
        *("strategy", "objects", "image", "batch", "backbone", "precision", "compiled"),
        *("ms", "floor_ms", "ratio", "host_syncs", "rival_ms"),
    ]
    assert (rows[0].backbone, rows[0].precision, rows[0].compiled) == ("miniature", "no", False)
    assert (rows[0].host_syncs, rows[0].rival_ms) == (None, None)  # a CPU cannot tell
    assert rows[0].ratio == pytest.approx(rows[0].ms / rows[0].floor_ms, rel=0.02)
    assert waits == {"atss": ()}
    names = {event.get("name") for event in json.loads(file.read_text())["traceEvents"]}
    assert "aten::convolution" in names


def test_a_rival_is_measured_on_the_same_pictures(one, small, monkeypatch):
    seen = []

    class Double(torch.nn.Linear):
        def __init__(self, **options):
            super().__init__(1, 1)
            seen.append(options)

        def forward(self, pictures, targets):
            seen.append((pictures, targets))
            return {"loss": self.weight.sum()}

    monkeypatch.setitem(RIVALS, "retinanet", Double)
    rows, _ = run([one("retinanet")], [small], rivals=True)
    assert rows[0].rival_ms is not None
    assert (seen[0]["weights"], seen[0]["weights_backbone"], seen[0]["num_classes"]) == (None, None, 5)
    pictures, targets = seen[1]
    batch = random_batch(small, CPU)
    assert torch.equal(torch.stack(pictures), batch.images[..., :64, :96].float() / 255)
    assert torch.equal(torch.cat([target["boxes"] for target in targets]), batch.targets.boxes)


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_the_rival_is_ours_as_far_as_it_goes(one, name):
    """Backbone, pyramid and towers: as many numbers, all of them trained, norms apart."""

    def count(module: torch.nn.Module) -> int:
        assert all(parameter.requires_grad for parameter in module.parameters())
        return sum(p.numel() for p in module.parameters() if p.ndim == 4)

    with torch.device("meta"):
        theirs = RIVALS[name](weights=None, weights_backbone=None, num_classes=5, _skip_resize=True)
    ours = bare_learner(one(name), load_recipe("tiny", SAME_NETWORK).recipe.model, 5).detector
    assert count(ours) == count(theirs)
    assert not any("Frozen" in type(module).__name__ for module in theirs.modules())


def test_the_rival_sees_pictures_at_their_size():
    model = RIVALS["fcos"](weights=None, weights_backbone=None, num_classes=5, _skip_resize=True).train()
    pictures, _ = model.transform([torch.rand(3, 70, 97)], None)
    assert pictures.image_sizes == [(70, 97)]
    assert pictures.tensors.shape == (1, 3, 96, 128)


def test_no_rival(one, small):
    with pytest.raises(UsageError, match="torchvision trains no atss"):
        run([one("atss")], [small], rivals=True)


def test_waits_are_counted_with_their_place(monkeypatch):
    modes = []
    monkeypatch.setattr("torch.cuda.set_sync_debug_mode", modes.append)

    def step():
        warnings.warn("called a synchronizing CUDA operation (Triggered internally)", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        warnings.warn("called a synchronizing CUDA operation (Triggered internally)", stacklevel=1)

    found = host_syncs(step)
    assert [place.partition(":")[0] for place in found] == ["test_step.py"] * 2
    assert modes == ["warn", "default"]
