"""Foreign checkpoints: what is read of them, and that nothing in them runs."""

import argparse
import io
import os
import pickle  # noqa: TID251 - to write what strangers write
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from assignbench.detector.pickles import read_checkpoint
from assignbench.errors import DataError

FORMATS = ("zip", "legacy", "plain")


def write(path: Path, content: object, form: str = "zip") -> Path:
    if form == "plain":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")  # noqa: TID251 - what a user may have
    return path


class Calls:
    """Pickled, it is a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def some_tensors() -> dict[str, Tensor]:
    base = torch.arange(24.0)
    types_ = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8)
    return {
        "matrix": base.view(4, 6),
        "transposed": base.view(4, 6).t(),
        "part": base[5:11:2],
        "number": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "truths": torch.tensor([True, False]),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
        "parameter": nn.Parameter(torch.ones(2)),
        **{str(dtype): torch.tensor([-3, 5]).to(dtype) for dtype in types_},
    }


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_tensors_come_back_as_they_were(tmp_path, form, key):
    tensors = some_tensors()
    state = OrderedDict(tensors)
    found = read_checkpoint(write(tmp_path / "a.pth", {key: state, "epoch": 3} if key else state, form)).tensors
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
    assert found["matrix"].data_ptr() == found["transposed"].data_ptr()  # one storage, as before


def test_a_prefix_common_to_all_names_is_dropped(tmp_path):
    both = {"module.a": torch.ones(1), "module.b": torch.ones(1)}
    assert read_checkpoint(write(tmp_path / "a.pth", both)).tensors.keys() == {"a", "b"}
    assert "module.a" in read_checkpoint(write(tmp_path / "b.pth", both | {"c": torch.ones(1)})).tensors


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_pickles(tmp_path, protocol):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big": np.arange(3, dtype=">f4"),
        "number": np.float32(2.5),
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "someone"}, protocol))
    found = read_checkpoint(tmp_path / "a.pkl").tensors
    for name, array in arrays.items():
        assert found[name].numpy().shape == array.shape
        assert (found[name].numpy() == array).all(), name


def test_an_array_as_python_2_wrote_it(tmp_path):
    """Detectron's own files, opcode by opcode: protocol 2, bytes as a string (T, or U up to 255)."""
    array = np.arange(70, dtype=np.float32)
    raw = array.tobytes()
    reconstructed = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    float32 = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01K" + bytes([70]) + b"\x85" + float32 + b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    (tmp_path / "R-50.pkl").write_bytes(b"\x80\x02}U\x05blobs}U\x07conv1_w" + reconstructed + state + b"ss.")
    assert read_checkpoint(tmp_path / "R-50.pkl").tensors["conv1_w"].tolist() == array.tolist()


def test_arrays_of_objects_are_not_numbers(tmp_path):
    with pytest.raises(DataError, match=r"not a checkpoint .*an array of O8, which are no numbers"):
        read_checkpoint(write(tmp_path / "a.pkl", {"names": np.array(["x", None], object)}, "plain"))


def test_safetensors(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors").tensors["a"], torch.ones(2))
    (tmp_path / "b.safetensors").write_bytes(b"\xff" * 30)
    with pytest.raises(DataError, match=r"b\.safetensors is damaged"):
        read_checkpoint(tmp_path / "b.safetensors")


def test_what_mmdetection_says_of_a_file(tmp_path):
    state = {"state_dict": {"a": torch.ones(1)}}
    old = {"CLASSES": ("cat", "dog"), "mmdet_version": "2.25.0", "config": "model = dict()", "time": defaultdict(list)}
    found = read_checkpoint(write(tmp_path / "old.pth", state | {"meta": old}))
    assert (found.classes, found.version, found.config) == (("cat", "dog"), "mmdet 2.25.0", "model = dict()")

    new = {"dataset_meta": {"classes": ["cat"], "palette": [(1, 2, 3)]}, "cfg": "x", "mmengine_version": "0.7.0"}
    found = read_checkpoint(write(tmp_path / "new.pth", state | {"meta": new}))
    assert (found.classes, found.version, found.config) == (("cat",), "mmengine 0.7.0", "x")

    found = read_checkpoint(write(tmp_path / "odd.pth", state | {"meta": {"CLASSES": [1, 2], "config": 3}}))
    assert (found.classes, found.version, found.config) == (None, None, None)


@pytest.fixture
def strange():
    """A toolbox that exists while a file is written, and no longer when it is read; its classes are mmengine's."""
    module = types.ModuleType("strange_toolbox")
    sys.modules["strange_toolbox"] = module

    class HistoryBuffer:
        def __init__(self) -> None:
            self.statistics_methods = {"mean": HistoryBuffer.mean}  # protocol 2 names it with getattr
            self.log_history = np.arange(3.0)

        def mean(self) -> None: ...

    class ConfigDict(dict):
        pass

    class Slots:
        __slots__ = ("a",)

        def __init__(self) -> None:
            self.a = 1

    for cls in (HistoryBuffer, ConfigDict, Slots):
        cls.__module__, cls.__qualname__ = "strange_toolbox", cls.__name__
        setattr(module, cls.__name__, cls)
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = "strange_toolbox", "HistoryBuffer.mean"
    yield module
    sys.modules.pop("strange_toolbox", None)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_what_a_training_leaves_beside_its_tensors_is_skipped(tmp_path, strange, form):
    content = {
        "state_dict": {"a": torch.ones(2)},
        "message_hub": {"log_scalars": OrderedDict(loss=strange.HistoryBuffer()), "runtime_info": {"epoch": 12}},
        "meta": {
            "cfg": "model = dict()",
            "dataset_meta": {"classes": ("cat",)},
            "config": strange.ConfigDict(a=1, b=strange.ConfigDict(c=[strange.Slots()])),
            "args": argparse.Namespace(seed=3),
            "times": defaultdict(list, data=[np.float64(2), np.int64(3)]),
            "others": [
                Path("/x"),
                {1, 2},
                frozenset({3}),
                complex(1, 2),
                b"",
                b"\xff\x00",
                range(3),
                datetime.now(UTC),
            ],
            "torch": [torch.device("cpu"), torch.Size([1, 2]), torch.float32, torch.__version__],
        },
    }
    file = write(tmp_path / "epoch_12.pth", content, form)
    del sys.modules["strange_toolbox"]
    found = read_checkpoint(file)
    assert found.tensors["a"].tolist() == [1, 1]
    assert (found.classes, found.config) == (("cat",), "model = dict()")
    assert "strange_toolbox" not in sys.modules


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("place", ["top", "tensor", "meta"])
@pytest.mark.parametrize("name", ["system", "eval", "exec", "import"])
def test_a_file_that_would_run_code_is_refused_by_name(tmp_path, form, place, name):
    marker = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    call, full = {
        "system": (Calls(os.system, f"touch {marker}"), f"{os.system.__module__}.system"),
        "eval": (Calls(eval, code), "builtins.eval"),
        "exec": (Calls(exec, code), "builtins.exec"),
        "import": (Calls(__import__, "os"), "builtins.__import__"),
    }[name]
    state: dict[str, object] = {"a": np.ones(2)}
    content: object = call
    if place == "tensor":
        content = {"state_dict": state | {"b": call}}
    if place == "meta":
        content = {"state_dict": state, "meta": {"CLASSES": ("x",), "hooks": [{"deep": (1, call)}]}}
    file = write(tmp_path / "bad.pth", content, form)
    with pytest.raises(DataError) as refusal:
        read_checkpoint(file)
    assert str(refusal.value) == f"{file} would run {full} when opened; refused, nothing was run"
    assert not marker.exists()

    if form == "plain":  # the file is what it is thought to be
        pickle.loads(file.read_bytes())  # noqa: S301 - written above
        assert marker.exists() or name == "import"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("__builtin__", "eval"),
        ("importlib", "import_module"),
        ("functools", "partial"),
        ("pickle", "loads"),
        ("torch", "load"),
        ("torch", "os.system"),
        ("torch.nn", "Module.load_state_dict"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.hub", "load"),
        ("torch.jit", "load"),
        ("torch.serialization", "load"),
        ("numpy", "load"),
        ("numpy.testing", "runstring"),
        ("numpy.f2py", "compile"),
    ],
)
@pytest.mark.parametrize("form", ["zip", "plain"])
def test_names_that_merely_appear_are_refused(tmp_path, module, name, form):
    data = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"."
    file = tmp_path / "a.pth"
    if form == "plain":
        file.write_bytes(data)
    else:
        archive(file, data, {})
    with pytest.raises(DataError, match=r"a\.pth would run \S+ when opened; refused, nothing was run"):
        read_checkpoint(file)


def test_a_file_cannot_change_how_later_ones_are_read(tmp_path):
    for name in ("torch._utils _rebuild_tensor_v2", "collections OrderedDict", "numpy dtype", "torch FloatStorage"):
        for state in (b"}U\x03runU\x01xs", b"N}U\x03runU\x01xs\x86"):  # attributes, then slots
            (tmp_path / "a.pkl").write_bytes(b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n" + state + b"b.")
            with pytest.raises(DataError):
                read_checkpoint(tmp_path / "a.pkl")
    assert torch.equal(read_checkpoint(write(tmp_path / "b.pth", {"a": torch.ones(3)})).tensors["a"], torch.ones(3))


class Claim:
    """A storage of the archive that `archive` writes."""

    def __init__(self, key: str, count: int) -> None:
        self.key, self.count = key, count


def archive(path: Path, content: object, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Torch's archive of any content; bytes are the pickle itself."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            return ("storage", torch.FloatStorage, obj.key, "cpu", obj.count) if isinstance(obj, Claim) else None

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("root/data.pkl", content if isinstance(content, bytes) else buffer.getvalue())
        file.writestr("root/version", "3")
        for key, raw in storages.items():
            file.writestr(f"root/data/{key}", raw)
    return path


def claimed(offset: int, size: tuple[int, ...], stride: tuple[int, ...], count: int = 4) -> Calls:
    return Calls(torch._utils._rebuild_tensor_v2, Claim("0", count), offset, size, stride, False, OrderedDict())


def test_a_tensor_within_its_storage(tmp_path):
    raw = np.arange(4, dtype=np.float32).tobytes()
    file = archive(tmp_path / "a.pth", {"a": claimed(1, (3,), (1,)), "b": claimed(3, (5,), (0,))}, {"0": raw})
    found = read_checkpoint(file).tensors
    assert found["a"].tolist() == [1, 2, 3]
    assert found["b"].tolist() == [3] * 5


@pytest.mark.parametrize(
    ("offset", "size", "stride", "count"),
    [
        (0, (5,), (1,), 4),
        (4, (1,), (1,), 4),
        (0, (2, 2), (4, 1), 4),
        (0, (3,), (1,), 2),
        (-1, (1,), (1,), 4),
        (3, (2,), (-1,), 4),
        (0, (-1,), (1,), 4),
        (0, (2**40, 2**40), (0, 0), 4),
        (0, (1,), (1,), -4),
    ],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_tensor_that_reaches_outside_is_refused(tmp_path, offset, size, stride, count, compression):
    content = {"weight": claimed(offset, size, stride, count)}
    file = archive(tmp_path / "a.pth", content, {"0": bytes(16)}, compression)
    with pytest.raises(DataError, match=r"a\.pth is (damaged or )?not a checkpoint"):
        read_checkpoint(file)


def test_an_archive_that_was_packed_again(tmp_path):
    raw = np.arange(4, dtype=np.float32).tobytes()
    file = archive(tmp_path / "a.pth", {"a": claimed(0, (4,), (1,))}, {"0": raw}, zipfile.ZIP_DEFLATED)
    assert read_checkpoint(file).tensors["a"].tolist() == [0, 1, 2, 3]


def test_a_damaged_tensor_is_said(tmp_path):
    file = archive(tmp_path / "a.pth", {"a": claimed(0, (4,), (1,))}, {"0": b"\x01" * 16})
    file.write_bytes(file.read_bytes().replace(b"\x01" * 16, b"\x01" * 15 + b"\x02"))
    with pytest.raises(DataError, match="root/data/0 in it is damaged"):
        read_checkpoint(file)
    with pytest.raises(DataError, match="damaged"):
        read_checkpoint(archive(tmp_path / "b.pth", {"a": claimed(0, (4,), (1,))}, {}))


def test_the_other_byte_order(tmp_path):
    raw = np.arange(4, dtype=np.float32)
    file = archive(tmp_path / "a.pth", {"a": claimed(0, (4,), (1,))}, {"0": raw.byteswap().tobytes()})
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr("root/byteorder", "big" if sys.byteorder == "little" else "little")
    assert read_checkpoint(file).tensors["a"].tolist() == raw.tolist()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"<html>not found</html>",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04 and nothing more",
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a memo of 2**31 entries
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x3f.",  # 2**62 bytes
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x3f.",  # a frame of 2**62 bytes
        pickle.dumps([1, 2]),
        pickle.dumps({"a": 1}),
        pickle.dumps({"model": {"a": "text"}}),
        pickle.dumps(0x1950A86A20F9469CFC6C),
    ],
)
def test_what_is_no_checkpoint_is_said_in_a_sentence(tmp_path, data):
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.pth is (damaged or )?not a checkpoint") as error:
        read_checkpoint(tmp_path / "a.pth")
    assert len(str(error.value).splitlines()) == 1


def test_no_file_and_no_torch_archive(tmp_path):
    with pytest.raises(DataError, match=r"none\.pth cannot be read: No such file"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(DataError, match="cannot be read"):
        read_checkpoint(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="was not written by torch"):
        read_checkpoint(tmp_path / "a.zip")


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> dict[str, bytes]:
    """Small whole checkpoints of each format; of the archive its pickle, whose bytes no checksum guards."""
    folder = tmp_path_factory.mktemp("valid")
    tensors = {"state_dict": OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.ones(2).half())}
    meta = {"meta": {"CLASSES": ("cat",), "x": {1: [Path("/y"), np.arange(2)]}}}
    forms = {form: write(folder / form, tensors | meta, form).read_bytes() for form in ("zip", "legacy")}
    with zipfile.ZipFile(io.BytesIO(forms["zip"])) as file:
        inner = next(name for name in file.namelist() if name.endswith("data.pkl"))
        pickled = file.read(inner)
    return forms | {"inner": pickled, "plain": pickle.dumps({"model": {"a": np.arange(6.0)}} | meta)}


@pytest.mark.parametrize("form", ["zip", "inner", "legacy", "plain"])
@settings(max_examples=150, derandomize=True, deadline=None)
@given(data=st.data())
def test_no_damage_makes_a_traceback(tmp_path_factory, valid, form, data):
    damaged = bytearray(valid[form])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    file = tmp_path_factory.getbasetemp() / f"damaged-{form}"
    if form == "inner":
        with zipfile.ZipFile(file, "w") as opened:
            opened.writestr("r/data.pkl", bytes(damaged))
            opened.writestr("r/version", "3")
            opened.writestr("r/data/0", bytes(24))
            opened.writestr("r/data/1", bytes(4))
    else:
        file.write_bytes(damaged)
    try:
        assert read_checkpoint(file).tensors
    except DataError as error:
        assert str(file) in str(error)  # noqa: PT017 - either a checkpoint or this
