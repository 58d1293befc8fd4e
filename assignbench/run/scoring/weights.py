"""Published weights in one file that says what they are of: made from another toolbox's checkpoint, then evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from safetensors import SafetensorError, safe_open

from assignbench.config import ResolvedRecipe, flatten, load_recipe, recorded_recipe
from assignbench.data.dataset import Dataset
from assignbench.data.spec.locate import data_root as resolve_data_root
from assignbench.data.spec.locate import open_evaluation
from assignbench.detector.importers import class_count, import_state
from assignbench.detector.names import Toolbox
from assignbench.detector.pickles import Checkpoint, read_checkpoint
from assignbench.detector.pixels import PIXELS
from assignbench.errors import DataError, UsageError
from assignbench.files import make_folder, sha256_of
from assignbench.overwriting import head_of, refuse_inputs, refuse_strangers
from assignbench.run.matrix.plan import Candidate, candidate
from assignbench.run.matrix.protocol import PAPERS_RECIPE
from assignbench.run.scoring.evaluate import Evaluation, check_dataset, evaluate, write_detections
from assignbench.run.scoring.evaluators import check_evaluator
from assignbench.run.scoring.reopen import detect_again
from assignbench.run.scoring.test_time import with_views_in_name, with_views_noted, write_views
from assignbench.run.scoring.views import load_views
from assignbench.run.training.checkpoint import load_tensors, require_finite, save_tensors
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.learner import bare_learner
from assignbench.run.training.processes import main_process
from assignbench.trust import remember, require_known

PRESETS: Mapping[Toolbox, str] = {"mmdet": "mmdet", "torchvision": "torchvision", "detectron2": "official"}
KEY = "assignbench"  # of the safetensors metadata that holds the facts


@dataclass(frozen=True)
class WeightsFacts:
    """What a file of weights says about itself."""

    strategy: str  # resolves to the strategy, with its options
    preset: str
    classes: int
    class_names: tuple[str, ...] | None  # in the order of the labels; None: the checkpoint did not say
    recipe: Mapping[str, object]  # every setting, as the preset makes it
    toolbox: str
    checkpoint: str  # name of the file it was made from
    checkpoint_sha256: str


def import_checkpoint(
    path: Path,
    toolbox: Toolbox,
    strategy: str,
    output: Path,
    *,
    preset: str | None = None,
    overrides: Sequence[str] = (),
) -> tuple[WeightsFacts, tuple[str, ...]]:
    """Turn a checkpoint of another toolbox into a file of weights.

    Args:
        path: the checkpoint; it is read without running anything.
        toolbox: whose names it has.
        strategy: which strategy's detector it is.
        output: the file to write, ``.safetensors``.
        preset: of the strategy; None: the toolbox's own.
        overrides: ``--set`` of the recipe, as ``model.backbone=resnet101``.

    Returns:
        What was written, and what is to be said of it.

    Raises:
        UsageError: the names do not fit the detector, the checkpoint says that it is another one, or ``output`` exists.
        DataError: the file is damaged, or would run code when opened by others.
    """
    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: the name must end in .safetensors")
    if output.exists():
        raise UsageError(f"{output} exists already; remove it or choose another name")
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {path}")
    one = candidate(strategy, "published", preset or PRESETS[toolbox])
    remember(strategy)
    recipe = one.protocol.recipe(load_recipe(PAPERS_RECIPE, overrides))
    checkpoint = read_checkpoint(path)
    notes = (*checkpoint.notes, *contradictions(checkpoint, one, recipe))
    head = one.protocol.head(one.cls.head)
    classes = class_count(checkpoint.tensors, toolbox, head.priors_per_cell)
    learner = bare_learner(one, recipe.recipe.model, classes)
    wanted = {name: tensor.shape for name, tensor in learner.state_dict().items()}
    learner.load_state_dict(import_state(checkpoint.tensors, toolbox, wanted))
    if checkpoint.classes is not None and len(checkpoint.classes) != classes:
        raise UsageError(f"{path} names {len(checkpoint.classes)} classes, but its head has {classes}")
    facts = WeightsFacts(
        strategy=one.strategy.text,
        preset=str(one.protocol.preset_name),
        classes=classes,
        class_names=checkpoint.classes,
        recipe=flatten(recipe.recipe),
        toolbox=toolbox,
        checkpoint=path.name,
        checkpoint_sha256=sha256_of(path),
    )
    require_finite(learner.state_dict(), str(path))
    save_tensors(output, learner.state_dict(), {KEY: json.dumps(asdict(facts), ensure_ascii=False)})
    return facts, notes


def contradictions(checkpoint: Checkpoint, one: Candidate, recipe: ResolvedRecipe) -> tuple[str, ...]:
    """What the training's own configuration says against the preset: names and shapes cannot tell.

    Raises:
        UsageError: it is another detector of the same names.
    """
    config = checkpoint.config
    if config is None:
        return ("the checkpoint does not hold its configuration: that it is this detector is taken on trust",)
    text = "".join(config.split())
    if one.strategy.name == "fcos" and one.protocol.preset_name == "mmdet":
        for switch in ("norm_on_bbox", "centerness_on_reg", "center_sampling"):
            if f"{switch}=True" not in text:
                raise UsageError(
                    f"the checkpoint's configuration lacks {switch} = True: it is another FCOS than the improved one"
                )
    pixels = recipe.recipe.model.pixels
    stated = re.search(r"mean=\[([\d.]+)", text)
    fitting = [name for name, one in PIXELS.items() if stated and float(stated[1]) == one.mean[0]]
    if fitting and pixels not in fitting:
        raise UsageError(
            f"the checkpoint's configuration subtracts a mean colour of {stated and stated[1]} …, the preset one of "
            f"{PIXELS[pixels].mean[0]:g} …; add --set model.pixels={fitting[0]}"
        )
    return ()


def read_weights_facts(file: Path) -> WeightsFacts:
    """What a file of weights is of.

    Raises:
        UsageError: there is no such file.
        DataError: it is damaged, or not made by ``assignbench import``.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}; make one with: assignbench import CHECKPOINT --output {file}")
    try:
        with safe_open(file, "pt") as opened:
            text = (opened.metadata() or {}).get(KEY)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    try:
        facts = TypeAdapter(WeightsFacts).validate_json(text, strict=True) if text else None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "its facts"
        raise DataError(f"{file} is damaged: {place} is not as assignbench import writes it; make it again") from error
    if facts is None:
        raise DataError(f"{file} does not say what its weights are of; make it with: assignbench import")
    return facts


def evaluate_weights(
    file: Path,
    dataset: str,
    *,
    data_root: Path | None,
    output: Path | None,
    overrides: Sequence[str],
    device: str,
    console: Console,
    tta: str | None = None,
    trust: bool = False,
) -> Evaluation:
    """Detect and score with a file of weights.

    Args:
        file: made by `import_checkpoint`.
        dataset: only its evaluation split is read.
        data_root: folder of the data sets.
        output: detections file; None: beside the weights.
        overrides: ``--set`` of the recipe; ``data.*`` and ``evaluate.*``.
        device: auto, cpu or cuda.
        console: where to print.
        tta: name or file of a set of views; its name and digest enter the name of the detections file.
        trust: run the strategy's code also where `require_known` refuses it.

    Raises:
        UsageError: the classes of weights and data are not the same, there is no such set of views, the strategy's code
            is not known to the user, or a file would be overwritten that is the weights or, by its name unasked,
            somebody else's.
    """
    facts = read_weights_facts(file)
    require_known(facts.strategy, str(file), trust=trust)
    one = candidate(facts.strategy, "published", facts.preset)
    stored = recorded_recipe(PAPERS_RECIPE, facts.recipe, dict.fromkeys(facts.recipe, "weights"))
    recipe = with_overrides(stored, overrides)
    settings = recipe.recipe
    check_evaluator(settings.evaluate.evaluator)
    view_set = None if tta is None else load_views(tta, settings.data, settings.evaluate)
    target = with_views_in_name(output or file.with_suffix(".detections.json"), view_set)
    refuse_inputs(target, (file,))
    if output is None:
        refuse_strangers(target, is_detections, "eval --weights")
    accelerator = build_accelerator(device, "no")  # evaluation is in float32, see `detect_images`
    console.quiet = console.quiet or not accelerator.is_main_process
    evaluation = open_evaluation(dataset, resolve_data_root(data_root))
    check_dataset(evaluation)
    for note in same_classes(facts, evaluation):
        console.print(f"note: {note}", soft_wrap=True)
    learner = bare_learner(one, settings.model, facts.classes)
    tensors = load_tensors(file)
    require_finite(tensors, str(file))
    learner.load_state_dict(tensors)
    found = detect_again(learner, evaluation, settings, view_set, accelerator, console)
    with main_process(accelerator) as writes:
        if writes:
            make_folder(target.parent)
            count = write_detections(evaluation, found, target)
            write_views(view_set, target, sha256_of(file))
            console.print(f"{count} detections in {target}", soft_wrap=True)
    return with_views_noted(evaluate(evaluation, target, settings.evaluate.evaluator), view_set)


def is_detections(file: Path) -> bool:
    """Whether a file looks as `write_detections` writes it: other programs' JSON begins otherwise."""
    return head_of(file, 20).startswith((b'[\n{"image_id": ', b"[\n\n]"))


def with_overrides(recipe: ResolvedRecipe, overrides: Sequence[str]) -> ResolvedRecipe:
    """The recipe of a file of weights with what ``--set`` says; the detector itself is not to be changed."""
    given = load_recipe(PAPERS_RECIPE, overrides)
    changed = {key: value for key, value in flatten(given.recipe).items() if given.origins[key] == "--set"}
    if fixed := [key for key in changed if key.startswith(("model.", "train."))]:
        raise UsageError(f"--set {fixed[0]} does not fit weights that are trained; data.* and evaluate.* can be set")
    origins = {**recipe.origins, **dict.fromkeys(changed, "--set")}
    return recorded_recipe(recipe.name, {**flatten(recipe.recipe), **changed}, origins)


def same_classes(facts: WeightsFacts, dataset: Dataset) -> tuple[str, ...]:
    """Whether label 0 of the weights is label 0 of the data, and so on.

    Raises:
        UsageError: it is not.
    """
    if facts.classes != len(dataset.classes):
        raise UsageError(f"the weights know {facts.classes} classes, {dataset.name} has {len(dataset.classes)}")
    if facts.class_names is None:
        return (f"the weights do not name their classes; taken to be those of {dataset.name}, in its order",)

    def plain(name: str) -> str:
        return "".join(letter for letter in name.casefold() if letter.isalnum())

    pairs = zip(facts.class_names, dataset.classes, strict=True)
    if odd := [(theirs, ours) for theirs, ours in pairs if plain(theirs) != plain(ours)]:
        theirs, ours = odd[0]
        raise UsageError(
            f"{len(odd)} classes of the weights are others than those of {dataset.name} in the same place, "
            f"e.g. {theirs!r} and {ours!r}"
        )
    return ()
