"""What a training wraps around weights: unwrapped where it is plain, said, and never guessed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from assignbench.detector.pickles import read_checkpoint
from assignbench.detector.pretrained import state_dict
from assignbench.detector.wrapped import unwrapped, weights_of
from assignbench.errors import AssignbenchWarning, DataError


def net(value: float, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": torch.full((2,), value) for name in ("conv1.weight", "layer1.bias")}


def read(path: Path, content: Any) -> tuple[dict[str, float], tuple[str, ...]]:
    """Name → the number its tensor is full of, and the notes."""
    torch.save(content, path)  # noqa: TID251 - what others do
    found = read_checkpoint(path)
    return {name: float(tensor[0]) for name, tensor in found.tensors.items()}, found.notes


PLAIN = {"conv1.weight": 1.0, "layer1.bias": 1.0}


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("", ()),
        ("module.", ("left out of all names: module.",)),
        ("model.", ("left out of all names: model.",)),
        ("detector.", ("left out of all names: detector.",)),
        ("_orig_mod.", ("left out of all names: _orig_mod.",)),
        ("module._orig_mod.", ("left out of all names: _orig_mod. module.",)),
        ("_orig_mod.module.", ("left out of all names: _orig_mod. module.",)),
        ("model.detector.", ("left out of all names: model. detector.",)),
        ("ema_model.module.", ("left out of all names: ema_model. module.",)),
    ],
)
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_a_prefix_of_all_names_is_left_out_and_that_is_said(tmp_path, prefix, said, form):
    if form == "pth":
        assert read(tmp_path / "a.pth", {"state_dict": net(1, prefix)}) == (PLAIN, said)
    else:
        save_file(net(1, prefix), tmp_path / "a.safetensors")
        found = read_checkpoint(tmp_path / "a.safetensors")
        assert (found.tensors.keys(), found.notes) == (PLAIN.keys(), said)


def test_a_compiled_part_is_unwrapped_where_it_stands(tmp_path):
    found, said = read(tmp_path / "a.pth", {"backbone._orig_mod.a": torch.ones(1), "head.b": torch.ones(1)})
    assert (found.keys(), said) == ({"backbone.a", "head.b"}, ("left out of all names: _orig_mod.",))


def test_what_not_all_names_have_stays(tmp_path):
    some = {**net(1, "model."), "criterion.weight": torch.ones(1)}
    assert read(tmp_path / "a.pth", some) == ({**{f"model.{name}": 1.0 for name in PLAIN}, "criterion.weight": 1.0}, ())
    assert unwrapped({"model.": 1, "model.a": 2}) == ({"model.": 1, "model.a": 2}, ())


def test_two_names_that_would_be_one_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.pth is not a checkpoint .*: names that differ only by _orig_mod\."):
        read(tmp_path / "a.pth", {"a.b": torch.ones(1), "a._orig_mod.b": torch.ones(1)})


@pytest.mark.parametrize(
    ("trained", "averaged", "said"),
    [
        ("state_dict", "state_dict_ema", "of state_dict_ema, averaged over the training; left aside: state_dict"),
        ("model", "model_ema", "of model_ema, averaged over the training; left aside: model"),
        ("state_dict", "ema_state_dict", "of ema_state_dict, averaged over the training; left aside: state_dict"),
        ("model_state_dict", "ema", "of ema, averaged over the training; left aside: model_state_dict"),
    ],
)
def test_of_trained_and_averaged_weights_the_averaged_are_taken(tmp_path, trained, averaged, said):
    content = {trained: net(2), averaged: net(1), "epoch": 3, "optimizer": {"state": {}}}
    assert read(tmp_path / "a.pth", content) == (PLAIN, (f"taken are the weights {said}",))
    turned = {averaged: net(1), trained: net(2)}
    assert read(tmp_path / "b.pth", turned)[0] == PLAIN


def test_mmengine_saves_the_averaged_weights_as_the_state_dict(tmp_path):
    content = {
        "state_dict": net(1),
        "ema_state_dict": {**net(2, "module."), "steps": torch.tensor([3])},
        "meta": {"mmengine_version": "0.10.0"},
    }
    found, (said,) = read(tmp_path / "a.pth", content)
    assert found == PLAIN
    assert said.startswith("taken are the weights of state_dict, averaged over the training, by mmengine")


def test_averaged_weights_alone_are_said_to_be_averaged(tmp_path):
    nested = {"ema": {"module": net(1), "decay": 0.9}}
    assert read(tmp_path / "a.pth", nested) == (PLAIN, ("the weights are averaged ones (ema)",))
    counted = {"model_ema": {"n_averaged": torch.tensor([3]), **net(1, "module.")}}
    found, said = read(tmp_path / "b.pth", counted)
    assert found == PLAIN
    assert said == ("the weights are averaged ones (model_ema)", "left out of all names: module.")


def test_both_in_one_state_dict(tmp_path):
    both = {**net(2, "model."), **net(1, "ema_model.")}
    said = "taken are the averaged weights, of names with ema_model.; left aside: those with model."
    assert read(tmp_path / "a.pth", {"state_dict": both}) == (PLAIN, (said,))
    del both["ema_model.layer1.bias"]  # not the same names: nothing is guessed
    assert read(tmp_path / "b.pth", {"state_dict": both})[0].keys() == both.keys()


def test_of_two_trained_ones_the_first_is_taken_and_said(tmp_path):
    found, said = read(tmp_path / "a.pth", {"model": net(2), "state_dict": net(1)})
    assert (found, said) == (PLAIN, ("taken are the weights of state_dict, the first of them; left aside: model",))


def test_a_key_without_tensors_is_no_candidate(tmp_path):
    assert read(tmp_path / "a.pth", {"model": {"name": "atss"}, "state_dict": net(1)}) == (PLAIN, ())
    with pytest.raises(DataError, match="no tensors by name"):
        read(tmp_path / "b.pth", {"state_dict": {}, "epoch": 3})


def test_a_recipe_s_weights_say_what_was_done_to_them(tmp_path):
    torch.save({"state_dict": net(1, "module.")}, tmp_path / "a.pth")  # noqa: TID251 - what others do
    with pytest.warns(AssignbenchWarning, match=r"a\.pth: left out of all names: module\."):
        found = state_dict("resnet50", str(tmp_path / "a.pth"), None)
    assert found.keys() == PLAIN.keys()


PARTS = st.lists(
    st.sampled_from(["module", "model", "detector", "_orig_mod", "ema", "a", "b", ""]), min_size=1, max_size=5
)


@given(st.dictionaries(PARTS.map(".".join), st.integers(), max_size=6))
def test_no_tensor_is_lost_but_those_that_are_said_to_be(tensors):
    try:
        found, said = unwrapped(tensors)
    except ValueError:
        return
    if not any("left aside" in note for note in said):
        assert sorted(found.values()) == sorted(tensors.values())
    assert unwrapped(found)[0] == found  # nothing more to take off
    assert weights_of({"state_dict": tensors}, int)[0] == tensors
