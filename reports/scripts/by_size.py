"""AP of two strategies by the size of objects: sqrt(area), pixels of the stored pictures.

    python reports/scripts/by_size.py ANNOTATIONS.json 0,16,32,inf RUNS… --baseline LABEL --other LABEL

RUNS are folders of finished runs that were evaluated on ANNOTATIONS (COCO's format). Differences are paired by seed,
± half the 95 % interval, as in ``assignbench compare``. Objects outside a range, and detections of such sizes that meet
no object, are ignored, as COCO's own APs, APm and APl have it.
"""

import argparse
import contextlib
import io
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from assignbench.compare.paired import paired
from assignbench.run.record import FILE, read_record

Range = tuple[float, float]


def ap_by_size(truth: COCO, detections: Path, ranges: list[Range]) -> list[float]:
    """AP in percent points for each range of sizes."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by print
        evaluator = COCOeval(truth, truth.loadRes(str(detections)), "bbox")
        evaluator.params.areaRng = [[least**2, most**2] for least, most in ranges]
        evaluator.params.areaRngLbl = [str(one) for one in ranges]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][..., -1]  # [IoU, recall, class, range] with 100 detections
    return [100 * part[part > -1].mean() for part in np.moveaxis(precision, 3, 0)]


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
    edges = [min(float(edge), 1e5) for edge in given.edges.split(",")]
    ranges = [(0.0, 1e5), *pairwise(edges)]
    found: dict[str, dict[int, list[float]]] = defaultdict(dict)  # label → seed → AP of each range
    for folder in given.runs:
        record = read_record(folder / FILE)
        found[record.assigner.label][record.seed] = ap_by_size(truth, folder / "detections.json", ranges)

    sizes = np.sqrt([one["area"] for one in truth.anns.values() if not one["iscrowd"]])
    print(f"| size | objects | {given.baseline} | {given.other} | difference |\n| --- | --- | --- | --- | --- |")
    for number, (least, most) in enumerate(ranges):
        old, new = (
            {seed: aps[number] for seed, aps in found[label].items()} for label in (given.baseline, given.other)
        )
        both = paired(new, old)
        if both is None or both.half is None:
            raise SystemExit("two seeds of either strategy are needed")
        objects = ((sizes >= least) & (sizes < most)).sum()
        mean = [np.mean([values[seed] for seed in both.seeds]) for values in (old, new)]
        name = "all" if not number else f"{least:g} to {most:g}" if most < 1e5 else f"from {least:g}"
        print(f"| {name} | {objects} | {mean[0]:.1f} | {mean[1]:.1f} | {both.mean:+.1f} ± {both.half:.1f} |")


if __name__ == "__main__":
    main()
