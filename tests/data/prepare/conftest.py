"""A publisher on 127.0.0.1 whose every answer can be spoilt, and data sets small enough to be fetched from it."""

import contextlib
import hashlib
import io
import json
import socket
import struct
import tarfile
import threading
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from assignbench.data.prepare.download import Patience
from assignbench.data.prepare.plan import Plan, plan
from assignbench.data.spec.sources import Source


@dataclass
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str]
    method: str = "GET"


@dataclass
class Publisher:
    """What is offered, how the next requests are answered, and what was asked."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)  # absent: a checksum; "": none is sent
    modified: str = ""
    script: deque[Callable[["Handler"], None]] = field(default_factory=deque)  # answers; then `serve`
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0  # bytes of bodies
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    def offer(self, name: str, content: bytes, **keys: object) -> Source:
        """A file, and the source that describes it truthfully unless ``keys`` say otherwise."""
        self.files[f"/{name}"] = content
        known = {"urls": [self.url(name)], "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return Source.model_validate({"file": name, "needs": ["x"], **known, **keys})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    publisher: Publisher

    def do_GET(self) -> None:
        publisher = self.publisher
        publisher.asked.append(Asked(self.path, dict(self.headers)))
        answer = publisher.script.popleft() if publisher.script else serve
        self.close_connection = True
        answer(self)

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        return self.publisher.files["/" + self.path.rpartition("/")[2]]

    def etag(self) -> str:
        return self.publisher.etags.get(self.path, f'"{zlib.crc32(self.body())}"')

    def start(self, content: bytes, *, ranges: bool = True, length: bool = True) -> bytes:
        """Send the header; returns what the body is to be."""
        first = 0
        if ranges and (wanted := self.headers.get("Range")):
            condition = self.headers.get("If-Range")
            if condition in (None, self.etag(), self.publisher.modified):
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if first >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.etag():
            self.send_header("ETag", self.etag())
        if self.publisher.modified:
            self.send_header("Last-Modified", self.publisher.modified)
        if length:
            self.send_header("Content-Length", str(len(content) - first))
        self.send_header("Connection", "close")
        self.end_headers()
        return content[first:]

    def send(self, content: bytes) -> None:
        with contextlib.suppress(OSError):  # the client may have left
            self.wfile.write(content)
            self.wfile.flush()
            self.publisher.sent += len(content)


def serve(handler: Handler) -> None:
    handler.send(handler.start(handler.body()))


def cut(count: int) -> Callable[[Handler], None]:
    """Promise everything, send ``count`` bytes, close."""

    def answer(handler: Handler) -> None:
        handler.send(handler.start(handler.body())[:count])

    return answer


def reset(count: int) -> Callable[[Handler], None]:
    """Send ``count`` bytes, then break the connection."""

    def answer(handler: Handler) -> None:
        handler.send(handler.start(handler.body())[:count])
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.shutdown(socket.SHUT_RD)
        handler.connection.close()

    return answer


def stall(count: int) -> Callable[[Handler], None]:
    """Send ``count`` bytes, then nothing more."""

    def answer(handler: Handler) -> None:
        handler.send(handler.start(handler.body())[:count])
        handler.publisher.closing.wait(20)

    return answer


def wrong(handler: Handler) -> None:
    """As many bytes, but others."""
    handler.send(bytes(byte ^ 1 for byte in handler.start(handler.body())))


def no_ranges(handler: Handler) -> None:
    handler.send(handler.start(handler.body(), ranges=False))


def no_length(handler: Handler) -> None:
    handler.send(handler.start(handler.body(), length=False))


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def page(handler: Handler) -> None:
    """What a hotel's network says to everything."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html; charset=utf-8")
    handler.send_header("Content-Length", "5")
    handler.end_headers()
    handler.send(b"hello")


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def publisher(monkeypatch) -> Iterator[Publisher]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    made = Publisher()
    server = Quiet(("127.0.0.1", 0), type("Bound", (Handler,), {"publisher": made}))
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    yield made
    made.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Notes:
    """A report that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tracked: list[tuple[str, int | None, int]] = []
        self.counts: list[int] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextlib.contextmanager
    def track(self, what: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
        self.tracked.append((what, total, done))
        yield self.counts.append

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def spoil() -> SimpleNamespace:
    """The ways to answer."""
    ways = (serve, cut, reset, stall, wrong, no_ranges, no_length, status, page)
    return SimpleNamespace(**{way.__name__: way for way in ways})


@pytest.fixture
def hasty() -> Patience:
    return Patience(timeout=0.4, tries=4, pause=0.01, longest=0.02, progress=1000)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(files: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return content.getvalue()


@pytest.fixture
def pack() -> SimpleNamespace:
    """Archives from dictionaries."""
    return SimpleNamespace(zip=zipped, tar=tarred)


@dataclass
class Offered:
    """A data set in VOC's way: two archives that share folders, and one with its own."""

    publisher: Publisher
    file: Path  # its YAML
    content: dict[str, bytes]  # path below the root → bytes, of the whole data set

    @property
    def plan(self) -> Plan:
        return plan(str(self.file), self.file.parent)

    def edit(self, **keys: object) -> None:
        """Change the first source."""
        spec = json.loads(self.file.read_text())
        spec["sources"][0].update(keys)
        self.file.write_text(json.dumps(spec))  # which is YAML, too

    def found(self) -> dict[str, bytes]:
        """All files below the root, without the spec, locks and archives."""
        root = self.file.parent
        files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        known = (self.file.name, f".{self.file.stem}.lease", "archives")
        return {name: path.read_bytes() for name, path in files.items() if name.partition("/")[0] not in known}


@pytest.fixture
def offered(publisher, tmp_path) -> Offered:
    def part(count: int, start: int, lists: str) -> dict[str, bytes]:  # by name, the list would come first
        pictures = {f"V/J/{start + n:03}.jpg": bytes([n]) * (500 + n) for n in range(count)}
        return {f"V/00{lists}.txt": b"list", **pictures, **{f"V/A/{start + n:03}.xml": b"<a/>" for n in range(count)}}

    train, test, extra = part(30, 0, "train"), part(20, 100, "test"), {"own/big.bin": bytes(range(256)) * 4000}
    archives = {
        "train.tar": tarred(train),
        "test.tar.gz": tarred(test, "w:gz"),
        "extra.zip": zipped(extra, zipfile.ZIP_STORED),
    }
    needs = {
        "train.tar": {"needs": ["set/V/00train.txt"], "counts": {"set/V/J": 30}},
        "test.tar.gz": {"needs": ["set/V/00test.txt"], "counts": {"set/V/J": 20}},
        "extra.zip": {"needs": ["set/own"], "split": "more"},
    }
    sources = [
        publisher.offer(name, content, unpack_to="set", **needs[name]).model_dump(exclude_none=True)
        for name, content in archives.items()
    ]
    part_of = {"annotations": "set/V/00train.txt", "images": "set/V"}
    spec = {"format": "coco", "train": part_of, "evaluation": part_of, "homepage": "http://home", "sources": sources}
    (tmp_path / "root").mkdir()
    file = tmp_path / "root" / "mine.yaml"
    file.write_text(json.dumps(spec))  # which is YAML, too
    whole = {f"set/{name}": data for one in (train, test, extra) for name, data in one.items()}
    return Offered(publisher, file, whole)
