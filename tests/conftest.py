from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Behind `&` and `nohup` a shell makes its programs deaf to interrupts, and so would be all that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

sys.path.insert(0, str(Path(__file__).parent / "transport"))

# A busy machine is slow at times; no test asserts how long anything takes.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_sessionstart(session):
    """Where a built wheel is to be tested, nothing else is. And no test waits for the one before it."""
    import xec_magic

    wheel = os.environ.get("XEC_TEST_WHEEL")
    if wheel and not Path(xec_magic.__file__).is_relative_to(wheel):
        pytest.exit(f"xec_magic comes from {xec_magic.__file__}, not from {wheel}", returncode=3)
    # What counts the reruns is told of each test in two small messages: the second one waits until the first one's arrival is told,
    # which takes 40 ms, longer than most tests.
    if (link := getattr(getattr(session.config, "failures_db", None), "sock", None)) is not None:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What needs a browser is where `make test-browser` looks for it."""
    lab = Path(__file__).parent / "lab"
    elsewhere = [item.nodeid for item in items if item.get_closest_marker("browser") and lab not in item.path.parents]
    if elsewhere:
        raise pytest.UsageError(f"these need a browser and are not in tests/lab: {', '.join(elsewhere)}")


def pytest_terminal_summary(terminalreporter):
    """Say of tests that were run once more what had failed."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.write_sep("_", f"what failed before: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """No test touches the user's cache or configuration."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
