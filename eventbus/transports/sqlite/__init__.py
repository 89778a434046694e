"""SQLite: the durable embedded default. One file, shared by the processes of a host.

One log, a cursor per subscription, one lease row per claimed batch, rows of their own only for
what is parked or replayed. A single writer at a time makes commit order the order of the numbers,
so a plain cursor skips nothing.
"""

from .transport import CAPABILITIES, SQLiteTransport

__all__ = ["CAPABILITIES", "SQLiteTransport"]
