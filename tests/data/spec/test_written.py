from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.spec.schema import CocoSpec, CocoSplit, VocSpec, VocSplit, YoloSpec, load_spec, moved
from assignbench.data.spec.written import as_yaml
from assignbench.errors import UsageError

paths = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=9).map(Path)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)
words = st.sampled_from(["yes", "null", "1e4", "007", "a: b", "- a", "toy car", "#x", "1", "~", ".5", "Ü", "a,b", "[x"])
classes = st.lists(texts | words, min_size=1, max_size=4, unique=True)
coco_splits = st.builds(CocoSplit, annotations=paths, images=paths)
voc_split = st.builds(VocSplit, folder=paths, list=st.none() | words, annotations=paths, images=paths)
voc_splits = st.lists(voc_split, min_size=1, max_size=3)
yolo_splits = st.lists(paths, min_size=1, max_size=3)


def specs(model, name, splits, **fields):
    either = st.one_of(
        st.fixed_dictionaries({"evaluation": splits}), st.fixed_dictionaries({"split": st.floats(0.01, 0.99)})
    )
    return st.builds(
        lambda train, either, others: model(format=name, train=train, **either, **others),
        splits,
        either,
        st.fixed_dictionaries(fields),
    )


every = st.one_of(
    specs(CocoSpec, "coco", coco_splits, folders=st.none() | st.integers(0, 3), left_out=st.just([]) | classes),
    specs(VocSpec, "voc", voc_splits, classes=st.none() | classes, pixel_origin=st.sampled_from([0, 1])),
    specs(YoloSpec, "yolo", yolo_splits, classes=classes, keypoints=st.none() | st.just((17, 3))),
)


@settings(max_examples=300, deadline=None)
@given(every)
def test_what_is_written_is_read_as_the_same(tmp_path_factory, spec):
    file = tmp_path_factory.mktemp("written") / "mine.yaml"
    file.write_text(as_yaml(spec), encoding="utf-8", newline="")
    assert load_spec(file) == spec


def test_it_reads_as_people_write_it():
    spec = YoloSpec(format="yolo", classes=["cat", "toy car", "no"], train=[Path("images/train")], split=0.8)
    assert as_yaml(spec) == 'format: yolo\ntrain: [images/train]\nsplit: 0.8\nclasses: [cat, toy car, "no"]\n'


@pytest.mark.parametrize("into", [Path("a/b"), Path("/a")])
def test_moving_puts_a_folder_before_relative_paths(into):
    spec = YoloSpec(format="yolo", classes=["a"], train=[Path("x"), Path("/y")], split=0.5)
    assert moved(spec, into).train == [into / "x", Path("/y")]
    coco = CocoSpec(format="coco", train=CocoSplit(annotations=Path("a"), images=Path()), split=0.5)
    assert moved(coco, into).train == CocoSplit(annotations=into / "a", images=into)
    voc = VocSpec(format="voc", train=[VocSplit(folder=Path())], evaluation=[VocSplit(folder=Path("v"))])
    assert [one.folder for one in (*moved(voc, into).train, *(moved(voc, into).evaluation or []))] == [into, into / "v"]


COCO = {"annotations": "a.json", "images": "i"}


@pytest.mark.parametrize(
    ("form", "part"), [("coco", COCO), ("voc", [{"folder": "a"}]), ("yolo", ["images"])], ids=["coco", "voc", "yolo"]
)
def test_a_class_is_named_once_in_every_format(tmp_path, form, part):
    file = tmp_path / "mine.yaml"
    content = {"format": form, "train": part, "split": 0.8, "classes": ["cat", "toy car"]}
    file.write_text(yaml.safe_dump(content))
    assert load_spec(file).classes == ["cat", "toy car"]
    file.write_text(yaml.safe_dump(content | {"classes": ["cat", "toy car", "cat"]}))
    with pytest.raises(UsageError, match=r"mine\.yaml: classes: the class 'cat' is named twice"):
        load_spec(file)
