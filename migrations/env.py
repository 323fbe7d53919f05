"""Run the migrations on the connection that dispatchd passes in, inside its transaction."""

from alembic import context

from dispatchd.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
    render_as_batch=True,
)
context.run_migrations()
