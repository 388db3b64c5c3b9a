"""The kernel's mask of modes, asked for by several at once."""

from __future__ import annotations

import concurrent.futures
import os
import sys

import pytest
from helpers.tracing import make_traceable

from xec_magic.transport.umask import current_umask


@pytest.mark.parametrize("another_thread", [True, False], ids=["another thread", "a handler of its own thread"])
def test_who_asks_between_any_two_steps_of_another_gets_the_right_mask_and_leaves_it(another_thread):
    make_traceable()
    before, tracer = os.umask(0o022), sys.gettrace()
    step, steps, asked = 0, 0, []

    def trace(frame, event, arg):
        nonlocal steps
        if frame.f_code is not current_umask.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if steps == step:
                asked.append(threads.submit(current_umask).result() if another_thread else current_umask())
            steps += 1
        return trace

    try:
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            while step <= steps:
                mask, steps = (0o077, 0o002, 0o027)[step % 3], 0
                os.umask(mask)
                sys.settrace(trace)
                try:
                    asked.append(current_umask())
                finally:
                    sys.settrace(tracer)
                assert (set(asked), os.umask(mask)) == ({mask}, mask), f"asked before step {step} of {steps}"
                asked.clear()
                step += 1
        assert step > 10
    finally:
        os.umask(before)
