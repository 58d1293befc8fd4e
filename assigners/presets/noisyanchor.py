"""NoisyAnchor as its authors published it: ``official`` (what the golden vectors prove)."""

from assignbench.core.parts import Focal, PairLoss, Preset, SmoothL1, anchor_head

PRESETS = {
    "official": Preset(
        source="henrylee2570/NoisyAnchor, RetinaNet R50 1x, under the recipe's batch, rate and sizes; not what depends "
        "on other images: a running average as normaliser, and sums of losses kept over the batch",
        head=anchor_head(outer="octave"),
        loss=PairLoss(Focal(0.5, 0.5), weight=0.5, box=SmoothL1(weight=2.0, beta=0.1)),  # α·λ = 1
        options={"normaliser": "local"},
        recipe={
            "model.style": "caffe",
            "model.pixels": "caffe",
            "model.pyramid": "c5_relu",
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.5,
        },
        schedule={"model.weights": "msra", "train.warmup": 1000},
        padding_is_background=True,
    ),
}
