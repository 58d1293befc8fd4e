import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from assignbench.data.dataset import Dataset, Repair, Splits
from assignbench.run.results.repairs import REPAIRS, write_repairs


def test_every_item_of_every_repair_has_its_line(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    boxes = Repair("box clipped", 2, (), images=np.array([7, 9]), annotations=np.array([70, 90]))
    files = Repair("file left aside", 1, (), details=('a "b", \udc80.jpg',))
    splits = Splits("d", replace(make_dataset(), repairs=(boxes,)), replace(make_dataset(), repairs=(files,)))
    write_repairs(tmp_path, splits)
    with (tmp_path / REPAIRS).open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["split", "repair", "image", "annotation", "detail"],
            ["train", "box clipped", "7", "70", ""],
            ["train", "box clipped", "9", "90", ""],
            ["evaluation", "file left aside", "", "", 'a "b", \\udc80.jpg'],
        ]


def test_nothing_is_written_where_nothing_was_repaired(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    write_repairs(tmp_path, Splits("d", make_dataset(), make_dataset()))
    assert not list(tmp_path.iterdir())
