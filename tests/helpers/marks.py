"""Marks of tests that not every machine can run."""

from __future__ import annotations

import os

import pytest

needs_root = pytest.mark.skipif(
    os.getuid() != 0 and not os.environ.get("CI"), reason="makes accounts, which takes root"
)
