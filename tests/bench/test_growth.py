from dataclasses import asdict, replace

import pytest
import torch

from assignbench.bench.exponent import NOTICED, GrowthRow, growth_of
from assignbench.bench.growth import bench_growth, bytes_needed, count_pairs, growth_row, seconds_expected
from assignbench.bench.loss import Problem
from assignbench.bench.problem import random_objects
from assignbench.core import Head, Targets, inside_pairs
from assignbench.core.parts import anchor_head
from assignbench.core.priors import pyramid_priors
from assignbench.errors import SystemProblem

CPU = torch.device("cpu")
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def rows(added, counts=COUNTS, empty=10.0) -> list[GrowthRow]:
    """Cases of 100 pairs an object; ``added``: pairs → ms beyond the empty batch."""
    return [
        GrowthRow("mine", "objects", 1, n, "64x64", 1, 100 * n, empty + added(100 * n), empty, empty, 1.0)
        for n in counts
    ]


def measure(one, case, **changes):
    settings = {"device": CPU, "repeat": 1, "limit": 1e9, "before": ()} | changes
    return growth_row(one, "objects", case, **settings)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.15])
def test_an_exponent_is_found(power):
    found = growth_of("mine", "objects", rows(lambda pairs: 0.1 * pairs**power))
    assert found.exponent == pytest.approx(power, abs=0.006)
    assert found.error == 0.0
    assert found.verdict == "no super-linear growth"


def test_linear_growth_has_a_price():
    found = growth_of("mine", "objects", rows(lambda pairs: 50e-6 * pairs))
    assert found.ns_per_pair == pytest.approx(50.0)
    # of 50, 100, … 2000 objects the first three add 0.25, 0.5 and 1 ms to 10: noise
    assert found.fitted == 3


def test_constants_do_not_hide_growth():
    found = growth_of("mine", "objects", rows(lambda pairs: 3.0 + 1e-8 * pairs**2))
    assert found.exponent > 1.3
    assert found.verdict.startswith("super-linear, fastest between 1000 and 2000 (exponent 1.9")


def test_quadratic_growth_is_named_with_its_place():
    found = growth_of("mine", "objects", rows(lambda pairs: 1e-5 * (pairs**2 if pairs >= 50_000 else 50_000 * pairs)))
    assert found.exponent > 1.3
    assert found.verdict == "super-linear, fastest between 500 and 1000 (exponent 2.00)"


@pytest.mark.parametrize("added", [0.0, 0.9 * NOTICED * 10, -1.0])
def test_constant_time_has_no_exponent(added):
    found = growth_of("mine", "objects", rows(lambda pairs: added))
    assert (found.exponent, found.error, found.ns_per_pair, found.fitted) == (None, None, None, 0)
    assert (
        found.verdict == f"too few cases above noise; objects add at most {max(0, 10 * added):.0f} % to an empty batch"
    )


@pytest.mark.parametrize("few", [(), (1,), (500, 1000), (100, 200, 500, 1000)])
def test_few_cases_have_no_exponent(few):
    assert growth_of("mine", "objects", rows(float, few)).exponent is None


def test_equal_pairs_have_no_exponent():
    same = [replace(row, pairs=7) for row in rows(float)]
    assert growth_of("mine", "objects", same).exponent is None


def test_noise_is_called_noise():
    wobble = {100 * n: 3.0 ** (-1) ** place for place, n in enumerate(COUNTS)}
    found = growth_of("mine", "objects", rows(lambda pairs: 0.01 * pairs * wobble[pairs]))
    assert found.error > 0.25
    assert found.verdict == "too noisy to tell; raise --repeat"


@pytest.mark.parametrize(("head", "each"), [(Head(), 1), (anchor_head(offset=0.5), 9)])
def test_pairs_counted_by_hand(head, each):
    # 32 × 32 pixels: P3 has centres at 4, 12, 20, 28; P4 at 8, 24; P5 at 16; P6 at 32 and P7 at 64, outside
    priors = pyramid_priors(head, 32, 32)
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0], [3.0, 3.0, 13.0, 5.0], [5.0, 5.0, 7.0, 7.0], [8.0, 8.0, 17.0, 17.0]])
    cells = [16 + 4 + 1, 2, 0, 1 + 1]
    none = torch.zeros(4, dtype=torch.int64)
    found = [count_pairs(Targets(box[None], none[:1], none[:1], 1), priors) for box in boxes]
    assert found == [each * count for count in cells]
    assert count_pairs(Targets(boxes, none, torch.tensor([0, 0, 1, 1]), 2), priors) == sum(found)


def test_pairs_of_many_objects_are_counted_a_few_at_a_time(small):
    many = random_objects(replace(small, objects=100))
    priors = pyramid_priors(Head(), small.height, small.width)
    assert count_pairs(many, priors) == len(inside_pairs(many, priors)[0])
    assert count_pairs(random_objects(replace(small, objects=0)), priors) == 0


def test_a_row(one, small):
    row = measure(one("retinanet"), small)
    assert list(asdict(row)) == [
        *("strategy", "axis", "priors", "objects", "image", "batch", "pairs", "ms", "empty_ms", "floor_ms", "ratio")
    ]
    assert (row.strategy, row.axis, row.priors, row.objects, row.image, row.batch) == (
        *("retinanet", "objects", 9, 3, "64x96", 2),
    )
    assert row.pairs % 9 == 0
    assert row.pairs > 0
    assert row.ratio == pytest.approx(row.ms / row.floor_ms, rel=0.02)
    assert min(row.empty_ms, row.floor_ms) > 0


def test_the_empty_batch_has_the_same_outputs_and_no_objects(one, small, monkeypatch):
    ran = []
    monkeypatch.setattr(Problem, "charge", lambda self: ran.append((len(self.targets), id(self.raw))))
    measure(one("atss"), small)
    assert {objects for objects, _ in ran} == {0, 6}
    assert len({raw for _, raw in ran}) == 1


def test_cases_that_do_not_fit_are_left_out_with_a_reason(one, small, monkeypatch):
    needed = bytes_needed(Head(), replace(small, batch=2), 100)
    # P3 … P7 of 64 × 96: 96 + 24 + 6 + 2 + 1 cells; 5 classes and 4 sides, 4 bytes each
    assert needed == 8 * 4 * 2 * 129 * 9 + 300 * 100
    monkeypatch.setattr("assignbench.bench.growth.bytes_free", lambda device: 400_000)
    cases = [replace(small, batch=batch) for batch in (1, 2, 64, 128)]
    report = bench_growth([one("plain")], {"batch": cases}, device=CPU, repeat=1, limit=1e9, progress=str)
    assert [row.batch for row in report.rows] == [1, 2]
    assert len(report.growth) == 1
    (sentence,) = report.left_out
    assert sentence.startswith(f"plain: the batch axis ends before {cases[2]}, which needs about 0.0 GB of memory")


def test_cases_that_would_take_too_long_are_left_out_with_a_reason(one, small):
    cases = [replace(small, batch=batch) for batch in (1, 2)]
    report = bench_growth([one("plain")], {"batch": cases}, device=CPU, repeat=1, limit=0.0, progress=str)
    assert [row.batch for row in report.rows] == [1]
    assert report.left_out[0].endswith("which would take about 0 s a run; --limit is 0 s")


def test_memory_that_runs_out_ends_an_axis(one, small, monkeypatch):
    def charge(problem: Problem) -> None:
        if problem.targets.images == 2:
            raise MemoryError

    monkeypatch.setattr(Problem, "charge", charge)
    cases = [replace(small, batch=batch) for batch in (1, 2)]
    report = bench_growth([one("plain")], {"batch": cases}, device=CPU, repeat=1, limit=1e9, progress=str)
    assert len(report.rows) == 1
    assert "does not fit into memory" in report.left_out[0]


def test_nothing_measured_is_an_error(one, small, monkeypatch):
    monkeypatch.setattr("assignbench.bench.growth.bytes_free", lambda device: 0)
    with pytest.raises(SystemProblem, match=r"nothing was measured\. plain: the batch axis ends before"):
        bench_growth([one("plain")], {"batch": [small]}, device=CPU, repeat=1, limit=1e9, progress=str)


def test_time_is_foreseen_from_the_case_before(small):
    row = replace(rows(lambda pairs: 30.0, (1,))[0], pairs=100)
    larger = replace(small, batch=6)
    assert seconds_expected(small, row, larger, 200) == pytest.approx((3 * 10 + 2 * 30) / 1e3)
