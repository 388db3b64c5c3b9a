from helpers.cells import run, shell  # noqa: F401 - fixtures
