"""The options of a run and of tasks, and the standing defaults that files, environment and `%config` give them."""

from xec_magic.options.input import Variable
from xec_magic.options.run import RunOptions
from xec_magic.options.settings import Settings

__all__ = ["RunOptions", "Settings", "Variable"]
