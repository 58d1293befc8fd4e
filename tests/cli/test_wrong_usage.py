"""Wrong command lines: one line in plain English, in which nothing of typer's, click's or pydantic's is left."""

import pytest

from assignbench.suggest import did_you_mean

FOREIGN = ("Value error", "Input should", "Invalid value", "No such", "Usage:", "Missing", "unexpected", "╭", "Try '")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run --strategy atss", "assignbench run has no option --strategy; did you mean --assigner?"),
        ("run --dateset x", "assignbench run has no option --dateset; did you mean --dataset?"),
        ("run --root x", "assignbench run has no option --root; did you mean --data-root?"),
        ("compare --data_root x", "assignbench compare has no option --data_root; did you mean --data-root?"),
        ("compare --zzzz x", "assignbench compare has no option --zzzz; see: assignbench compare --help"),
        ("run --device x", "--device x must be one of auto, cpu, cuda"),
        (
            "data show x --output y --split val",
            "--split val must be one of both, train, evaluation; did you mean evalu",
        ),
        ("plan --pictures a", "--pictures must be a whole number ≥ 2"),
        ("plan --pictures 1", "--pictures must be a whole number ≥ 2"),
        ("run --jobs 0", "--jobs must be a whole number ≥ 1"),
        ("run --share x", "--share must be a number"),
        ("predict a b --threshold 3", "--threshold must be a number ≥ 0 and ≤ 1"),
        ("run x", "assignbench run takes no further argument, and cannot use x; see: assignbench run --help"),
        ("predict", "assignbench predict needs RUN; see: assignbench predict --help"),
        ("predict a", "assignbench predict needs IMAGE | FOLDER; see"),
        ("import a --assigner b --output c.safetensors", "assignbench import needs --from; see"),
        ("run --seeds", "--seeds needs a value behind it"),
        ("run --resume=3", "--resume takes no value"),
        ("rn", "assignbench has no command rn; did you mean run?"),
        ("list strategies", "assignbench list has no command strategies; did you mean assigners?"),
        ("list zzzz", "assignbench list has no command zzzz; it has assigners, datasets, recipes, findings, runs"),
        ("figure 7 runs", "assignbench figure has no command 7; it has assigned, 1, 3, 4, 5, 6"),
        ("figure 2 runs --picture 3", "figure 2 of the paper is a sketch of the method"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, words, message):
    code, out, err = call(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert [phrase for phrase in FOREIGN if phrase in err] == []


@pytest.mark.parametrize("words", [(), ("list",), ("figure",)])
def test_without_a_command_there_is_the_help(call, words):
    code, out, _ = call(*words)
    assert code == 2
    assert "Commands" in out


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("train.learning_rate", ("train.lr", "train.gamma"), "train.lr"),
        ("learning-rate", ("train.lr", "train.gamma"), "train.lr"),
        ("epochs", ("train.iterations", "train.lr"), "train.iterations"),
        ("train.batch_size", ("train.batch", "evaluate.batch"), "train.batch"),
        ("evaluate.batch_size", ("train.batch", "evaluate.batch"), "evaluate.batch"),
        ("pascal_voc", ("coco", "voc"), "voc"),
        ("MSCOCO", ("coco", "voc"), "coco"),
        ("yolox", ("simota", "tal"), "simota"),
        ("topk", ("k", "reference"), "k"),
        ("atsss", ("atss", "fcos"), "atss"),
        ("nothing", ("atss", "fcos"), None),
    ],
)
def test_a_word_that_means_the_same_is_found_as_well_as_one_that_is_spelt_alike(word, known, meant):
    assert did_you_mean(word, known) == ("" if meant is None else f"; did you mean {meant}?")
