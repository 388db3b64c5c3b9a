"""Prints coloured lines at a steady rate, then a last line with the time: `python flood.py LINES_A_SECOND SECONDS`."""

from __future__ import annotations

import sys
import time

STEP_S = 0.05


def main():
    rate, seconds = int(sys.argv[1]), float(sys.argv[2])
    begun = time.monotonic()
    printed = 0
    while printed < rate * seconds:
        due = min(rate * seconds, rate * (time.monotonic() - begun + STEP_S))
        lines = []
        while printed < due:
            printed += 1
            lines.append(
                f"\x1b[3{printed % 7 + 1}mline {printed:08}\x1b[0m \x1b[1mhost-{printed % 50:02}\x1b[0m took {printed % 997:3} ms\n"
            )
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
        time.sleep(STEP_S)
    print(f"XECLAST {time.time():.6f}", flush=True)


if __name__ == "__main__":
    main()
