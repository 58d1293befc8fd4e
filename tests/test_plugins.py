import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from assignbench.core import Assigner, Extra, Setting
from assignbench.core.parts import Centerness, PredictedIoU
from assignbench.errors import AssignbenchWarning, UsageError
from assignbench.options import check_options
from assignbench.plugins import (
    GROUP,
    construct,
    extras_named,
    known_strategies,
    load_class,
    resolve,
    resolve_all,
    source_digest,
)

ROOT = Path(__file__).parents[1]

STRATEGY = '''"""A strategy."""
from dataclasses import dataclass

from assignbench.core import Assigner, Head

# a comment
@dataclass
class Detail:
    size: float = 0.5


class Mine(Assigner):
    """Mine."""

    head = Head()

    def __init__(self, setting, *, k: int = 9) -> None:
        super().__init__(setting)
        if k < 1:
            raise ValueError("k must be at least 1")
        self.k = k

    def forward(self, predictions, priors, targets):
        raise NotImplementedError


class Half(Assigner):
    pass


class Curious(Assigner):
    def forward(self, targets, weather):
        raise NotImplementedError


class Other:
    pass
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(STRATEGY)
    return file


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def install(name: str, version: str = "1.0", folder: str = "site", **points: str) -> Path:
        site = tmp_path / folder
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{point} = {target}" for point, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
        monkeypatch.syspath_prepend(str(site))
        return site

    return install


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as error:
        action()
    return str(error.value)


def test_every_built_in_entry_point_is_a_strategy():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = project["entry-points"][GROUP]
    assert set(targets) >= {"plain", "retinanet", "fcos", "atss", "freeanchor", "autoassign"}
    for name, target in targets.items():
        assert issubclass(resolve(target).load(), Assigner), name


def test_name_from_an_entry_point(install, plugin):
    site = install("my-strategies", "2.1", nearest_k="nearest_k_module:Mine")
    (site / "nearest_k_module.py").write_text(STRATEGY)
    found = resolve("nearest_k[k=3]")
    assert (found.label, found.name, found.options) == ("nearest_k[k=3]", "nearest_k", {"k": 3})
    assert (found.origin, found.version, found.text) == ("my-strategies 2.1", "2.1", "nearest_k[k=3]")
    assert found.load().__name__ == "Mine"
    assert ("nearest_k", "my-strategies", "2.1") in {
        (known.name, known.distribution, known.version) for known in known_strategies()
    }


def test_two_distributions_with_one_name(install):
    install("one", nearest_k="a:A")
    install("two", "3.0", nearest_k="b:B", alone="b:B")
    message = refused(lambda: resolve("nearest_k"))
    assert "'nearest_k' is claimed by one 1.0 (a:A) and two 3.0 (b:B)" in message
    assert "module:Class" in message
    assert [known.origin for known in known_strategies() if known.name == "nearest_k"] == [
        "one 1.0",
        "two 3.0",
    ]
    assert resolve("alone").target == "b:B"  # what is unambiguous stays usable


def test_one_distribution_found_twice_is_no_clash(install):
    install("my-one", folder="editable", nearest_k="a:A")
    install("My_One", folder="installed", nearest_k="a:A")
    assert resolve("nearest_k").target == "a:A"


def test_unknown_name(install):
    install("one", nearest_k="a:A")
    message = refused(lambda: resolve("nearest"))
    assert message.startswith("no strategy is called 'nearest'; did you mean nearest_k?\nknown: ")
    assert "nearest_k (one 1.0)" in message


def test_nothing_installed(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    assert known_strategies() == ()
    assert "pip install" in refused(lambda: resolve("atss"))


def test_file(plugin, monkeypatch):
    found = resolve(f"{plugin}:Mine[k=3]")
    assert found.label == "mine.py:Mine[k=3]"
    assert (found.origin, found.version) == (str(plugin), None)
    assert resolve(found.text) == found
    monkeypatch.chdir(plugin.parent)
    assert resolve("mine.py:Mine[k=3]") == resolve("./mine.py:Mine[k=3]") == found
    monkeypatch.setenv("HOME", str(plugin.parent))
    assert resolve("~/mine.py:Mine[k=3]") == found


def test_two_files_of_one_name_do_not_collide(plugin, tmp_path):
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(STRATEGY)
    first, again, second = (resolve(f"{file}:Mine").load() for file in (plugin, plugin, other))
    assert first is again
    assert first is not second
    assert first.__module__ != second.__module__


def test_a_changed_file_is_imported_anew(plugin):
    first = resolve(f"{plugin}:Mine").load()
    plugin.write_text(STRATEGY.replace("k: int = 9", "k: int = 5"))
    assert resolve(f"{plugin}:Mine").load() is not first


def test_module(monkeypatch, plugin):
    monkeypatch.syspath_prepend(str(plugin.parent))
    plugin.rename(plugin.with_name("my_own_module.py"))
    found = resolve("my_own_module:Mine")
    assert (found.label, found.origin) == ("my_own_module:Mine", "module my_own_module")
    assert found.load().__name__ == "Mine"


@pytest.mark.parametrize("text", ["a:", ":A", "a:b c", ".a:A", "a b:A", "a.:A"])
def test_unreadable_text(text):
    assert "cannot be read; write name, module:Class or file.py:Class" in refused(lambda: resolve(text))


def test_file_problems(plugin):
    assert f"which class of the file? Write {plugin}:" in refused(lambda: resolve(str(plugin)))
    assert "there is no file" in refused(lambda: resolve("nowhere.py:A"))
    for name, message in (
        ("Min", "no class 'Min' in"),
        ("Min", "did you mean Mine?\nstrategies in it: Mine, Half, Curious"),
        ("Half", "mine.py:Half: Half is abstract; it lacks forward"),
        (
            "Curious",
            (
                "mine.py:Curious: Curious.forward asks for 'weather'; "
                "a strategy may ask for targets, priors, predictions, view, branches and progress"
            ),
        ),
        ("Other", "Other is not a strategy; derive it from assignbench.core.Assigner"),
        ("STRATEGY", "no class 'STRATEGY'"),
    ):
        assert message in refused(resolve(f"{plugin}:{name}").load)
    assert "no class 'dumps' in json\nstrategies in it: none" in refused(resolve("json:dumps").load)
    assert "there is no module 'nowhere'" in refused(resolve("nowhere.at_all:A").load)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero ({file}:2)"),
        ("def f(:\n", "SyntaxError: invalid syntax ({file}:1)"),
        ("\nimport not_there\n", "ModuleNotFoundError: No module named 'not_there' ({file}:2)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 ({file}:2)"),
        ("from assignbench.core import Assignor\n", "ImportError: cannot import name 'Assignor'"),
        ("import json\njson.loads('{')\n", "({file}:2)"),
        ("raise RuntimeError\n", "RuntimeError: no message ({file}:1)"),
    ],
)
def test_an_import_that_fails_is_explained(plugin, content, reason):
    plugin.write_text(content)
    message = refused(resolve(f"{plugin}:Mine").load)
    assert message.startswith(f"mine.py:Mine (from {plugin}) cannot be imported\n")
    assert reason.format(file=plugin) in message
    assert len(message.splitlines()) == 2


def test_interrupt_is_not_a_broken_plugin(plugin):
    plugin.write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        resolve(f"{plugin}:Mine").load()


def test_construct(plugin):
    setting = Setting(classes=3)
    cls = load_class(resolve(f"{plugin}:Mine"))
    assert construct(cls, {"k": 3}, setting).k == 3  # type: ignore[attr-defined]
    assert "Mine: k must be at least 1" in refused(lambda: construct(cls, {"k": 0}, setting))
    assert "mine.py:" in refused(lambda: construct(cls, {"k": None}, setting))


def test_extras(plugin):
    found = resolve(f"{plugin}:Mine[k=3]+iou+centerness")
    assert (found.label, found.name) == ("mine.py:Mine[k=3]+centerness+iou", "mine.py:Mine")
    assert found.extras == ("centerness", "iou")
    assert found.text == f"{plugin}:Mine[k=3]+centerness+iou"
    assert resolve(found.text) == found
    cls, setting = found.load(), Setting(classes=3)
    extras = extras_named(found.extras)
    assert construct(cls, {}, setting, extras).head == replace(cls.head, extras=(Centerness(), PredictedIoU()))
    assert cls.head.extras == ()  # the class is as it was


def test_extras_that_do_not_fit(plugin):
    cls, setting = load_class(resolve(f"{plugin}:Mine")), Setting(classes=3)
    message = refused(lambda: extras_named(("centernes",)))
    assert message.startswith("no extra output is called 'centernes'; did you mean centerness?\nknown: implicit_obj")
    cls.head = replace(cls.head, extras=(Joins(), Centerness()))
    message = refused(lambda: construct(cls, {}, setting, extras_named(("centerness",))))
    assert message == "Mine: it has the extra output centerness already; leave out +centerness"
    message = refused(lambda: construct(cls, {}, setting, extras_named(("implicit_objectness",))))
    assert message == "Mine: only one extra may join the class probability, not own_objectness and implicit_objectness"


@dataclass(frozen=True)
class Joins(Extra):
    """A stranger's extra output."""

    name: ClassVar[str] = "own_objectness"
    joins_class: ClassVar[bool] = True

    def loss(self, assignment, predictions, priors, targets):
        """Nothing."""
        return


def digest_of(file: Path, content: str) -> str:
    file.write_text(content)
    return source_digest(resolve(f"{file}:Mine"))


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# a comment", "# another, longer", True),
        ('"""Mine."""', '"""Mine, explained."""', True),
        ('"""A strategy."""\n', "", True),
        ("size: float = 0.5", "size: float=0.50", True),
        ("\n\nclass Half", "\n\n\n\nclass Half", True),
        ("k: int = 9", "k: int = 8", False),
        ("size: float = 0.5", "size: float = 0.25", False),
        ("k < 1", "k <= 1", False),
        ("self.k = k", "self.k = -k", False),
        ("k must be at least 1", "k is too small", False),
        ("class Other:\n    pass", "class Other:\n    a = None", False),
        ("k: int = 9", "k: int = True", False),
    ],
)
def test_source_digest_is_about_meaning(plugin, old, new, same):
    assert old in STRATEGY
    assert (digest_of(plugin, STRATEGY) == digest_of(plugin, STRATEGY.replace(old, new))) is same


def test_source_digest_tells_one_from_true_and_one_point_zero(plugin):
    digests = {digest_of(plugin, STRATEGY.replace("= 9", f"= {value}")) for value in ("1", "1.0", "True", "'1'")}
    assert len(digests) == 4


def test_a_class_without_a_file_has_no_digest(plugin, monkeypatch):
    module = ModuleType("ghosts")
    ghost = resolve(f"{plugin}:Mine").load()
    module.Ghost = type("Ghost", (ghost,), {"__module__": "nowhere"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ghosts", module)
    assert "has no source file" in refused(lambda: source_digest(resolve("ghosts:Ghost")))


def test_a_file_that_is_never_run_but_cannot_be_read_is_named(plugin):
    plugin.with_name("late.py").write_text("x = (\n")
    plugin.write_text(STRATEGY + "\n\ndef function():\n    import late\n")
    message = refused(lambda: source_digest(resolve(f"{plugin}:Mine")))
    assert f"SyntaxError: '(' was never closed ({plugin.with_name('late.py')}:1)" in message


def test_a_built_in_name_goes_before_a_stranger_s(install):
    install("bold", "2.0", atss="bold:Mine")
    said = r"bold 2\.0 claims the name 'atss', which is assignbench's own; for theirs write bold:Mine"
    with pytest.warns(AssignbenchWarning, match=said):
        found = resolve("atss[k=5]")
    assert (found.target, found.origin.split()[0]) == ("assigners.atss:ATSS", "assignbench")


@pytest.mark.parametrize(
    ("target", "content", "reason"),
    [
        ("broken_point:Mine", "import not_there\n", "ModuleNotFoundError: No module named 'not_there'"),
        ("broken_point:Mine", "import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("broken_point:mine", "def mine(): ...\n", "no class 'mine' in broken_point"),
        ("broken_point:Mine", "def __getattr__(name):\n    raise RuntimeError('no')\n", "RuntimeError: no"),
        ("broken_point", "", "no class"),
        ("broken_point:Mine [extra]", "", "no class 'Mine' in broken_point"),
        ("not a module:Mine", "", "there is no module"),
    ],
)
def test_a_broken_entry_point_is_told_to_who_asks_for_it(install, monkeypatch, target, content, reason):
    (install("careless", broken_point_name=target) / "broken_point.py").write_text(content)
    monkeypatch.delitem(sys.modules, "broken_point", raising=False)
    assert resolve("atss").load().__name__ == "ATSS"
    message = refused(lambda: resolve("broken_point_name").load())
    assert "broken_point_name" in message
    assert reason in message


def test_a_constructor_that_ends_the_process_is_refused(plugin):
    plugin.write_text(STRATEGY.replace("raise ValueError", "raise SystemExit"))
    cls = load_class(resolve(f"{plugin}:Mine"))
    assert "SystemExit: k must be at least 1 (" in refused(lambda: construct(cls, {"k": 0}, Setting(classes=3)))


def test_a_file_without_a_class_is_every_strategy_in_it(plugin: Path) -> None:
    found = resolve_all(f"{plugin}[k=3]+iou")
    assert [one.label for one in found] == ["mine.py:Mine[k=3]+iou", "mine.py:Curious[k=3]+iou"]  # Half is abstract
    assert [one.label for one in resolve_all(f"{plugin}:Mine")] == ["mine.py:Mine"]
    assert [one.label for one in resolve_all("atss")] == ["atss"]
    plugin.write_text("x = 1\n")
    with pytest.raises(UsageError, match="no strategy in it"):
        resolve_all(str(plugin))
    with pytest.raises(UsageError, match="there is no such file"):
        resolve_all("nowhere.py")


HOLDER = '''
from assignbench.core import Assigner, Head


class Holder(Assigner):
    """Holds another strategy."""

    head = Head()

    def __init__(self, setting, *, inner: Assigner | None = None) -> None:
        super().__init__(setting)
        self.inner = inner

    def forward(self, targets):
        raise NotImplementedError
'''


def test_an_option_may_be_a_strategy(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("holder.py").write_text(HOLDER)
    Path("mine.py").write_text(STRATEGY)
    one = resolve("holder.py:Holder[inner='mine.py:Mine[k=3]+iou']")
    options = check_options(one.load(), one.options)
    assert options == {"inner": "mine.py:Mine[k=3]+iou"}
    inner = construct(one.load(), options, Setting(classes=2)).inner
    assert (type(inner).__name__, inner.k) == ("Mine", 3)
    assert [extra.name for extra in inner.head.extras] == ["iou"]
    assert construct(one.load(), check_options(one.load(), {"inner": None}), Setting(classes=2)).inner is None

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text, digest = one.text, source_digest(one)
    monkeypatch.chdir(elsewhere)
    assert source_digest(resolve(text)) == digest  # found from any folder
    (tmp_path / "mine.py").write_text(STRATEGY.replace("k must be", "and k must be"))
    assert source_digest(resolve(text)) != digest  # what it holds is part of it


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("5", "option inner = 5 must be a strategy: a name or file.py:Class"),
        ("nothing", "no strategy is called 'nothing'"),
        ("'atss[k=0]'", "ATSS: k must be at least 1"),
        ("'atss[q=1]'", "ATSS has no option 'q'"),
    ],
)
def test_an_option_that_is_no_strategy(tmp_path: Path, value: str, reason: str) -> None:
    (tmp_path / "holder.py").write_text(HOLDER)
    one = resolve(f"{tmp_path}/holder.py:Holder[inner={value}]")
    cls = one.load()
    with pytest.raises(UsageError, match=re.escape(reason)):
        construct(cls, check_options(cls, one.options), Setting(classes=2))
