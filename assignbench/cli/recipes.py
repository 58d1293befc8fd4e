"""Which recipe `run` takes where none is named: ``tiny`` for built-in data sets, for own data one by the machine."""

from collections.abc import Sequence

from assignbench.errors import SystemProblem, UsageError

BUILT_IN = "tiny"
# for data of one's own: with ImageNet weights, which backbone's, and from scratch
ON_GPU = ("own-gpu", "resnet50", "scratch")
ON_CPU = ("own-cpu", "resnet18", "small")


def recipe_for(datasets: Sequence[str], device: str, on: str) -> tuple[str, str]:
    """The recipe's name, and why it is that one; no reason where nothing had to be chosen.

    Args:
        datasets: as they were asked for.
        device: auto, cpu or cuda.
        on: what computes the runs.

    Raises:
        UsageError: other machines compute, of which nothing is known here.
        SystemProblem: there is no such device.
    """
    from assignbench.data.spec.share import parted
    from assignbench.paths import configs_folder

    names = {file.stem for file in (configs_folder() / "datasets").glob("*.yaml")}  # nothing heavy is imported for it
    if all(parted(one)[0] in names for one in datasets):
        return BUILT_IN, ""
    if on != "local":
        raise UsageError(f"--on {on}: which recipe fits is not known here; add --recipe {ON_GPU[0]}, or {ON_CPU[0]}")
    from assignbench.run.training.device import device_of

    on_gpu = device_of(device).type == "cuda"
    pretrained, backbone, scratch = ON_GPU if on_gpu else ON_CPU
    where = f"for data of your own on a {'GPU' if on_gpu else 'CPU'}"
    other = "--recipe takes another one"
    if has_weights(backbone):
        return pretrained, f"recipe {pretrained}, {where}; {other}"
    why = f"the ImageNet weights of {backbone} are not here and cannot be downloaded, so training starts from scratch"
    return scratch, f"recipe {scratch}, {where}: {why}; with the weights, --recipe {pretrained} learns more; {other}"


def has_weights(backbone: str) -> bool:
    """Whether published ImageNet weights are on this machine, or can be brought here, which is done."""
    from assignbench.detector.backbone import BACKBONES
    from assignbench.detector.pretrained import state_dict

    try:
        state_dict(backbone, "imagenet", BACKBONES[backbone][1])
    except SystemProblem:
        return False
    return True
