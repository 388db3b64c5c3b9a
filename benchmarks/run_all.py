"""Runs every benchmark here, one after the other, and writes RESULTS.md.

`--quick` takes small sizes and few rounds, to see that all of them work; it writes nothing unless `--write` is given.
"""

from __future__ import annotations

import subprocess
import sys
import time

from common import HERE, RESULTS, SECTIONS, arguments, duration


def main():
    parser = arguments(__doc__)
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"some of {', '.join(SECTIONS)}; all by default")
    options = parser.parse_args()
    unknown = set(options.only) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    write = options.write or not options.quick
    flags = ["--quick"] * options.quick + ["--write"] * write
    failed = []
    for name in SECTIONS:
        if options.only and name not in options.only:
            continue
        begun = time.monotonic()
        # Each in a process of its own: what one leaves in memory must not be in the figures of the next.
        code = subprocess.run([sys.executable, str(HERE / f"bench_{name}.py"), *flags], check=False).returncode
        print(f"{name} took {duration(time.monotonic() - begun)}\n", flush=True)
        if code:
            failed.append(f"{name} (exit code {code})")
    if write:
        print(f"written: {RESULTS}")
    if failed:
        print("did not work: " + ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
