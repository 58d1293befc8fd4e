"""A job ends when its worker does: the worker holds a pipe to the job's standard input, and the job waits for its end.

A worker that is killed can tell nobody. Its end of the pipe is closed by the system, whatever happened.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def tether() -> None:
    """From now on this process gets SIGTERM, by which it saves a checkpoint and leaves, when standard input ends."""
    threading.Thread(target=_wait, name="tether", daemon=True).start()


def _wait() -> None:
    descriptor = sys.stdin.fileno()
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
