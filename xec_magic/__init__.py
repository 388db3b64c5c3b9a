"""Shell commands from notebooks: safe, live, kept, and Python values."""

__version__ = "0.1.0"
