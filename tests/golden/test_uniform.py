"""Uniform matching learns boxes as often as mmdetection's YOLOF does; its losses are in test_verify."""

from pathlib import Path

import torch

from assignbench.golden.losses import run
from assignbench.golden.reference import origin_of
from assignbench.golden.vectors import find, read_tensors, targets_of
from assignbench.golden.verify import installed

CPU = torch.device("cpu")


def test_boxes_are_learned_as_often_as_the_reference_matched_them(shared: Path) -> None:
    subject = installed("yolof", "mmdet")
    for one in find(shared):
        if one.strategy != "yolof":
            continue
        file = read_tensors(one.path, CPU)
        targets = targets_of([file["boxes.0"], file["boxes.1"]], [file["labels.0"], file["labels.1"]])
        record = run(file, subject.cls, subject.options, subject.protocol, origin_of("yolof"), targets).assignment
        for image in range(2):
            mine = targets.image[record.pairs.object] == image
            assert record.pairs.box_weight[mine].sum() == file[f"pair_kept.{image}"].sum()
