"""Rules for many comparisons, on numbers worked by hand."""

import numpy as np

from assignbench.comparison.families import at_least, beats, benjamini_hochberg, best_group, holm, ranks


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    np.testing.assert_allclose(holm([0.02, 0.01, 0.04]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(holm([0.04, np.nan, 0.03]), [0.06, np.nan, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert holm([]).shape == (0,)


def test_benjamini_and_hochberg_multiply_by_count_over_rank() -> None:
    np.testing.assert_allclose(benjamini_hochberg([0.01, 0.04, 0.03, np.nan]), [0.03, 0.04, 0.04, np.nan])


def test_the_group_of_the_best_and_the_ranks_follow_from_the_verdicts() -> None:
    pairs, means = [(0, 1), (0, 2), (1, 2)], [1.0, 3.0, 2.0]
    better = beats(3, pairs, means, [0.3, 0.001, 0.04])  # rows 0 and 1 cannot be told apart, row 2 is behind
    assert best_group(better).tolist() == [True, True, False]
    assert ranks(better).tolist() == [[1, 2], [1, 2], [3, 3]]
    turned = beats(3, pairs, [-1.0, -3.0, -2.0], [0.3, 0.001, np.nan])
    assert best_group(turned).tolist() == [False, True, True]


def test_better_on_at_least_some_data_sets() -> None:
    assert at_least([0.01, 0.02, 0.9, 0.001]) == 3  # 4 × 0.001, 3 × 0.01 and 2 × 0.02 are below 0.05
    assert at_least([0.01, 0.03, 0.9, 0.001]) == 2
    assert at_least([0.04, 0.04]) == 0
