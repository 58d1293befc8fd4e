"""From a recipe to the rule of post-processing."""

from dataclasses import fields

from assignbench.detector.postprocess import PostprocessRule
from assignbench.recipe import EvaluateSettings
from assignbench.run.scoring.detect import rule_of


def test_the_rule_is_what_a_recipe_can_say() -> None:
    settings = EvaluateSettings(
        score="product",
        score_threshold=0.1,
        threshold_on="output",
        candidates=7,
        candidates_of="location",
        rank_by="class",
        candidates_per_location=True,
        clip=False,
        nms=0.5,
        detections=3,
        voting=0.1,
    )
    rule = rule_of(settings)
    assert rule == PostprocessRule("product", 0.1, "output", 7, "location", "class", True, False, 0.5, 3, 0.1)
    # both have the same defaults
    assert rule_of(EvaluateSettings()) == PostprocessRule()
    others = {"batch", "evaluator"}
    assert {entry.name for entry in fields(PostprocessRule)} == set(EvaluateSettings.model_fields) - others
