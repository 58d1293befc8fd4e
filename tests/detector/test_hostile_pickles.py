"""Checkpoints made to end the process or fill the memory are refused in a sentence (fault 7).

Each is read in a process of its own, which may take half a gigabyte more than it has, and ten seconds.
"""

import io
import json
import pickle  # noqa: TID251 - to write what strangers write
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from assignbench.cli.main import main
from assignbench.detector.pickle_scan import OddPickleError, Scan, scan

HEAD = b"\x80\x02"
DEEP = 100_000
READ = """
import json, os, resource, signal, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from assignbench.detector.pickles import read_checkpoint
from assignbench.errors import DataError

results = {}
for file in sys.argv[1:]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 2**29, -1))
        signal.alarm(10)
        try:
            said = f"read: {[tuple(one.shape) for one in read_checkpoint(Path(file)).tensors.values()]}"
        except DataError as error:
            said = f"DataError: {error}"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode()[:5000])
        os._exit(0)
    os.close(writing)
    said = os.fdopen(reading, "rb").read().decode()
    status = os.waitpid(child, 0)[1]
    results[file] = [status, said]
print(json.dumps(results))
"""


def archive(file: Path, pickled: bytes, blocks: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(file, "w", compression) as written:
        written.writestr("a/data.pkl", pickled)
        written.writestr("a/byteorder", b"little")
        for key, block in blocks.items():
            written.writestr(f"a/data/{key}", block)
        written.writestr("a/version", b"3\n")


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def number(value: int) -> bytes:
    return b"\x8a" + bytes([(value.bit_length() // 8) + 1]) + value.to_bytes((value.bit_length() // 8) + 1, "little")


def name(dotted: str) -> bytes:
    module, _, one = dotted.rpartition(".")
    return f"c{module}\n{one}\n".encode()


def called(dotted: str, *arguments: bytes) -> bytes:
    return name(dotted) + b"(" + b"".join(arguments) + b"tR"


def filed(value: bytes) -> bytes:
    """A checkpoint with one entry."""
    return HEAD + b"}" + text("state_dict") + b"}" + text("w") + value + b"ss."


def nested(depth: int) -> bytes:
    return b"N" + b"\x85" * depth


def twice(times: int) -> bytes:
    """A tuple that holds another one twice, and so on: 2ᵗ values in t steps."""
    return b"N" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(times))


def block(count: int, key: bytes = text("0")) -> bytes:
    parts = text("storage") + name("torch.FloatStorage") + key + text("cpu") + number(count)
    return b"(" + parts + b"tQ"


def tensor(shape: int, stride: int, count: int = 4, key: bytes = text("0")) -> bytes:
    sizes = number(shape) + b"\x85" + number(stride) + b"\x85"
    return called("torch._utils._rebuild_tensor_v2", block(count, key), b"K\x00", sizes, b"\x89", b"}")


def array(shape: int, dtype: str, values: bytes, flags: int = 0, first: int = 0) -> bytes:
    made = called("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), number(first) + b"\x85", text("b"))
    kind = called("numpy.dtype", text(dtype), b"K\x00K\x01")
    kind += b"(K\x03" + text("<") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K" + bytes([flags]) + b"tb"
    return made + b"(K\x01" + number(shape) + b"\x85" + kind + b"\x89" + values + b"tb"


def hexed(times: int) -> bytes:
    value = called("_codecs.encode", text("ab" * 50), text("latin1"))
    for _ in range(times):
        value = called("_codecs.encode", value, text("hex"))
    return value


PICKLES: dict[str, bytes] = {
    "a tuple in a tuple and so on, as a key": HEAD + b"}" + nested(DEEP) + b"Ns.",
    "a tuple in a tuple, as a value": filed(nested(DEEP)),
    "a tuple in a tuple, in a set": filed(b"\x8f(" + nested(DEEP) + b"\x90"),
    "a tuple that holds another one twice": HEAD + b"}" + twice(60) + b"Ns.",
    "lists in lists": filed(b"]" * 9_999 + b"a" * 9_998),
    "dictionaries in dictionaries": filed((b"}" + text("a")) * 9_999 + b"N" + b"s" * 9_999),
    "a list of itself": filed(b"]q\x00h\x00a"),
    "marks alone": HEAD + b"(" * 9_999 + b".",
    "a value put far away": HEAD + b"}r\xfe\xff\xff\xff.",
    "a text longer than the file": HEAD + b"\x8d" + (2**50).to_bytes(8, "little") + b"a",
    "a frame longer than the file": b"\x80\x04\x95" + (2**50).to_bytes(8, "little") + b"}.",
    "a whole number of a million digits": HEAD + b"I" + b"9" * 1_000_000 + b"\n.",
    "bytes of any length": filed(called("builtins.bytes", number(2**36))),
    "a byte array of any length": filed(called("builtins.bytearray", number(2**36))),
    "an array of any length": filed(called("numpy.ndarray", number(2**36) + b"\x85")),
    "an array begun with any length": filed(array(4, "f4", b"U\x10" + bytes(16), first=2**36)),
    "an array longer than its values": filed(array(2**36, "f4", b"U\x10" + bytes(16))),
    "an array of objects that are not there": filed(array(1000, "O8", b"](K\x01e")),
    "an array that says its numbers are objects": filed(array(1000, "f4", b"](K\x01e", flags=63)),
    "text that doubles": filed(hexed(60)),
    "nothing": b"",
    "an end too early": HEAD + b".",
    "a value out of nothing": HEAD + b"\x85.",
}
TENSORS: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "one number for 2**36": (filed(tensor(2**36, 0)), {"0": bytes(16)}),
    "a block that says 2**36": (filed(tensor(2**36, 1, 2**36)), {"0": bytes(16)}),
    "a block that says more than it holds": (filed(tensor(8, 1, 8)), {"0": bytes(16), "1": bytes(64)}),
    "a block that is not there": (filed(tensor(4, 1, 4, text("7"))), {"0": bytes(16)}),
    "a block whose key is a tuple in a tuple": (filed(tensor(4, 1, 4, nested(DEEP))), {"0": bytes(16)}),
    "a tensor of any length": (filed(called("torch.Tensor", number(2**36))), {"0": bytes(16)}),
    "a tensor of any length, by another": (
        filed(
            called(
                "torch._tensor._rebuild_from_type_v2",
                name("torch.Tensor"),
                name("torch.Tensor"),
                number(2**36) + b"\x85",
                b"N",
            )
        ),
        {"0": bytes(16)},
    ),
    "a set of 2**36 numbers": (filed(called("builtins.set", tensor(2**36, 0))), {"0": bytes(16)}),
}


def zip_bomb(file: Path) -> None:
    archive(file, filed(tensor(2**24, 1, 2**24)), {"0": bytes(2**26)}, zipfile.ZIP_DEFLATED)


def deep_header(file: Path) -> None:
    head = b'{"__metadata__":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}"
    file.write_bytes(len(head).to_bytes(8, "little") + head)


def long_header(file: Path) -> None:
    file.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def far_tensor(file: Path) -> None:
    head = json.dumps({"w": {"dtype": "F32", "shape": [2**36], "data_offsets": [0, 2**38]}}).encode()
    file.write_bytes(len(head).to_bytes(8, "little") + head)


FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a small archive of a large file": (".pth", zip_bomb),
    "a header nested deep": (".safetensors", deep_header),
    "a header longer than the file": (".safetensors", long_header),
    "a tensor beyond the file": (".safetensors", far_tensor),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Case → wait status and what was said."""
    folder = tmp_path_factory.mktemp("hostile")
    files: dict[str, Path] = {}
    for case, pickled in PICKLES.items():
        files[case] = folder / f"{len(files)}.pkl"
        files[case].write_bytes(pickled)
        files[f"{case}, in an archive"] = folder / f"{len(files)}.pth"
        archive(files[f"{case}, in an archive"], pickled, {})
        legacy = io.BytesIO()
        torch.save({}, legacy, _use_new_zipfile_serialization=False)  # noqa: TID251 - what a user may have
        head = legacy.getvalue().removesuffix(b"\x80\x02}q\x00.\x80\x02]q\x00.")
        assert len(head) < len(legacy.getvalue())
        files[f"{case}, in the old format"] = folder / f"{len(files)}.pth"
        files[f"{case}, in the old format"].write_bytes(head + pickled + HEAD + b"].")
    for case, (pickled, blocks) in TENSORS.items():
        files[case] = folder / f"{len(files)}.pth"
        archive(files[case], pickled, blocks)
    for case, (suffix, write) in FILES.items():
        files[case] = folder / f"{len(files)}{suffix}"
        write(files[case])
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, files.values())], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    return {case: tuple(found[str(file)]) for case, file in files.items()}


def cases() -> list[str]:
    return [f"{case}{form}" for case in PICKLES for form in ("", ", in an archive", ", in the old format")] + [
        *TENSORS,
        *FILES,
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="the process's size is read from /proc")
@pytest.mark.parametrize("case", cases())
def test_a_hostile_checkpoint_is_refused_in_a_sentence(outcomes, case):
    status, said = outcomes[case]
    assert status == 0, f"ended by {signal.Signals(status & 127).name if status & 127 else status}"
    assert said.startswith("DataError: "), said
    assert "MemoryError" not in said
    assert "\n" not in said


def test_import_says_so_and_goes_on_living(tmp_path, capfd):
    file = tmp_path / "a.pth"
    archive(file, filed(tensor(2**36, 0)), {"0": bytes(16)})
    assert (
        main(
            ["import", str(file), "--from", "mmdet", "--assigner", "fcos", "--output", str(tmp_path / "b.safetensors")]
        )
        == 3
    )
    assert "the file does not hold so many numbers" in capfd.readouterr().err


@pytest.mark.parametrize("depth", [100, 101])
def test_tuples_as_deep_as_trainings_leave_them_are_read(depth):
    pickled = HEAD + nested(depth) + b"."
    if depth > 100:
        with pytest.raises(OddPickleError, match="deeper than any checkpoint"):
            scan(io.BytesIO(pickled), len(pickled), Scan())
    else:
        scan(io.BytesIO(pickled), len(pickled), Scan())


def test_what_python_writes_is_scanned_without_complaint():
    content = {
        "a": [1, 2.5, None, "ä", b"raw", (1, (2, 3)), {4}, frozenset([5])],
        ("b", 1): np.arange(5),
        2: np.float32(1),
    }
    content["again"] = content["a"]
    for protocol in range(5):
        pickled = pickle.dumps({**content, "a": [] if protocol < 4 else content["a"], "again": 1}, protocol)
        scan(io.BytesIO(pickled), len(pickled), Scan())
