"""Sources: an institution's layout of tables turned into events, lazily."""

from magml.sources.registry import LAYOUTS, Layout, open_source

__all__ = ["LAYOUTS", "Layout", "open_source"]
