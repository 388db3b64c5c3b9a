"""`%load_ext xec_magic` in a running kernel: how long it takes, and what it must not import.

Each round starts a fresh ipykernel, loads the extension in a cell and asks what has been imported. An extension
without content and one of IPython's own are beside it, in fresh kernels of their own.
"""

from __future__ import annotations

from common import Kernel, Report, Times, arguments, duration

HEAVY = ["asyncssh", "matplotlib", "ipywidgets", "anywidget", "tree_sitter", "tree_sitter_bash", "pandas", "numpy"]
LIMIT_S = 0.060

MEASURE = """
import sys, time, types
sys.modules["empty"] = types.ModuleType("empty")
sys.modules["empty"].load_ipython_extension = lambda shell: None
_before = set(sys.modules)
_begun = time.perf_counter()
get_ipython().run_line_magic("load_ext", {extension!r})
_seconds = time.perf_counter() - _begun
_new = set(sys.modules) - _before
"""


def load(extension):
    """Seconds, the heavy modules it brought, and how many modules in all; in a fresh kernel."""
    with Kernel() as kernel:
        return kernel.value(
            MEASURE.format(extension=extension), f"[_seconds, [m for m in {HEAVY!r} if m in _new], len(_new)]"
        )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 15)
    report = Report("load", "`%load_ext xec_magic` in a fresh kernel that has run one cell.", options)
    names = {"xec_magic": "`xec_magic`", "autoreload": "`autoreload`, of IPython", "empty": "one without content"}
    times = {extension: Times() for extension in names}
    load("xec_magic")  # so that byte code is there
    heavy, modules = set(), 0
    for _ in range(rounds):
        for extension, own in times.items():
            seconds, brought, new = load(extension)
            own.seconds.append(seconds)
            if extension == "xec_magic":
                heavy |= set(brought)
                modules = new
    ours = times["xec_magic"]
    report.at_most("time (median)", ours.median * 1000, LIMIT_S * 1000, " ms", f" (best {duration(ours.best)})")
    report.target("imported of " + ", ".join(HEAVY), ", ".join(sorted(heavy)) or "none", "none", met=not heavy)
    report.table(
        ["extension", "best", "median", "worst"],
        [
            [names[name], duration(own.best), duration(own.median), duration(max(own.seconds))]
            for name, own in times.items()
        ],
    )
    report.say(f"{rounds} kernels each; `xec_magic` brings {modules} modules.")
    report.finish()


if __name__ == "__main__":
    main()
