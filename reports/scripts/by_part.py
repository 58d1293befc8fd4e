"""AP of two strategies by the size of objects, sqrt(area) in pixels of the stored pictures, and by class.

    python reports/scripts/by_part.py ANNOTATIONS.json 0,16,32,inf RUNS… --baseline LABEL --other LABEL

RUNS are folders of finished runs that were evaluated on ANNOTATIONS (COCO's format). Differences are paired by seed,
± half the 95 % interval, as in ``assignbench compare``. Objects outside a range, and detections of such sizes that meet
no object, are ignored, as COCO's own APs, APm and APl have it.
"""

import argparse
import contextlib
import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from assignbench.compare.paired import paired
from assignbench.run.record import FILE, read_record

Range = tuple[float, float]


def parts_of(truth: COCO, ranges: Sequence[Range]) -> dict[str, int]:
    """Part → its number of objects: of all, of each range of sizes, of each class."""
    objects = [one for one in truth.anns.values() if not one["iscrowd"]]
    sizes, labels = (np.array([one[key] for one in objects]) for key in ("area", "category_id"))
    sizes = np.sqrt(sizes)
    found = {"all": len(objects)}
    for least, most in ranges:
        name = f"{least:g} to {most:g}" if np.isfinite(most) else f"from {least:g}"
        found[name] = int(((sizes >= least) & (sizes < most)).sum())
    return found | {one["name"]: int((labels == number).sum()) for number, one in sorted(truth.cats.items())}


def ap_by_part(truth: COCO, detections: Path, ranges: Sequence[Range]) -> list[float]:
    """AP in percent points of the parts, in the order of `parts_of`."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by print
        evaluator = COCOeval(truth, truth.loadRes(str(detections)), "bbox")
        areas = [(least**2, min(most, 1e5) ** 2) for least, most in [(0.0, np.inf), *ranges]]
        evaluator.params.areaRng, evaluator.params.areaRngLbl = areas, [*map(str, areas)]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][..., -1]  # [IoU, recall, class, range] with 100 detections
    parts = [*np.moveaxis(precision, 3, 0), *np.moveaxis(precision[..., 0], 2, 0)]
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
    found: dict[str, dict[int, list[float]]] = defaultdict(dict)  # label → seed → AP of each part
    for folder in given.runs:
        record = read_record(folder / FILE)
        found[record.assigner.label][record.seed] = ap_by_part(truth, folder / "detections.json", ranges)

    print(f"| part | objects | {given.baseline} | {given.other} | difference |\n| --- | --- | --- | --- | --- |")
    for number, (name, objects) in enumerate(parts_of(truth, ranges).items()):
        old, new = (
            {seed: aps[number] for seed, aps in found[label].items()} for label in (given.baseline, given.other)
        )
        both = paired(new, old)
        if both is None or both.half is None:
            raise SystemExit("two seeds of either strategy are needed")
        mean = [np.mean([values[seed] for seed in both.seeds]) for values in (old, new)]
        print(f"| {name} | {objects} | {mean[0]:.1f} | {mean[1]:.1f} | {both.mean:+.1f} ± {both.half:.1f} |")


if __name__ == "__main__":
    main()
