"""Write docs/options.md from the declared options; with --check, print what it should be and exit 1 when it differs."""

from __future__ import annotations

import argparse
from pathlib import Path

from xec_magic.options import RunOptions
from xec_magic.options.copy import CopyOptions
from xec_magic.options.tasks import RUN_OPTIONS, TaskOptions, TasksOptions
from xec_magic.options.tunnel import TunnelOptions
from xec_magic.optionspec import OptionSet

PAGE = Path(__file__).parent.parent / "docs" / "options.md"

HEAD = """\
# Options

<!-- Written by tools/make_options_page.py from the declarations in xec_magic/options/declared.py; change those. -->

The options of `%xec` and `%%xec`, and the keywords of `xec.run`, `xec.start` and the other functions. In the line form they end at the
first word that is none, or at `--`; the rest of the line reaches the shell byte for byte. `%%xec?` shows this list in the notebook.

Times are a number of seconds, or `90s`, `5m`, `1h30m`, `250ms`; sizes a number of bytes, or `64k`, `20MB`, `1.5GiB`. `--timeout 5`,
`--timeout=5`, `-t 5` and `-t5` are the same. A value may hold `${{ expression }}`.

Standing defaults come from these places, later over earlier:

1. built in
2. your file `xec-magic/config.toml` in `$XDG_CONFIG_HOME` or `~/.config`
3. the project's `xec.toml`, or `[tool.xec]` in its `pyproject.toml`: the nearest one from the directory where the kernel was started up to the
   root of the repository or your home directory
4. the environment: the variables in the last column
5. `%config XecMagics.timeout = "10m"`
6. the line, or the call

Keys in files are the long options or the Python names: `timeout = "10m"`, `max-output = "200MB"`, `strict = false`. {untrusted} can make
every command run other code, so a project's file may not set them. Switches that such a default has turned can be turned back on the line:
{counters}. Variables set by `env` add up; of everything else the last one counts. A relative `cwd` is relative to
the file that sets it, or else to the kernel's directory.
"""

TAIL = """
## only in Python

| keyword | what it takes |
|---|---|
{only}
| `stdin` | The data itself, text or bytes, or a `pathlib.Path` to read from; no name of a variable. |
| `secret` | A mapping of names to values. |
| `env` | A mapping of names to values. |
"""


TASKS = """
## only for tasks

On the line of `%%xec_tasks`, and in Python keywords of `run` and `start` of [tasks](tasks.md):

{all}

Behind the name of a task, and in Python keywords of `add`:

{one}

Of the options above a task has {also}.
"""


def tasks() -> str:
    """The section about the options that only tasks have."""
    also = ", ".join(f"`{option.long}`" for option in RunOptions.SPEC if option.name in RUN_OPTIONS)
    cell = TasksOptions.SPEC.table({"jobs", "keep_going", "dry_run", "force", "resume"})
    return TASKS.format(all=cell, one=TaskOptions.SPEC.table({"depends", "creates"}), also=also)


FILES = """
## only for copies and tunnels

On the line of `%xec_copy`, before or behind its places, and as keywords of `xec.copy`; see [transfers](transfers.md). Of the options above it has {copy_also}.

{copy}

On the line of `%xec_tunnel`, and as keywords of `xec.tunnel`. Of the options above it has {tunnel_also}.

{tunnel}
"""


def files() -> str:
    """The section about the options of copies and tunnels."""

    def also(spec: OptionSet) -> str:
        return ", ".join(f"`{option.long}`" for option in spec if option.name in RunOptions.SPEC.by_name)

    def own(spec: OptionSet) -> str:
        return spec.table({option.name for option in spec} - RunOptions.SPEC.by_name.keys())

    return FILES.format(
        copy=own(CopyOptions.SPEC),
        copy_also=also(CopyOptions.SPEC),
        tunnel=own(TunnelOptions.SPEC),
        tunnel_also=also(TunnelOptions.SPEC),
    )


def page() -> str:
    """The text of docs/options.md."""
    spec = RunOptions.SPEC
    untrusted = " and ".join(f"`{option.name}`" for option in spec if option.needs_trust)
    counters = ", ".join(f"`{option.counter}`" for option in spec if option.counter)
    head = HEAD.replace("{untrusted}", untrusted).replace("{counters}", counters)
    only = "\n".join(
        f"| `{option.name}` | {option.help} Default: `{option.default}`. |" for option in spec if not option.flags
    )
    return head + "\n" + spec.markdown() + "\n" + TAIL.replace("{only}", only) + tasks() + files()


def main() -> int:
    """Write the page, or check it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when the page differs, printing what it should be"
    )
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == text:
        return 0
    print(text, end="")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
