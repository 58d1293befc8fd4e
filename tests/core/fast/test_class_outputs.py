"""The background term and what is read off the class outputs, against the same formulas in elementary steps."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from assignbench.bench.measure import one_thread
from assignbench.core.fast import class_outputs
from assignbench.core.fast.class_outputs import ClassOutputs, OverClasses, by_location, join_logits

FACTORS = (0.0, 1e-3, 0.5, 0.97, 1.0)
NONE = torch.zeros(0, dtype=torch.int64)


def not_background(outputs: Tensor, extra: Tensor | None) -> tuple[Tensor, Tensor]:
    """p and 1 − p, with all their digits and those of their gradients."""
    own, not_own = F.logsigmoid(outputs).exp(), F.logsigmoid(-outputs).exp()
    if extra is None:
        return own, not_own
    other, not_other = F.logsigmoid(extra).exp()[..., None], F.logsigmoid(-extra).exp()[..., None]
    return own * other, not_own + own * not_other


def plain(
    outputs: Tensor,
    gamma: float,
    *,
    entries: Tensor,
    factor: Tensor,
    weight: Tensor | None = None,
    share: Tensor | None = None,
    extra: Tensor | None = None,
) -> Tensor:
    """Σ −share · weight · q^γ log(1 − q) with q = p · factor, as it is written."""
    p, rest = not_background(outputs, extra)
    ones = torch.ones_like(p).flatten()
    d = ones.clone()
    for entry, one in zip(entries.tolist(), factor, strict=True):
        d[entry] = min(d[entry].item(), one.item()) if weight is None else one
    d = d.view_as(p)
    q, rest = p * d, (1 - d) + d * rest
    cost = -(q**gamma) * torch.where(q < 0.5, (-q.clamp(max=0.5)).log1p(), rest.log())
    if weight is not None:
        cost = cost * ones.index_put((entries,), weight).view_as(p)
    return (cost if share is None else cost * share[..., None]).sum()


@dataclass(frozen=True)
class Question:
    """Outputs and everything else that the term is made of."""

    outputs: Tensor
    extra: Tensor | None
    entries: Tensor
    factor: Tensor
    weight: Tensor | None
    share: Tensor | None

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return (self.outputs,) if self.extra is None else (self.outputs, self.extra)

    def answer(self, gamma: float = 2.0) -> Tensor:
        return ClassOutputs(self.outputs).background(gamma, **self._rest())

    def plain(self, gamma: float = 2.0) -> Tensor:
        return plain(self.outputs, gamma, **self._rest())

    def to(self, dtype: torch.dtype) -> "Question":
        parts = (self.outputs, self.extra, self.entries, self.factor, self.weight, self.share)
        moved = (part.detach().to(dtype) if part is not None and part.is_floating_point() else part for part in parts)
        return Question(*moved).with_leaves()  # type: ignore[arg-type]

    def with_leaves(self) -> "Question":
        for leaf in self.leaves:
            leaf.requires_grad_()
        return self

    def _rest(self) -> dict:
        names = ("entries", "factor", "weight", "share", "extra")
        return {name: getattr(self, name) for name in names}


def question(
    *shape: int, joined: bool = False, listed: int = 20, weighted: bool = False, shared: bool = False, spread: float = 4
) -> Question:
    """A random one in float64; the list holds every kind of factor."""
    generator = torch.Generator().manual_seed(0)

    def noise(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    images, locations, classes = shape
    count = images * locations * classes
    entries = torch.randperm(count, generator=generator)[:listed]
    return Question(
        outputs=noise(*shape) * spread - 1,
        extra=noise(images, locations) * spread if joined else None,
        entries=entries,
        factor=torch.tensor(FACTORS, dtype=torch.float64)[torch.arange(len(entries)) % len(FACTORS)],
        weight=noise(len(entries)).abs() if weighted else None,
        share=(noise(images, locations) > 0).double() * 0.7 if shared else None,
    ).with_leaves()


def gradients(value: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, leaves, retain_graph=True)


def agree(asked: Question, gamma: float = 2.0, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    answer, wanted = asked.answer(gamma), asked.plain(gamma)
    torch.testing.assert_close(answer, wanted, rtol=rtol, atol=atol)
    for have, want in zip(gradients(answer, *asked.leaves), gradients(wanted, *asked.leaves), strict=True):
        torch.testing.assert_close(have, want, rtol=rtol, atol=atol)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 2.5])
@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
@pytest.mark.parametrize("shared", [False, True], ids=["", "share"])
def test_value_and_gradient(gamma: float, joined: bool, weighted: bool, shared: bool) -> None:
    agree(question(2, 40, 3, joined=joined, weighted=weighted, shared=shared), gamma, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
def test_nothing_listed_and_everything_listed(joined: bool) -> None:
    agree(question(2, 17, 3, joined=joined, listed=0, shared=True), rtol=1e-8)
    agree(question(2, 17, 3, joined=joined, listed=2 * 17 * 3, weighted=True), rtol=1e-8)


@pytest.mark.parametrize("dense", [0, class_outputs.DENSE], ids=["list", "table"])
@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_the_smallest_factor_of_an_entry_counts(
    monkeypatch: pytest.MonkeyPatch, dense: int, joined: bool, gamma: float
) -> None:
    monkeypatch.setattr(class_outputs, "DENSE", dense)
    once = question(2, 17, 3, joined=joined, listed=30, shared=True)
    entries, factor = torch.cat((once.entries, once.entries[:20])), torch.cat((once.factor, once.factor.flip(0)[:20]))
    twice = replace(once, entries=entries, factor=factor)
    agree(twice, gamma, rtol=1e-8, atol=1e-9)
    assert twice.answer(gamma) < once.answer(gamma)


@pytest.mark.parametrize("spread", [4, 12])
def test_a_table_says_what_a_list_says(monkeypatch: pytest.MonkeyPatch, spread: float) -> None:
    asked = question(2, 40, 3, joined=True, listed=100, spread=spread).to(torch.float32)
    answers = []
    for dense in (0, class_outputs.DENSE):
        monkeypatch.setattr(class_outputs, "DENSE", dense)
        value = asked.answer()
        answers.append((value, *gradients(value, *asked.leaves)))
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_factor_of_zero_removes_an_entry() -> None:
    asked = question(1, 6, 2, joined=True, listed=5)
    by_outputs, _ = gradients(asked.answer(), *asked.leaves)
    assert (by_outputs.flatten()[asked.entries] == 0).tolist() == [factor == 0 for factor in asked.factor]


def test_factor_weight_and_share_carry_no_gradient() -> None:
    asked = question(2, 9, 3, weighted=True, shared=True)
    parts = (asked.factor, asked.weight, asked.share)
    assert asked.weight is not None
    assert asked.share is not None
    for part in (asked.factor, asked.weight, asked.share):
        part.requires_grad_()
    asked.answer().backward()
    assert [part.grad for part in parts if part is not None] == [None, None, None]


EXTREME = torch.tensor([-100.0, -30.0, -1.0, 0.0, 3.0, 20.0, 100.0], dtype=torch.float64)


@pytest.mark.parametrize("factor", [None, 0.0, 0.3, 0.9], ids=str)
def test_extreme_outputs(factor: float | None) -> None:
    listed = NONE if factor is None else torch.arange(len(EXTREME))
    factors = torch.full((len(listed),), factor or 0.0, dtype=torch.float64)
    agree(Question(EXTREME.clone()[None, None], None, listed, factors, None, None).with_leaves())


@pytest.mark.parametrize("factor", [None, 0.0, 0.3, 0.9], ids=str)
def test_extreme_outputs_joined(factor: float | None) -> None:
    # not where both are beyond 40: there the cost stops growing, see below
    outputs = EXTREME.repeat(1, len(EXTREME), 1).contiguous()
    outputs[0, EXTREME > 40, -1] = 20.0
    listed = NONE if factor is None else torch.arange(outputs.numel())
    factors = torch.full((len(listed),), factor or 0.0, dtype=torch.float64)
    agree(Question(outputs, EXTREME.clone()[None], listed, factors, None, None).with_leaves(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("listed", [False, True], ids=["", "listed"])
@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
def test_certainty_stays_finite(dtype: torch.dtype, listed: bool, joined: bool) -> None:
    outputs = torch.tensor([[[-100.0, 100.0], [-100.0, 100.0]]], dtype=dtype, requires_grad=True)
    extra = torch.tensor([[-100.0, 100.0]], dtype=dtype, requires_grad=True) if joined else None
    entries = torch.arange(4) if listed else NONE
    asked = Question(outputs, extra, entries, torch.ones(len(entries), dtype=dtype), None, None)
    value = asked.answer()
    slopes = gradients(value, *asked.leaves)
    assert 16 < value < 201
    assert all(bool(((slope >= 0) & (slope <= 1.01)).all()) for slope in slopes)
    if not listed:  # what is surely the class still pushes back with all its force, z and o together
        assert sum(slope.sum() for slope in slopes) == pytest.approx(1 if joined else 2)


def test_joint_probabilities_near_zero_and_one() -> None:
    reach = torch.linspace(-27.5, 27.5, 23, dtype=torch.float64)
    outputs, extra = reach.repeat(1, len(reach), 1), reach.clone()[None]
    nothing = torch.zeros(0, dtype=torch.float64)
    agree(Question(outputs, extra, NONE, nothing, None, None).with_leaves(), atol=0)
    p, rest = not_background(outputs, extra)
    assert p.min() < 1e-23
    assert rest.min() < 1e-11


@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
def test_float32_is_accurate(joined: bool) -> None:
    exact = question(2, 300, 7, joined=joined, weighted=True, shared=True, listed=200).to(torch.float32)
    single = exact.to(torch.float32)
    exact = exact.to(torch.float64)
    have, want = single.answer(), exact.plain()
    assert have.dtype == torch.float32
    assert have.item() == pytest.approx(want.item(), rel=1e-6)
    for mine, true in zip(gradients(have, *single.leaves), gradients(want, *exact.leaves), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - true).norm() < 1e-6 * true.norm()
        torch.testing.assert_close(mine.double(), true, rtol=2e-5, atol=1e-9)


def everything(asked: Question, *leaves: Tensor) -> Tensor:
    """Two background terms, one of them without a list, and reads, through one `ClassOutputs`: ``[3]``."""
    outputs, extra = leaves
    book = ClassOutputs(outputs)
    place = (torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1]), torch.tensor([1, 0, 1]))
    read = book.read(*place)
    bare = book.background(1.0, entries=NONE, factor=asked.factor[:0])
    full = book.background(2.0, entries=asked.entries, factor=asked.factor, share=asked.share, extra=extra)
    return torch.stack((3 * bare, full, (read * torch.tensor([1.0, 2.0, 4.0])).square().sum()))


def plain_everything(asked: Question, outputs: Tensor, extra: Tensor) -> Tensor:
    read = outputs[torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1]), torch.tensor([1, 0, 1])]
    bare = plain(outputs, 1.0, entries=NONE, factor=asked.factor[:0])
    full = plain(outputs, 2.0, entries=asked.entries, factor=asked.factor, share=asked.share, extra=extra)
    return torch.stack((3 * bare, full, (read * torch.tensor([1.0, 2.0, 4.0])).square().sum()))


def test_gradcheck() -> None:
    asked = question(2, 4, 3, joined=True, listed=9, shared=True, spread=1.5)
    gradcheck(lambda *leaves: everything(asked, *leaves), asked.leaves, eps=1e-6, atol=1e-8, rtol=1e-6)
    with pytest.raises(GradcheckError):  # and it would see one reader's gradient missing
        gradcheck(lambda z, o: everything(asked, z, o) + z.detach().square().sum(), asked.leaves)


def test_readers_of_the_same_outputs_add_up() -> None:
    asked = question(2, 4, 3, joined=True, listed=9, shared=True)
    have, want = everything(asked, *asked.leaves), plain_everything(asked, *asked.leaves)
    torch.testing.assert_close(have, want)
    for weights in ([1.0, 1, 1], [0.0, 0, 1], [0.5, 2, 0]):
        both = (gradients((terms * torch.tensor(weights)).sum(), *asked.leaves) for terms in (have, want))
        for mine, true in zip(*both, strict=True):
            torch.testing.assert_close(mine, true, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("classes", [1, 3, 20, 80])
@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch, classes: int, joined: bool) -> None:
    asked = question(2, 377, classes, joined=joined, shared=True).to(torch.float32)
    answers = []
    with one_thread():  # torch divides long sums among threads, and rounds where one ends in another way
        for piece in (1, 100, 5000, 1 << 40):
            monkeypatch.setattr(class_outputs, "PIECE", piece)
            value = asked.answer()
            answers.append((value.detach(), gradients(value, *asked.leaves)))
    for value, slopes in answers[:-1]:
        torch.testing.assert_close(value, answers[-1][0], rtol=1e-6, atol=0)
        assert all(torch.equal(one, other) for one, other in zip(slopes, answers[-1][1], strict=True))


def test_reads() -> None:
    outputs = question(2, 5, 3).outputs
    image, location, label = torch.tensor([0, 1, 1, 0]), torch.tensor([4, 2, 2, 0]), torch.tensor([2, 1, 1, 0])
    for place in ((image, location, label), (NONE, NONE, NONE)):
        have, want = ClassOutputs(outputs).read(*place), outputs[place]
        assert torch.equal(have, want)
        mine, true = gradients(have.square().sum(), outputs), gradients(want.square().sum(), outputs)
        torch.testing.assert_close(mine, true)  # the entry that is read twice counts twice


def test_the_first_reader_may_do_without_gradients() -> None:
    outputs, first = question(1, 3, 2).outputs, torch.tensor([0])
    with torch.no_grad():
        book = ClassOutputs(outputs)
        assert not book.read(first, first, first).requires_grad
    (gradient,) = gradients(book.read(first, first, first).sum(), outputs)
    assert gradient.flatten().tolist() == [1, 0, 0, 0, 0, 0]
    assert not ClassOutputs(outputs.detach()).read(first, first, first).requires_grad


def test_backward_again() -> None:
    asked = question(2, 4, 3, joined=True, shared=True)
    terms, want = everything(asked, *asked.leaves).sum(), plain_everything(asked, *asked.leaves).sum()
    true = gradients(want, *asked.leaves)
    for times in (1.0, 1.0, 3.0):
        for mine, exact in zip(gradients(times * terms, *asked.leaves), true, strict=True):
            torch.testing.assert_close(mine, times * exact, rtol=1e-8, atol=1e-10)
    terms.backward(retain_graph=True)
    terms.backward()
    for leaf, exact in zip(asked.leaves, true, strict=True):
        torch.testing.assert_close(leaf.grad, 2 * exact, rtol=1e-8, atol=1e-10)


def test_a_pass_for_other_leaves_leaves_nothing_behind() -> None:
    asked = question(2, 4, 3, joined=True, shared=True)
    terms, want = everything(asked, *asked.leaves).sum(), plain_everything(asked, *asked.leaves).sum()
    assert asked.extra is not None
    for leaf in (asked.extra, asked.outputs, asked.extra, asked.outputs):
        torch.testing.assert_close(gradients(terms, leaf), gradients(want, leaf), rtol=1e-8, atol=1e-10)


def test_outputs_that_learn_nothing_beside_an_extra_that_does() -> None:
    asked = question(2, 4, 3, joined=True)
    frozen = Question(asked.outputs.detach(), asked.extra, asked.entries, asked.factor, None, None)
    torch.testing.assert_close(gradients(frozen.answer(), asked.leaves[1]), gradients(asked.plain(), asked.leaves[1]))


def test_outputs_are_not_changed() -> None:
    asked = question(2, 40, 3, joined=True, weighted=True, shared=True)
    before = [part.clone() for part in (*asked.leaves, asked.entries, asked.factor)]
    value = everything(asked, *asked.leaves).sum()
    gradients(value, *asked.leaves)
    value.backward()
    after = (*asked.leaves, asked.entries, asked.factor)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
def test_outputs_that_do_not_lie_in_a_row(joined: bool) -> None:
    asked = question(3, 40, 2, joined=joined, shared=True)
    assert asked.share is not None
    turned = Question(
        asked.outputs.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0),
        None if asked.extra is None else asked.extra.detach().t().contiguous().t(),
        asked.entries,
        asked.factor,
        None,
        asked.share.t().contiguous().t(),
    ).with_leaves()
    assert not turned.outputs.is_contiguous()
    agree(turned, rtol=1e-8)
    (mine, *_), (true, *_) = gradients(turned.answer(), *turned.leaves), gradients(asked.answer(), *asked.leaves)
    assert torch.equal(mine, true)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is freed but by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("end", ["backward", "dropped", "no gradient"])
@pytest.mark.usefixtures("uncollected")
def test_nothing_leaks(end: str) -> None:
    asked = question(2, 4, 3, joined=True)
    with torch.set_grad_enabled(end != "no gradient"):
        outputs = asked.outputs * 1
        book = ClassOutputs(outputs)
        kept = weakref.ref(book._account)  # holds the outputs' memory
        value = book.background(2.0, entries=asked.entries, factor=asked.factor, extra=asked.extra)
        value = value + book.read(NONE, NONE, NONE).sum()
    if end == "backward":
        value.backward()
    assert kept() is not None
    del outputs, book, value
    assert kept() is None


def test_joined_logit_is_the_product_of_probabilities() -> None:
    logits, extra = torch.randn(3, 5, 4, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    product = logits.sigmoid() * extra.sigmoid()[..., None]
    torch.testing.assert_close(join_logits(logits, extra).sigmoid(), product)


def test_joined_logit_is_exact_where_products_underflow() -> None:
    joined = join_logits(torch.tensor([[-80.0], [80.0], [80.0]]), torch.tensor([-80.0, 80.0, -80.0]))
    # p ≈ e^−160; 1 − p ≈ 2 e^−80; p ≈ e^−80
    expected = torch.tensor([[-160.0], [80 - torch.tensor(2.0).log().item()], [-80.0]])
    torch.testing.assert_close(joined, expected)


def test_the_gradient_of_joined_logits_is_finite_at_the_extremes() -> None:
    logits = torch.tensor([[-200.0], [200.0]], requires_grad=True)
    extra = torch.tensor([200.0, -200.0], requires_grad=True)
    join_logits(logits, extra).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["background", "read"])
def test_second_derivatives_are_refused(kind: str) -> None:
    asked, first = question(1, 4, 2), torch.tensor([0])
    value = asked.answer() if kind == "background" else ClassOutputs(asked.outputs).read(first, first, first).sum()
    (gradient,) = torch.autograd.grad(value * asked.outputs.sum(), asked.outputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
@pytest.mark.parametrize("joins", [False, True])
def test_costs_are_summed_over_classes_a_piece_at_a_time(piece: int, joins: bool, monkeypatch) -> None:
    monkeypatch.setattr(class_outputs, "PIECE", piece)
    outputs, extra = torch.randn(2, 5, 3, requires_grad=True), torch.randn(2, 5) if joins else None
    found = by_location(torch.sigmoid, outputs, extra)
    p = outputs.sigmoid() if extra is None else outputs.sigmoid() * extra.sigmoid()[..., None]
    torch.testing.assert_close(found, p.sum(-1).detach())
    assert not found.requires_grad
    assert by_location(torch.sigmoid, outputs[:, :0]).shape == (2, 0)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("waiting", [False, True])
def test_sums_over_classes_are_computed_where_they_are_asked_for_and_once(
    monkeypatch: pytest.MonkeyPatch, joined: bool, waiting: bool
) -> None:
    monkeypatch.setattr(class_outputs, "PIECE", 300)
    if waiting:
        monkeypatch.setattr(class_outputs, "free_to_wait", lambda _: False)
    generator = torch.Generator().manual_seed(0)
    outputs, extra = torch.randn(2, 150, 3, generator=generator), torch.randn(2, 150, generator=generator)
    asked: list[int] = []

    def cost(logits: Tensor, place: Tensor) -> Tensor:
        asked.extend(place.unique().tolist())
        return F.softplus(logits) * place[:, None]

    sums = OverClasses(cost, outputs, extra if joined else None)
    logits = join_logits(outputs, extra) if joined else outputs
    every = (F.softplus(logits).flatten(0, 1) * torch.arange(300)[:, None]).sum(-1)
    for place in (torch.tensor([7, 3, 7, 299]), torch.tensor([3, 8]), NONE):
        torch.testing.assert_close(sums(place), every[place])
    assert sorted(asked) == (list(range(300)) if waiting else [3, 7, 8, 299])


@pytest.mark.parametrize("joined", [False, True])
def test_a_short_list_and_few_shares_are_cleared_as_a_long_list_and_all_shares(
    monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    """Entries that are left out may hold anything, infinite logits too."""
    monkeypatch.setattr(class_outputs, "PIECE", 2000)
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(2, 500, 4, generator=generator) * 3
    extra = torch.randn(2, 500, generator=generator) if joined else None
    entries = torch.randint(0, outputs.numel(), (20,), generator=generator)
    share = torch.ones(2, 500)
    share[1, 480:] = 0.0
    outputs.view(-1)[entries[:2]] = 100.0
    rule = class_outputs._Rule(2.0, entries, torch.zeros(20), torch.ones(20), share, None)
    total, slopes = class_outputs.one_pass(outputs, extra, rule)
    assert slopes.outputs.view(-1)[entries].tolist() == [0.0] * 20
    monkeypatch.setattr(class_outputs, "FEW", outputs.numel())
    monkeypatch.setattr(class_outputs, "free_to_wait", lambda _: False)
    slow, long = class_outputs.one_pass(outputs, extra, rule)
    torch.testing.assert_close(total, slow)
    torch.testing.assert_close(slopes.outputs, long.outputs)
