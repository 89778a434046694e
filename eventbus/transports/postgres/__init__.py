"""PostgreSQL: the bus inside the database you already run.

One log, a cursor per subscription that remembers a whole snapshot, one lease row per claimed batch,
rows of their own only for what is parked, replayed or dead.
"""

from .transport import CAPABILITIES, PostgresTransport

__all__ = ["CAPABILITIES", "PostgresTransport"]
