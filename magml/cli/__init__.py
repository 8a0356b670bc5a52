"""The command line: one verb a command, the same verbs as in Python."""

from magml.cli.app import main

__all__ = ["main"]
