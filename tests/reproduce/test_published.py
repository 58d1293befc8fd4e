import pytest

from assignbench.errors import UsageError
from assignbench.reproduce.published import published


def test_a_row_of_the_paper():
    found = published("2", 4)
    assert (found.dataset, found.split, found.where) == ("COCO", "val2017", "COCO val2017")
    assert found.values == {"AP": 40.5, "AP50": 59.8, "AP75": 43.9, "APs": 23.1, "APm": 44.7, "APl": 52.9}


def test_classes_are_columns_of_their_row():
    values = published("3", 4).values
    assert (values["AP"], values["AP of bear"], values["AP of hot dog"]) == (40.5, 73.6, 35.8)


def test_one_row_on_several_data_sets_has_to_be_named():
    assert published("6", 5, "WiderFace").values["AP"] == 49.5
    assert published("6", 5, "WiderFace").where == "WiderFace, split not stated"
    with pytest.raises(UsageError, match="several data sets"):
        published("6", 5)


def test_a_missing_row_is_said():
    with pytest.raises(UsageError, match=r"no published value of table 2, row 9 in .*published_results\.csv"):
        published("2", 9)
