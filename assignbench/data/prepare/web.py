"""One GET request, from any byte on, and what the answer says about the file."""

from __future__ import annotations

import contextlib
import errno
import http
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from assignbench import __version__

BLOCK = 1 << 18  # bytes read at once, at most
PASSING = (408, 425, 429)  # besides 5xx: status codes after which another try may succeed
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is not waited for so long
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ENETDOWN)


class PassingError(Exception):
    """Another try may succeed.

    Attributes:
        unreachable: there is no way to the server at all; hardly worth many tries.
        wait: seconds that the server asked for; None: it did not.
    """

    def __init__(self, reason: str, *, unreachable: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.unreachable, self.wait = unreachable, wait


class FinalError(Exception):
    """The address will not give the file, however often it is asked."""


@dataclass(frozen=True)
class Version:
    """What tells one version of a file from another; empty: the server does not say."""

    etag: str = ""
    modified: str = ""

    @property
    def condition(self) -> str:
        """Value of ``If-Range``; weak tags must not be used there."""
        return self.modified if self.etag.startswith("W/") or not self.etag else self.etag


@dataclass(frozen=True)
class Answer:
    """The beginning of an answer; the body is still to be read."""

    body: http.client.HTTPResponse
    start: int  # byte of the file at which the body begins
    total: int | None  # bytes of the whole file; None: the server does not say
    version: Version

    def blocks(self) -> Iterator[bytes]:
        """The body, piece by piece.

        Raises:
            PassingError: the connection broke or nothing came for too long.
        """
        while True:
            try:
                block = self.body.read1(BLOCK)  # what has come so far: a stall loses none of it
            except (OSError, http.client.HTTPException) as error:
                raise _meaning(error) from error
            if not block:
                return
            yield block


@contextlib.contextmanager
def ask(url: str, *, offset: int, version: Version, total: int | None, timeout: float) -> Iterator[Answer]:
    """Ask for a file from a byte on, on condition that it is still the same file.

    The answer starts at 0 where the server cannot resume, or where the file has changed.

    Args:
        url: http or https; the proxies of the environment are used.
        offset: the first byte wanted.
        version: the one that the bytes before ``offset`` are of.
        total: the size of that version, where known.
        timeout: seconds without a byte.

    Raises:
        PassingError, FinalError: see there.
    """
    headers = {"User-Agent": f"assignbench/{__version__}", "Accept": "*/*"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if version.condition:
            headers["If-Range"] = version.condition
    try:
        body = _opener().open(urllib.request.Request(url, headers=headers), timeout=timeout)  # noqa: S310  # http(s) only
    except urllib.error.HTTPError as error:
        with error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not offset:
                raise _status(error) from error
        body = None
    except (OSError, http.client.HTTPException) as error:
        raise _meaning(error) from error
    with body or contextlib.nullcontext():
        answer = _answer(body, offset, version, total) if body is not None else None
        if answer is not None:
            yield answer
            return
    # The server has no such range, or another file than the one begun: from the beginning, without conditions.
    with ask(url, offset=0, version=Version(), total=None, timeout=timeout) as answer:
        yield answer


def _answer(body: http.client.HTTPResponse, offset: int, version: Version, total: int | None) -> Answer | None:
    """The answer as it is to be used; None: a part of something else."""
    found = Version(body.headers.get("ETag", ""), body.headers.get("Last-Modified", ""))
    if body.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise FinalError("answers with a web page, not with the file")
    if body.status == http.HTTPStatus.OK:
        return Answer(body, 0, _number(body.headers.get("Content-Length")), found)
    if body.status != http.HTTPStatus.PARTIAL_CONTENT:
        raise FinalError(f"answers {body.status} {body.reason}")
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", body.headers.get("Content-Range", "").strip())
    if span is None or int(span[1]) != offset:
        return None
    whole = _number(span[2])
    other = (
        (version.etag and found.etag and version.etag != found.etag)
        or (version.modified and found.modified and version.modified != found.modified)
        or (total is not None and whole is not None and total != whole)
    )
    return None if other else Answer(body, offset, whole, found)


def _opener() -> urllib.request.OpenerDirector:
    """As urllib's own, without the handlers that would read local files or speak FTP after a redirection."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _status(error: urllib.error.HTTPError) -> Exception:
    reason = f"answers {error.code} {error.reason}".rstrip()
    if error.code >= 500 or error.code in PASSING:
        return PassingError(reason, wait=_wait(error.headers))
    return FinalError(reason)


def _wait(headers: Message) -> float | None:
    seconds = _number(headers.get("Retry-After"))
    return None if seconds is None else min(float(seconds), LONGEST_WAIT)


def _meaning(error: Exception) -> Exception:
    """What a broken connection is to be taken for."""
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, Exception) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return FinalError(f"has a certificate that is not trusted ({cause.verify_message})")
    if isinstance(cause, socket.gaierror):
        return PassingError("cannot be found: no network, or no such server", unreachable=True)
    if isinstance(cause, TimeoutError):
        return PassingError("sent nothing for too long")
    if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
        return PassingError(f"cannot be reached ({cause.strerror})", unreachable=True)
    if isinstance(cause, urllib.error.URLError):  # as a redirection to ftp:
        return FinalError(f"cannot be used: {cause.reason}")
    return PassingError(f"broke the connection ({type(cause).__name__})")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() else None
