"""What surrounds a training does not decide it: the recipe does, and a run's name holds the recipe alone.

Accelerate and torch also take settings from variables, which ``accelerate launch`` fills from its options and from
the user's file of defaults. Here each is harmless, or set aside before Accelerate reads it and said, or refused
where nothing can set it aside. Left alone are variables that pick one of several algorithms for the same numbers
(``CUBLAS_WORKSPACE_CONFIG``, ``TORCH_CUDNN_USE_HEURISTIC_MODE_B``, ``MKL_CBWR``): they round otherwise, as another
machine does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass

from assignbench.errors import UsageError

ON_CPU = "ACCELERATE_USE_CPU"
ON = frozenset({"true", "1", "yes", "y", "t", "on"})
OFF = frozenset({"", "0", "no", "false", "n", "f", "off"})
PREFIX = "ACCELERATE_"


@dataclass(frozen=True)
class Variable:
    """A setting from outside the recipe."""

    name: str
    effect: str  # what it does: "… would …"
    instead: str  # what to do
    harmless: frozenset[str] = OFF  # values, in lower case, that change nothing

    def matters(self, environment: Mapping[str, str], *others: str) -> bool:
        """Whether it is set to more than a harmless value; ``others`` are harmless, too."""
        return environment.get(self.name, "").strip().lower() not in {*self.harmless, *others}


PRECISION = "ACCELERATE_MIXED_PRECISION"
SET_ASIDE = (
    Variable(
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
        "divide every gradient by it",
        "set train.accumulation instead",
        OFF | {"1"},
    ),
    Variable(PRECISION, "compute the network in another precision", "set train.precision instead"),
    Variable("ACCELERATE_DOWNCAST_BF16", "compute float32 in bf16", "set train.precision instead"),
    Variable("ACCELERATE_DYNAMO_BACKEND", "compile the network", "set train.compile=true instead"),
    Variable(
        "ACCELERATE_TORCH_DEVICE",
        "choose the device",
        "give --device instead, and choose among GPUs with CUDA_VISIBLE_DEVICES",
        frozenset({""}),
    ),
)

# Neither these nor their like change a number: who says what, and which cores or GPUs a process is bound to.
KEPT = frozenset(
    PREFIX + name for name in ("USE_CPU", "CPU_AFFINITY", "DEBUG_MODE", "DEBUG_RDV_FILE", "LOG_LEVEL", "ENABLE_RICH")
)
MPI = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # how many processes MPI's launchers started
# What goes with a setting above and means nothing without it; the launcher always sets some of them.
COMPANIONS = ("ACCELERATE_DYNAMO_", "ACCELERATE_FP8_")

_LAUNCH = "start it without (accelerate launch reads a file of defaults, see accelerate env), or by torchrun"
REFUSED = (
    Variable("ACCELERATE_USE_FSDP", "split the network over processes with FSDP", _LAUNCH),
    Variable("ACCELERATE_USE_DEEPSPEED", "let DeepSpeed train", _LAUNCH),
    Variable("ACCELERATE_USE_MEGATRON_LM", "let Megatron-LM train", _LAUNCH),
    Variable("ACCELERATE_USE_PARALLELISM_CONFIG", "split the network over processes", _LAUNCH),
    Variable("ACCELERATE_USE_SAGEMAKER", "let SageMaker's library train", _LAUNCH),
    *(
        Variable(
            name, "compute float32 in less than float32", "unset it, or set train.precision", frozenset({"", "strict"})
        )
        for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")
    ),
)
REFUSED_ON_GPU = (
    Variable("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "multiply float32 in TF32", "unset it, or set train.precision"),
    Variable(
        "NVIDIA_TF32_OVERRIDE", "decide on TF32 for all of CUDA's libraries", "unset it", harmless=frozenset({""})
    ),
)
REFUSED_WITH_COMPILE = tuple(
    Variable(name, effect, "unset it, or set train.compile=false")
    for name, effect in (
        ("TORCH_COMPILE_DISABLE", "leave the network uncompiled"),
        ("TORCHDYNAMO_DISABLE", "leave the network uncompiled"),
        ("TORCHDYNAMO_SUPPRESS_ERRORS", "leave uncompiled what cannot be compiled, and not say so"),
        ("TORCH_COMPILE_OVERRIDE_BACKENDS", "compile with another compiler"),
    )
)


def refuse(environment: Mapping[str, str], variables: Iterable[Variable]) -> None:
    """Stop where a variable would change results and cannot be set aside.

    Raises:
        UsageError: names the variable, what it would do, and what to do.
    """
    for variable in variables:
        if variable.matters(environment):
            value = environment[variable.name]
            raise UsageError(f"{variable.name}={value} would {variable.effect}; {variable.instead}")


def refuse_half_a_launch(environment: Mapping[str, str]) -> None:
    """Stop where a launcher's variables are not all there, or say what Accelerate cannot read.

    Raises:
        UsageError: names the variable, and what to do.
    """
    if environment.get(ON_CPU, "0").strip().lower() not in (OFF | ON) - {""}:
        raise UsageError(f"{ON_CPU}={environment[ON_CPU]} is neither true nor false; unset it")
    together = ("RANK", "MASTER_ADDR", "MASTER_PORT")
    for name, alone, needed in (
        ("WORLD_SIZE", "1", together),
        ("LOCAL_RANK", "-1", ("WORLD_SIZE", *together)),
        *((name, "1", ("MASTER_ADDR",)) for name in MPI),
    ):
        missing = [other for other in needed if other not in environment]
        if missing and environment.get(name, alone) != alone:
            are = "is" if len(missing) == 1 else "are"
            raise UsageError(
                f"{name}={environment[name]} is set, but {' and '.join(missing)} {are} not: the processes "
                "cannot meet; unset it, or start them by torchrun or accelerate launch"
            )


def set_aside(environment: MutableMapping[str, str], precision: str) -> list[str]:
    """Take out of the environment what Accelerate would follow in place of the recipe.

    Args:
        environment: of this process; changed in place, before Accelerate reads it.
        precision: of the run; a launcher that says the same is fine.

    Returns:
        A sentence for each variable that was not harmless.
    """
    known = {variable.name: variable for variable in SET_ASIDE}
    said = []
    for name in sorted(name for name in environment if name.startswith(PREFIX) and name not in KEPT):
        variable = known.get(name, Variable(name, "be followed in place of the recipe", "unset it"))
        own = (precision,) if name == PRECISION else ()
        if variable.matters(environment, *own) and (name in known or not name.startswith(COMPANIONS)):
            said.append(f"{name}={environment[name]} is set aside: it would {variable.effect}; {variable.instead}")
        del environment[name]
    return said


def cpu_was_asked_for(environment: Mapping[str, str]) -> bool:
    """Whether ``accelerate launch --cpu`` started this process."""
    return environment.get(ON_CPU, "").strip().lower() in ON
