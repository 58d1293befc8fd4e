"""Which of the parts of a data set is for training and which for evaluation, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Role = Literal["train", "trainval", "val", "test"]
Part = TypeVar("Part")

SHARE = 0.8  # of a single list: what is taught when nobody says otherwise
_WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    "trainval": "trainval",
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "eval", "evaluation", "minival"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_ENDINGS = re.compile(r"(?<=.)(set|data|images|imgs|labels|list)$")


def role_of(name: str) -> Role | None:
    """What a part is for: ``instances_train2017`` → train, ``Validation`` → val; None where its name does not say."""
    words = re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    roles: set[Role] = {_WORDS[word] for word in (_ENDINGS.sub("", word) for word in words) if word in _WORDS}
    if roles == {"train", "val"}:
        return "trainval"
    if roles == {"test", "val"}:  # test-dev
        return "test"
    return roles.pop() if len(roles) == 1 else None


@dataclass(frozen=True)
class Found(Generic[Part]):
    """A part of a data set: a list, a file of annotations, a folder."""

    name: str  # as messages call it
    role: Role | None
    part: Part


@dataclass(frozen=True)
class Chosen(Generic[Part]):
    """What is taught and what is scored."""

    train: Found[Part]
    evaluation: Found[Part] | None  # None: one list, which is divided
    remarks: tuple[str, ...]


def choose(found: Sequence[Found[Part]], what: str) -> Chosen[Part] | str:
    """Which part is taught and which is scored.

    ``trainval`` with ``test``, else ``train`` with ``val``, else with ``test``; a single part is divided.

    Args:
        found: at least one.
        what: they are, for messages: "annotation files".

    Returns:
        The choice, or why there is none.
    """
    own: dict[Role, Found[Part]] = {}
    for role in ("train", "trainval", "val", "test"):
        these = [one for one in found if one.role == role]
        if len(these) > 1 and not (role == "test" and "val" in own):  # val is taken before test
            return f"several {what} could be the {role} split: {_names(these)}"
        if len(these) == 1:
            own[role] = these[0]
    for train, evaluation in (("trainval", "test"), ("train", "val"), ("train", "test")):
        if train in own and evaluation in own:
            pair = (own[train], own[evaluation])
            # what trainval joins is used with it
            unused = [one for one in found if one not in pair and not (train == "trainval" and one.role)]
            return Chosen(*pair, _unused(unused))
    if (whole := own.get("trainval", own.get("train"))) is not None:
        return Chosen(whole, None, _unused([one for one in found if one != whole]))
    if own:
        return f"there is {_names(list(own.values()))} to evaluate on, and nothing to train on"
    if len(found) == 1:
        return Chosen(found[0], None, ())
    return f"the names of several {what} do not say which is for training: {_names(found)}"


def _unused(found: Sequence[Found[Part]]) -> tuple[str, ...]:
    return (f"not used: {_names(found)}",) if found else ()


def _names(found: Sequence[Found[Part]], most: int = 8) -> str:
    return ", ".join(one.name for one in found[:most]) + ", …" * (len(found) > most)
