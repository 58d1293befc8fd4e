"""Options at their limits: what is switched off is gone, what is refused says why, what is frozen stays.

Where two texts must mean the same, they are compared bit for bit: pairs, discounts, normalisers and losses.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assignbench.core import Assigner, Assignment, Head, Setting, assign
from assignbench.core.fast.class_outputs import join_logits
from assignbench.core.parts import Centerness, ImplicitObjectness, RawOutputs
from assignbench.detector.objective import objective
from assignbench.detector.postprocess import PostprocessRule, detect
from assignbench.errors import UsageError
from assignbench.options import check_options
from assignbench.plugins import construct, extras_named, resolve
from assignbench.recipe import ModelSettings, TrainSettings
from assignbench.run.training.learner import build_learner
from assignbench.run.training.optimizer import build_optimizer
from assignbench.strict_yaml import parse_yaml
from assignbench.synthetic import Problem, random_problem
from assigners.autoassign import AutoAssign

ROOT = Path(__file__).parents[2]
CLASSES = 3
MODEL = ModelSettings(backbone="miniature", weights="none", channels=32, towers=1)


def built(text: str) -> Assigner:
    strategy = resolve(text)
    cls = strategy.load()
    return construct(cls, check_options(cls, strategy.options), Setting(classes=CLASSES), extras_named(strategy.extras))


def batch(head: Head, seed: int = 4, counts: tuple[int, ...] = (4, 0, 3), *, padded: bool = False) -> Problem:
    """A random batch; padded: all images but the first end before the batch does."""
    problem = random_problem(head.controlled(), seed=seed, classes=CLASSES, counts=counts)
    sizes = torch.tensor([[128, 160], [96, 96], [64, 160]])[: len(counts)]
    return replace(problem, priors=problem.priors.padded(sizes)) if padded else problem


def taught(assigner: Assigner, problem: Problem) -> tuple[Assignment, dict[str, Tensor]]:
    view = problem.view()
    record = assign(assigner, view)
    return record, dict(objective(record, view, problem.head.extras))


def parts(record: Assignment) -> dict[str, Tensor]:
    """All numbers of a record by name; the discounts as a table in order, without entries that do not count."""
    discounts = record.discounts.counted()
    keys = (discounts.image * 10**6 + discounts.location) * 100 + discounts.label
    order = keys.argsort()
    pairs, normalisers = record.pairs, record.normalisers
    return {
        "object": pairs.object,
        "location": pairs.location,
        "weight": pairs.weight,
        "box_weight": pairs.box_weight,
        "discounted": keys[order],
        "factor": discounts.factor[order],
        "positive": normalisers.positive,
        "box": normalisers.box,
        "negative": normalisers.negative,
        "least_box": torch.tensor(normalisers.least_box),
    }


def assert_same(one: str, other: str, problem: Problem) -> None:
    """Two strategies mean the same, bit for bit, gradients included."""
    gradients, tables = [], []
    for text in (one, other):
        fresh = problem.with_targets(problem.targets)
        record, losses = taught(built(text), fresh)
        gradients.append(torch.autograd.grad(torch.stack(list(losses.values())).sum(), fresh.leaves()))
        tables.append(parts(record) | {f"loss {name}": value for name, value in losses.items()})
    assert tables[0].keys() == tables[1].keys()
    for name, value in tables[0].items():
        assert torch.equal(value, tables[1][name]), name
    assert all(torch.equal(*both) for both in zip(*gradients, strict=True))


PROBLEMS = st.tuples(
    st.integers(0, 10**6), st.lists(st.integers(0, 12), min_size=1, max_size=3).map(tuple), st.booleans()
)


@settings(max_examples=15, derandomize=True, deadline=None)
@given(PROBLEMS)
def test_fcos_without_its_parts_is_plain(case: tuple[int, tuple[int, ...], bool]) -> None:
    bare, (seed, counts, padded) = "fcos[radius=0,scale_ranges=false,centerness=false]", case
    assert built(bare).head == built("plain").head
    assert_same(bare, "plain", batch(built(bare).head, seed, counts, padded=padded))


@settings(max_examples=10, derandomize=True, deadline=None)
@given(PROBLEMS)
def test_centerness_changes_neither_pairs_nor_class_part(case: tuple[int, tuple[int, ...], bool]) -> None:
    seed, counts, padded = case
    problem = batch(built("fcos").head, seed, counts, padded=padded)
    (whole, with_it), (bare, without) = (
        taught(built(text), replace(problem, head=built(text).head.controlled(), raw=raw))
        for text, raw in (("fcos", problem.raw), ("fcos[centerness=false]", replace(problem.raw, extras={})))
    )
    assert torch.equal(whole.pairs.location, bare.pairs.location)
    assert with_it.keys() - without.keys() == {"centerness"}
    for name in ("class", "background"):
        assert torch.equal(with_it[name], without[name])
    assert bare.normalisers.box == len(bare.pairs)
    assert bool((bare.pairs.box_weight == 1).all())


def test_every_part_of_fcos_does_something() -> None:
    rows = ("plain", "fcos[scale_ranges=false,centerness=false]", "fcos[radius=0,centerness=false]")
    rows += ("fcos[centerness=false]", "fcos")
    found = []
    for text in rows:
        assigner = built(text)
        _, losses = taught(assigner, batch(assigner.head, counts=(12,)))
        found.append(torch.stack(list(losses.values())).sum().item())
    assert len({round(value, 4) for value in found}) == len(rows)


def test_table_7_goes_from_plain_to_fcos_as_it_is() -> None:
    rows = parse_yaml((ROOT / "configs/experiments/table7.yaml").read_text(encoding="utf-8"), "table7")["rows"]
    first, *between, last = [row["strategy"] for row in rows]
    problem = batch(built("fcos").head, counts=(8, 0, 5))
    assert resolve(last).label == "fcos"
    assert_same(last, "fcos", problem)
    bare = replace(problem, head=Head(), raw=RawOutputs(problem.raw.logits, problem.raw.regression, {}))
    for text in (first, rows[0]["scales"]["full"]["strategy"]):
        assert_same(text, "plain", bare)
    for text in between:
        with pytest.raises(AssertionError):
            assert_same(text, "plain", bare)


@settings(max_examples=15, derandomize=True, deadline=None)
@given(PROBLEMS)
def test_a_wide_fixed_prior_is_none(case: tuple[int, tuple[int, ...], bool]) -> None:
    """At σ = 10⁹ strides log G is below the rounding step of log p; the number of pairs is the normaliser."""
    seed, counts, padded = case
    problem = batch(built("autoassign").head, seed, counts, padded=padded)
    assert_same("autoassign[center=fixed,sigma=1.0e+9]", "autoassign[center=none]", problem)
    assert_same("autoassign[center=none]", "autoassign[center=none,negative_normaliser=pairs]", problem)


@settings(max_examples=15, derandomize=True, deadline=None)
@given(PROBLEMS)
def test_a_high_temperature_switches_confidence_off(case: tuple[int, tuple[int, ...], bool]) -> None:
    """The distance of the weights to those without C falls as 1/τ: C lies in [1, e^(1/τ)], so the ratio of weights does
    in [e^(−1/τ), e^(1/τ)]; at 10⁸ at most the last digit of float32 is left."""
    seed, counts, padded = case
    problem = batch(built("autoassign").head, seed, counts, padded=padded)
    off = taught(built("autoassign[confidence=off]"), problem)[0].pairs.weight
    for tau in (10.0, 100.0, 1e3, 1e4):
        kept = taught(built(f"autoassign[tau={tau}]"), problem)[0].pairs.weight
        if len(kept) != len(off):  # a higher C keeps a few more pairs, of weight below 2⁻⁴⁰
            continue
        distance = ((kept - off) / off.clamp(min=1e-30)).abs()
        assert bool((distance <= (torch.tensor(1 / tau).expm1() + 1e-5)).all())
    assert_near("autoassign[tau=1.0e+8]", "autoassign[confidence=off]", problem)


def assert_near(one: str, other: str, problem: Problem) -> None:
    """Records and losses up to the last digits, which p/τ can still move where log p is near 0; gradients up to what
    1/τ leaves of the one through C."""
    (record, losses), (other_record, other_losses) = (taught(built(text), problem) for text in (one, other))
    for (name, value), wanted in zip(parts(record).items(), parts(other_record).values(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-6, atol=0, msg=lambda said, name=name: f"{name}: {said}")
    for name, value in losses.items():
        torch.testing.assert_close(value, other_losses[name], rtol=1e-6, atol=0)
    leaves = problem.leaves()
    gradients = [
        torch.autograd.grad(torch.stack(list(terms.values())).sum(), leaves) for terms in (losses, other_losses)
    ]
    for value, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-8)


def test_convergence_to_confidence_off_is_of_first_order() -> None:
    problem = batch(built("autoassign").head, counts=(6,))
    off = taught(built("autoassign[confidence=off]"), problem)[1]["bag"].item()
    bags = [taught(built(f"autoassign[tau={tau}]"), problem)[1]["bag"].item() for tau in (1.0, 10.0, 100.0)]
    gap = [abs(bag - off) for bag in bags]
    assert gap[0] > 5e-4  # at 1 it is no limit yet
    assert gap[0] / gap[1] == pytest.approx(10, rel=0.3)
    assert gap[1] / gap[2] == pytest.approx(10, rel=0.3)


def test_a_geometric_bag_is_the_mean_of_logarithms() -> None:
    text = "autoassign[bag=geometric,center=none,confidence=off,negative=one]"
    problem = batch(built(text).head)
    record, losses = taught(built(text), problem)
    likelihood = problem.view()(record.pairs.object, record.pairs.location).likelihood
    count = torch.bincount(record.pairs.object, minlength=len(problem.targets))
    costs = torch.zeros(len(count)).index_add(0, record.pairs.object, -likelihood.log())
    wanted = 0.25 * (costs / count.clamp(min=1)).sum() / len(count)
    assert losses["bag"].item() == pytest.approx(wanted.item(), rel=1e-5)
    _, arithmetic = taught(built(text.replace("geometric", "arithmetic")), problem)
    assert losses["bag"] > arithmetic["bag"]  # −log of the mean is the least of the two
    assert torch.equal(losses["background"], arithmetic["background"])


REFUSED = {
    "autoassign[center=none,mu=1]": "mu=1 would change nothing: center=none has no μ",
    "autoassign[center=none,sigma=2]": "sigma=2 would change nothing: center=none has no σ",
    "autoassign[center=none,learn=mu]": "learn=mu would change nothing: center=none learns neither",
    "autoassign[center=fixed,learn=sigma]": "learn=sigma would change nothing: center=fixed learns neither",
    "autoassign[center=fixed,center_loss=1]": "center_loss=1 would change nothing: center=fixed has no L_centre",
    "autoassign[confidence=off,tau=1]": "tau=1 would change nothing: confidence=off",
    "autoassign[detach_weights=true,center_loss=0]": "leaves nothing that teaches μ and σ, but center=category learns",
    "autoassign[confidence=off,center=none,detach_weights=true]": "detach_weights=true would change nothing",
    "fcos[scale_ranges=false,base_range=4]": "base_range=4 would change nothing: scale_ranges=false has no ranges",
}
ALLOWED = (
    "autoassign[center=fixed,mu=1,sigma=2]",
    "autoassign[center=none,center_loss=0]",
    "autoassign[center=none,mu=0,sigma=1,learn=both]",
    "autoassign[confidence=off,tau=0.3333333333333333]",
    "autoassign[confidence=off,detach_weights=true]",
    "autoassign[negative=one,same_class=last]",  # what a preset sets must not stand in the way
    "fcos[centerness=false,least_box=1e-6]",
    "autoassign[objectness=none]+implicit_objectness",
)


@pytest.mark.parametrize("text", REFUSED)
def test_an_option_without_any_effect_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=REFUSED[text]) as caught:
        built(text)
    assert "leave " in str(caught.value)


@pytest.mark.parametrize("text", ALLOWED)
def test_what_contradicts_nothing_is_allowed(text: str) -> None:
    built(text)


@pytest.mark.parametrize("preset", ["mmdet", "official"])
def test_presets_forbid_no_ablation(preset: str) -> None:
    given = AutoAssign.presets[preset].options
    for text in ("autoassign[center=none,confidence=off,negative=one]", "autoassign[objectness=explicit]"):
        AutoAssign(Setting(CLASSES), **{**given, **resolve(text).options})


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("options", "moves"),
    [
        ("learn=both", {"mu", "sigma"}),
        ("learn=mu,sigma=2", {"mu"}),
        ("learn=sigma,mu=1", {"sigma"}),
        ("center=shared,learn=mu", {"mu"}),
        ("center=fixed,mu=1,sigma=2", set()),
        ("center=none", set()),
    ],
)
def test_what_is_frozen_stays(options: str, moves: set[str], optimizer: str) -> None:
    """One step of the optimizer, with a decay that would move everything; frozen parameters have no gradient either."""
    strategy = resolve(f"autoassign[{options}]")
    learner = build_learner(AutoAssign, check_options(AutoAssign, strategy.options), MODEL, classes=CLASSES, seed=0)
    settings = TrainSettings(iterations=1, batch=1, optimizer=optimizer, lr=0.1, schedule="step", weight_decay=0.1)
    before = {name: value.detach().clone() for name, value in learner.assigner.named_parameters()}
    step = build_optimizer(learner, settings)
    problem = batch(learner.head)
    with torch.no_grad():  # off the centre, so that μ = 0 has a gradient
        problem.targets.boxes.add_(1.7)
    _, losses = taught(learner.assigner, problem)
    torch.stack(list(losses.values())).sum().backward()
    step.step()
    after = dict(learner.assigner.named_parameters())
    assert {name for name, value in before.items() if not torch.equal(value, after[name])} == moves
    assert {name for name, value in after.items() if value.grad is not None} == moves


BARE = ("plain", "retinanet", "fcos", "atss", "freeanchor", "autoassign[objectness=none]")


def product_of(problem: Problem) -> Problem:
    """The same batch without the joining output: what was the product's logit is now the class output."""
    extras = dict(problem.raw.extras)
    logits = join_logits(problem.raw.logits, extras.pop("implicit_objectness"))
    head = replace(problem.head, extras=tuple(each for each in problem.head.extras if not each.joins_class))
    return Problem(head, RawOutputs(logits, problem.raw.regression, extras), problem.priors, problem.targets)


@pytest.mark.parametrize("text", BARE)
def test_added_implicit_objectness_trains_the_product(text: str) -> None:
    """Each strategy's own losses at (z, o) are those of the bare strategy at the logit of σ(z)·σ(o), and so are the
    gradients of both outputs: its own classification loss on the product and nothing else."""
    assigner = built(f"{text}+implicit_objectness")
    assert [extra.name for extra in assigner.head.extras][-1] == "implicit_objectness"
    problem = random_problem(
        assigner.head.controlled(), seed=4, classes=CLASSES, counts=(4, 0, 3), height=64, width=96, dtype=torch.float64
    )
    added, bare = taught(assigner.double(), problem), taught(built(text).double(), product_of(problem))
    assert added[1].keys() == bare[1].keys()
    assert torch.equal(added[0].pairs.location, bare[0].pairs.location)
    for name, value in added[1].items():
        torch.testing.assert_close(value, bare[1][name], rtol=1e-10, atol=1e-14)
    gradients = [
        torch.autograd.grad(torch.stack(list(terms.values())).sum(), problem.leaves()) for _, terms in (added, bare)
    ]
    for value, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-8, atol=1e-13)
    names = ["logits", "regression", *problem.raw.extras]
    by_objectness = gradients[0][names.index("implicit_objectness")]
    assert float(by_objectness.abs().max()) > 1e-3


@pytest.mark.parametrize("text", BARE)
def test_added_implicit_objectness_scores_by_the_product(text: str) -> None:
    assigner = built(f"{text}+implicit_objectness")
    problem = batch(assigner.head)
    sizes = torch.tensor([[128, 160]] * 3)
    found = [
        detect(each.predictions, each.priors, sizes, each.head.extras, PostprocessRule())
        for each in (problem, product_of(problem))
    ]
    assert sum(len(image.scores) for image in found[0]) > 20
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.labels, other.labels)
        torch.testing.assert_close(one.scores, other.scores)
        torch.testing.assert_close(one.boxes, other.boxes)
    alone = detect(
        replace(problem.predictions, joined=None), problem.priors, sizes, problem.head.extras, PostprocessRule()
    )
    assert not any(torch.allclose(one.scores, other.scores) for one, other in zip(found[0], alone, strict=True))


def test_autoassign_without_and_with_its_objectness_again_is_autoassign() -> None:
    again = "autoassign[objectness=none]+implicit_objectness"
    assert built(again).head == built("autoassign").head
    assert_same(again, "autoassign", batch(built(again).head))


@pytest.mark.parametrize("text", ["retinanet", "freeanchor"])
def test_nine_anchors_have_nine_outputs(text: str) -> None:
    strategy = resolve(text).load()
    learner = build_learner(strategy, {}, MODEL, classes=CLASSES, seed=0, extras=(ImplicitObjectness(), Centerness()))
    layers = learner.detector.head.extra_outputs
    assert {name: layer.out_channels for name, layer in layers.items()} == {"implicit_objectness": 9, "centerness": 9}
    predictions, priors = learner.detector(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.tensor([[64, 64]]))
    assert predictions.extras["implicit_objectness"].shape == (1, len(priors))
    assert predictions.joined == "implicit_objectness"


def test_explicit_objectness_is_no_factor_of_the_probability() -> None:
    for name, scales in (("explicit", True), ("auxiliary", False)):
        assigner = built(f"autoassign[objectness={name}]")
        problem = batch(assigner.head)
        (extra,) = problem.head.extras
        assert extra.scales_score is scales
        assert problem.predictions.joined is None
        _, losses = taught(assigner, problem)
        raw = RawOutputs(problem.raw.logits, problem.raw.regression, {})
        _, bare = taught(built("autoassign[objectness=none]"), replace(problem, head=Head(), raw=raw))
        assert losses.keys() - bare.keys() == {f"{name}_objectness"}
        for term, value in bare.items():
            assert torch.equal(losses[term], value), term


def test_a_planted_difference_is_seen() -> None:
    problem = batch(built("fcos").head)
    with pytest.raises(AssertionError):
        assert_same("fcos[radius=1.5]", "fcos[radius=1.4]", problem)
    with pytest.raises(AssertionError):
        assert_same("autoassign", "autoassign[center=fixed,sigma=1.1]", batch(built("autoassign").head))
