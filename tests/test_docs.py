"""The documentation's promises: its code runs, its tables are the types, its commands and files exist."""

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
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

import assignbench
from assignbench import core
from assignbench.cli.commands.new import STRATEGY, read, renamed
from assignbench.cli.main import INTERRUPTED, app
from assignbench.config import known_recipes, settings
from assignbench.contract.laws import check
from assignbench.core import Assigner, Assignment, Discounts, Extra, Head, Normalisers, Pairs, Setting, assign, parts
from assignbench.data.read.findings import KINDS
from assignbench.detector.objective import objective
from assignbench.errors import DataError, DeviceFault, RunError, Stopped, SystemProblem, UsageError
from assignbench.options import check_options
from assignbench.plugins import load_class, resolve
from assignbench.run.results.record import RunRecord
from assignbench.strict_yaml import read_yaml
from assignbench.synthetic import random_problem
from assigners.dw import DW

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MADE = set(DOCS.glob("strategies/*.md")) - {
    DOCS / "strategies" / "index.md"
}  # when the site is built, from the strategies
PAGES = sorted({*ROOT.glob("*.md"), *DOCS.glob("**/*.md")} - MADE)
EXTEND = (
    "interface",
    "examples",
    "losses",
    "extras",
    "heads",
    "learning",
    "presets",
    "laws",
    "vocabulary",
)  # as it is read
READ = [DOCS / "start" / "first-strategy.md", *(DOCS / "extend" / f"{name}.md" for name in EXTEND)]
READ = [*READ, DOCS / "guide" / "tiny-objects.md"]
STRATEGIES = "\n".join(page.read_text(encoding="utf-8") for page in READ)  # how to write a strategy


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {page.name for page in PAGES}
    assert {page.parent.name for page in PAGES} >= {"start", "guide", "strategies", "extend", "reference", "background"}


def test_the_example_strategy_keeps_the_contract(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", READ[0].read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code == renamed(read(STRATEGY), "nearest", "Nearest")  # what `assignbench new nearest` writes
    assert len(code.splitlines()) <= 60
    (tmp_path / "nearest.py").write_text(code, encoding="utf-8")
    strategy = resolve(f"{tmp_path / 'nearest.py'}:Nearest[k=5]")
    cls = load_class(strategy)
    assert [result for result in check(cls, check_options(cls, strategy.options)) if not result.passed] == []


def named(page: Path) -> str:
    """What a test calls a page."""
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Files of the repository that a page leads to, each with the heading there, empty for the whole file."""
    for link in re.findall(
        r"\]\(((?!http)[^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    ):
        file, _, heading = link.partition("#")
        yield (page.parent / file).resolve() if file else page, heading


def headings(page: Path) -> set[str]:
    """The headings of a page as links name them, on GitHub and on the site."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = set(typer.main.get_group(app).commands)  # type: ignore[attr-defined]
    blocks = "".join(re.findall(r"```.*?```", text, flags=re.DOTALL))
    commands = set(re.findall(r"^\s*assignbench ([a-z]+)", blocks, flags=re.MULTILINE))
    commands |= set(re.findall(r"(?:^ {4,}|`|&& )assignbench ([a-z]+)", text, flags=re.MULTILINE))
    assert commands <= known
    for file, heading in links(page):
        assert file.exists(), file
        assert not heading or heading in headings(file), (file, heading)


def test_pages_that_code_names_exist() -> None:
    files = [
        file for kind in ("assignbench/**/*.py", "assigners/**/*.py", "configs/**/*.yaml") for file in ROOT.glob(kind)
    ]
    texts = [file.read_text(encoding="utf-8") for file in files]
    named_pages = {page for text in texts for page in re.findall(r"\bdocs/[\w/-]+\.md", text)}
    named_pages |= {f"docs/{page}.md" for text in texts for page in re.findall(r"documentation\('([\w/-]+)'", text)}
    assert len(named_pages) >= 5
    assert {page for page in named_pages if not (ROOT / page).exists()} == set()


def test_every_page_is_reached_from_the_readme() -> None:
    reached, new = set(), {ROOT / "README.md"}
    while new:
        reached |= new
        new = {file for page in new for file, _ in links(page) if file.suffix == ".md"} - reached
        new = {page for page in new if page in PAGES}
    assert set(PAGES) - reached - {ROOT / "CHANGELOG.md"} == set()


def test_the_readme_fits_a_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_results_of_the_readme_are_those_of_the_report() -> None:
    report = (ROOT / "reports" / "field" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`\w+` \| .+? ± .+? \| .+?) \|$", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE
    )
    assert len(rows) >= 5
    assert [row for row in rows if f"| {row} |" not in report] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
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


# What is made from the code


@pytest.fixture(scope="module")
def from_code() -> ModuleType:
    """What makes pages from the code: a package beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        return importlib.import_module("from_code")


def site(*words: str) -> subprocess.CompletedProcess[str]:
    """Build a site, with every warning an error."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = site("-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "site"))
    assert (done.returncode, done.stderr) == (0, "")
    front = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    built = {page.relative_to(tmp_path / "site").as_posix() for page in (tmp_path / "site").glob("*/*.html")}
    assert built >= {
        named(page).removeprefix("docs/").replace(".md", ".html") for page in PAGES if page.parent.parent == DOCS
    }
    assert {page for page in built if not page.startswith("_") and f'href="{page}' not in front} == set()


def test_every_part_is_asked_for_and_every_marker_is_a_part(from_code: ModuleType) -> None:
    asked = [part for page in PAGES for part in from_code.MARKER.findall(page.read_text(encoding="utf-8"))]
    assert sorted(asked) == sorted(from_code.PARTS)
    with pytest.raises(KeyError, match="nothing"):
        from_code.filled("<!-- from the code: nothing -->")


def test_every_finding_is_explained(from_code: ModuleType) -> None:
    page = from_code.reference.findings()
    for kind in KINDS:
        cells = (f"`{kind.name}`", str(kind.severity), kind.meaning, kind.reading, kind.remedy or "–")
        assert f"| {' | '.join(cells)} |" in re.sub(r"\\(.)", r"\1", page)


def test_every_command_and_option_has_its_place(from_code: ModuleType) -> None:
    page = from_code.reference.commands()
    listed = re.findall(r"^\| `assignbench (.+?)` *(?:,.*)?\|", text_of("reference/commands.md"), flags=re.MULTILINE)
    first = {name for words in listed for name in re.findall(r"^[a-z]+", words)} | {"predict"}
    for words, command in from_code.reference.leaves(typer.main.get_command(app), ""):
        assert f"\n## `{words.strip()}`\n" in f"\n{page}", words
        assert words.split()[0] in first, words
        section = page.partition(f"## `{words.strip()}`")[2].partition("\n## ")[0]
        for option in command.params:
            assert option.hidden or option.param_type_name == "argument" or option.opts[0] in section, (
                words,
                option.opts,
            )


def test_every_setting_of_a_recipe_has_its_place(from_code: ModuleType) -> None:
    page = from_code.reference.recipe()
    assert [key for key in settings() if f"| `{key}` |" not in page] == []
    assert [name for name in known_recipes() if f"[`{name}`]" not in from_code.reference.recipes()] == []
    assert [name for name in known_recipes() if f"`{name}`" not in text_of("guide/recipes.md")] == []


def test_every_field_of_a_record_has_its_place(from_code: ModuleType) -> None:
    page = from_code.fields.fields_of_record()
    told = re.findall(r"^\| `(\w+)` \| `[^`]+` \| \S", page, flags=re.MULTILINE)  # with a meaning
    assert [name for name in RunRecord.model_fields if name not in told] == []


def test_every_exit_code_has_its_place() -> None:
    own = {kind.exit_code for kind in (RunError, UsageError, DataError, SystemProblem, DeviceFault, Stopped)}
    codes = {*own, INTERRUPTED, *map(int, re.findall(r"(\d+) [a-z]", app.info.epilog.partition("Exit codes:")[2]))} - {
        0
    }
    page = text_of("guide/troubleshooting.md")
    assert codes == set(map(int, re.findall(r"^## Exit code (\d+):", page, flags=re.MULTILINE)))
    assert codes | {0} == set(map(int, re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)))


def test_every_strategy_has_its_place(from_code: ModuleType) -> None:
    index = text_of("strategies/index.md")
    listed = re.findall(r"^\| \[`(\w+)`\]\(\.\./\.\./(assigners/\w+\.py)\) \| \S", index, flags=re.MULTILINE)
    strategies = from_code.strategies.strategies()
    assert dict(listed) == {name: from_code.strategies.file_of(cls) for name, cls in strategies.items()}
    assert len(listed) == len(strategies)


def test_the_page_of_a_strategy_says_what_its_file_says(from_code: ModuleType) -> None:
    page = from_code.strategies.strategy("fcos")
    assert "central     |x − x_n| < ρ·s  and  |y − y_n| < ρ·s" in page  # its formulas, as they are
    assert "[arXiv 1904.01355](https://arxiv.org/abs/1904.01355), Sections 3.1–3.2" in page
    assert "| a number: `radius >= 0` | `1.5` |" in page  # of an option, what the constructor requires, and the default
    assert "assignbench run --assigner 'fcos[radius=3.0]'" in page
    assert "| BCCD, three seeds | 34.9 ± 0.4 | +0.1 [−0.9, 1.1] |" in page
    assert "won = winners(" in page


def test_results_of_strategies_are_those_of_the_runs(from_code: ModuleType) -> None:
    for name in from_code.strategies.strategies():
        assert f"| `{name}` | {from_code.strategies.ap(name, 'bccd')} |" in text_of("../reports/field/README.md")


def test_a_command_of_a_strategys_page_is_one_that_it_takes(from_code: ModuleType) -> None:
    checked = 0
    for name, cls in from_code.strategies.strategies().items():
        one, other = re.findall(r"--assigner (\w+),(\w+) --seeds 0,1,2", from_code.strategies.strategy(name))[0]
        assert one == name != other
        for option in re.findall(rf"'{name}\[(.*?)\]'", from_code.strategies.strategy(name)):
            check_options(cls, resolve(f"{name}[{option}]").options)
            checked += 1
    assert checked == len(from_code.strategies.strategies())


def text_of(page: str) -> str:
    """A page of the documentation."""
    return (DOCS / page).read_text(encoding="utf-8")


# The project


def test_the_home_of_the_project_is_said_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    home = project["urls"]["Homepage"]
    assert all(url.startswith(home) for url in project["urls"].values())
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["repository-code"] == home
    assert str(citation["version"]) == project["version"] == assignbench.__version__
    assert citation["license"] == project["license"]


def test_continuous_integration_runs_what_is_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    job = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["ci"]
    assert job["strategy"]["matrix"]["python"] == promised
    assert project["requires-python"] == f">={promised[0]}"
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    assert "pip install -e '.[dev]' && pytest -n auto" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(project["optional-dependencies"]["docs"]) <= set(project["optional-dependencies"]["dev"])
