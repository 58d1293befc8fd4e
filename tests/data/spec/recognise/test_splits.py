import pytest

from assignbench.data.spec.recognise.splits import Found, choose, role_of


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *(
            (name, "train")
            for name in ("train", "Training", "train2017", "instances_train", "TRAIN_01", "obj_train_data")
        ),
        *(
            (name, "val")
            for name in ("val", "valid", "Validation", "dev", "val2017", "instances_valid", "ValidationSet")
        ),
        *((name, "test") for name in ("test", "Testing", "test-dev2017", "testset")),
        *((name, "trainval") for name in ("trainval", "TrainVal", "train+val", "train_val_2007")),
        *(
            (name, None)
            for name in ("default", "trains", "latest", "contest", "constrained", "devkit", "", "train_test")
        ),
    ],
)
def test_roles(name, role):
    assert role_of(name) == role


def chosen(*names):
    answer = choose([Found(name, role_of(name), name) for name in names], "lists")
    if isinstance(answer, str):
        return answer
    return (answer.train.name, answer.evaluation and answer.evaluation.name, *answer.remarks)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "val"], ("train", "val")),
        (["test", "train"], ("train", "test")),
        (["train", "val", "test"], ("train", "val", "not used: test")),
        (["train", "val", "test1", "test2"], ("train", "val", "not used: test1, test2")),
        (["trainval", "test"], ("trainval", "test")),
        (["train", "trainval", "val", "test"], ("trainval", "test")),
        (["train", "trainval", "val"], ("train", "val", "not used: trainval")),
        (["train", "other"], ("train", None, "not used: other")),
        (["default"], ("default", None)),
        (["a", "b"], "the names of several lists do not say which is for training: a, b"),
        (["val"], "there is val to evaluate on, and nothing to train on"),
        (["train1", "train2"], "several lists could be the train split: train1, train2"),
    ],
)
def test_choices(names, expected):
    assert chosen(*names) == expected
