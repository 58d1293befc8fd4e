"""What a YAML file may say about where its data come from, and what ours say."""

import re
from pathlib import PurePosixPath

import pytest
import yaml

from assignbench.data.spec.schema import ShapesSpec, VocSpec, load_spec
from assignbench.data.spec.sources import Source, is_below
from assignbench.errors import UsageError
from assignbench.paths import configs_folder

FILES = sorted((configs_folder() / "datasets").glob("*.yaml"))
LEAST = {"file": "f.zip", "unpack_to": "set", "needs": ["set/x"]}


@pytest.mark.parametrize(
    ("path", "below"),
    [("a", True), ("a/b c/é", True), ("./a", True), (".", True), ("a..b", True), ("", False), ("/a", False)]
    + [(path, False) for path in ("..", "../a", "a/../b", "C:\\a", "C:a", "\\a", "a\\..\\b", "\\\\h\\s", "a\0b")],
)
def test_paths_that_stay_in_their_folder(path, below):
    assert is_below(path) is below


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"file": "../f.zip"}, "must be a relative path"),
        ({"unpack_to": "/data"}, "must be a relative path"),
        ({"needs": ["set/../../x"]}, "must be a relative path"),
        ({"counts": {"/x": 1}}, "must be a relative path"),
        ({"needs": []}, "non-empty list"),
        ({"needs": ["other/x"]}, "is not below unpack_to"),
        ({"counts": {"settle": 3}}, "is not below unpack_to"),
        ({"urls": ["file:///etc/passwd"]}, "http or https"),
        ({"urls": ["http://host"]}, "http or https"),
        ({"urls": ["http://host/a b"]}, "http or https"),
        ({"urls": ["http://host/é"]}, "http or https"),
        ({"sha256": "abc"}, "of the form"),
        ({"md5": "g" * 32}, "of the form"),
        ({"size": 0}, "a whole number ≥ 1"),
        ({"optional": True}, "must name its split"),
        ({"numbers": [0, 3]}, "file must contain"),
        ({"numbers": [3, 0], "file": "p{n}.zip"}, "first, last"),
        ({"numbers": [0, 3], "file": "p{n}.zip", "size": 3}, "each file has its own"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, keys, message):
    part = {"annotations": "a.json", "images": "i"}
    file = tmp_path / "mine.yaml"
    content = {"format": "coco", "train": part, "evaluation": dict(part), "sources": [{**LEAST, **keys}]}
    file.write_text(yaml.safe_dump(content, allow_unicode=True))
    with pytest.raises(UsageError, match=message) as caught:
        load_spec(file)
    assert "sources.1" in str(caught.value)
    content["sources"] = [LEAST]
    file.write_text(yaml.safe_dump(content))
    load_spec(file)


def test_a_misspelt_key_of_a_source_is_named(tmp_path):
    file = tmp_path / "mine.yaml"
    part = {"annotations": "a.json", "images": "i"}
    content = {"format": "coco", "train": part, "evaluation": dict(part), "sources": [{**LEAST, "sha265": "x"}]}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=r"unknown key 'sources\.1\.sha265'; did you mean sha256"):
        load_spec(file)


def test_numbers_stand_for_many_files():
    source = Source.model_validate(
        {
            "file": "p{n}.tar.gz",
            "numbers": [2, 4],
            "urls": ["http://h/x/p{n}.tar.gz"],
            "unpack_to": "set",
            "needs": ["set/p{n}"],
            "counts": {"set/p{n}": 1},
        }
    )
    each = source.each()
    assert [one.file for one in each] == ["p2.tar.gz", "p3.tar.gz", "p4.tar.gz"]
    assert each[1].urls == ["http://h/x/p3.tar.gz"]
    assert each[1].needs == ["set/p3"]
    assert each[1].counts == {"set/p3": 1}
    assert [one.each() for one in each] == [[one] for one in each]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_built_in_data_set_names_its_licence_and_its_publisher(file):
    spec = load_spec(file)
    if isinstance(spec, ShapesSpec):
        return
    assert spec.licence
    assert re.match("https?://", spec.homepage)
    names = [one.file for source in spec.sources for one in source.each()]
    assert len(set(names)) == len(names), "two archives in one place"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_built_in_data_set_reads_is_what_its_sources_need(file):
    """Else a data set could be called complete that cannot be read."""
    spec = load_spec(file)
    if isinstance(spec, ShapesSpec) or not spec.sources:
        return
    needs = [PurePosixPath(need) for source in spec.sources for one in source.each() for need in one.needs]
    if isinstance(spec, VocSpec):
        parts = [*spec.train, *spec.evaluation]
        read = {f"{part.folder}/ImageSets/Main/{part.list}.txt" for part in parts}
        read |= {f"{part.folder}/{kind}" for part in parts for kind in ("Annotations", "JPEGImages")}
    else:
        parts = [part for part in (spec.train, spec.evaluation, getattr(spec, "test", None)) if part]
        read = {str(path) for part in parts for path in (part.annotations, part.images)}
    unmet = [path for path in read if not any(need.is_relative_to(path) for need in needs)]
    assert unmet == []
    splits = {source.split for source in spec.sources if source.optional}
    assert splits <= {"test"}, "what a training reads must not be optional"
