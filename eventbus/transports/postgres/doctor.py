"""What is right and wrong with a server, for `eventbus doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..base import Finding, Settings
from . import backlog, subscriptions
from .link import Link
from .tables import Tables
from .window import Log

#: Seconds for which a transaction may stay open before it is worth a word.
LONG = 60.0
#: Dead rows that are no sign of anything yet.
DEAD_ROWS = 20_000
#: What a service needs; `docs/howto/postgres.rst` has the statements.
RIGHTS = {
    "meta": "SELECT", "log": "SELECT, INSERT, DELETE",
    **dict.fromkeys(("subscription", "lease", "inbox", "dead"), "SELECT, INSERT, UPDATE, DELETE"),
}

_Level = Literal["ok", "warning", "error"]


def findings(link: Link, tables: Tables, settings: Settings) -> Iterator[Finding]:
    """One line for each thing that was looked at."""
    link.connect()
    yield _version(link)
    yield _encoding(link)
    yield _encrypted(link)
    yield from _settings(link)
    yield _rights(link, tables)
    yield _oldest(link)
    yield from _holders(link)
    yield from _bloat(link, tables)
    for subscription in subscriptions.every(link, tables):
        yield _subscription(link, tables, subscription, settings.lease)


def _finding(bad: object, level: _Level, subject: str, message: str) -> Finding:
    return Finding(level if bad else "ok", subject, message)


def _version(link: Link) -> Finding:
    number = link.raw.info.server_version
    pooler = ", behind a pooler: consumers look every 50 ms" if link.pooled else ""
    return Finding("ok", "version", f"PostgreSQL {number // 10000}.{number % 10000}{pooler}")


def _encoding(link: Link) -> Finding:
    ((encoding,),) = link.rows("SHOW server_encoding")
    return _finding(
        encoding != "UTF8", "error", "encoding",
        encoding if encoding == "UTF8" else f"{encoding}: the database cannot hold every key, use "
        "one with encoding UTF8",
    )


def _encrypted(link: Link) -> Finding:
    info, pgconn = link.raw.info, link.raw.pgconn
    local = info.host.startswith(("/", "127.", "localhost", "::1")) or not info.host
    verified = info.get_parameters().get("sslmode") == "verify-full"
    if pgconn.ssl_in_use:
        return _finding(
            not verified and not local, "warning", "encryption",
            "TLS, server verified" if verified else "TLS, but nobody looks at whom it leads to: "
            "add sslmode=verify-full to the URL",
        )
    return _finding(
        not local, "warning", "encryption",
        "none, on this machine" if local else "none: add sslmode=verify-full to the URL",
    )


def _settings(link: Link) -> Iterator[Finding]:
    names = ("fsync", "synchronous_commit", "default_transaction_read_only")
    rows = link.rows(
        "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)", [list(names)]
    )
    values = dict(rows)
    off = "confirmed events are lost when the server crashes: set it to on"
    for name in ("fsync", "synchronous_commit"):
        bad = values.get(name) == "off"
        yield _finding(bad, "warning", name, f"off: {off}" if bad else values.get(name, "?"))
    if values.get("default_transaction_read_only") == "on":
        yield _finding(
            link.pooled, "error", "default_transaction_read_only",
            "on: behind a pooler the bus cannot change that for itself, ALTER ROLE can"
            if link.pooled else "on; the bus turns it off for its own sessions",
        )


def _rights(link: Link, tables: Tables) -> Finding:
    missing = [
        f"{right} on {name}"
        for name, rights in RIGHTS.items()
        for right in rights.split(", ")
        if link.rows("SELECT has_table_privilege(%s, %s)", [getattr(tables, name), right])
        != [(True,)]
    ]
    return _finding(
        missing, "error", "rights",
        f"this role lacks {', '.join(missing)}" if missing else f"{tables.schema}: all there",
    )


def _oldest(link: Link) -> Finding:
    ((behind, seconds),) = link.rows(
        "SELECT (pg_snapshot_xmax(s)::text::bigint - pg_snapshot_xmin(s)::text::bigint),"
        " (SELECT extract(epoch FROM max(now() - xact_start))::float8 FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL))"
        " FROM pg_current_snapshot() AS s"
    )
    age = f"open for {seconds:.0f} s" if seconds else "not old"
    return _finding(
        (seconds or 0.0) > LONG, "warning", "oldest transaction",
        f"{age}, {behind} transactions have begun since the oldest that writes; while it is open "
        "dead rows stay",
    )


def _holders(link: Link) -> Iterator[Finding]:
    """What keeps dead rows alive without a session."""
    for (gid,) in link.rows("SELECT gid FROM pg_prepared_xacts ORDER BY prepared"):
        yield Finding(
            "warning", "prepared transaction",
            f"{gid!r} waits for COMMIT PREPARED or ROLLBACK PREPARED; dead rows stay until then",
        )
    sql = (
        "SELECT slot_name, active FROM pg_replication_slots"
        " WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL OR NOT active"
    )
    for name, active in link.rows(sql):
        yield _finding(
            not active, "warning", "replication slot",
            f"{name}: in use" if active else f"{name}: nobody reads it, and the server keeps WAL, "
            "or dead rows, for it: use it or drop it",
        )


def _bloat(link: Link, tables: Tables) -> Iterator[Finding]:
    rows = link.rows(
        "SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid)"
        " FROM pg_stat_all_tables WHERE schemaname = %s ORDER BY relname", [tables.schema],
    )
    for name, live, dead, size in rows:
        yield _finding(
            dead > max(DEAD_ROWS, live), "warning", f"table {name}",
            f"{size / 1e6:.1f} MB, {live} rows, {dead} dead ones",
        )


def _subscription(
    link: Link, tables: Tables, subscription: subscriptions.Subscription, lease: float
) -> Finding:
    number, id, cursor = subscription
    waiting = backlog.of(link, tables, id, None)
    first = Log(tables, id.pattern).first(link, cursor)
    text = f"{waiting} not settled"
    if first is not None:
        sql = f"SELECT extract(epoch FROM now() - at)::float8 FROM {tables.log}"
        for (age,) in link.rows(f"{sql} WHERE xid = %s AND id = %s", first):
            text += f", the oldest that nobody has claimed for {age:.0f} s"
    ((stuck,),) = link.rows(
        f"SELECT coalesce(sum(count), 0)::bigint FROM {tables.lease} WHERE subscription = %s"
        " AND until < now() - %s * interval '1 second'", [number, lease],
    )
    if stuck:
        text += f", {stuck} of them stuck: no member is alive"
    return _finding(stuck, "warning", f"{id.pattern} of {id.group}", text)
