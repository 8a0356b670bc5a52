"""An institution's own workspace: the definitions to change, and a mapping to complete."""

from magml.workspace.start import Workspace, init

__all__ = ["Workspace", "init"]
