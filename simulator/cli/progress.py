"""Progress on stderr, for commands that take their time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

#: A command that takes longer than this shows its progress.
_PATIENCE_S = 2.0


def progress_of(what: str) -> Callable[[int, int], None]:
    """A function of how many are done and how many there are, which tells a person at a terminal who has waited.

    :param what: what is counted, as in ``"rows predicted"``
    """
    start = time.monotonic()

    def show(done: int, count: int) -> None:
        if sys.stderr.isatty() and time.monotonic() - start > _PATIENCE_S:
            end = "\r" if done < count else "\r\x1b[K"
            sys.stderr.write(f"\r{done:,} of {count:,} {what}{end}")
            sys.stderr.flush()

    return show
