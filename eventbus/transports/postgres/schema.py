"""The tables, and how an older schema becomes a current one."""

from __future__ import annotations

import logging

from ...errors import AuthenticationError, TopologyError
from . import restored
from .link import Link
from .tables import Tables

logger = logging.getLogger("eventbus.postgres")

#: `xid8` and `pg_current_snapshot()` came with it.
OLDEST = 130_000

#: One script per version; a schema is brought forward through those it lacks, and run through all
#: of them when a table has vanished. So each statement can be repeated. Never edit one that was
#: released: append the next.
MIGRATIONS = (
    """
    -- A transaction's number in front: what is committed late is found by it. As a plain number,
    -- for a dump that is restored into another cluster has to be renumbered.
    CREATE TABLE IF NOT EXISTS {log} (
        xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
        id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
        at timestamptz NOT NULL DEFAULT now(),
        topic text COLLATE "C" NOT NULL, key text, data bytea NOT NULL,
        PRIMARY KEY (xid, id));
    CREATE INDEX IF NOT EXISTS log_topic ON {log} (topic, xid, id);
    -- Freed pages are to be used again soon, and new ones to become all-visible, for counting.
    ALTER TABLE {log} SET (
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
    -- See snapshot.py. `lost`: a table has vanished since a member has asked for it.
    CREATE TABLE IF NOT EXISTS {subscription} (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        grp text COLLATE "C" NOT NULL, pattern text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(), lost boolean NOT NULL DEFAULT false,
        seen_xmax bigint NOT NULL, seen_open bigint[] NOT NULL,
        target_xmax bigint, target_open bigint[], place_xid bigint, place_id bigint,
        UNIQUE (grp, pattern)) WITH (fillfactor = 20);
    -- One row per claimed batch: what of it is not settled yet. No owner: free to be claimed.
    CREATE TABLE IF NOT EXISTS {lease} (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        subscription bigint NOT NULL, owner text, until timestamptz NOT NULL,
        deaths integer NOT NULL, started bigint, count integer NOT NULL, held bytea NOT NULL,
        succeeded text NOT NULL) WITH (fillfactor = 50);
    -- Parked and replayed events, each for one handler, or for all of them (NULL).
    CREATE TABLE IF NOT EXISTS {inbox} (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        subscription bigint NOT NULL, handler text, topic text NOT NULL, key text,
        data bytea NOT NULL, attempt integer NOT NULL, due timestamptz NOT NULL,
        first_failed_at timestamptz, owner text, until timestamptz NOT NULL DEFAULT now(),
        deaths integer NOT NULL DEFAULT 0, started boolean NOT NULL DEFAULT false,
        succeeded text[] NOT NULL DEFAULT '{{}}');
    CREATE INDEX IF NOT EXISTS inbox_due ON {inbox} (subscription, due) WHERE owner IS NULL;
    CREATE INDEX IF NOT EXISTS inbox_until ON {inbox} (until) WHERE owner IS NOT NULL;
    CREATE TABLE IF NOT EXISTS {dead} (
        id text COLLATE "C" PRIMARY KEY, grp text COLLATE "C" NOT NULL,
        pattern text COLLATE "C" NOT NULL, handler text, topic text NOT NULL, key text,
        data bytea NOT NULL, event_id text, reason text NOT NULL, error text NOT NULL,
        traceback text NOT NULL, attempts integer NOT NULL, first_failed_at timestamptz NOT NULL,
        failed_at timestamptz NOT NULL);
    CREATE INDEX IF NOT EXISTS dead_group ON {dead} (grp, failed_at, id);
    CREATE INDEX IF NOT EXISTS dead_time ON {dead} (failed_at, id);
    -- Few rows that change all the time.
    ALTER TABLE {subscription} SET (autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
    ALTER TABLE {lease} SET (autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
    """,
)


def ensure(link: Link, tables: Tables) -> None:
    """Make the tables, or bring them forward, unless they are as they should be.

    Raises:
        TopologyError: the server or the tables are of a version that does not fit.
        AuthenticationError: the role may not make what is missing.
    """
    _check_server(link)
    if not _complete(link, tables) or _version(link, tables) < len(MIGRATIONS):
        _create(link, tables)
    restored.check(link, tables)


def _check_server(link: Link) -> None:
    found = link.raw.info.server_version
    if found < OLDEST:
        raise TopologyError(
            f"{link.name}: PostgreSQL {found // 10000} is too old, at least 13 is needed"
        )


def missing(link: Link, tables: Tables) -> list[str]:
    """Names of the tables that are not there."""
    # Not by `to_regclass`: it may answer from a cache that is older than the lock we waited for.
    rows = link.rows(
        "SELECT c.relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n"
        " ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = ANY(%s)",
        [tables.schema, list(tables.NAMES)],
    )
    found = {name for (name,) in rows}
    return [name for name in tables.NAMES if name not in found]


def _complete(link: Link, tables: Tables) -> bool:
    return not missing(link, tables)


def _version(link: Link, tables: Tables) -> int:
    rows = link.rows(f"SELECT value FROM {tables.meta} WHERE name = 'version'")
    version = int(rows[0][0]) if rows else 0
    if version > len(MIGRATIONS):
        raise TopologyError(
            f"{link.name}: schema {tables.schema!r} has version {version}, this eventbus knows up "
            f"to {len(MIGRATIONS)}: upgrade eventbus in this process"
        )
    return version


def instance(link: Link, tables: Tables) -> str:
    """What tells these tables from those of the same name elsewhere."""
    rows = link.rows(f"SELECT value FROM {tables.meta} WHERE name = 'instance'")
    return str(rows[0][0]) if rows else ""


def _create(link: Link, tables: Tables) -> None:
    try:
        with link.transaction():
            # Two processes that make the same table at once would fail over each other.
            link.rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [tables.channel])
            _create_locked(link, tables)
    except AuthenticationError as error:
        raise AuthenticationError(
            f"{error}. The schema {tables.schema!r} is missing or out of date and this role may "
            "not change that: run `eventbus declare` once with a role that may"
        ) from error


def _create_locked(link: Link, tables: Tables) -> None:
    absent = missing(link, tables)
    began = "meta" not in absent
    version = _version(link, tables) if began else 0
    if not absent and version == len(MIGRATIONS):
        return
    if not _exists(link, tables):
        link.script(f"CREATE SCHEMA {tables.quoted}")
    link.script(
        f"CREATE TABLE IF NOT EXISTS {tables.meta} (name text PRIMARY KEY, value text NOT NULL)"
    )
    for script in MIGRATIONS if absent else MIGRATIONS[version:]:
        link.script(script.format(**_names(tables)))
    _remember(link, tables)
    if began and version and absent:
        logger.warning(
            "%s: table %s of schema %r had vanished and was made again: what was in it is lost",
            link.name, ", ".join(absent), tables.schema,
        )
        link.run(f"UPDATE {tables.subscription} SET lost = true")


def _remember(link: Link, tables: Tables) -> None:
    link.run(
        f"INSERT INTO {tables.meta} VALUES ('version', %s) ON CONFLICT (name)"
        " DO UPDATE SET value = excluded.value", [str(len(MIGRATIONS))],
    )
    link.run(
        f"INSERT INTO {tables.meta} VALUES ('instance', gen_random_uuid()::text)"
        " ON CONFLICT (name) DO NOTHING"
    )


def _exists(link: Link, tables: Tables) -> bool:
    # `CREATE SCHEMA IF NOT EXISTS` asks for the right to create one even where it exists.
    return bool(link.rows("SELECT 1 FROM pg_namespace WHERE nspname = %s", [tables.schema]))


def _names(tables: Tables) -> dict[str, str]:
    return {name: getattr(tables, name) for name in tables.NAMES}
