import json
from pathlib import Path
from types import SimpleNamespace

import pytest


def test_eval_prints_percent(call, stand_in):
    seen = []

    def evaluate_run(folder, data_root, device, console, *, tta, trust):
        seen.append((folder, data_root, device, tta))
        evaluation = SimpleNamespace(
            metrics={"AP": 0.405, "APl": None, "VOC10-AP50": 0.7},
            per_class={"ring": 0.5},
            official_per_class={"VOC10-AP50": {"ring": 0.7}},
            notes=("2 images without detection",),
            tta=tta and "flip-1a2b3c4d",
            detections=7,
            evaluator="pycocotools 2.0.8",
        )
        return None, evaluation

    stand_in("assignbench.run.scoring.reopen", evaluate_run=evaluate_run)
    code, out, err = call("eval", "runs/a", "--data-root", "/data", "--device", "cpu")
    assert (code, err) == (0, "")
    assert seen == [(Path("runs/a"), Path("/data"), "cpu", None)]
    rows = [line.split() for line in out.splitlines()]
    assert ["AP", "40.5"] in rows
    assert ["APl", "–"] in rows
    assert ["VOC10-AP50", "70.0"] in rows
    assert ["class", "AP", "VOC10-AP50"] in rows
    assert ["ring", "50.0", "70.0"] in rows
    assert "note: 2 images without detection" in out
    assert "flip" not in out
    content = json.loads(call("eval", "runs/a", "--json")[1])
    assert content["metrics"] == {"AP": 40.5, "APl": None, "VOC10-AP50": 70}
    assert content["classes"] == {"AP": {"ring": 50}, "VOC10-AP50": {"ring": 70}}
    assert content["notes"] == ["2 images without detection"]
    del seen[1]
    code, out, _ = call("eval", "runs/a", "--tta", "flip")
    assert seen[1][3] == "flip"
    assert ["metric", "%", "with", "flip-1a2b3c4d"] in [line.split() for line in out.splitlines()]


def test_eval_of_a_secret_split_says_what_to_hand_in(call, stand_in):
    stand_in("assignbench.run.scoring.test_server", submit_run=lambda run, *_, tta, trust: run / f"a{tta or ''}.zip")
    assert call("eval", "runs/a", "--split", "test") == (0, "wrote runs/a/a.zip\n", "")
    assert call("eval", "runs/a", "--split", "test", "--tta", "flip") == (0, "wrote runs/a/aflip.zip\n", "")
    code, _, err = call("eval", "--weights", "a", "--dataset", "coco", "--split", "test")
    assert (code, "--split test is for a RUN" in err) == (2, True)
    assert call("eval", "runs/a", "--split", "train")[0] == 2


def test_predict(call, stand_in):
    seen = []

    def predict(*arguments, watch, trust):
        seen.append(arguments)
        return SimpleNamespace(files=(Path("out/a.png"), Path("out/a.json")), left_aside=())

    stand_in("assignbench.run.scoring.predict", predict=predict)
    assert call("predict", "runs/a", "a.jpg", "b.jpg") == (0, "wrote out/a.png\nwrote out/a.json\n", "")
    assert seen[0] == (Path("runs/a"), (Path("a.jpg"), Path("b.jpg")), Path("predictions"), 0.3, "auto")
    call("predict", "runs/a", "a.jpg", "--output", "out", "--threshold", "0.5", "--device", "cpu")
    assert seen[1] == (Path("runs/a"), (Path("a.jpg"),), Path("out"), 0.5, "cpu")


@pytest.mark.parametrize("threshold", ["2", "-0.1", "x"])
def test_threshold_is_a_probability(call, threshold):
    assert call("predict", "runs/a", "a.jpg", "--threshold", threshold)[0] == 2


def test_predict_counts_what_it_left_aside_and_does_not_name_a_thousand_files(call, stand_in):
    done = SimpleNamespace(files=tuple(Path(f"out/{n}.png") for n in range(1030)), left_aside=(Path("in/._a.jpg"),))
    stand_in("assignbench.run.scoring.predict", predict=lambda *_, watch, trust: done)
    _, out, _ = call("predict", "runs/a", "in")
    assert out.count("wrote ") == 20
    assert "and 1,010 files more in predictions\n" in out
    assert "left aside: 1 picture, hidden, unreadable or drawn by predict, first in/._a.jpg\n" in out
