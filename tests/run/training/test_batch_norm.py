"""Batch norm over processes is batch norm over all their images."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor, nn

from assignbench.run.training import batch_norm
from assignbench.run.training.batch_norm import CPUSyncBatchNorm


def meet(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Threads stand for processes: sums meet at a barrier."""
    barrier = Barrier(processes, timeout=20)
    shelf: dict[int, Tensor] = {}

    def summed(values: Tensor) -> Tensor:
        place = barrier.wait()
        shelf[place] = values
        barrier.wait()
        total = torch.stack([shelf[other] for other in sorted(shelf)]).sum(0)
        barrier.wait()
        return total

    monkeypatch.setattr(batch_norm, "summed", summed)


def norm(kind: type[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    torch.manual_seed(0)
    module = kind(6, momentum=0.3).train()
    nn.init.uniform_(module.weight, 0.5, 2.0)
    nn.init.uniform_(module.bias)
    return module


@pytest.mark.parametrize("counts", [(3,), (2, 2), (1, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_it_is_one_batch(
    monkeypatch: pytest.MonkeyPatch,
    counts: tuple[int, ...],
    dtype: torch.dtype,
    tolerance: float,
    memory: torch.memory_format,
) -> None:
    torch.manual_seed(1)
    x = (5 + 3 * torch.randn(sum(counts), 6, 9, 7)).to(dtype).to(memory_format=memory)
    upstream = (torch.randn(x.shape) + x.float() / 4).to(dtype).to(memory_format=memory)
    whole, given = norm(nn.BatchNorm2d), x.float().clone().requires_grad_()
    output = whole(given)
    output.backward(upstream.float())

    modules = [norm(CPUSyncBatchNorm) for _ in counts]
    parts = [part.clone(memory_format=memory).requires_grad_() for part in x.split(counts)]

    def work(module: nn.Module, part: Tensor, gradient: Tensor) -> Tensor:
        result = module(part)
        result.backward(gradient)
        return result.detach()

    meet(monkeypatch, len(counts))
    with ThreadPoolExecutor(len(counts)) as threads:
        outputs = list(threads.map(work, modules, parts, upstream.split(counts)))

    def same(ours: Tensor, theirs: Tensor | None) -> None:
        assert theirs is not None
        torch.testing.assert_close(ours.float(), theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max()))

    same(torch.cat(outputs), output.detach())
    same(torch.cat([part.grad for part in parts if part.grad is not None]), given.grad)
    assert {part.dtype for part in outputs} == {dtype}
    for name, theirs in whole.named_parameters():
        own = [module.get_parameter(name).grad for module in modules]
        same(torch.stack([grad for grad in own if grad is not None]).sum(0), theirs.grad)
    for module in modules:
        same(module.get_buffer("running_mean"), whole.running_mean)
        same(module.get_buffer("running_var"), whole.running_var)
        assert module.num_batches_tracked == 1


def test_in_evaluation_nobody_is_asked() -> None:
    x = torch.randn(2, 6, 4, 4)
    assert torch.equal(norm(CPUSyncBatchNorm).eval()(x), norm(nn.BatchNorm2d).eval()(x))
