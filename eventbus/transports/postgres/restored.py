"""A dump that was restored into another cluster, whose transactions have other numbers.

Where they are lower than those in the tables, everything published from now on would look as if it
had been claimed long ago. So what the tables know is renumbered below all that a cluster gives out.
"""

from __future__ import annotations

import logging

from . import leases
from .link import Link
from .snapshot import LOWEST, Place
from .tables import Tables

logger = logging.getLogger("eventbus.postgres")


def check(link: Link, tables: Tables) -> None:
    """Renumber, if need be."""
    if not _foreign(link, tables):
        return
    with link.transaction():
        link.rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [tables.channel])
        # Nobody may publish or claim by the old numbers meanwhile.
        link.script(f"LOCK TABLE {tables.subscription}, {tables.log} IN EXCLUSIVE MODE")
        if _foreign(link, tables):
            _renumber(link, tables)


def _foreign(link: Link, tables: Tables) -> bool:
    """Whether something carries a number that this cluster has not given out yet."""
    sql = (
        f"SELECT greatest((SELECT max(xid) + 1 FROM {tables.log}),"
        f" (SELECT max(seen_xmax) FROM {tables.subscription})),"
        " pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    )
    ((highest, current),) = link.rows(sql)
    return highest is not None and highest > current


def _renumber(link: Link, tables: Tables) -> None:
    logger.warning(
        "%s: schema %r was restored from another cluster, where transactions had higher numbers; "
        "its events are renumbered, and none is skipped", link.name, tables.schema,
    )
    ((by,),) = link.rows(
        f"SELECT greatest((SELECT max(xid) + 1 FROM {tables.log}),"
        f" (SELECT max(greatest(seen_xmax, target_xmax)) FROM {tables.subscription}))"
    )
    # A rewrite of the log: it may take as long as it takes.
    link.script("SET LOCAL statement_timeout = 0")
    link.run(f"UPDATE {tables.log} SET xid = xid - %s", [by], timeout=3600.0)
    _shift_cursors(link, tables, by)
    for id, held in link.rows(f"SELECT id, held FROM {tables.lease}"):
        places = [Place(place.xid - by, place.id) for place in leases.unpack(held)]
        link.run(
            f"UPDATE {tables.lease} SET held = %s WHERE id = %s", [leases.pack(places), id]
        )


def _shift_cursors(link: Link, tables: Tables, by: int) -> None:
    link.run(
        f"UPDATE {tables.subscription} SET seen_xmax = greatest(seen_xmax - %s, %s),"
        " seen_open = ARRAY(SELECT x - %s FROM unnest(seen_open) x),"
        " target_xmax = target_xmax - %s,"
        " target_open = ARRAY(SELECT x - %s FROM unnest(target_open) x),"
        " place_xid = greatest(place_xid - %s, %s)",
        [by, LOWEST, by, by, by, by, LOWEST],
    )
