import pytest
from hypothesis import given
from hypothesis import strategies as st

from assignbench.errors import RunError
from assignbench.report.curves import curve, losses_of, statistics_of, validation_of


def test_a_curve_is_thinned_to_means():
    lines = [{"iteration": i, "lr": 9.0, "total": float(i), "late": float(i) if i > 2 else None} for i in range(1, 6)]
    thin = curve(lines, points=3)
    assert thin.iterations == (2, 4, 5)
    assert thin.values == {"total": (1.5, 3.5, 5.0), "late": (None, 3.5, 5.0)}
    assert thin.lines == 2


@given(st.lists(st.integers(-100, 100), max_size=99), st.integers(1, 50))
def test_a_curve_keeps_its_ends_and_its_mean(values, points):
    thin = curve([{"iteration": i, "total": value} for i, value in enumerate(values)], points)
    assert len(thin.iterations) <= points
    assert thin.iterations == tuple(sorted(set(thin.iterations)))
    assert thin.iterations[-1:] == ((len(values) - 1,) if values else ())
    if values and len(values) % thin.lines == 0:
        assert sum(thin.values["total"]) * thin.lines == pytest.approx(sum(values), abs=1e-6)


def test_logs_of_a_folder(tmp_path, make_record):
    record = make_record()  # of a time when records listed no files
    assert losses_of(tmp_path, record).iterations == statistics_of(tmp_path, record).iterations == ()
    (tmp_path / "losses.jsonl").write_text('{"iteration": 5, "total": 1.0}\n{"iteration": 10, "tot')
    assert losses_of(tmp_path, record).values == {"total": (1.0,)}
    (tmp_path / "assignment.jsonl").write_text('{"epoch": 5}\n')
    with pytest.raises(RunError, match="no iteration with numbers"):
        statistics_of(tmp_path, record)


def test_training_and_validation_are_two_curves_of_one_log(tmp_path, make_record):
    """Whatever a strategy calls its losses: lines of training have a learning rate."""
    lines = (
        '{"iteration": 5, "lr": 0.1, "common/total": 3.0, "total": 3.0}',
        '{"iteration": 5, "validation/total": 2.0, "common/total": 1.0}',
        '{"iteration": 9, "lr": 0.1, "total": 2.0}',
        '{"iteration": 9, "validation/total": null, "common/total": 0.5}',
    )
    (tmp_path / "losses.jsonl").write_text("\n".join(lines) + "\n")
    training, validation = (read(tmp_path, make_record()) for read in (losses_of, validation_of))
    assert training.values == {"common/total": (3.0, None), "total": (3.0, 2.0)}
    assert validation.values == {"validation/total": (2.0, None), "common/total": (1.0, 0.5)}
    assert training.iterations == validation.iterations == (5, 9)
