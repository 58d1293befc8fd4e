"""POTO and OTA against the losses of their authors' code."""

from pathlib import Path

import torch

from assignbench.golden.losses import assigned_objects, run
from assignbench.golden.reference import origin_of
from assignbench.golden.vectors import find, read_tensors, targets_of
from assignbench.golden.verify import installed, replay

CPU = torch.device("cpu")
CASES = ("all_empty", "crowded", "one_empty", "overlap", "typical")


def test_poto_puts_orphans_where_the_authors_solver_ends(shared: Path) -> None:
    (vectors,) = (one for one in find(shared) if (one.strategy, one.kind, one.case) == ("poto", "losses", "tiny"))
    assert sum(int(read_tensors(vectors.path, CPU)[f"orphan.{image}"].sum()) for image in range(2)) == 3
    checks, _ = replay(vectors, shared, installed("poto", "mmdet"), CPU)
    assert [check for check in checks if not check.passed] == []


def test_ota_gives_objects_with_candidates_what_the_authors_code_gives_them(shared: Path) -> None:
    """In `tiny` rounding beside 1e6 decides what others take there: the file says so and is not replayed."""
    (vectors,) = (one for one in find(shared) if (one.strategy, one.kind, one.case) == ("ota", "losses", "tiny"))
    assert "rounds beside 1e6" in (origin_of("ota").why_missing("losses", "tiny") or "")
    file, subject = read_tensors(vectors.path, CPU), installed("ota", "mmdet")
    targets = targets_of([file[f"boxes.{i}"] for i in range(2)], [file[f"labels.{i}"] for i in range(2)])
    own = run(file, subject.cls, subject.options, subject.protocol, origin_of("ota"), targets).assignment
    orphans = 0
    for image in range(2):
        ours = assigned_objects(own, targets, image, 0, file[f"assigned.{image}"])
        theirs, orphan = file[f"assigned.{image}"], file[f"orphan.{image}"].bool()
        forced = (theirs >= 0) & orphan[theirs.clamp(min=0)]
        assert torch.equal(ours[~forced], theirs[~forced])
        assert not bool(orphan[ours[ours >= 0]].any())
        orphans += int(forced.sum())
    assert orphans >= 6
