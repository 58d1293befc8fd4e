"""The tensors of another toolbox's checkpoint → the state dict of a learner.

Names come from `assignbench.detector.names`. Weights are taken as they are, but for what a toolbox's entry says
of it: a background class, ids with gaps, a batch norm without ε.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from assignbench.detector.names import BOX_OUTPUT, CLASS_OUTPUT, SCALE, TOOLBOXES, Dictionary, Names, Toolbox
from assignbench.errors import UsageError

LEVELS = range(5)
LISTED = 20  # keys of a kind that an error spells out
EPSILON = 1e-5  # of our batch norms
COUNTER = ".num_batches_tracked"  # of batch norms in training; nothing that is computed depends on it

COCO_OUTPUTS = 91  # background and ids 1 … 90
COCO_GAPS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})  # ids that none of the 80 categories has


def class_count(tensors: Mapping[str, Tensor], toolbox: Toolbox, priors_per_cell: int) -> int:
    """Number of classes that a checkpoint's head tells apart, background not counted.

    Raises:
        UsageError: there is no class output under the toolbox's names, or it is not for that many priors.
    """
    dictionary = TOOLBOXES[toolbox]
    key = class_output(tensors, dictionary)
    if key is None:
        others = [name for name, other in TOOLBOXES.items() if class_output(tensors, other)]
        hint = f"its names are {others[0]}'s" if others else f"it has, e.g., {', '.join(sorted(tensors)[:3])}"
        names = " or ".join(f"{name}.weight" for name in dictionary.shared[CLASS_OUTPUT])
        raise UsageError(f"the checkpoint has no {names}, {toolbox}'s class output\n{hint}")
    outputs, rest = divmod(len(tensors[key]), priors_per_cell)
    count = len(foreground(outputs)) if dictionary.background else outputs
    if rest or not count:
        raise UsageError(f"{key} has {len(tensors[key])} rows, not a multiple for {priors_per_cell} priors a cell")
    return count


def import_state(
    tensors: Mapping[str, Tensor], toolbox: Toolbox, wanted: Mapping[str, Sequence[int]]
) -> dict[str, Tensor]:
    """A learner's state dict, of a checkpoint.

    Args:
        tensors: the checkpoint's, by its names.
        toolbox: whose names these are.
        wanted: name → shape of the state dict of a learner that was built for it.

    Returns:
        A tensor of its own for every wanted name, numbers as float32.

    Raises:
        UsageError: keys are missing, left over or misshapen; it lists them by the toolbox's names.
    """
    dictionary = TOOLBOXES[toolbox]
    normed = "detector.head.class_tower.1.weight" in wanted  # without norms, a ReLU is the second layer
    names = dictionary.shared | (dictionary.normed if normed else dictionary.bare)
    priors = wanted[f"{BOX_OUTPUT}.weight"][0] // 4
    state: dict[str, Tensor] = {}
    used: set[str] = set()
    missing, misshapen = [], []
    for name, shape in wanted.items():
        options = theirs(name, names, dictionary.inner)
        keys = next((option for option in options if any(key in tensors for key in option)), None)
        used.update(keys or ())
        if keys is None and name.endswith(COUNTER):
            state[name] = torch.zeros((), dtype=torch.int64)
        elif keys is None and name == SCALE and dictionary.unit_scale:
            state[name] = torch.ones(tuple(shape))
        elif keys is None:
            missing.append(" or ".join(option[0] for option in options) or f"{name} (ours: {toolbox} has none)")
        elif absent := [key for key in keys if key not in tensors]:
            missing += absent
        else:
            value = adapted(name, [tensors[key] for key in keys], dictionary, tensors, priors)
            if value.shape != torch.Size(shape):
                misshapen.append(f"{keys[0]} ({cross(value.shape)}, wanted {cross(shape)})")
            else:
                number = torch.float32 if value.is_floating_point() else value.dtype
                state[name] = value.detach().to(number, copy=True, memory_format=torch.contiguous_format)
    known = (*used, *(key for key in tensors if key.endswith(COUNTER) or key.startswith(dictionary.dropped)))
    unknown = sorted(tensors.keys() - set(known))
    if missing or unknown or misshapen:
        lists = (("missing", missing), ("left over", unknown), ("misshapen", misshapen))
        detail = "\n".join(f"{kind}: {listing(keys)}" for kind, keys in lists if keys)
        raise UsageError(f"the checkpoint does not fit the strategy's network by {toolbox}'s names\n{detail}")
    return state


def theirs(name: str, names: Names, inner: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The alternatives for one of our tensors: the key, or one key for each level."""
    module, rest = name, ""
    while module not in names:
        module, _, last = module.rpartition(".")
        rest = f".{last}{rest}"
        if not module:
            return []
    for ours, other in inner.items():
        rest = rest.replace(f".{ours}.", f".{other}.")
    patterns = [f"{other}{rest}" for other in names[module]]
    return [tuple(dict.fromkeys(pattern.format(level=level) for level in LEVELS)) for pattern in patterns]


def adapted(
    name: str, values: Sequence[Tensor], dictionary: Dictionary, tensors: Mapping[str, Tensor], priors: int
) -> Tensor:
    """One of our tensors of theirs."""
    if len(values) > 1:  # a number for each level
        return torch.cat([value.reshape(-1) for value in values])
    value = values[0]
    if name.startswith(CLASS_OUTPUT) and dictionary.background and value.ndim and len(value) % priors == 0:
        outputs = len(value) // priors
        return value.unflatten(0, (priors, outputs))[:, foreground(outputs)].flatten(0, 1)
    if name.endswith(".running_var") and dictionary.no_epsilon in tensors:
        return value.double() - EPSILON  # so that our variance + ε is their variance
    return value


def foreground(outputs: int) -> list[int]:
    """Outputs that are classes, where output 0 is the background: of COCO's 91 those of its 80 categories."""
    gaps = COCO_GAPS if outputs == COCO_OUTPUTS else ()
    return [output for output in range(1, outputs) if output not in gaps]


def class_output(tensors: Mapping[str, Tensor], dictionary: Dictionary) -> str | None:
    """Name of the class output's weight in a checkpoint."""
    names = [f"{name}.weight" for name in dictionary.shared[CLASS_OUTPUT]]
    return next((name for name in names if name in tensors and tensors[name].ndim), None)


def cross(shape: Iterable[int]) -> str:
    """``6×256×3×3``."""
    return "×".join(map(str, shape)) or "a number"


def listing(keys: Sequence[str]) -> str:
    """The keys, the first `LISTED` of them spelled out."""
    more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(keys[:LISTED]) + more
