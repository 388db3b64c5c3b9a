"""`Commands`: `run` and `start` with defaults of their own, and all that is made of several such calls."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Unpack, cast, overload

from xec_magic import runtime
from xec_magic.atend import registry
from xec_magic.calls import Calls, text_of, with_rc
from xec_magic.command import Target, decode_script
from xec_magic.compose.batch import check_results, plan_batch, results_of, with_results
from xec_magic.compose.chunks import Batches, FileThere, cut, readable
from xec_magic.compose.cleanup import Cleanup
from xec_magic.compose.files import Files, path_word
from xec_magic.compose.lazy import Lazy
from xec_magic.compose.tasks import Tasks
from xec_magic.compose.workers import Workers
from xec_magic.engine.ask import ask_yes
from xec_magic.engine.run import Run
from xec_magic.errors import OptionError, RunInterrupted
from xec_magic.inventory import Inventory
from xec_magic.keywords import On, RunKeywords, Script, over, read_keep, read_switch
from xec_magic.options import RunOptions
from xec_magic.plan import Batch
from xec_magic.result import Result
from xec_magic.results import Results
from xec_magic.splitting import Decoding

__all__ = ["Commands"]

_OF_A_FILE: Final = ("on", "target", "cwd", "timeout", "grace")  # defaults that say something of reading one


class Commands(Calls):
    """`run` and `start` with an executor and defaults of their own, and what is made of them."""

    def batch(
        self,
        commands: Iterable[Script],
        *,
        keep_going: bool = False,
        isolated: bool = False,
        **options: Unpack[RunKeywords],
    ) -> Results:
        """Run many commands in one shell, one after the other, and wait; gives a result for each.

        They share directory, variables and functions, as if joined by `&&`: the first one that fails is the last one
        that runs. `exit` and `exec` end the batch too. Options are those of the whole.

        Args:
            commands: Scripts, each of any number of lines.
            keep_going: Go on after one that failed. Failures are then in the results, and raised with `check=True` only.
            isolated: Fork the shell for each, so that nothing of one reaches the next.
            **options: As for `run`.

        Raises:
            SomeFailed: a command failed; `.results` has all results. Not with `check=False`.
            SpawnError: the shell could not be started.
            OptionError: an option is wrong; nothing has run.
            RunInterrupted: the kernel's interrupt stopped it; `.results` has all results.

        Example:
            >>> import xec_magic as xec
            >>> results = xec.batch(["cd /", "pwd", "cd /nowhere", "pwd"], keep_going=True)
            >>> [str(result) for result in results], results.failed[0].exit_code
            (['', '/', '', '/'], 1)
        """
        if isinstance(commands, (str, bytes)) or hasattr(commands, "interpolations"):
            raise OptionError("batch takes a list of commands; write [text] for one, or text.splitlines()")
        merged = over(self._defaults, options)
        read = self._options(merged)
        texts = tuple(decode_script(text_of(command, read.shell)) for command in commands)
        batch = Batch(
            texts, keep_going=read_switch("keep_going", keep_going), isolated=read_switch("isolated", isolated)
        )
        return self._run_batch(read, batch, merged)

    def map(
        self,
        script: Script,
        targets: str | Target | Iterable[str | Target] | None = None,
        **options: Unpack[RunKeywords],
    ) -> Results:
        """Run a script on many targets at once and wait; gives a result for each, in their order.

        A failure on one does not stop the others; `max_fail` says how many are too many. What was begun is carried to its end.

        Args:
            script: As for `run`.
            targets: What `--on` takes: names, sets such as `web[01-20]`, `@groups`, a list of them, in which a name may stand twice.
                The same as `on`.
            **options: As for `run`, and `fanout`, `canary`, `wave`, `max_fail`, `confirm`, `yes`.

        Raises:
            SomeFailed: it failed somewhere; `.results` has all results. Not with `check=False`.
            OptionError: an option or a target is wrong; nothing has run.
            RunInterrupted: the kernel's interrupt stopped all; `.results` has all results.

        Example:
            >>> import xec_magic as xec
            >>> with xec.demo.fleet(3):
            ...     results = xec.map("app version", "@web")
            >>> results, results[2].target, str(results[2])
            (<Results 3 ok>, 'web03', '2.4.0')
        """
        if targets is not None:
            if "on" in options:
                raise OptionError("targets and on both say where to run; keep one")
            options["on"] = targets
        merged = over(self._defaults, options)
        read = self._options(merged)
        return self._run_fleet(read, script, merged)

    def _run_fleet(self, read: RunOptions, script: Script, merged: RunKeywords) -> Results:
        from xec_magic.compose.fleet import FleetRun
        from xec_magic.compose.fleet_plan import plan_fleet

        found = self._targets(read, merged)
        if read_keep(merged.get("keep")) is False:
            read = replace(read, keep=False)
        plan = plan_fleet(read, text_of(script, read.shell, found[0]), found)
        plan = replace(plan, plans=tuple(with_rc(each, merged) for each in plan.plans))
        run = FleetRun(self._executor(), plan, None if read.yes else ask_yes).begin()
        results = run.wait()
        error = run.interrupted(results)
        if error is not None:
            raise error
        return results.check() if read.check else results

    def _targets(self, read: RunOptions, keywords: RunKeywords) -> list[Target]:
        target = keywords.get("target")
        if read.on:
            if target is not None:
                raise OptionError("on and target both say where to run; keep one")
            settings = self._settings()
            return (settings.inventory() if settings is not None else Inventory()).targets(read.on)
        if target is None:
            raise OptionError('map needs targets: xec.map(script, ["web1", "web2"]), or on=')
        return [target]

    def files(self, **options: Unpack[RunKeywords]) -> Files:
        """Operations on files, collected and then done in one round trip: `files().copy(a, b).delete(c).run()`.

        Args:
            **options: As for `run`: where, `cwd`, time limit.

        Raises:
            OptionError: an option is wrong.
        """
        for name in ("dry_run", "keep_going"):
            if name in options:
                raise OptionError(f"{name} is for the end of it: .run({name}=…)")
        merged = over(self._defaults, options)
        read = self._options(merged)
        if read.stdin is not None:
            raise OptionError("stdin: operations on files read nothing; leave it out")

        def run(batch: Batch, check: bool | None) -> Results:
            asked = read if check is None else replace(read, check=check, sources={**read.sources, "check": "the call"})
            # Nothing in it needs more than sh, which takes large texts better than bash.
            return self._run_batch(replace(asked, strict=False, shell=asked.shell or ("sh",)), batch, merged)

        return Files(run)

    @overload
    def chunks(
        self,
        source: str | os.PathLike[str] | Run,
        *,
        lines: int | None = ...,
        errors: Decoding = ...,
        on: On | None = ...,
    ) -> Batches[list[str]]: ...
    @overload
    def chunks(
        self, source: str | os.PathLike[str] | Run, *, size: float | str, on: On | None = ...
    ) -> Batches[bytes]: ...
    def chunks(
        self,
        source: str | os.PathLike[str] | Run,
        *,
        lines: int | None = None,
        size: float | str | None = None,
        errors: Decoding = "strict",
        on: On | None = None,
    ) -> Batches[Any]:
        """A large file in one pass: an iterator over lists of lines, or with `size` over blocks of bytes.

        Nothing is read before the loop begins, and no more than a batch and 1 MiB is held. A run in the place of the file gives its
        output: `xec.chunks(xec.start("zcat big.gz"))`. A file on a host is read by a command there; each loop begins anew.

        Args:
            source: A file, or a run.
            lines: Lines a batch, without their newlines; 1,000 by default. The last has fewer, and one that holds 64 MiB already.
            size: Bytes a block instead, as 65536 or `"1MiB"`; the last is smaller.
            errors: What becomes of bytes that are no UTF-8: `strict` raises `ParseError` with the line's number, `replace` puts a
                mark there, `surrogateescape` keeps them.
            on: The host that the file is on; by default this machine, or what `using` says.

        Raises:
            OptionError: there is no such file, it is a directory or may not be read; a wrong number, an unknown host.
            ParseError: in the loop: bytes that are no UTF-8, or a line of more than 64 MiB.
            XecError: in the loop: the file cannot be read.
            TransportError: in the loop: the host cannot be reached, or the connection was lost.

        Example:
            >>> import xec_magic as xec
            >>> path = xec.temp_file(content="".join(f"{n}\\n" for n in range(2500)))
            >>> [len(batch) for batch in xec.chunks(path)]
            [1000, 1000, 500]
            >>> sum(len(block) for block in xec.chunks(path, size="4KiB"))
            11390
        """
        if isinstance(source, Run):
            if on is not None:
                raise OptionError("on: the run says itself where it runs; leave one of the two out")
            return cut(source, source.plan.title, lines, size, errors)
        options = cast("RunKeywords", {name: value for name, value in self._defaults.items() if name in _OF_A_FILE})
        if on is not None:
            options["on"] = on
        target = self._target(self._options(options), options)
        if target.kind == "local":
            path = readable(source)
            return cut(path, path, lines, size, errors)
        options |= {"keep": False, "shell": "sh", "max_output": None, "label": f"read {os.fspath(source)}"}
        start = Commands(self._executor, self._settings).start
        file = FileThere(lambda script: start(script, **options), path_word(source), f"{target}:{os.fspath(source)}")
        return cut(file, file.name, lines, size, errors)

    def _run_batch(self, read: RunOptions, batch: Batch, merged: RunKeywords) -> Results:
        plan = with_rc(plan_batch(read, batch, target=self._target(read, merged)), merged)
        run = self._executor().start(plan, check=False, keep=read_keep(merged.get("keep")))
        try:
            results = results_of(runtime.current().wait(run))
        except RunInterrupted as error:
            raise with_results(error) from None
        # Who asked to go on has asked for the failures as well, unless the call says otherwise.
        check = read.check and (not batch.keep_going or "check" in read.sources)
        return check_results(results) if check else results

    def using(self, **options: Unpack[RunKeywords]) -> Commands:
        """The same functions with other defaults.

        Raises:
            OptionError: an option is wrong.

        Example:
            >>> import xec_magic as xec
            >>> slow = xec.using(timeout="5m", check=False)
            >>> slow.run("exit 3").exit_code
            3
        """
        defaults = over(self._defaults, options)
        self._options(defaults)  # refuse a wrong default here, not at its first use
        return Commands(self._executor, self._settings, defaults)

    def workers(self, size: int = 4, **options: Unpack[RunKeywords]) -> Workers:
        """Shells that are kept ready for a block of code, each command in one of its own; see `docs/workers.md`.

        Args:
            size: So many are kept ready, from 1 to 64.
            **options: As for `run`. Of them `rc` is a start-up text, or the `pathlib.Path` of its file: bash runs it once, and what
                it has set is there in every command.

        Raises:
            OptionError: an option is wrong.
            XecError: at the begin of the block: the start-up text ended its shell.

        Example:
            >>> import xec_magic as xec
            >>> with xec.workers(size=2, rc="greet() { echo hello $1; }") as w:
            ...     [str(w.run(f"greet {name}")) for name in ("ann", "bob")]
            ['hello ann', 'hello bob']
        """
        defaults: RunKeywords = {"worker": True, **options}
        commands = self.using(**defaults)
        return Workers(
            commands.run, commands.start, lambda: (self._executor(), commands._plan("", {})[0].command), size
        )

    def lazy(self) -> Lazy[Result]:
        """Commands that are noted down now and run later: in order, several at once, or against each other.

        Example:
            >>> import xec_magic as xec
            >>> steps = xec.lazy().add("echo 1").add("echo 2", timeout="5s")
            >>> [str(result) for result in steps.run()]
            ['1', '2']
        """
        return Lazy(self._planned, lambda options: self._options(over(self._defaults, cast("RunKeywords", options))))

    def cleanup(self) -> Cleanup:
        """What is to be undone at the end of a block, last in first out, for `with` and `async with`.

        Example:
            >>> import xec_magic as xec
            >>> with xec.cleanup() as stack:
            ...     folder = stack.temp_dir()
            ...     _ = stack.defer("echo done >&2")
            >>> folder.exists()
            False
        """
        outermost = registry()
        return Cleanup(self._planned, outermost.directory, outermost)

    def tasks(self, **options: Unpack[RunKeywords]) -> Tasks:
        """Tasks that need each other, none yet: `add` them, then `run` them. The keywords hold for all of them.

        Raises:
            OptionError: an option is wrong, or makes no sense for a task.

        Example:
            >>> import xec_magic as xec
            >>> tasks = xec.tasks(timeout="1m").add("load", "echo 1 2 3").add("report", "echo done", needs=["load"])
            >>> tasks.run().states
            {'load': 'ok', 'report': 'ok'}
        """
        return Tasks(self._executor, self._settings, over(self._defaults, options), text_of)
