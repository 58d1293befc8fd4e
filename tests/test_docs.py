"""The documentation's promises: its code runs, its tables are the types, its commands and files exist."""

import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer
from torch import Tensor

from assignbench import core
from assignbench.cli.main import app
from assignbench.cli.new import STRATEGY, read, renamed
from assignbench.contract.laws import check
from assignbench.core import Assigner, Assignment, Discounts, Extra, Head, Normalisers, Pairs, Setting, assign, parts
from assignbench.data.read.findings import KINDS, Severity
from assignbench.detector.objective import objective
from assignbench.options import check_options
from assignbench.plugins import load_class, resolve
from assignbench.synthetic import random_problem
from assigners.dw import DW

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
STRATEGIES = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "strategies.md", "data.md"} <= {page.name for page in PAGES}


def test_the_example_strategy_keeps_the_contract(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", STRATEGIES, flags=re.DOTALL)
    assert code == renamed(read(STRATEGY), "nearest", "Nearest")  # what `assignbench new nearest` writes
    assert len(code.splitlines()) <= 60
    (tmp_path / "nearest.py").write_text(code, encoding="utf-8")
    strategy = resolve(f"{tmp_path / 'nearest.py'}:Nearest[k=5]")
    cls = load_class(strategy)
    assert [result for result in check(cls, check_options(cls, strategy.options)) if not result.passed] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = set(typer.main.get_group(app).commands)  # type: ignore[attr-defined]
    commands = set(re.findall(r"(?:^|`|&& )\s*assignbench ([a-z]+)", text, flags=re.MULTILINE))
    assert commands <= known
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page: Path) -> None:
    for file, test in re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text(encoding="utf-8")):
        assert f"\ndef {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


IMPORTS = """from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core import *
from assignbench.core.parts import *

"""  # what the examples say that they leave out


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """All code of the page about strategies, run from top to bottom."""
    file = tmp_path_factory.mktemp("page") / "code_of_the_page.py"
    blocks = re.findall(r"```py(?:thon)?\n(.*?)```", STRATEGIES, flags=re.DOTALL)
    assert len(blocks) >= 9
    file.write_text(IMPORTS + "\n".join(blocks), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("code_of_the_page", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_code_of_the_page_keeps_the_contract(page: ModuleType) -> None:
    own = [one for one in vars(page).values() if inspect.isclass(one) and one.__module__ == page.__name__]
    strategies = [one for one in own if issubclass(one, Assigner) and not inspect.isabstract(one)]
    assert {one.__name__ for one in strategies} >= {"Nearest", "DynamicK", "SoftBag", "TwoBranches", "Inside"}
    for strategy in strategies:
        assert [result for result in check(strategy) if not result.passed] == []
    assert [result for result in check(page.DynamicK, extras=(page.Shape(),)) if not result.passed] == []


def test_the_loss_of_the_page_teaches(page: ModuleType) -> None:
    batch = random_problem(Head(), seed=0, classes=3, counts=(3, 2))
    view = batch.view(page.loss)
    losses = objective(assign(page.DynamicK(Setting(classes=3)), view), view, ())
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), batch.leaves())
    assert all(bool(one.isfinite().all()) and bool(one.abs().sum() > 0) for one in gradients)


@dataclass(frozen=True)
class Row:
    """A field of a type, as a table of the page has it."""

    type: type
    field: str
    cells: Mapping[str, str]  # by column


def rows() -> Iterator[Row]:
    """Tables whose first column is headed by a type: one row a field; a row may name several."""
    for table in re.findall(r"(?:^\|.*\n)+", STRATEGIES, flags=re.MULTILINE):
        head, _, *body = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines())
        name = head[0].strip("`")
        kind = getattr(core, name, getattr(parts, name, None))
        if inspect.isclass(kind):
            for cells in body:
                for field in re.findall(r"`(\w+)`", cells[0]):
                    yield Row(kind, field, dict(zip(head[1:], cells[1:], strict=True)))


ROWS = list(rows())


def public(kind: type) -> set[str]:
    """Fields, properties and, of an extra, attributes of the class."""
    own = {one.name for one in fields(kind)} if is_dataclass(kind) else set()
    own |= {name for name, one in vars(kind).items() if isinstance(one, property | cached_property)}
    own |= {name for name in getattr(kind, "__annotations__", {}) if kind is not Assigner}
    return {name for name in own if not name.startswith("_")}


def test_tables_name_every_field_and_no_other() -> None:
    kinds = {row.type for row in ROWS}
    named = {"Targets", "Priors", "Predictions", "PairView", "PairViews", "Assignment", "Pairs", "Discounts"}
    named |= {"Normalisers", "Setting", "Head", "Branch", "Extra", "Cost", "RawOutputs", "PairLoss", "ClassLoss"}
    assert {kind.__name__ for kind in kinds} == named | {"BoxLoss", "Preset"}
    for kind in kinds:
        listed = [row.field for row in ROWS if row.type is kind]
        assert len(listed) == len(set(listed)), kind
        assert set(listed) == public(kind), kind


def test_tables_say_what_is_left_out() -> None:
    names = {**vars(parts), **vars(core)}
    checked = 0
    for row in ROWS:
        told = row.cells.get("left out", "")
        if told.startswith("`"):
            given = {one.name: one for one in fields(row.type)} if is_dataclass(row.type) else {}
            if row.field in given:
                one = given[row.field]
                default = one.default if one.default_factory is MISSING else one.default_factory()
            else:
                default = getattr(row.type, row.field)
                default = None if isinstance(default, property) else default
            assert eval(told.strip("`"), names) == default, row  # noqa: S307
            checked += 1
    assert checked > 35


def seen() -> dict[type, Any]:
    """One of each type that a table describes by shapes."""
    head = Head(extras=(*Head().extras, parts.ImplicitObjectness(), Wide()))
    batch = random_problem(head, seed=0, classes=3, counts=(4, 2))
    priors = batch.priors.padded(torch.tensor([[128, 160], [96, 96]]))
    view = replace(batch.view(), priors=priors)
    record = assign(DW(Setting(classes=3)), view)
    record = replace(
        record,
        background=torch.ones(2, len(priors)),
        losses={"own": torch.tensor(1.0, requires_grad=True)},
        normalisers=replace(record.normalisers, unpaired=torch.tensor(1.0)),
        pairs=replace(record.pairs, quality=torch.ones(len(record.pairs))),
    )
    one = torch.tensor(1.0, requires_grad=True)
    instances = (batch.targets, priors, view.predictions, view(record.pairs.object, record.pairs.location), record)
    raw = replace(batch.raw, priors=priors.boxes.expand(2, -1, -1))
    cost = parts.Cost(one, (one.detach(), one.detach()))
    instances = (*instances, record.pairs, record.discounts, record.normalisers, raw, cost)
    return {type(each): each for each in instances}


class Wide(Extra):
    """Two channels."""

    name = "wide"
    channels = 2

    def loss(self, assignment: Assignment, view: Any) -> None:
        return


def tensors(value: Any) -> list[Tensor]:
    """A tensor, or those of a mapping or tuple."""
    if isinstance(value, Tensor):
        return [value]
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    return [one for one in values if isinstance(one, Tensor)]


def test_tables_say_shape_dtype_and_gradient() -> None:
    instances = seen()
    targets, priors = instances[core.Targets], instances[core.Priors]
    sizes = {"object": len(targets), "image": 2, "location": len(priors), "class": 3, "channel": 2}
    sizes |= {"pair": len(instances[Pairs]), "entry": len(instances[Discounts])}
    checked = 0
    for row in ROWS:
        shapes = re.findall(r"`\[(.*?)\]`", row.cells.get("shape", ""))
        if not shapes:
            continue
        told = [[axis for axis in shape.split(", ") if axis] for shape in shapes]
        told += [[*told[0], "channel"]] if row.field == "extras" else []  # which the last column says
        values = tensors(getattr(instances[row.type], row.field))
        assert values, row
        for value in values:
            fits = [
                axes
                for axes in told
                if len(axes) == value.ndim
                and all(int(a) == n if a.isdigit() else sizes.get(a, n) == n or row.field == "pyramid"
                        for a, n in zip(axes, value.shape, strict=True))
            ]  # fmt: skip
            assert fits, (row, value.shape)
            assert str(value.dtype) == f"torch.{row.cells['dtype']}", row
            if row.type not in RETURNED:  # of those, see below
                assert value.requires_grad == (row.cells["gradient"] == "yes"), row
        checked += 1
    assert checked > 60


RETURNED = (Pairs, Discounts, Normalisers, Assignment)
MAY_CARRY = [row for row in ROWS if row.type in RETURNED and row.cells["dtype"] == "float32"]


@pytest.mark.parametrize("row", MAY_CARRY, ids=lambda row: f"{row.type.__name__}.{row.field}")
def test_tables_say_what_is_refused(row: Row) -> None:
    instance = seen()[row.type]
    value = getattr(instance, row.field)
    if isinstance(value, Tensor):
        change: Any = value.detach().clone().requires_grad_()
    else:
        change = {name: one.detach().clone().requires_grad_() for name, one in value.items()}
    if row.cells["gradient"] == "no":
        with pytest.raises(ValueError, match="must not carry gradient"):
            replace(instance, **{row.field: change})
    else:
        replace(instance, **{row.field: change})


def test_the_page_names_the_whole_vocabulary() -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]*)`", STRATEGIES))))
    assert set(core.__all__) - words == set()


def test_every_finding_is_explained() -> None:
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    for kind in KINDS:
        run = "refuses it" if kind.severity is Severity.ERROR else f"{kind.how}: {kind.done}" if kind.done else "–"
        assert f"| `{kind.name}` ({kind.severity}) | {kind.meaning} | {run} | {kind.remedy or '–'} |" in page
