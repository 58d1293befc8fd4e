"""How one list of pictures is divided, behind what names the data set: ``coco:DIR?split=0.7``."""

from __future__ import annotations

from assignbench.errors import UsageError

_BETWEEN = "?split="


def with_share(spec: str, share: float | None) -> str:
    """The same pictures, divided otherwise; None: as they are.

    Raises:
        UsageError: the share is not between 0 and 1, or another one is stated already.
    """
    if share is None:
        return spec
    if _BETWEEN in spec:
        raise UsageError(f"data set {spec} states how it is divided; leave --share {share:g} away")
    if not 0 < share < 1:
        raise UsageError(f"--share {share:g} must lie between 0 and 1: it is the share of the pictures that is taught")
    return f"{spec}{_BETWEEN}{share:g}"


def parted(spec: str) -> tuple[str, float | None]:
    """What names the data set, and the share of its pictures that is taught; None: nothing is stated.

    Raises:
        UsageError: the share is no number between 0 and 1.
    """
    whole, between, stated = spec.partition(_BETWEEN)
    if not between:
        return spec, None
    try:
        share = float(stated)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UsageError(f"data set {spec}: split={stated} must be a number between 0 and 1")
    return whole, share
