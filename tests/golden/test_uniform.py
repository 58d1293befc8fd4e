"""Uniform matching learns boxes as often as mmdetection's YOLOF does; its losses are in test_verify."""

from pathlib import Path

import torch

from assignbench.core import PairViews, assign
from assignbench.golden.losses import head_of
from assignbench.golden.reference import origin_of
from assignbench.golden.vectors import find, predictions_from, priors_of, read_tensors, targets_of
from assignbench.golden.verify import installed

CPU = torch.device("cpu")


def test_boxes_are_learned_as_often_as_the_reference_matched_them(shared: Path) -> None:
    subject = installed("yolof", "mmdet")
    for one in find(shared):
        if one.strategy != "yolof":
            continue
        file = read_tensors(one.path, CPU)
        assigner, head = head_of(file, subject.cls, subject.options, subject.protocol)
        priors = priors_of(file, head)
        targets = targets_of([file["boxes.0"], file["boxes.1"]], [file["labels.0"], file["labels.1"]])
        predictions = predictions_from(file.tensors, head, priors, 6, file, origin_of("yolof"))
        record = assign(assigner, PairViews(predictions, priors, targets, head.coding, subject.protocol.loss))
        for image in range(2):
            mine = targets.image[record.pairs.object] == image
            assert record.pairs.box_weight[mine].sum() == file[f"pair_kept.{image}"].sum()
