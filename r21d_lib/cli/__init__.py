"""The command line `r21d`."""

from r21d_lib.cli.main import main

__all__ = ["main"]
