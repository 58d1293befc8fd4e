import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assignbench.errors import RunError
from assignbench.report import folder as module
from assignbench.report.folder import curve, losses_of, recipe_word, statistics_of, unfinished
from assignbench.run.results.record import write_record


def test_the_files_are_those_that_training_writes():
    from assignbench.run.matrix.execute import CONFIG
    from assignbench.run.matrix.matrix import FAILURES
    from assignbench.run.matrix.sharing import LOCK
    from assignbench.run.training.train import LOSSES, STATISTICS

    ours = (module.LOSSES, module.STATISTICS, module.CONFIG, module.LEASE, module.FAILURES)
    assert ours == (LOSSES, STATISTICS, CONFIG, LOCK, FAILURES)


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


def started(root, name, **files):
    (root / name).mkdir()
    for file, content in files.items():
        (root / name / file.replace("_", ".", 1)).write_text(content)


def test_unfinished_runs_say_what_they_are_and_how_far(tmp_path, make_record):
    record = make_record("fcos[a=1]", dataset="voc:blood cells")
    write_record(tmp_path / record.run_id, record)
    settings = {"train.iterations": {"value": 500}, "assigner.text": {"value": "atss", "origin": "--assigner"}}
    config = json.dumps(settings)
    started(tmp_path, "voc_blood_cells-fcos_a_1-tiny-s3-0123456789", config_json=config)
    log = '{"iteration": 20}\n{"iteration": 40}\n'
    started(tmp_path, "voc_blood_cells-atss-mmdet-1x-s4-0123456789", config_json=config, losses_jsonl=log)
    failure = json.dumps({"error": "out of memory\nand more"}) + "\n"
    started(tmp_path, "what is this", losses_jsonl=log, failures_jsonl=failure)
    started(tmp_path, "no run")
    (tmp_path / "a file").write_text("")
    published, controlled, odd = unfinished(tmp_path, [record])
    assert (controlled.dataset, controlled.strategy, controlled.seed) == ("voc:blood cells", "fcos[a=1]", 3)
    assert (controlled.preset, controlled.recipe) == (None, "tiny")
    assert controlled.state == "stopped after 0 of 500 iterations"
    assert (published.strategy, published.preset, published.recipe, published.seed) == ("atss", "mmdet", "1x", 4)
    assert published.state == "stopped after 40 of 500 iterations"
    assert (odd.dataset, odd.strategy, odd.seed) == ("?", "what is this", None)
    assert odd.state == "failed after 40 iterations: out of memory"


def test_recipe_word_is_that_of_a_folders_name():
    assert recipe_word("reports/field/blood cells.yaml") == "blood_cells"
