"""Where the files of a data set come from, as its YAML file says it (keys ``sources``, ``licence``, ``homepage``)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")  # what can be unpacked; any other file is laid down as it is
NUMBER = "{n}"  # of a source that stands for many


class Source(BaseModel):
    """A file that its publisher offers, and what must be on the disk once it was unpacked.

    Paths are relative, with slashes. A source with ``numbers: [0, 50]`` stands for 51 files: ``{n}`` in its
    texts is replaced by each number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str  # below ROOT/archives/NAME
    urls: list[str] = []  # mirrors of the same bytes, tried in this order; none: only by hand
    size: int | None = Field(default=None, ge=1)  # bytes; None: not known
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern="^[0-9a-f]{32}$")
    unpack_to: str = "."  # folder below the data root
    needs: list[str] = Field(min_length=1)  # below the data root: must exist after unpacking
    counts: dict[str, int] = {}  # folder below the data root → files in it and below that come from this source
    split: str | None = None  # which part of the data set needs it; None: every part
    optional: bool = False  # fetched only when its split is asked for
    numbers: tuple[int, int] | None = None  # first and last

    @field_validator("file", "unpack_to", "needs", "counts")
    @classmethod
    def _stays_below_the_root(cls, value: str | list[str] | dict[str, int]) -> object:
        for path in [value] if isinstance(value, str) else value:
            if not is_below(path):
                raise ValueError(f"{path!r} must be a relative path that stays below its folder")
        return value

    @field_validator("urls")
    @classmethod
    def _web_addresses(cls, urls: list[str]) -> list[str]:
        for url in urls:
            if not re.fullmatch(r"https?://[^\s/]+/[!-~]*", url):
                raise ValueError(f"{url!r} must be an http or https address, in ASCII")
        return urls

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.numbers is not None:
            if self.numbers[0] > self.numbers[1]:
                raise ValueError("numbers must be [first, last]")
            if NUMBER not in self.file:
                raise ValueError(f"with numbers, file must contain {NUMBER}")
            if self.size or self.sha256 or self.md5:
                raise ValueError("with numbers, there can be no size and no checksum: each file has its own")
        for path in (*self.needs, *self.counts):
            if not PurePosixPath(path).is_relative_to(self.unpack_to):
                raise ValueError(f"{path!r} is not below unpack_to, {self.unpack_to!r}")
        if self.optional and self.split is None:
            raise ValueError("an optional source must name its split")
        return self

    def inside(self, path: str) -> PurePosixPath:
        """One of ``needs`` or ``counts``, relative to ``unpack_to``."""
        return PurePosixPath(path).relative_to(self.unpack_to)

    def each(self) -> list[Source]:
        """The files that this entry stands for: itself, or one for each number."""
        if self.numbers is None:
            return [self]
        first, last = self.numbers
        return [self._numbered(str(number)) for number in range(first, last + 1)]

    def _numbered(self, number: str) -> Source:
        return self.model_copy(
            update={
                "file": self.file.replace(NUMBER, number),
                "urls": [url.replace(NUMBER, number) for url in self.urls],
                "unpack_to": self.unpack_to.replace(NUMBER, number),
                "needs": [path.replace(NUMBER, number) for path in self.needs],
                "counts": {path.replace(NUMBER, number): count for path, count in self.counts.items()},
                "numbers": None,
            }
        )


class Published(BaseModel):
    """What every data set that somebody published says about its origin."""

    licence: str = ""
    homepage: str = ""
    sources: list[Source] = []


def is_below(path: str) -> bool:
    """Whether a relative path stays in its folder, read as Unix and as Windows would."""
    kinds = (PurePosixPath(path), PureWindowsPath(path))
    return (
        bool(path)
        and "\0" not in path
        and not any(one.is_absolute() or one.drive or one.root or ".." in one.parts for one in kinds)
    )
