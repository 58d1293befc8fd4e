"""How often `compare` calls nothing "decided": the shipped rules on simulated runs.

``false_alarms.py [--quick]`` prints Markdown tables; reports/significance/README.md holds those of one run. All
strategies are equal on average over seeds and pictures, so that every verdict is a false alarm. Beside each rate stands
the standard error that it has because the simulation is finite.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations

import numpy as np

from assignbench.comparison.behrens_fisher import smallest_found
from assignbench.comparison.influences import influences, value_of
from assignbench.comparison.power import smallest_guarded
from assignbench.comparison.twolevel import Runs, difference, guarded, shared_spread
from assignbench.comparison.verdicts import differences, family_of, shared_by, verdicts
from assignbench.run.scoring.matches import Found, Matches, Objects, match

PICTURES = {64: 1.8, 500: 0.73, 5000: 0.25}  # spread of the difference of two runs by the pictures, in AP
SPREADS = {64: (0.3, 1.0, 2.0), 500: (0.1, 0.5, 1.0), 5000: (0.05, 0.27, 0.5)}  # of a run by its seed, in AP
OWN = 0.36  # part of a run's variance by pictures that no other seed of its strategy shares


def gaussian(random: np.random.Generator, rows: int, seeds: int, pictures: int, spread: Sequence[float]) -> list[Runs]:
    """Runs whose AP is a sum over pictures, plus what the seed did."""
    one = PICTURES[pictures] / (2 * pictures) ** 0.5
    u = random.normal(0, one * (1 - OWN) ** 0.5, (rows, 1, pictures))
    u = u + random.normal(0, one * OWN**0.5, (rows, seeds, pictures))
    value = u.sum(axis=-1) + random.normal(size=(rows, seeds)) * np.asarray(spread)[:, None] + random.normal(size=seeds)
    u = u - u.mean(axis=-1, keepdims=True)
    return [Runs(dict(enumerate(value[k])), {s: u[k, s][None] for s in range(seeds)}) for k in range(rows)]


def two_rows(job: tuple[int, int, float, int]) -> tuple[float, float, float]:
    """Rates of false alarms, of intervals that hold the truth, and of finding what `smallest_found` promises."""
    pictures, seeds, spread, times = job
    random = np.random.default_rng([pictures, seeds, int(1000 * spread)])
    alarms = held = found = 0
    by_pictures = PICTURES[pictures] ** 2
    shift = smallest_found((2 * spread**2 + OWN * by_pictures) / seeds, (1 - OWN) * by_pictures, seeds - 1)
    for _ in range(times):
        a, b = gaussian(random, 2, seeds, pictures, (spread, spread))
        one = difference(a, b)
        better = difference(Runs({s: v + shift for s, v in a.values.items()}, a.pictures), b)
        assert one is not None and one.p is not None and better is not None and better.p is not None  # noqa: S101, PT018
        alarms += one.p < 0.05
        held += one.p >= 0.05  # zero is the truth
        found += better.p < 0.05
    return alarms / times, held / times, found / times


def family(job: tuple[str, int, int, int, int, float, int]) -> tuple[float, float, float]:
    """Rates of a false alarm: in pairs with the first row, in a table after Holm, in the group of the best."""
    _, rows, seeds, pictures, number, odd, times = job
    random = np.random.default_rng([rows, seeds, pictures, int(10 * odd)])
    spread = [SPREADS[pictures][number] * (odd if row == 0 else 1.0) for row in range(rows)]
    pairs = tables = groups = 0
    for _ in range(times):
        runs = {f"s{row}": one for row, one in enumerate(gaussian(random, rows, seeds, pictures, spread))}
        found = verdicts("AP", runs)
        first = [one.difference.p for one in found.pairs if "s0" in (one.a, one.b)]
        pairs += np.mean([p is not None and p < 0.05 for p in first])
        tables += any(one.decided for one in found.pairs)
        groups += found.tells_apart
    return pairs / times, tables / times, groups / times


def sharing(job: tuple[int, int, int]) -> list[tuple[float, int]]:
    """How often two rows of usual spread find what is promised: with their guard reckoned with, and without."""
    rows, seeds, times = job
    pictures, spread, level = 500, SPREADS[500][1], 1 - 0.05 / (rows - 1)
    by_pictures = PICTURES[pictures] ** 2
    one, main = 2 * spread**2 + OWN * by_pictures, (1 - OWN) * by_pictures
    shifts = (
        smallest_guarded(one, main, rows, seeds, level),
        smallest_found(one / seeds, main, (rows - 1) * (seeds - 1), level=level),
    )
    rates = []
    for shift in shifts:
        random, found = np.random.default_rng([rows, seeds]), []
        for _ in range(times):
            equal = gaussian(random, rows, seeds, pictures, [spread] * rows)
            runs = {f"s{row}": one for row, one in enumerate(equal)}
            runs["s0"] = Runs({seed: value + shift for seed, value in runs["s0"].values.items()}, runs["s0"].pictures)
            others = [(name, "s1") for name in runs if name != "s1"]  # the better one comes first
            one = family_of(differences(runs, others, "strategies", shared_by(runs)))[0]
            found += [one.decided] * (not one.difference.noisy)
        rates.append((float(np.mean(found)), len(found)))
    return rates


def world(random: np.random.Generator, pictures: int, classes: int, rare: bool) -> Objects:
    """Objects of a set of pictures; of rare classes few pictures hold any."""
    count = random.poisson(5, pictures)
    image = np.repeat(np.arange(pictures), count)
    weight = 1 / np.arange(1, classes + 1) ** (1.6 if rare else 0.3)
    label = random.choice(classes, len(image), p=weight / weight.sum())
    size = np.exp(random.normal(4, 0.7, (len(image), 2)))
    box = np.hstack([random.random((len(image), 2)) * 400, size])
    return Objects(image, label, box, size.prod(axis=1), np.zeros(len(image), dtype=bool))


def detected(
    random: np.random.Generator, objects: Objects, pictures: int, classes: int, fit: np.ndarray, skill: float
) -> Matches:
    """One run's detections: an object is found the better, the higher its quality."""
    quality = skill + fit[objects.image] + random.normal(0, 0.8, len(objects.image))
    off = 0.30 / (1 + np.exp(quality))  # in sides of the box
    box = objects.box + random.normal(0, 1, (len(quality), 4)) * off[:, None] * np.tile(objects.box[:, 2:], 2)
    box[:, 2:] = np.maximum(box[:, 2:], 1)
    score = 1 / (1 + np.exp(-(quality + random.normal(0, 0.7, len(quality)))))
    wrong = random.poisson(3, pictures)
    image = np.repeat(np.arange(pictures), wrong)
    false = np.hstack([random.random((len(image), 2)) * 400, np.exp(random.normal(4, 0.7, (len(image), 2)))])
    found = Found(
        np.concatenate([objects.image, image]),
        np.concatenate([objects.label, random.integers(0, classes, len(image))]),
        np.vstack([box, false]),
        np.concatenate([score, random.beta(1.2, 4, len(image))]),
    )
    return match(objects, found, pictures, classes)


def on_detections(job: tuple[str, int, int, int, bool, float, int]) -> tuple[float, float, float, float]:
    """As `family`, on simulated detections and real AP: also the rate of pairs by each pair's own spread."""
    _, rows, pictures, classes, rare, odd, times = job
    random, seeds = np.random.default_rng([rows, pictures, classes, int(10 * odd)]), 3
    own_alarms = pairs = tables = groups = 0.0
    for _ in range(times):
        objects = world(random, pictures, classes, rare)
        runs = {}
        for row in range(rows):
            fit = random.normal(0, 0.5, pictures)  # of the strategy to each picture
            values, shares = {}, {}
            for seed in range(seeds):
                skill = 0.6 + random.normal(0, 0.06 * (odd if row == 0 else 1.0))
                matches = detected(random, objects, pictures, classes, fit + random.normal(0, 0.3, pictures), skill)
                values[seed] = 100 * value_of(matches, "AP")
                shares[seed] = influences(matches, ["AP"])["AP"]
            runs[f"s{row}"] = Runs(values, shares)
        own = [difference(runs[a], runs[b]) for a, b in combinations(runs, 2)]
        own_alarms += np.mean([one is not None and one.p is not None and one.p < 0.05 for one in own])
        shared = shared_spread(np.array([list(one.values.values()) for one in runs.values()]))
        noisy = dict(zip(runs, shared.noisy.tolist(), strict=True))
        each = [guarded(runs[a], runs[b], "strategies", shared, noisy[a] or noisy[b]) for a, b in combinations(runs, 2)]
        pairs += np.mean([one is not None and one.p is not None and one.p < 0.05 for one in each])
        found = verdicts("AP", runs)
        tables += any(one.decided for one in found.pairs)
        groups += found.tells_apart
    return own_alarms / times, pairs / times, tables / times, groups / times


def percent(rate: float, times: int) -> str:
    """A rate with the standard error of the simulation."""
    return f"{100 * rate:.1f} ± {100 * (max(rate * (1 - rate), 0.25 / times) / times) ** 0.5:.1f}"


def lines(quick: bool) -> Iterator[str]:
    """The tables."""
    factor = 0.05 if quick else 1.0
    with ProcessPoolExecutor() as pool:
        jobs = [
            (pictures, seeds, spread, int(factor * {64: 6000, 500: 6000, 5000: 2000}[pictures]))
            for pictures in PICTURES
            for spread in SPREADS[pictures]
            for seeds in (3, 5)
        ]
        yield "| pictures | spread of a seed | seeds | false alarms, % | intervals that hold, % | found, % (of 80) |"
        yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
        for (pictures, seeds, spread, times), rates in zip(jobs, pool.map(two_rows, jobs), strict=True):
            yield f"| {pictures:,} | {spread:g} | {seeds} | {' | '.join(percent(rate, times) for rate in rates)} |"
        yield ""
        tables = [
            ("equal rows", 10, 3, 500, 1, 1.0, int(factor * 1000)),
            ("equal rows", 10, 5, 500, 1, 1.0, int(factor * 1000)),
            ("one row spreads 3 times as much", 10, 3, 500, 1, 3.0, int(factor * 1000)),
            ("one row spreads 3 times as much", 10, 5, 500, 1, 3.0, int(factor * 1000)),
            ("equal rows, each pair's own spread", 3, 3, 500, 1, 1.0, int(factor * 1000)),
        ]
        yield "| table | rows | seeds | pairs with the first row, % | tables with a verdict, % | best not all, % |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: |"
        for job, rates in zip(tables, pool.map(family, tables), strict=True):
            yield f"| {job[0]} | {job[1]} | {job[2]} | {' | '.join(percent(rate, job[-1]) for rate in rates)} |"
        yield ""
        yield "| rows | seeds | found, % (of 80) | with the shared spread alone, % |"
        yield "| ---: | ---: | ---: | ---: |"
        jobs = [(rows, seeds, int(factor * 2000)) for rows in (4, 10) for seeds in (3, 5, 10)]
        for job, rates in zip(jobs, pool.map(sharing, jobs), strict=True):
            yield f"| {job[0]} | {job[1]} | {' | '.join(percent(*rate) for rate in rates)} |"
        yield ""
        simulated = [
            ("equal rows", 6, 64, 7, False, 1.0, int(factor * 300)),
            ("one row spreads 3 times as much", 6, 64, 7, False, 3.0, int(factor * 300)),
            ("rare classes", 6, 64, 20, True, 1.0, int(factor * 150)),
            ("equal rows", 6, 500, 7, False, 1.0, int(factor * 40)),
        ]
        yield "| simulated detections | pictures | classes | pairs, own spread, % | pairs, guarded, % | tables, % |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: |"
        for job, rates in zip(simulated, pool.map(on_detections, simulated), strict=True):
            told = " | ".join(percent(rate, job[-1]) for rate in rates[:3])
            yield f"| {job[0]} | {job[2]} | {job[3]} | {told} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the repetitions")
    for line in lines(parser.parse_args().quick):
        print(line, flush=True)
