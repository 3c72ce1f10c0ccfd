"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine must not fail a test, and a failure must come back on the next run.
settings.register_profile("kvwall", deadline=None, derandomize=True)
settings.load_profile("kvwall")
