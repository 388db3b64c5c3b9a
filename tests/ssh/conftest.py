from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from helpers.cells import run, shell  # noqa: F401 - fixtures
from world import SSHD, World

import xec_magic as xec
from xec_magic import runtime


@pytest.fixture(scope="session")
def world():
    if not os.path.exists(SSHD):
        assert not os.environ.get("CI"), "sshd is needed, and nothing may be skipped in CI"
        pytest.skip("there is no sshd")
    # Not pytest's own directory: it lets nobody else in, and a throw-away user must come to its home.
    directory = tempfile.mkdtemp(prefix="xec-ssh-test-")
    made = World(Path(directory))
    yield made
    made.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def server(world):
    """One server for all who do not need one of their own."""
    return world.sshd()


@pytest.fixture(autouse=True)
def _home(world, monkeypatch):
    """Who connects has a home with a key, a configuration and known hosts of the tests' own."""
    monkeypatch.setenv("HOME", str(world.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def ex():
    with xec.Executor() as made:
        yield made


@pytest.fixture
def config(world):
    """Writes the SSH configuration."""
    yield world.config.write_text
    world.config.write_text("")


@pytest.fixture
def on(server):
    return server.spec


@pytest.fixture(scope="module")
def own_runtime():
    """The kernel's executor ends with the module: its connections lead to servers of these tests."""
    yield
    runtime.close()
