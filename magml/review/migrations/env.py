"""How alembic reaches the record: over the connection that magml hands it."""

from __future__ import annotations

from alembic import context

from magml.review.schema import metadata


def run() -> None:
    """Run the migrations inside the caller's transaction."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    context.run_migrations()


# Alembic loads this file under a name of its own; imported as a module, it only defines.
if __name__ == "env_py":
    run()
