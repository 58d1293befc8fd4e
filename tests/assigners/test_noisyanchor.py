"""NoisyAnchor: soft labels and shares by hand, who owns an anchor, what re-weighting keeps."""

from dataclasses import replace

import pytest
import torch

from assignbench.core import Regions, Setting, assign, iou_matrix, owned_pairs
from assignbench.core.parts import PairLoss, QualityFocal
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.noisyanchor import NoisyAnchor

CLASSES = 3


def problem(counts: tuple[int, ...] = (4, 0, 3), seed: int = 0) -> Problem:
    return random_problem(NoisyAnchor.head.controlled(), seed=seed, classes=CLASSES, counts=counts)


def test_an_anchor_belongs_to_the_object_that_it_overlaps_most() -> None:
    batch = problem((6,))
    record = assign(NoisyAnchor(Setting(classes=CLASSES)), batch.view())
    overlap = iou_matrix(batch.targets.boxes, batch.priors.boxes)
    assert torch.equal(record.pairs.object, overlap[:, record.pairs.location].argmax(0))
    chosen = {j for row in overlap for j in row.sort(descending=True, stable=True).indices[:30].tolist()}
    assert sorted(record.pairs.location.tolist()) == sorted(chosen)


def test_anchors_that_overlap_nothing_are_background() -> None:
    small = random_problem(NoisyAnchor.head.controlled(), seed=0, classes=CLASSES, counts=(1,), height=32, width=32)
    targets = replace(small.targets, boxes=torch.tensor([[0.0, 0.0, 2.0, 2.0]]))
    record = assign(NoisyAnchor(Setting(classes=CLASSES), k=500), small.with_targets(targets).view())
    overlap = iou_matrix(targets.boxes, small.priors.boxes)[0]
    assert (overlap == 0).any()
    assert torch.equal(record.pairs.location, (overlap > 0).nonzero()[:, 0])


def test_labels_reach_from_the_mean_overlap_to_one_and_shares_are_one_on_average() -> None:
    assigner, batch = NoisyAnchor(Setting(classes=CLASSES)), problem((1, 2))
    record = assign(assigner, batch.view())
    objects, locations, times = owned_pairs(batch.targets, batch.priors, 30)
    assert torch.equal(objects, record.pairs.object)
    pair, label, share = batch.view()(objects, locations), *(record.diagnostics[name] for name in ("soft", "share"))
    for image in range(2):
        mine = batch.targets.image[objects] == image
        mean = (times * pair.overlap)[mine].sum() / times[mine].sum()
        assert label[mine].min().item() == pytest.approx(mean.item(), rel=1e-5)
        assert label[mine].max().item() == pytest.approx(1)
        assert ((times * share)[mine].sum() / times[mine].sum()).item() == pytest.approx(1, rel=1e-5)


def test_cleanliness_by_hand() -> None:
    """Two anchors: overlaps 0.2 and 0.6, class probabilities 0.5 and 0.25; α = 0.75; the second chosen twice."""
    assigner, batch = NoisyAnchor(Setting(classes=CLASSES)), problem((2,))
    pair = batch.view()(torch.tensor([0, 1]), torch.tensor([5, 9]))
    pair.__dict__.update(overlap=torch.tensor([0.2, 0.6]), logit=torch.tensor([0.5, 0.25]).logit())
    label, share = assigner.cleanliness(pair, torch.tensor([1.0, 2.0]))
    mean_u, mean_c = 1.4 / 3, 1 / 3
    clean = [0.75 * 0.2 / mean_u + 0.25 * 0.5 / mean_c, 0.75 * 0.6 / mean_u + 0.25 * 0.25 / mean_c]
    assert clean[0] < clean[1]
    assert label.tolist() == pytest.approx([mean_u, 1.0])
    mean_fu, mean_fc = (1 / 0.8 + 2 / 0.4) / 3, (1 / 0.5 + 2 / 0.75) / 3
    wanted = [0.75 / 0.8 / mean_fu + 0.25 / 0.5 / mean_fc, 0.75 / 0.4 / mean_fu + 0.25 / 0.75 / mean_fc]
    assert share.tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("kept", ["image", "batch"])
@pytest.mark.parametrize("loss", [PairLoss(), PairLoss(QualityFocal(), weight=1.0)])
def test_reweighting_keeps_the_sums_of_class_and_box_losses(kept: str, loss: PairLoss) -> None:
    batch = problem()
    crowd = Regions(torch.tensor([[0.0, 0.0, 60.0, 60.0]]), torch.tensor([1]))
    batch = batch.padded(torch.tensor([[128, 160], [128, 160], [96, 128]]))
    batch = batch.with_targets(replace(batch.targets, ignore=crowd))
    sums = []
    for options in ({"reweight": False}, {"kept": kept}):
        view = batch.view(loss)
        terms = objective(assign(NoisyAnchor(Setting(classes=CLASSES), **options), view), view, ())  # type: ignore[arg-type]
        sums.append([(terms["class"] + terms["background"]).item(), terms["box"].item()])
    assert sums[1] == pytest.approx(sums[0], rel=1e-5)


def test_without_both_parts_it_is_a_hard_assignment() -> None:
    record = assign(NoisyAnchor(Setting(classes=CLASSES), soft=False, reweight=False), problem().view())
    assert record.pairs.weight.unique().tolist() == record.pairs.box_weight.unique().tolist() == [1]
    assert len(record.discounts.counted()) == 0
    assert record.background is None


def test_predictions_without_any_difference_teach_the_mean_overlap() -> None:
    batch = problem((1,))
    with torch.no_grad():
        batch.raw.logits.zero_()
        batch.raw.regression.zero_()
    batch = batch.with_targets(replace(batch.targets, boxes=torch.tensor([[16.0, 16.0, 48.0, 48.0]])))
    record = assign(NoisyAnchor(Setting(classes=CLASSES), k=1), batch.view())
    assert record.diagnostics["share"].tolist() == pytest.approx([1])
    assert 0 < record.diagnostics["soft"].item() <= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"alpha": 1.5}, "alpha must lie"),
        ({"alpha": 0.5, "soft": False, "reweight": False}, "alpha=0.5 would change nothing"),
        ({"kept": "batch", "reweight": False}, "kept=batch would change nothing"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NoisyAnchor(Setting(classes=CLASSES), **options)  # type: ignore[arg-type]
