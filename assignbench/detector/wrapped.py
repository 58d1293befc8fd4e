"""Which tensors of a checkpoint are meant, and their names without what a training has wrapped around them.

A file may hold the weights twice, as they were trained and averaged over the iterations (EMA). Such a training
evaluates and publishes the averaged ones, so these are taken. mmengine alone writes them the other way round: when it
saves, it puts the averaged weights into ``state_dict`` and the trained ones into ``ema_state_dict``, so there
``state_dict`` is taken. Whatever was chosen or left out of names is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

TRAINED = ("state_dict", "model", "model_state_dict", "blobs")  # of several the first
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
WRAPPERS = ("module.", "model.", "detector.")  # of DataParallel and Accelerate, of Lightning and others
AVERAGING = ("ema_model.", "model_ema.", "ema.")
COMPILED = "_orig_mod."  # torch.compile's, wherever it stands
COUNTERS = frozenset({"n_averaged", "steps", "num_updates", "updates", "decay"})  # beside averaged weights

Value = TypeVar("Value")


class AmbiguousNamesError(ValueError):
    """Two tensors would have one name."""


def weights_of(content: Mapping[Any, Any], leaf: type | tuple[type, ...]) -> tuple[Mapping[Any, Any], tuple[str, ...]]:
    """The dictionary of tensors in a checkpoint's content, and what is to be said of the choice.

    Args:
        content: what the file holds.
        leaf: types of a tensor.

    Returns:
        The content itself where no key is known to hold the weights.
    """
    found = {
        key: state for key in (*TRAINED, *AVERAGED) if (state := _tensors_below(content.get(key), leaf)) is not None
    }
    if not found:
        empty = (content[key] for key in TRAINED if isinstance(content.get(key), Mapping))
        return next(empty, content), ()
    trained, averaged = ([key for key in keys if key in found] for keys in (TRAINED, AVERAGED))
    meta = content.get("meta")
    swapped = isinstance(meta, Mapping) and "mmengine_version" in meta and averaged == ["ema_state_dict"] and trained
    chosen = trained[0] if swapped or not averaged else averaged[0]
    others = [key for key in found if key != chosen]
    if not others:
        return found[chosen], (() if trained else (f"the weights are averaged ones ({chosen})",))
    why = "averaged over the training" if swapped or averaged else "the first of them"
    by = ", by mmengine, which swaps them in ema_state_dict" if swapped else ""
    return found[chosen], (f"taken are the weights of {chosen}, {why}{by}; left aside: {', '.join(others)}",)


def unwrapped(tensors: Mapping[str, Value]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The tensors by the names of the network itself, and what was left out of the names.

    A prefix goes where all names have it. Of a file whose names all begin with one of `WRAPPERS` or one of `AVERAGING`,
    the same names behind both, the averaged ones are taken.

    Raises:
        AmbiguousNamesError: two tensors would have one name.
    """
    said: list[str] = []
    names = {name: name.replace(COMPILED, "") for name in tensors}
    if len(set(names.values())) < len(names):
        raise AmbiguousNamesError(f"names that differ only by {COMPILED}")
    removed = [COMPILED] if any(name != plain for name, plain in names.items()) else []
    state = {names[name]: tensor for name, tensor in tensors.items()}
    while True:
        counted = {name: value for name, value in state.items() if name not in COUNTERS}
        if (prefix := _shared(counted)) is not None:
            state = {name.removeprefix(prefix): value for name, value in counted.items()}
            removed.append(prefix)
        elif (pair := _both(counted)) is not None:
            prefix, other = pair
            state = {name.removeprefix(prefix): value for name, value in counted.items() if name.startswith(prefix)}
            said.append(f"taken are the averaged weights, of names with {prefix}; left aside: those with {other}")
        else:
            break
    if removed:
        said.insert(0, f"left out of all names: {' '.join(dict.fromkeys(removed))}")
    return state, tuple(said)


def _tensors_below(value: object, leaf: type | tuple[type, ...]) -> Mapping[Any, Any] | None:
    """The dictionary that holds tensors: ``value``, or what it wraps; None: there is none."""
    for _ in range(3):
        if not isinstance(value, Mapping):
            return None
        if any(isinstance(each, leaf) for name, each in value.items() if name not in COUNTERS):
            return value
        inner = [value[key] for key in (*TRAINED, "module", *AVERAGED) if isinstance(value.get(key), Mapping)]
        value = inner[0] if inner else None
    return None


def _shared(names: Iterable[str]) -> str | None:
    """The prefix that all names have, and something behind it."""
    every = list(names)
    fitting = (prefix for prefix in (*WRAPPERS, *AVERAGING) if all(name.startswith(prefix) for name in every))
    prefix = next(fitting, None) if every else None
    return prefix if prefix is not None and all(len(name) > len(prefix) for name in every) else None


def _both(names: Iterable[str]) -> tuple[str, str] | None:
    """The prefixes of averaged and trained weights, where every name has one of the two, and each is there twice."""
    every = set(names)
    for averaged in AVERAGING:
        for trained in WRAPPERS:
            behind = [
                {name.removeprefix(prefix) for name in every if name.startswith(prefix)}
                for prefix in (averaged, trained)
            ]
            if behind[0] and behind[0] == behind[1] and 2 * len(behind[0]) == len(every):
                return averaged, trained
    return None
