import pytest

from assignbench.data.spec.share import parted, with_share
from assignbench.errors import UsageError


@pytest.mark.parametrize("share", [None, 0.7, 0.001, 0.999])
def test_what_is_put_behind_a_data_set_is_parted_from_it(share):
    assert parted(with_share("coco:/a b", share)) == ("coco:/a b", share)


@pytest.mark.parametrize("share", [0, 1, -1, 7, float("nan")])
def test_no_share_is_refused(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        with_share("coco:/a", share)


def test_two_shares_are_refused():
    with pytest.raises(UsageError, match=r"states how it is divided; leave --share 0\.7 away"):
        with_share("coco:/a?split=0.8", 0.7)
