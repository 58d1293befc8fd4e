from pathlib import Path

import pytest

from assignbench.data.read.findings import LISTED_AGAIN
from assignbench.data.read.voc import VocList, read_voc
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError


def test_boxes_count_pixels_from_one_and_include_the_last(voc):
    cat = voc.xml(voc.object("cat", 1, 1, 50, 40), voc.object("ant", 11, 21, 20, 30, difficult=1))
    splits = open_dataset(voc.write(trainval={"b": cat, "a": voc.xml()}, test={"c": cat}), Path())
    train = splits.train
    assert [image.path.name for image in train.images] == ["a.png", "b.png"]
    assert train.classes == ("ant", "cat")
    assert train.boxes.tolist() == [[0, 0, 50, 40], [10, 20, 20, 30]]
    assert train.labels.tolist() == [1, 0]
    assert train.crowd.tolist() == [False, True]
    assert train.area.tolist() == [2000, 100]
    assert train.split == "train (voc_set trainval)"
    assert splits.evaluation.split == "evaluation (voc_set test)"
    assert train.repairs == ()


def test_a_yaml_file_may_say_that_corners_are_the_box(voc, tmp_path):
    one = {"a": voc.xml(voc.object("cat", 10, 10, 20, 20))}
    voc.write(train=one, val=one)
    file = tmp_path / "mine.yaml"
    part = "[{folder: voc_set, list: %s}]"
    file.write_text(f"format: voc\ntrain: {part % 'train'}\nevaluation: {part % 'val'}\npixel_origin: 0\n")
    assert open_dataset(str(file), Path()).train.boxes.tolist() == [[10, 10, 20, 20]]


def test_corners_that_coincide_are_no_box(voc):
    click = {"a": voc.xml(voc.object("cat", 5, 5, 5, 5), voc.object("cat", 5, 5, 5, 9), voc.object("cat", 5, 5, 6, 6))}
    train = open_dataset(voc.write(trainval=click, test=click), Path()).train
    assert train.boxes.tolist() == [[4, 4, 6, 6]]
    assert [(repair.kind, repair.count) for repair in train.repairs] == [("box of zero or negative size dropped", 2)]


def test_train_and_val_stand_in_when_a_published_list_is_missing(voc):
    one = {"a": voc.xml(voc.object("cat", 1, 1, 5, 5))}
    splits = open_dataset(voc.write(trainval=one, train=one, val=one), Path())
    assert (splits.train.split, splits.evaluation.split) == (
        "train (voc_set train)",
        "evaluation (voc_set val)",
    )


def test_a_missing_size_is_read_from_the_picture(voc):
    one = {"a": voc.xml(voc.object("cat", 1, 1, 5, 5), size="<width>0</width>")}
    image = open_dataset(voc.write(trainval=one, test=one), Path()).train.images[0]
    assert (image.width, image.height) == (50, 40)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<annotation>", r"a\.xml, line 1, character .*: it is not valid XML"),
        ("", r"a\.xml, line 1, character .*: it is not valid XML"),
        (
            '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
            r"a\.xml: it declares the document type 'a'",
        ),
        ("<annotation><size><width>x</width></size></annotation>", r"a\.xml: <size> must hold whole numbers"),
        ("OBJECT <name/>", r"a\.xml: object 1: <name> is missing"),
        ("OBJECT <name>cat</name>", r"a\.xml: object 1: it has no <bndbox>"),
        ("BOX ten", r"a\.xml: object 1: <xmin> must be a number, not 'ten'"),
        ("BOX nan", r"a\.xml: object 1: the box .* is not finite"),
        ("DIFFICULT", r"a\.xml: object 1: <difficult> must be 0 or 1, not 'maybe'"),
    ],
)
def test_malformed_annotations_are_refused_with_their_place(voc, xml, message):
    kind, _, value = xml.partition(" ")
    if kind == "OBJECT":
        xml = voc.xml(f"<object>{value}</object>")
    elif kind == "BOX":
        xml = voc.xml(voc.object("cat", value, 1, 5, 5))
    elif kind == "DIFFICULT":
        xml = voc.xml(voc.object("cat", 1, 1, 5, 5, difficult="maybe"))
    with pytest.raises(DataError, match=message):
        open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path())


PART = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"


def test_parts_and_whatever_else_voc_states_do_not_matter(voc):
    cat = voc.object("tabby cat", 1, 1, 5, 5).replace("</object>", f"{PART}{PART}<pose>Left</pose></object>")
    xml = voc.xml(cat).replace("<size>", "<segmented>1</segmented><owner><name>me</name></owner><size>")
    train = open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path()).train
    assert train.classes == ("tabby cat",)
    assert train.boxes.tolist() == [[0, 0, 5, 5]]


@pytest.mark.parametrize(
    ("old", "new", "tag"),
    [
        (("<object>", "</object>"), ("<item>", "</item>"), "<annotation><item>"),
        (("<object>", "</object>"), ("<Object>", "</Object>"), "<annotation><Object>"),
        (("<object>", "</object>"), ("<objects><object>", "</object></objects>"), "<objects><object>"),
        (("<object>", "</object>"), ("<obj><a><BndBox/></a>", "</obj>"), "<obj><a>|<annotation><obj>"),
        (("<object>", "</object>"), ("", ""), "<annotation>"),
        (("</object>", ""), (f"<object><name>cat</name>{PART}</object></object>", ""), "<object><part>"),
        (("</object>", ""), ("<eye><bndbox/></eye></object>", ""), "<object><eye>"),
    ],
)
@pytest.mark.parametrize("others", [True, False])
def test_a_box_in_another_element_than_an_object_is_refused_by_its_tag_and_file(voc, others, old, new, tag):
    good = voc.xml(voc.object("cat", 1, 1, 5, 5))
    odd = good
    for one, other in zip(old, new, strict=True):
        odd = odd.replace(one, other) if one else odd
    pictures = {"a": good, "b": odd} if others else {"b": odd}
    with pytest.raises(DataError, match=rf"b\.xml: a box is in ({tag}), where VOC has none"):
        open_dataset(voc.write(trainval=pictures, test={"c": good}), Path())


def test_a_missing_difficult_is_taken_as_0_and_counted(voc):
    one = voc.object("cat", 1, 1, 5, 5).replace("<difficult>0</difficult>", "")
    xml = voc.xml(voc.object("cat", 1, 1, 9, 9), one, one.replace(">5<", ">6<"))
    train = open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path()).train
    assert not train.crowd.any()
    assert str(train.repairs[0]) == (
        "2 × iscrowd or difficult missing, taken as 0 "
        "(annotation 2 of image 1 (a.png), annotation 3 of image 1 (a.png))"
    )


@pytest.mark.parametrize("size", ["", "<width/><height/>", "<width>0</width><height>0</height>", "<width>50</width>"])
def test_a_size_that_says_nothing_is_read_from_the_picture(voc, size):
    one = {"a": voc.xml(voc.object("cat", 1, 1, 5, 5), size=size)}
    image = open_dataset(voc.write(trainval=one, test=one), Path()).train.images[0]
    assert (image.width, image.height) == (50, 40)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<name>cat</name>", "<name>cat</name><name>dog</name>", "object 1: <name> is given 2 times; keep one"),
        ("</bndbox>", "</bndbox><bndbox/>", "object 1: <bndbox> is given 2 times"),
        ("<xmax>5</xmax>", "<xmax>5</xmax><xmax>6</xmax>", "object 1: <xmax> is given 2 times"),
        ("</size>", "</size><size/>", r"a\.xml: <size> is given 2 times"),
        ("<width>50</width>", "<width>-50</width>", "<size> says -50×40 pixels"),
        ("<width>50</width>", "<width>5_0</width>", "<size> must hold whole numbers"),
        ("<xmin>1</xmin>", "<xmin>1_0</xmin>", "<xmin> must be a number, not '1_0'"),
        ("<xmin>1</xmin>", "<xmin>١</xmin>", "<xmin> must be a number"),
    ],
)
def test_what_is_said_twice_or_oddly_is_refused(voc, old, new, message):
    xml = voc.xml(voc.object("cat", 1, 1, 5, 5))
    assert old in xml
    one = {"a": xml.replace(old, new)}
    with pytest.raises(DataError, match=message):
        open_dataset(voc.write(trainval=one, test=one), Path())


def test_what_fills_the_memory_is_refused(voc, monkeypatch):
    laughs = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    for xml, message in (
        (f'<!DOCTYPE l [<!ENTITY l0 "ha">{laughs}]><annotation>&l9;</annotation>', "declares the document type 'l'"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><annotation/>', "declares the document type 'a'"),
        ("<annotation>&b;</annotation>", "not valid XML: an entity"),
        ("<annotation>" + " " * (1 << 24), "it has more than 16 MB"),
        ("<a>" * 100_000, "not valid XML"),
        ("<a>" * 100_000 + "</a>" * 100_000, "its root is <a>"),
    ):
        with pytest.raises(DataError, match=message):
            open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_read(voc, encoding):
    xml = voc.xml(voc.object("café", 1, 1, 5, 5))
    spec = voc.write(trainval={"a": xml}, test={"a": xml})
    (voc.folder / "Annotations" / "a.xml").write_bytes(xml.encode(encoding))
    (voc.folder / "ImageSets" / "Main" / "trainval.txt").write_bytes("a\r\n".encode("utf-8-sig"))
    assert open_dataset(spec, Path()).train.classes == ("café",)


def test_entities_are_refused_in_every_encoding(voc):
    spec = voc.write(trainval={"a": ""}, test={"a": ""})
    text = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    (voc.folder / "Annotations" / "a.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match="declares the document type"):
        open_dataset(spec, Path())


def test_a_class_that_training_does_not_know_is_refused(voc):
    cat, dog = (voc.xml(voc.object(name, 1, 1, 5, 5)) for name in ("cat", "dog"))
    with pytest.raises(DataError, match=r"image 1 \(b.png\): the class 'dog' is not among those of the training split"):
        open_dataset(voc.write(trainval={"a": cat}, test={"b": dog}), Path())


def test_lists_and_files_must_fit(voc):
    one = {"a": voc.xml(voc.object("cat", 1, 1, 5, 5))}
    spec = voc.write(trainval=one, test=one)
    listed = voc.folder / "ImageSets" / "Main" / "test.txt"
    for lines, message in (("a\na\n", "'a' is listed twice"), ("a\nz\n", r"no annotation file .*z\.xml")):
        listed.write_text(lines)
        with pytest.raises(DataError, match=message):
            open_dataset(spec, Path())
    listed.write_text("a\n")
    (voc.folder / "JPEGImages" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.jpg and a\.png share a name"):
        open_dataset(spec, Path())
    for name in ("a.jpg", "a.png"):
        (voc.folder / "JPEGImages" / name).unlink()
    with pytest.raises(DataError, match="1 of 1 pictures are missing"):
        open_dataset(spec, Path())


@pytest.mark.parametrize(
    ("encoding", "name"), [("GBK", "猫"), ("Shift-JIS", "ねこ"), ("UTF-16", "кот"), ("big5", "貓")]
)
def test_a_declared_encoding_is_read(voc, encoding, name):
    xml = f'<?xml version="1.0" encoding="{encoding}"?>{voc.xml(voc.object(name, 1, 1, 5, 5))}'
    spec = voc.write(trainval={"a": ""}, test={"a": ""})
    (voc.folder / "Annotations" / "a.xml").write_bytes(xml.encode(encoding))
    assert open_dataset(spec, Path()).train.classes == (name,)


@pytest.mark.parametrize("name", ["猫", "小猫"])
def test_another_encoding_that_is_not_declared_is_refused(voc, name):
    """The bytes of these names in GBK are letters in UTF-8."""
    spec = voc.write(trainval={"a": ""}, test={"a": ""})
    (voc.folder / "Annotations" / "a.xml").write_bytes(voc.xml(voc.object(name, 1, 1, 5, 5)).encode("gbk"))
    with pytest.raises(DataError, match="is the file in another encoding, as GBK"):
        open_dataset(spec, Path())


@pytest.mark.parametrize("name", ["Tür", "кошка", "ねこネコ", "猫"])
def test_names_of_many_scripts_need_no_declaration(voc, name):
    xml = voc.xml(voc.object(name, 1, 1, 5, 5))
    assert open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path()).train.classes == (name,)


def test_an_ampersand_is_explained(voc):
    xml = voc.xml(voc.object("cat & dog", 1, 1, 5, 5))
    with pytest.raises(DataError, match="an & stands alone; in XML it must be written &amp;"):
        open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path())


def test_lists_with_suffixes_and_flags(voc):
    one = {"a": voc.xml(voc.object("cat", 1, 1, 5, 5)), "b": voc.xml(voc.object("cat", 1, 1, 6, 6))}
    spec = voc.write(trainval=one, test=one)
    (voc.folder / "ImageSets" / "Main" / "trainval.txt").write_text("a.jpg\nb  -1\n")
    train = open_dataset(spec, Path()).train
    assert len(train) == 2
    assert [(repair.kind[:20], repair.count) for repair in train.repairs] == [("line with a suffix, ", 2)]


def test_corners_from_the_other_end_are_exchanged(voc):
    xml = voc.xml(voc.object("cat", 30, 20, 10, 5), voc.object("cat", 5, 5, 3, 9))
    train = open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path()).train
    assert train.boxes.tolist() == [[9, 4, 30, 20]]
    counts = {repair.kind: repair.count for repair in train.repairs}
    assert counts == {"box of zero or negative size dropped": 1, "box whose corners are exchanged, put in order": 1}


def test_one_corner_at_zero_moves_nothing_and_is_counted(voc):
    boxes = [voc.object("cat", 1 + n, 1, 20 + n, 9) for n in range(20)]
    xml = voc.xml(voc.object("cat", 0, 1, 5, 5), *boxes)
    train = open_dataset(voc.write(trainval={"a": xml}, test={"b": voc.xml(*boxes)}), Path()).train
    assert train.boxes[1].tolist() == [0, 0, 20, 9]
    assert [repair.count for repair in train.repairs if repair.how == "noted"] == [1]


def test_fractions_show_that_pixels_count_from_zero(voc):
    xml = voc.xml(voc.object("cat", 1.5, 1, 5, 5), voc.object("cat", 2, 2.25, 5, 5))
    train = open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path()).train
    assert train.boxes.tolist() == [[1.5, 1, 5, 5], [2, 2.25, 5, 5]]
    assert any("2 of 2 boxes have a corner at 0 or a fraction" in remark for remark in train.remarks)


@pytest.mark.parametrize("line", ["a,b", "a b", "x/a x/b", "x/a.png,x/b.png", "/x/a.png/x/b.png", "x/a.png;x/b.png"])
def test_several_pictures_on_a_line_of_a_list_are_refused(voc, line):
    xml = voc.xml(voc.object("cat", 1, 1, 5, 5))
    spec = voc.write(trainval={"a": xml, "b": xml}, test={"a": xml})
    (voc.folder / "ImageSets" / "Main" / "trainval.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=r"trainval\.txt, line 1: several pictures stand on one line"):
        open_dataset(spec, Path())


@pytest.mark.parametrize("suffix", [".XML", ".Xml"])
def test_the_suffix_of_an_annotation_may_be_of_any_case(voc, suffix):
    xml = voc.xml(voc.object("cat", 1, 1, 5, 5))
    spec = voc.write(trainval={"a": xml, "b": xml}, test={"c": xml})
    for file in [*(voc.folder / "Annotations").iterdir()]:
        file.rename(file.with_suffix(suffix))
    assert len(open_dataset(spec, Path()).train.boxes) == 2


def test_two_annotations_of_one_name_are_refused_where_the_files_are_the_list(voc):
    xml = voc.xml(voc.object("cat", 1, 1, 5, 5))
    voc.write(trainval={"a": xml, "b": xml}, test={})
    folder = voc.folder
    alone = VocList(folder, None, folder / "Annotations", folder / "JPEGImages")
    assert len(read_voc([alone], "train").images) == 2
    (folder / "Annotations" / "a.XML").write_text(xml)
    if not (folder / "Annotations" / "a.XML").samefile(folder / "Annotations" / "a.xml"):
        (finding,) = [one for one in read_voc([alone], "train").findings if one.kind is LISTED_AGAIN]
        assert finding.details == (f"{alone.annotations}: a.xml is there in other cases, too; keep one",)


@pytest.mark.parametrize("size", ["<width>50</width><height>40</height>", ""])
def test_fractions_of_the_picture_are_refused_from_wherever_pixels_count(voc, tmp_path, size):
    one = {"a": voc.xml(voc.object("cat", 0.1, 0.2, 0.5, 0.6), voc.object("cat", 0, 0, 1, 1), size=size)}
    folder = voc.write(train=one, val=one)
    file = tmp_path / "mine.yaml"
    part = "[{folder: voc_set, list: %s}]"
    file.write_text(f"format: voc\ntrain: {part % 'train'}\nevaluation: {part % 'val'}\n")
    for spec in (folder, str(file)):
        with pytest.raises(DataError, match="no box is larger than a pixel: are these fractions"):
            open_dataset(spec, Path())


def test_some_fractions_of_the_picture_are_said_where_pixels_count_from_one(voc, tmp_path):
    small = [voc.object("cat", 0.1, 0.2, 0.5 + n / 100, 0.6) for n in range(5)]
    one = {"a": voc.xml(*small, voc.object("cat", 5, 5, 20, 20))}
    voc.write(train=one, val=one)
    file = tmp_path / "mine.yaml"
    part = "[{folder: voc_set, list: %s}]"
    file.write_text(f"format: voc\ntrain: {part % 'train'}\nevaluation: {part % 'val'}\n")
    counts = {repair.kind.split(",")[0]: repair.count for repair in open_dataset(str(file), Path()).train.repairs}
    assert counts["box with both sides below a pixel"] == 5


SOLID, EXCHANGED, CROSSED, CLICK = (5, 5, 20, 20), (20, 20, 5, 5), (20, 5, 5, 20), (5, 5, 5, 20)


@pytest.mark.parametrize(
    ("boxes", "refused"),
    [
        (
            [*[SOLID] * 2, *[EXCHANGED] * 12, *[CROSSED] * 10],
            "22 of 24 boxes end before they begin",
        ),  # width and height
        ([*[SOLID] * 7, *[CROSSED] * 4], "4 of 11 boxes end before they begin: are these x, y, width, height"),
        ([*[SOLID] * 8, *[CROSSED] * 4], None),  # a third, and no more
        ([*[SOLID] * 5, *[CROSSED] * 3], None),  # three may be slips
        ([EXCHANGED] * 9, None),  # an order, if an odd one
        ([SOLID, *[CLICK] * 9], None),
        ([EXCHANGED, *[CLICK] * 9], None),
    ],
)
def test_corners_that_are_something_else_are_refused(voc, boxes, refused):
    xml = voc.xml(*(voc.object("cat", x0, y0 + n, x1, y1 + n) for n, (x0, y0, x1, y1) in enumerate(boxes)))
    spec = voc.write(trainval={"a": xml}, test={"a": xml})
    if refused:
        with pytest.raises(DataError, match=refused):
            open_dataset(spec, Path())
    else:
        solid = sum(box in (SOLID, EXCHANGED) for box in boxes)
        assert len(open_dataset(spec, Path()).evaluation.boxes) == solid


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ('<?xml version="1.0" encoding="utf-16"?>', r"a\.xml declares the encoding 'utf-16', and is not in it"),
        ("<?xml version='1.0' encoding='UTF-16LE'?>", r"a\.xml declares the encoding 'UTF-16LE', and is not in it"),
        ("<!DOCTYPE html>", r"a\.xml is a web page"),
        ('<?xml version="1.0"?>\n<!doctype HTML>', r"a\.xml is a web page"),
        ("\n<html lang='en'>", r"a\.xml is a web page"),
        ('<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "x">', r"a\.xml is a web page"),
    ],
)
def test_what_is_no_annotation_by_its_first_line_is_told_as_such(voc, start, problem):
    xml = start + voc.xml(voc.object("cat", 1, 1, 5, 5))
    with pytest.raises(DataError, match=problem):
        open_dataset(voc.write(trainval={"a": xml}, test={"a": xml}), Path())
