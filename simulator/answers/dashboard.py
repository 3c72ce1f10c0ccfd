"""``kvwall dashboard``: where the page is."""

from __future__ import annotations

from kvwall.simulator.answers.base import Answer


class DashboardAnswer(Answer):
    """The address that serves the page, or the file that holds it.

    :ivar views: names of the views
    :ivar bytes: size of the file
    """

    views: tuple[str, ...]
    address: str | None = None
    file: str | None = None
    bytes: int | None = None
