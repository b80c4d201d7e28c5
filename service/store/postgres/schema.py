"""Tables of the PostgreSQL backend, and the migrations of its schema. Knows nothing of items."""

from typing import Any

import psycopg

from service.store.interface import StoreUnusable

PgConnection = psycopg.Connection[tuple[Any, ...]]

# Key of an advisory lock: any number that no other program uses on the same database.
LOCK = 0x56414531

# From each version to the next. A published migration never changes: nothing uses vae_traces, traces and forgotten any more.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE vae_collections (
             number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
             name text COLLATE "C" NOT NULL UNIQUE,
             model text NOT NULL,
             digest text NOT NULL,
             dim integer NOT NULL,
             metric text NOT NULL,
             description text NOT NULL,
             count bigint NOT NULL DEFAULT 0,
             seq bigint NOT NULL DEFAULT 0,
             traces bigint NOT NULL DEFAULT 0,
             forgotten bigint NOT NULL DEFAULT 0
           )""",
        """CREATE TABLE vae_keys (
             collection bigint NOT NULL REFERENCES vae_collections ON DELETE CASCADE,
             key text NOT NULL,
             PRIMARY KEY (collection, key)
           )""",
        """CREATE TABLE vae_traces (
             collection bigint NOT NULL REFERENCES vae_collections ON DELETE CASCADE,
             id text COLLATE "C" NOT NULL,
             seq bigint NOT NULL,
             PRIMARY KEY (collection, id)
           )""",
    ),
    (
        "ALTER TABLE vae_collections ADD COLUMN keep text, ADD COLUMN picture_bytes bigint NOT NULL DEFAULT 0",
        # Originals of items. Pictures are compressed already, so PostgreSQL need not try.
        """CREATE TABLE vae_pictures (
             collection bigint NOT NULL REFERENCES vae_collections ON DELETE CASCADE,
             id text COLLATE "C" NOT NULL,
             data bytea NOT NULL,
             PRIMARY KEY (collection, id)
           )""",
        "ALTER TABLE vae_pictures ALTER COLUMN data SET STORAGE EXTERNAL",
    ),
    ("ALTER TABLE vae_collections ADD COLUMN sigma_weight double precision NOT NULL DEFAULT 1.0",),
    (
        # Vectors are float32, little endian; details are JSON.
        """CREATE TABLE vae_directions (
             collection bigint NOT NULL REFERENCES vae_collections ON DELETE CASCADE,
             name text COLLATE "C" NOT NULL,
             vector bytea NOT NULL,
             details text NOT NULL,
             PRIMARY KEY (collection, name)
           )""",
    ),
    # A random token of the last change. After a failover, servers with other changes may have the same seq.
    ("ALTER TABLE vae_collections ADD COLUMN change uuid NOT NULL DEFAULT gen_random_uuid()",),
)


def migrate(connection: PgConnection) -> None:
    """Bring the schema to this version. Several processes may try at once. Raises StoreUnusable."""
    if _version(connection) == len(MIGRATIONS):  # as nearly always: then no lock is needed
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        try:
            with connection.transaction():
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except (
            psycopg.errors.FeatureNotSupported,
            psycopg.errors.UndefinedFile,
            psycopg.errors.InsufficientPrivilege,
        ) as error:
            raise StoreUnusable(f"the database lacks the extension vector (github.com/pgvector/pgvector): {error}") from error
        connection.execute("CREATE TABLE IF NOT EXISTS vae_schema (version integer NOT NULL)")
        row = connection.execute("SELECT version FROM vae_schema").fetchone()
        version = row[0] if row else 0
        if version > len(MIGRATIONS):
            raise StoreUnusable(
                f"the database has schema version {version} of a newer service; this one knows up to {len(MIGRATIONS)}"
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if row is None:
            connection.execute("INSERT INTO vae_schema VALUES (%s)", (len(MIGRATIONS),))
        else:
            connection.execute("UPDATE vae_schema SET version = %s", (len(MIGRATIONS),))


def _version(connection: PgConnection) -> int | None:
    """Return the version of the schema, or None if it or a part of it is missing."""
    there = connection.execute(
        "SELECT to_regclass('vae_schema'), to_regclass('vae_collections'), to_regtype('vector')"
    ).fetchone()
    if there is None or None in there:
        return None
    row = connection.execute("SELECT version FROM vae_schema").fetchone()
    return row[0] if row else None


def table(number: int) -> str:
    """Return the name of the table with a collection's items."""
    return f"vae_items_{int(number)}"


def make_table(connection: PgConnection, number: int, dim: int) -> None:
    """Make the table for the items of a new collection."""
    connection.execute(
        f"""CREATE TABLE {table(number)} (
              id text COLLATE "C" PRIMARY KEY,
              seq bigint NOT NULL,
              mu vector({int(dim)}) NOT NULL,
              both_ vector({2 * int(dim)}) NOT NULL,
              has_sigma boolean NOT NULL,
              metadata text NOT NULL,
              fields jsonb NOT NULL
            )"""
    )
    connection.execute(f"CREATE INDEX ON {table(number)} (seq)")
