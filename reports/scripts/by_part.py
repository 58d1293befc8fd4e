"""AP of two strategies by the size of objects, by class, and by what else is where they are.

    python reports/scripts/by_part.py ANNOTATIONS.json 0,16,32,inf RUNS… --baseline LABEL --other LABEL

RUNS are folders of finished runs that were evaluated on ANNOTATIONS (COCO's format). Differences are paired by seed,
± half the 95 % interval over seeds, on exactly these pictures, as ``assignbench compare --about set --spread own``.

Size is sqrt(area) in pixels of the stored pictures. Objects outside a range, and detections of such sizes that meet no
object, are ignored, as COCO's own APs, APm and APl have it. Alone, touched, hidden: no other box meets the object's;
one does; its box centre lies inside the box of an object in front of it. For these, objects of the other groups are
ignored and every detection that meets no object counts. What is in front is known of `shapes` only, whose annotations
run from back to front.
"""

import argparse
import contextlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from assignbench.comparison.twolevel import Runs, difference
from assignbench.run.results.record import FILE, read_record

Range = tuple[float, float]
PLACES = ("alone", "touched", "hidden")


def place_of(truth: COCO) -> dict[int, int]:
    """Id of an object → index into `PLACES`."""
    found = {}
    for image in truth.imgs:
        own = [one for one in truth.imgToAnns[image] if not one["iscrowd"]]
        boxes = np.array([one["bbox"] for one in own]).reshape(-1, 4)
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        centre = (low + high) / 2
        meets = ((low[:, None] < high) & (low < high[:, None])).all(axis=2) & ~np.eye(len(own), dtype=bool)
        covers = ((low < centre[:, None]) & (centre[:, None] < high)).all(axis=2)  # [whose centre, whose box]
        hidden = np.triu(covers, 1).any(axis=1)  # by a later one, which is in front
        found |= {one["id"]: int(place) for one, place in zip(own, np.where(hidden, 2, meets.any(axis=1)), strict=True)}
    return found


def parts_of(truth: COCO, ranges: Sequence[Range], place: Mapping[int, int]) -> dict[str, int]:
    """Part → its number of objects: of all, of each range of sizes, of each place, of each class."""
    objects = [one for one in truth.anns.values() if not one["iscrowd"]]
    sizes = np.sqrt([one["area"] for one in objects])
    places, labels = [*place.values()], [one["category_id"] for one in objects]
    found = {"all": len(objects)}
    for least, most in ranges:
        name = f"{least:g} to {most:g}" if np.isfinite(most) else f"from {least:g}"
        found[name] = int(((sizes >= least) & (sizes < most)).sum())
    found |= {name: places.count(number) for number, name in enumerate(PLACES)}
    return found | {one["name"]: labels.count(number) for number, one in sorted(truth.cats.items())}


def precision_of(truth: COCO, detections: COCO, areas: Sequence[Range]) -> NDArray[np.float64]:
    """COCO's precision ``[IoU, recall, class, range]`` with 100 detections a picture; −1: a class has no object."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by print
        evaluator = COCOeval(truth, detections, "bbox")
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [*areas], [*map(str, areas)]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval["precision"][..., -1]


def ap_by_part(truth: COCO, file: Path, ranges: Sequence[Range], places: Mapping[int, int]) -> list[float]:
    """AP in percent points of the parts, in the order of `parts_of`."""
    with contextlib.redirect_stdout(io.StringIO()):
        detections = truth.loadRes(str(file))
    areas = [(least**2, min(most, 1e5) ** 2) for least, most in [(0.0, np.inf), *ranges]]
    by_size = precision_of(truth, detections, areas)

    true_areas = {number: one["area"] for number, one in truth.anns.items()}
    by_place = []
    for place in range(len(PLACES)):  # a place stands in for the area, and every detection is in the range asked for
        for number, one in truth.anns.items():
            one["area"] = places.get(number, -1)
        for one in detections.anns.values():
            one["area"] = place
        by_place.append(precision_of(truth, detections, [(place, place)])[..., 0])
    for number, one in truth.anns.items():
        one["area"] = true_areas[number]

    parts = [*np.moveaxis(by_size, 3, 0), *by_place, *np.moveaxis(by_size[..., 0], 2, 0)]
    return [100 * part[part > -1].mean() for part in parts]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("edges")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--baseline", required=True)
    parser.add_argument("--other", required=True)
    given = parser.parse_args()

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(given.annotations))
    ranges = [*pairwise(map(float, given.edges.split(",")))]
    places = place_of(truth)
    found: dict[str, dict[int, list[float]]] = defaultdict(dict)  # label → seed → AP of each part
    for folder in given.runs:
        record = read_record(folder / FILE)
        if record.assigner.label in (given.baseline, given.other):
            found[record.assigner.label][record.seed] = ap_by_part(truth, folder / "detections.json", ranges, places)

    print(f"| part | objects | {given.baseline} | {given.other} | difference |\n| --- | --- | --- | --- | --- |")
    for number, (name, objects) in enumerate(parts_of(truth, ranges, places).items()):
        old, new = (
            {seed: aps[number] for seed, aps in found[label].items()} for label in (given.baseline, given.other)
        )
        both = difference(Runs(new), Runs(old), "set")
        if both is None:
            raise SystemExit("two seeds of either strategy are needed")
        mean = [np.mean([values[seed] for seed in both.seeds]) for values in (old, new)]
        half = "" if both.half is None else f" ± {both.half:.1f}"  # equal in every seed: nothing is known of its error
        print(f"| {name} | {objects} | {mean[0]:.1f} | {mean[1]:.1f} | {both.mean:+.1f}{half} |")


if __name__ == "__main__":
    main()
