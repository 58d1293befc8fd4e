import json

import pytest

from assignbench.bench.exponent import GrowthRow, growth_of
from assignbench.bench.growth import GrowthReport
from assignbench.cli.commands.bench.cases import Sizes
from assignbench.cli.commands.bench.growing import series, show_growth
from assignbench.cli.commands.bench.plotting import draw_growth, place, tick
from assignbench.plot import save

SMALL = ("--classes", "2", "--repeat", "1", "--assigner", "fcos,retinanet")
LISTS = {"objects": "3,1,3", "image": "512x512,32x1024,32x32,128x64", "batch": "2,1"}


def cases(axes: str, **changes):
    return series(axes, **{**LISTS, "classes": 2, "sizes": Sizes.COCO, **changes})


def outcome() -> GrowthReport:
    rows = [
        GrowthRow(
            name, axis, priors, 10 * n, f"{n}00x{n}00", n, priors * n * 1000, 10 + k * n**power, 10, 5 * priors, 1
        )
        for name, priors, k, power in (("a", 1, 3, 1), ("b", 9, 4, 1), ("c", 9, 3, 2), ("d", 1, 0, 1))
        for axis in ("objects", "image", "batch")
        for n in (1, 2, 4, 8, 16, 32)
    ]
    keys = dict.fromkeys((row.strategy, row.axis) for row in rows)
    growth = [growth_of(*key, [row for row in rows if (row.strategy, row.axis) == key]) for key in keys]
    return GrowthReport(rows, growth, ["a: the batch axis ends before something large, which needs much"])


def test_one_thing_grows_along_an_axis():
    found = cases("objects,image,batch")
    same = {"classes": 2, "sizes": "coco"}
    assert found["objects"] == [{"objects": n, "height": 800, "width": 1216, "batch": 1, **same} for n in (1, 3)]
    assert found["image"] == [
        {"objects": n, "height": height, "width": width, "batch": 1, **same}
        for n, height, width in ((1, 32, 32), (2, 128, 64), (8, 32, 1024), (64, 512, 512))
    ]
    assert found["batch"] == [{"objects": 100, "height": 512, "width": 512, "batch": n, **same} for n in (1, 2)]


def test_axes_asked_for():
    assert list(cases("batch, image,batch")) == ["batch", "image"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--axis", "objekts"), 2, "--axis objekts: choose from objects, image, batch; did you mean objects?"),
        (("--axis", ","), 2, "--axis is empty"),
        (("--objects", "0,1"), 2, "--objects 0: at least 1"),
        (("--batch", "0"), 2, "--batch 0: at least 1"),
        (("--image", "64"), 2, "--image 64: write height x width"),
        (("--sizes", "auto"), 2, "--sizes auto changes the objects on the way"),
        (("--repeat", "0"), 2, "--repeat 0: at least 1"),
        (("--plot", "growth.gif"), 2, "--plot growth.gif: the name must end in .svg, .pdf, .png"),
        (("--plot", "growth"), 2, "--plot growth: the name must end in"),
        (
            ("--plot", "/dev/null/growth.svg"),
            2,
            "--plot /dev/null/growth.svg: /dev/null is no folder; make it, or name another place",
        ),
    ],
)
def test_wrong_usage_is_explained(call, arguments, code, message):
    got, out, err = call("bench", "growth", "--assigner", "plain", *arguments)
    assert (got, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_as_json_with_a_picture(call, tmp_path):
    file = tmp_path / "growth.svg"
    arguments = ("--axis", "image", "--image", "32x32,64x64", "--plot", str(file), "--json")
    code, out, _ = call("bench", "growth", *SMALL, *arguments)
    assert code == 0
    found = json.loads(out)
    assert list(found) == ["rows", "growth", "left_out"]
    assert [(row["strategy"], row["image"]) for row in found["rows"]] == [
        *(("fcos", "32x32"), ("fcos", "64x64"), ("retinanet", "32x32"), ("retinanet", "64x64")),
    ]
    kinds = {
        **dict.fromkeys(("strategy", "axis", "image"), str),
        **dict.fromkeys(("priors", "objects", "batch", "pairs"), int),
        **dict.fromkeys(("ms", "empty_ms", "floor_ms", "ratio"), float),
    }
    for row in found["rows"]:
        assert {name: type(value) for name, value in row.items()} == {name: kinds[name] for name in row}
        assert set(row) == set(kinds)
    assert [(one["strategy"], one["axis"], one["exponent"]) for one in found["growth"]] == [
        *(("fcos", "image", None), ("retinanet", "image", None)),
    ]
    assert set(found["growth"][0]) == {"strategy", "axis", "exponent", "error", "fitted", "ns_per_pair", "verdict"}
    assert found["left_out"] == []
    assert file.read_text(encoding="utf-8").startswith("<?xml")


def test_tables_end_with_verdicts_and_what_is_missing(capsys):
    show_growth(outcome(), False, "cpu", "about")
    text = capsys.readouterr().out
    assert "empty ms" in text
    line = next(line for line in text.splitlines() if line.split()[:3] == ["a", "batch", "1.00"])
    assert line.rstrip().endswith("no super-linear growth")
    line = next(line for line in text.splitlines() if line.split()[:3] == ["c", "image", "2.00"])
    assert "super-linear, fastest between" in line
    assert text.endswith("left out: a: the batch axis ends before something large, which needs much\n")


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_the_same_picture_is_the_same_file(tmp_path, ending):
    for name in ("one", "two"):
        save(draw_growth(outcome()), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_what_the_picture_shows():
    figure = draw_growth(outcome())
    above, below = figure.axes[:3], figure.axes[3:]
    assert [panel.get_title(loc="left") for panel in above] == ["More objects", "Larger images", "Larger batches"]
    for panel in above:
        solid = {line.get_label(): list(line.get_ydata()) for line in panel.lines if line.get_linestyle() == "-"}
        assert list(solid) == ["a", "b", "c", "d"]
        assert solid["a"] == [10 + 3 * n for n in (1, 2, 4, 8, 16, 32)]
        dashed = [set(line.get_ydata()) for line in panel.lines if line.get_linestyle() == "--"]
        assert dashed == [{5}, {45}]
    for panel in below:
        assert [text.get_text() for text in panel.texts] == ["1.00", "1.00", "2.00"]
        dotted = [line for line in panel.lines if line.get_linestyle() == ":"]
        assert len(dotted) > 2
        for line in dotted:
            (x0, x1), (y0, y1) = line.get_data()
            assert y1 / y0 == pytest.approx(x1 / x0)
        limits = panel.get_xlim(), panel.get_ylim()
        assert all(low < value < high for (low, high), value in zip(limits, (9 * 32_000, 3 * 32**2), strict=True))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["a", "b", "c", "d", "floor", "proportional to pairs"]


@pytest.mark.parametrize("kept", [1, 4])
def test_few_cases_make_a_picture_too(tmp_path, kept):
    whole = outcome()
    few = [row for row in whole.rows if row.strategy == "d" and row.axis == "batch"][:kept]
    save(draw_growth(GrowthReport(few, [], [])), tmp_path / "few.png")


@pytest.mark.parametrize(
    ("axis", "position", "text"),
    [("objects", 2000, "2,000"), ("image", 2048, "2048²"), ("batch", 16, "16")],
)
def test_places_and_ticks(axis, position, text):
    row = GrowthRow("a", axis, 1, 2000, "2048x2048", 16, 1, 1.0, 1.0, 1.0, 1.0)
    assert place(row) == position
    assert tick(row) == text
