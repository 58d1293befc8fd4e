"""What surrounds a strategy under each protocol, and what is said when there is no such thing."""

import pytest

from assignbench.config import load_recipe
from assignbench.core import Head
from assignbench.core.parts import Centerness, Deltas, Focal, GIoU, ImplicitObjectness, PairLoss, Preset, point_head
from assignbench.errors import UsageError
from assignbench.run.matrix.plan import candidate
from assignbench.run.matrix.protocol import CONTROLLED, protocol_of
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.plain import Plain


def test_controlled_is_the_same_for_all() -> None:
    assert protocol_of(ATSS, "controlled") is CONTROLLED
    assert PairLoss(Focal(0.25, 0.75, gamma=2.0), box=GIoU(weight=5.0), weight=0.25) == CONTROLLED.loss
    assert CONTROLLED.head(point_head(Centerness(), box_bias=4.0)) == Head(extras=(Centerness(),))
    assert CONTROLLED.options({"k": 3}) == {"k": 3}
    recipe = load_recipe("1x")
    assert CONTROLLED.recipe(recipe) is recipe


def test_published_takes_the_first_preset_unless_one_is_named() -> None:
    first, named = protocol_of(ATSS, "published"), protocol_of(ATSS, "published", "official")
    assert (first.name, first.preset_name, named.preset_name) == ("published", "mmdet", "official")
    assert first.preset is ATSS.presets["mmdet"]
    assert first.loss == ATSS.presets["mmdet"].loss
    assert first.recipe(load_recipe("1x")).origins["model.pyramid"] == "preset mmdet"


def test_given_options_go_before_the_presets() -> None:
    protocol = protocol_of(ATSS, "published")
    assert protocol.options({}) == {"reference": True, "normaliser": "image"}
    assert protocol.options({"normaliser": "batch", "k": 3}) == {"reference": True, "normaliser": "batch", "k": 3}
    one = candidate("atss[normaliser=batch]", "published")
    assert one.options == {"reference": True, "normaliser": "batch"}
    assert one.all_options == {
        "k": 9,
        "reference": True,
        "normaliser": "batch",
        "centerness": True,
        "refine": False,
        "at_least_one": False,
    }


def test_an_option_that_drops_an_extra_drops_it_from_the_presets_head() -> None:
    protocol = protocol_of(AutoAssign, "published")
    head = protocol.head(Head())
    assert head.extras == ()
    assert (head.offset, head.box_bias) == (0.0, 4.0)
    assert protocol.head(Head(extras=(ImplicitObjectness(),))) == AutoAssign.presets["mmdet"].head


@pytest.mark.parametrize(
    ("cls", "protocol", "preset", "message"),
    [
        (ATSS, "publishd", None, "no protocol is called 'publishd'; did you mean published?\nknown: controlled, publ"),
        (ATSS, "controlled", "mmdet", "preset 'mmdet' is for --protocol published; the controlled protocol has none"),
        (ATSS, "published", "oficial", "ATSS has no preset 'oficial'; did you mean official?\nit has: mmdet, official"),
        (Plain, "published", None, "Plain declares no published preset; it runs under --protocol controlled only"),
        (Plain, "published", "mmdet", "Plain declares no published preset"),
    ],
)
def test_what_is_wrong_is_said(cls: type, protocol: str, preset: str | None, message: str) -> None:
    with pytest.raises(UsageError) as error:
        protocol_of(cls, protocol, preset)
    assert message in str(error.value)


def test_a_preset_of_ones_own_is_plain_data() -> None:
    mine = Preset(source="mine", head=Head(coding=Deltas()), loss=PairLoss(), recipe={"evaluate.nms": 0.4})
    strategy = type("Mine", (Plain,), {"presets": {"mine": mine}})
    recipe = protocol_of(strategy, "published").recipe(load_recipe("tiny"))
    assert recipe.recipe.evaluate.nms == 0.4
    assert recipe.origins["evaluate.nms"] == "preset mine"
    assert (mine.padding_is_background, mine.crowd_is_background) == (False, True)
