"""Pictures that cannot be read are found before anything trains, and not when they are needed, hours later.

Every picture of the evaluation split is decoded. What was decoded once is known by its content: a file of digests, one
for each picture that turned out well, lies in ``$XDG_CACHE_HOME/assignbench/pictures``, else ``~/.cache/…``. A digest
is of the file's bytes, its size in pixels and the decoder, so it cannot be stale; a file of them that is damaged, gone
or another process's costs time only. Of the training split, which may hold a million pictures, the header and the end
of each file are looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL

from assignbench.data import pictures
from assignbench.data.dataset import Dataset, Splits
from assignbench.data.images import ImageInfo
from assignbench.data.pictures import (
    Header,
    decoded,
    dim,
    is_turned,
    read_header,
    refuse_endless,
    refuse_other_size,
)
from assignbench.data.read.cache import folder as annotations_folder
from assignbench.errors import DataError, SystemProblem
from assignbench.files import open_regular, written

MOST_LOOKED_AT = 250_000  # training pictures, evenly spread over the split: a minute on a local disk
MOST_DEEP = 200  # training pictures of 16 bits that are decoded for their brightest value
NAMED = 5  # files in a message
KEPT = 64  # files of digests; the one longest unused makes room
_DIGEST = 16  # bytes
_TOGETHER = 32  # pictures that a thread takes at a time

Item = TypeVar("Item")
Watch = Callable[[int, int], None]  # pictures done, of all


@dataclass(frozen=True)
class Seen:
    """What a look at the pictures of both splits showed."""

    content: str  # sha256 over the bytes of every evaluation picture
    decoded: int  # evaluation pictures that were not known from before
    looked_at: int  # training pictures
    remarks: tuple[str, ...] = ()


def see_pictures(splits: Splits, *, threads: int, watch: Watch = lambda _done, _all: None) -> Seen:
    """Decode the evaluation split and look at the training split.

    Args:
        splits: both.
        threads: that decode, ≥ 1.
        watch: told how many pictures of both splits are done.

    Raises:
        DataError: pictures cannot be read, do not have the size of their annotation, or are of 16 bits and so dark
            that their range must be another; the first few are named, all are counted.
    """
    evaluation, train = splits.evaluation, splits.train
    chosen = _spread(len(train), MOST_LOOKED_AT)
    total = len(evaluation) + len(chosen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged tags
        seen = _decode_all(evaluation, threads, lambda done: watch(done, total))
        remarks = _look_at_all(train, chosen, max(8, threads), lambda done: watch(len(evaluation) + done, total))
    part = f"{len(chosen)} of {len(train)} training pictures were looked at, evenly spread: a look at all takes long"
    remarks = (*seen.remarks, *remarks, *((part,) if len(chosen) < len(train) else ()))
    return replace(seen, looked_at=len(chosen), remarks=remarks)


def content_of(images: Sequence[ImageInfo], threads: int) -> str:
    """`Seen.content` of an evaluation split, without decoding it.

    Raises:
        DataError: a picture is not there.
    """

    def digest(image: ImageInfo) -> bytes:
        return _content(image)[0]

    return hashlib.sha256(b"".join(_in_threads(digest, images, range(len(images)), threads))).hexdigest()


@dataclass(frozen=True)
class _Picture:
    """What decoding one picture showed."""

    content: bytes = b""  # sha256 of the file's bytes
    known: bytes = b""  # digest that stands for this result; empty: it is not to be kept
    new: bool = True  # decoded now
    brightest: int | None = None
    turned: bool = False  # as `Header.turned`; asked only where it matters
    error: DataError | None = None


def _decode_all(dataset: Dataset, threads: int, watch: Callable[[int], None]) -> Seen:
    file = _file_of(dataset)
    work = partial(_decode, known=_kept(file))
    found = list(_in_threads(work, dataset.images, range(len(dataset)), threads, watch))
    new = sum(one.new for one in found)
    remark = _keep(file, b"".join(one.known for one in found)) if new else None
    _refuse(dataset, [one.error for one in found if one.error is not None])
    _refuse_dim(dataset, (one.brightest for one in found))
    content = hashlib.sha256(b"".join(one.content for one in found)).hexdigest()
    remarks = (remark, _of_turned(dataset, sum(one.turned for one in found)))
    return Seen(content, new, 0, tuple(filter(None, remarks)))


def _decode(image: ImageInfo, known: frozenset[bytes]) -> _Picture:
    try:
        digest, content = _content(image)
        facts = f"{image.width} {image.height} {image.stored} {_decoder()}".encode()
        key = hashlib.sha256(digest + facts).digest()[:_DIGEST]
        if key in known:
            return _Picture(digest, key, new=False, turned=image.stored.assumed and is_turned(content))
        _, brightest = decoded(image, content)
        refuse_endless(image, content)
    except DataError as error:
        return _Picture(error=error)
    turned = image.stored.assumed and is_turned(content)
    return _Picture(digest, key if brightest is None else b"", brightest=brightest, turned=turned)


def _content(image: ImageInfo) -> tuple[bytes, bytes]:
    """sha256 of a file's bytes, and these."""
    try:
        with open_regular(image.path) as file:
            content = file.read()
    except FileNotFoundError as error:
        raise DataError(f"no picture {image.path} (image {image.id})") from error
    except OSError as error:
        raise DataError(f"{image.path} (image {image.id}) cannot be read: {error.strerror}") from error
    return hashlib.sha256(content).digest(), content


@cache
def _decoder() -> str:
    """What decides the result of decoding, beside the file."""
    return f"{PIL.__version__} {hashlib.sha256(Path(pictures.__file__).read_bytes()).hexdigest()}"


def _look_at_all(
    dataset: Dataset, chosen: Sequence[int], threads: int, watch: Callable[[int], None]
) -> tuple[str, ...]:
    """Refuse what training would; what is left to say."""
    found = list(_in_threads(_look, dataset.images, chosen, threads, watch))
    _refuse(dataset, [one for one in found if isinstance(one, DataError)])
    headers = [(place, one) for place, one in zip(chosen, found, strict=True) if isinstance(one, Header)]
    deep = [place for place, one in headers if one.deep]
    some = [deep[place] for place in _spread(len(deep), MOST_DEEP)]
    values = list(_in_threads(_brightest, dataset.images, some, threads))
    _refuse(dataset, [value for value in values if isinstance(value, DataError)])
    _refuse_dim(dataset, (value for value in values if isinstance(value, int)))
    return tuple(filter(None, [_of_turned(dataset, sum(one.turned for _, one in headers))]))


def _of_turned(dataset: Dataset, count: int) -> str | None:
    """What to say of pictures that viewers turn and training does not, where nobody has said which is meant."""
    if not count or not dataset.stored.assumed:
        return None
    return (
        f"{dataset.split}: viewers turn or mirror {count} of its pictures, as their EXIF tag says; here boxes are "
        "taken to refer to the stored pixels. Look at some (assignbench data show), then write upright: false in the "
        "YAML file of the data set if they fit, or upright: true if they fit what viewers show"
    )


def _look(image: ImageInfo) -> DataError | Header:
    """What is wrong with a file, by its header and its end; else its header."""
    try:
        header = read_header(image.path, image.stored)
        refuse_other_size(image, *header.size)
        if header.early:  # or a tool appended something: decoding tells
            decoded(image)
            refuse_endless(image, _content(image)[1])
    except DataError as error:
        return error
    return header


def _brightest(image: ImageInfo) -> DataError | int | None:
    try:
        return decoded(image)[1]
    except DataError as error:
        return error


def _refuse(dataset: Dataset, errors: Sequence[DataError]) -> None:
    if not errors:
        return
    more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    told = "; ".join(map(str, errors[:NAMED]))
    raise DataError(
        f"{dataset.name}, {dataset.split}: {len(errors)} of {len(dataset)} pictures cannot be used, nothing was "
        f"trained\n{told}{more}"
    )


def _refuse_dim(dataset: Dataset, values: Iterable[int | None]) -> None:
    if (reason := dim(max((value for value in values if value is not None), default=None))) is not None:
        raise DataError(f"{dataset.name}, {dataset.split}: {reason}")


def _in_threads(
    work: Callable[[ImageInfo], Item],
    images: Sequence[ImageInfo],
    chosen: Sequence[int],
    threads: int,
    watch: Callable[[int], None] = lambda _: None,
) -> Generator[Item]:
    """What ``work`` makes of the chosen pictures, in order; decoding, digests and files leave Python's lock free."""

    def some(places: Sequence[int]) -> list[Item]:
        return [work(images[place]) for place in places]

    groups = [chosen[start : start + _TOGETHER] for start in range(0, len(chosen), _TOGETHER)]
    with ThreadPoolExecutor(threads) as pool:
        try:
            for number, items in enumerate(pool.map(some, groups)):
                yield from items
                watch(min((number + 1) * _TOGETHER, len(chosen)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _spread(count: int, most: int) -> list[int]:
    """Up to ``most`` of the numbers below ``count``, evenly spread."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, most), dtype=np.int64)).tolist()


def _file_of(dataset: Dataset) -> Path:
    """Where digests of a split are kept: by the pictures' places, which say where to look, not what is true."""
    place = hashlib.sha256(repr([str(dataset.images[0].path) if len(dataset) else "", len(dataset)]).encode())
    return annotations_folder().parent / "pictures" / f"{place.hexdigest()[:32]}.decoded"


def _kept(file: Path) -> frozenset[bytes]:
    """The digests of a file; none where it is damaged or not there."""
    try:
        with open_regular(file) as opened:
            content = opened.read()
    except OSError:
        return frozenset()
    check, digests = content[:32], content[32:]
    if hashlib.sha256(digests).digest() != check or len(digests) % _DIGEST:
        return frozenset()
    return frozenset(digests[start : start + _DIGEST] for start in range(0, len(digests), _DIGEST))


def _keep(file: Path, digests: bytes) -> str | None:
    """Write them; what to say where that cannot be done."""
    try:
        with written(file) as temporary:
            temporary.write_bytes(hashlib.sha256(digests).digest() + digests)
        with contextlib.suppress(OSError):
            others = (one for one in file.parent.glob("*.decoded") if one != file)  # this one stays, whatever the clock
            for old in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)[KEPT - 1 :]:
                old.unlink()
    except (OSError, SystemProblem) as error:
        return (
            f"which pictures can be decoded cannot be kept ({error}), so each start decodes them again; "
            "XDG_CACHE_HOME names another place"
        )
    return None
