import json

from assignbench.run.results.record import write_record
from assignbench.run.results.unfinished import recipe_word, unfinished


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
