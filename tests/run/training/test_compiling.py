"""The compiled network is the network; what cannot be compiled is said."""

import os
import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from assignbench.core import Head
from assignbench.detector.detector import Detector
from assignbench.detector.pixels import PIXELS
from assignbench.detector.pyramid import Pyramid
from assignbench.errors import SystemProblem, UsageError
from assignbench.run.training.batch_norm import CPUSyncBatchNorm
from assignbench.run.training.compiling import compile_network, compiler_advice

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler"
)


class Stages(nn.Module):
    """A backbone of three convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(3 if stride == 8 else 8, 8, 3, stride, 1) for stride in (8, 2, 2))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def small() -> Detector:
    torch.manual_seed(0)
    pyramid = Pyramid((8, 8, 8), 32, "p5_relu", "kaiming")
    detector = Detector(Stages(), pyramid, Head(), PIXELS["torchvision"], classes=3, channels=32, depth=0)  # type: ignore[arg-type]
    return detector.to(memory_format=torch.channels_last).train()


@pytest.fixture
def detector() -> Iterator[Detector]:
    yield small()
    torch.compiler.reset()


def gradients(detector: Detector, x: Tensor) -> dict[str, Tensor]:
    """Outputs, and gradients of a sum that weighs every output differently."""
    detector.zero_grad(set_to_none=True)
    pyramid, _, raw = detector.outputs(x)
    outputs = {"logits": raw.logits, "regression": raw.regression, "P7": pyramid[-1]}
    torch.stack(
        [(value * torch.linspace(-1, 1, value.numel()).view_as(value)).sum() for value in outputs.values()]
    ).sum().backward()
    found = {name: parameter.grad for name, parameter in detector.named_parameters() if parameter.grad is not None}
    return {name: value.detach().clone() for name, value in {**outputs, **found}.items()}


@needs_compiler
@pytest.mark.filterwarnings("default")  # the compiler's own imports warn
def test_compiled_and_plain_network_agree(detector: Detector) -> None:
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    plain, names = gradients(detector, x), list(detector.state_dict())
    compile_network(detector)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compiled = gradients(detector, x)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs + 1
    assert list(detector.state_dict()) == names
    assert len(plain) == 3 + len(list(detector.parameters()))
    assert compiled.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5 * float(value.abs().max()), msg=name)
        assert compiled[name].stride() == value.stride()  # the optimizer walks memory


def test_only_training_is_compiled(detector: Detector) -> None:
    calls = []

    def compiled(x: Tensor) -> object:
        calls.append(x.shape)
        return detector.network(x)

    detector.compiled = compiled  # type: ignore[assignment]
    detector.predict(torch.zeros(1, 3, 64, 64))
    assert len(calls) == 1
    detector.eval().predict(torch.zeros(1, 3, 64, 64))
    assert len(calls) == 1


def test_every_size_of_image_is_one_network_or_two(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of torch's tracer, which is what would begin again and again; without the code generator."""
    real, graphs = torch.compile, []

    def counting(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=counting, **options))
    compile_network(detector)
    for height, width in ((256, 384), (384, 256), (512, 320), (320, 320), (320, 800), (800, 1344), (640, 992)):
        with torch.no_grad():
            detector.outputs(torch.zeros(2, 3, height, width))
    assert len(graphs) == 2


def test_a_missing_compiler_is_said(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile

    def none_here(graph: object, inputs: object) -> object:
        raise FileNotFoundError("no g++ in the PATH\nand more")

    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=none_here, **options))
    compile_network(detector)
    message = r"(?s)cannot compile.*no g\+\+ in the PATH.*set train.compile=false"
    with pytest.raises(SystemProblem, match=message) as caught, compiler_advice(asked=True):
        detector.outputs(torch.zeros(1, 3, 64, 64))
    assert "and more" not in str(caught.value)


def test_errors_of_the_network_itself_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), compiler_advice(asked=True):
        raise RuntimeError("shape")


def test_batch_norm_over_processes_is_refused(detector: Detector) -> None:
    detector.backbone.add_module("norm", CPUSyncBatchNorm(8))
    with pytest.raises(UsageError, match=r"several processes and model\.weights = none"):
        compile_network(detector)
    assert detector.compiled is None
