"""`RunOptions`: what a line, a call and the configuration say about a run; turned into a `Plan`, which is complete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from xec_magic.errors import OptionError
from xec_magic.options.cache import cache_policy
from xec_magic.options.declared import THE_CALL, THE_LINE, DeclaredOptions
from xec_magic.options.files import directory_to_enter, file_to_write
from xec_magic.options.input import Variable, input_of, secrets_of
from xec_magic.options.where import found_shell, wants_worker

if TYPE_CHECKING:
    from xec_magic.command import Command, Target
    from xec_magic.fleetpolicy import FleetPolicy
    from xec_magic.options.settings import Settings
    from xec_magic.plan import Limits, MonitorPolicy, Plan, RetryPolicy, StopPolicy

__all__ = ["RunOptions"]

# These are for a command on several targets.
_FLEET_OPTIONS: Final = ("fanout", "canary", "wave", "max_fail", "confirm", "yes")

# Options that do nothing without another: that one, how it is written on a line and in a call, and who needs it.
_OWNERS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "monitor": ("--monitor", "monitor=True", ("rate", "mark")),
    "retries": ("--retries N", "retries=N", ("retry_codes", "backoff")),
}


class RunOptions(DeclaredOptions):
    """The options of one run, from a line or a call laid over the standing defaults.

    Example:
        >>> options, command = RunOptions.from_line("-t 5m --env LANG=C ls -l")
        >>> options.timeout, options.env, command
        (300.0, (('LANG', 'C'),), 'ls -l')
    """

    # -- making -----------------------------------------------------------------------------------

    @classmethod
    def from_line(
        cls,
        line: str,
        *,
        cell: bool = False,
        settings: Settings | None = None,
        config: Mapping[str, Any] | None = None,
        expand: Callable[..., str] | None = None,
    ) -> tuple[Self, str]:
        """The options at the beginning of a line, laid over the standing defaults; and the rest of the line, byte for byte.

        Args:
            line: Behind the name of the magic.
            cell: It is the line of a cell magic, which holds options only.
            settings: Where standing defaults come from; None for the built-in ones.
            config: What `%config` sets; only what differs from the built-in defaults.
            expand: Fills `${{…}}` in the values of options, for some given what joins a list.

        Raises:
            OptionError: the line or a standing default is wrong.
        """
        parsed = cls.SPEC.parse_line(line, cell=cell, expand=expand)
        return cls._over(settings, config, parsed.values, THE_LINE), parsed.rest

    @classmethod
    def from_keywords(
        cls, keywords: Mapping[str, Any], *, settings: Settings | None = None, config: Mapping[str, Any] | None = None
    ) -> Self:
        """The options of a call in Python, laid over the standing defaults.

        Args:
            keywords: Option names to values; texts and Python values alike, as `timeout="5m"` or `timeout=300`.
            settings: As for `from_line`.
            config: As for `from_line`.

        Raises:
            OptionError: an unknown keyword, or a keyword or standing default with a wrong value.
        """
        return cls._over(settings, config, cls.SPEC.read_keywords(keywords), THE_CALL)

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], *, settings: Settings | None, config: Mapping[str, Any] | None, who: str
    ) -> Self:
        """The options of values that have been read already, laid over the standing defaults.

        Args:
            values: Option names to values.
            settings: As for `from_line`.
            config: As for `from_line`.
            who: Where the values come from, for messages.
        """
        return cls._over(settings, config, values, who)

    @classmethod
    def _over(
        cls, settings: Settings | None, config: Mapping[str, Any] | None, values: Mapping[str, Any], who: str
    ) -> Self:
        merged: dict[str, Any] = {}
        sources: dict[str, str] = {}
        layers = settings.layers() if settings is not None else []
        if config:
            layers = [*layers, ("%config", cls.SPEC.read_config(config, "%config"))]
        for source, layer in [*layers, (who, values)]:
            for name, value in layer.items():
                # Variables add up: a line that sets one more must not lose those set for all.
                merged[name] = tuple((dict(merged.get(name, ())) | dict(value)).items()) if name == "env" else value
                sources[name] = f"{sources[name]}, {source}" if name == "env" and name in sources else source
        return cls(**merged, sources=sources)

    # -- planning ---------------------------------------------------------------------------------

    def variables(self) -> list[str]:
        """The notebook's variables that `plan` will look up."""
        wanted = [self.stdin, *(value for _, value in self.secret)]
        return [value.name for value in wanted if isinstance(value, Variable)]

    def plan_for(self, command: Command) -> Plan:
        """The plan to run a command by these options' policies; of the outside it looks at the directory of `tee` only.

        Raises:
            OptionError: a value out of range; a retry that could do things twice.
        """
        from xec_magic.plan import Plan

        # Lines are known by heart: a further cell with the same one need not have the same looked at again.
        policies = self.__dict__.get("_made") or self.__dict__.setdefault("_made", self._policies())
        stop, retry, limits, monitor = policies
        return Plan(
            command,
            stop,
            retry,
            limits,
            self.ok_codes,
            tee=None if self.tee is None else file_to_write(self.tee, self.who("tee")),
            label=self.label,
            monitor=monitor,
            cache=cache_policy(self, command.cwd if command.target.kind == "local" else None),
        )

    def _policies(self) -> tuple[StopPolicy, RetryPolicy, Limits, MonitorPolicy | None]:
        """What the options alone decide of a plan.

        Raises:
            OptionError: a value out of range; a retry that could do things twice.
        """
        from xec_magic.plan import Limits, MonitorPolicy, RetryPolicy, StopPolicy

        # Made in any case: a wrong value is refused also where it is not used.
        monitor = MonitorPolicy(self.rate, self.mark)
        self.refuse_idle()
        return (
            StopPolicy(timeout_s=self.timeout, grace_s=self.grace, wait=self.wait),
            RetryPolicy(retries=self.retries, codes=self.retry_codes, backoff_s=self.backoff, read_only=self.read_only),
            Limits(max_output_bytes=self.max_output, keep=self.keep),
            monitor if self.monitor else None,
        )

    # -- several targets --------------------------------------------------------------------------

    def fleet_policy(self) -> FleetPolicy:
        """How several targets are taken.

        Raises:
            OptionError: a number is out of range, or `yes` answers no question.
        """
        from xec_magic.fleetpolicy import FleetPolicy

        if self.yes and not self.confirm:
            raise OptionError(f"{self.who('yes')} answers what --confirm asks, which is not given")
        return FleetPolicy(self.fanout, self.canary, self.wave, self.max_fail, self.confirm)

    def fleet_options(self) -> list[str]:
        """The options for several targets that the line or the call has set."""
        return [name for name in _FLEET_OPTIONS if self.asks(name)] if self.sources else []

    def for_each_target(self) -> Self:
        """The same without what is for several targets."""
        plain = {name: self.SPEC.by_name[name].default for name in _FLEET_OPTIONS}
        return replace(self, **plain, sources={k: v for k, v in self.sources.items() if k not in _FLEET_OPTIONS})

    def refuse_idle(self) -> None:
        """Refuse what the line or the call sets to no effect; standing defaults may wait, and what was switched off may stay.

        Raises:
            OptionError: an option without the one that it belongs to.
        """
        asked = {name for name in self.sources if self.asks(name)}
        for owner, (on_line, in_call, names) in _OWNERS.items():
            if getattr(self, owner) or owner in asked:
                continue
            for name in names:
                if name in asked:
                    what = on_line if self.sources[name] == THE_LINE else in_call
                    raise OptionError(f"{self.who(name)} belongs to {what}, which is not given")
        if self.asks("max_output") and self.max_output is not None and self.asks("keep") and not self.keep:
            raise OptionError("max_output counts what is kept, and keep=False keeps nothing; leave one of them out")

    def plan(
        self, script: str | bytes, namespace: Mapping[str, Any] | None = None, target: Target | None = None
    ) -> Plan:
        """The complete plan to run a script by these options. Looks at directories and files, and runs nothing.

        Args:
            script: Values already filled in.
            namespace: Where `--stdin NAME` and `--secret NAME` find their variables.
            target: Where to run it; None for this machine. What is on a host is looked at there, when it runs.

        Raises:
            OptionError: a directory, file, interpreter or variable that is not there; a value out of range.
        """
        from xec_magic.command import LOCAL, Command, decode_script

        self._refuse_for_one()
        target = target or LOCAL
        here = target.kind != "ssh"
        command = Command(
            script=decode_script(script),
            target=target,
            shell=found_shell(self) if here else self.asked_for("shell", ()),
            strict=self.strict,
            login=self.login,
            cwd=self._directory() if here else self.asked_for("cwd", None),
            env=self.env,
            secret_env=secrets_of(self, namespace or {}),
            stdin=input_of(self, namespace or {}, here=here),
            worker=wants_worker(self, here=here),
            session=self.session,
            reset=self.reset,
        )
        return self.plan_for(command)

    def _refuse_for_one(self) -> None:
        """Refuse what is for several targets; as standing defaults they may wait for some."""
        for name in self.fleet_options():
            raise OptionError(
                f"{self.who(name)} is for a command on several targets: %%xec --on …, or xec.map(…, on=[…])"
            )

    def _directory(self) -> str | None:
        return None if self.cwd is None else directory_to_enter(self.cwd, self.who("cwd"))
