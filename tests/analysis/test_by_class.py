"""AP by class: the parts of what `compare` judges as a whole."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assignbench.analysis import parts as parts_module
from assignbench.analysis.by_class import class_differences, class_measure, class_parts, class_values
from assignbench.comparison.families import benjamini_hochberg
from assignbench.comparison.influences import influences
from assignbench.comparison.weighted import by_class, deleted, deletion_influence, influence, pack
from assignbench.run.scoring.matches import Found, Matches, match

NAMES = tuple("abcdef")


def matches_of(world: Callable[..., Any], seed: int, images: int, quality: float = 1.0, objects: int = 0) -> Matches:
    return match(*world(seed, images, len(NAMES), objects or 4 * images, quality), images, len(NAMES))


@pytest.mark.parametrize("images", [40, 1100])
def test_classes_are_measured_as_the_whole_is(world: Callable[..., Any], images: int) -> None:
    matches = matches_of(world, 0, images)
    packed, measured = pack(matches), class_measure(matches)(slice(0, 6))
    np.testing.assert_array_equal(measured.values, 100 * by_class(packed))
    np.testing.assert_array_equal(measured.values, class_values(matches))
    np.testing.assert_allclose(measured.influences[0], 100 * influence(packed), atol=1e-12)
    whole = influences(matches, ["AP"])["AP"]
    assert len(measured.influences) == len(whole) == (2 if images == 40 else 1)
    np.testing.assert_allclose(measured.influences[0].mean(axis=0), whole[0], atol=1e-12)
    some = class_measure(matches)(slice(2, 5))
    np.testing.assert_array_equal(some.values, measured.values[2:5])
    np.testing.assert_allclose(some.influences, measured.influences[:, 2:5], atol=1e-12)


def test_rare_classes_among_many_pictures_have_left_out_pictures(world: Callable[..., Any]) -> None:
    matches = matches_of(world, 0, 1100, objects=6 * 132)
    rare = np.array([part.pictures <= 120 for part in class_parts(matches, NAMES)])
    assert 0 < rare.sum() < 6
    (found,) = class_measure(matches)(slice(0, 6)).influences
    packed = pack(matches)
    expected = np.where(rare[:, None], deletion_influence(deleted(packed)), influence(packed))
    np.testing.assert_allclose(found, 100 * expected, atol=1e-12)


def test_parts_are_the_classes(world: Callable[..., Any]) -> None:
    objects, found = world(0, 20, 6, 50, crowd=0.3)
    for number, part in enumerate(class_parts(match(objects, found, 20, 6), NAMES)):
        real = ~objects.crowd & (objects.label == number)
        assert (part.name, part.objects) == (NAMES[number], real.sum())
        assert part.pictures == len(set(objects.image[real].tolist()))


def test_a_class_that_differs_is_found_whatever_is_taken_at_once(
    world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: dict[str, Any] = {"good": {}, "bad": {}}
    for seed in range(3):
        (objects, found), other = (world(first + seed, 120, 6, 400) for first in (0, 50))
        kept, hit = found.label != 2, objects.label == 2  # good finds all of class c, and is no better in the others
        both = [(getattr(found, key)[kept], getattr(objects, key)[hit]) for key in ("image", "label", "box")]
        scores = np.concatenate([found.score[kept], np.full(hit.sum(), 0.5)])
        better = Found(*(np.concatenate(each) for each in both), scores)
        rows["good"][seed] = class_measure(match(objects, better, 120, 6))
        matches = match(*other, 120, 6)
        rows["bad"][seed] = class_measure(matches)
    parts = class_parts(matches, NAMES)
    found = class_differences(parts, 120, rows, [("good", "bad")])["good", "bad"]
    assert [one.part.name for one in found if one.decided] == ["c"]
    p = [one.difference.p for one in found if one.difference]
    np.testing.assert_array_equal([one.p_family for one in found], benjamini_hochberg(p))
    monkeypatch.setattr(parts_module, "_ENTRIES", 1)
    again = class_differences(parts, 120, rows, [("good", "bad")])["good", "bad"]
    np.testing.assert_allclose([one.p_family for one in again], [one.p_family for one in found])


def test_many_strategies_share_their_spread_over_seeds(world: Callable[..., Any]) -> None:
    rows = {
        name: {seed: class_measure(matches_of(world, 20 * row + seed, 30)) for seed in range(3)}
        for row, name in enumerate(("v", "w", "x", "y"))
    }
    parts = class_parts(matches_of(world, 0, 30), NAMES)
    shared = class_differences(parts, 30, rows, [("v", "w")])["v", "w"]
    assert {one.difference.freedom for one in shared if one.difference} <= {2, 6}
    assert any(one.difference.shared for one in shared if one.difference)
    own = class_differences(parts, 30, rows, [("v", "w")], spread="own")["v", "w"]
    assert not any(one.difference.shared for one in own if one.difference)


def test_one_seed_gives_intervals_and_no_verdict(world: Callable[..., Any]) -> None:
    rows = {name: {0: class_measure(matches_of(world, seed, 30))} for name, seed in (("a", 0), ("b", 50))}
    found = class_differences(class_parts(matches_of(world, 0, 30), NAMES), 30, rows, [("a", "b")])["a", "b"]
    assert all(one.difference and one.difference.about == "networks" and one.difference.half for one in found)
    assert all(one.p_family is None and not one.decided for one in found)
