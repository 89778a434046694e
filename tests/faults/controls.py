"""Which scenario reveals which sabotage, and which invariant it breaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import scenarios as s
from .brokers import sqlite
from .checker.report import Report
from .checker.rules import Rules
from .supervisor import Supervisor

Scenario = Callable[[Supervisor], None]


class Control(NamedTuple):
    """A sabotaged build and how it is caught.

    Attributes:
        sabotage: its name.
        scenario: what it does not survive, and the honest build does.
        breaks: the invariant that must be among those found broken.
    """

    sabotage: str
    scenario: Scenario
    breaks: str


CONTROLS = (
    Control("ack_before_handler", s.killed_in_the_middle, "I1"),
    Control("success_acks_all", s.killed_in_the_middle, "I1"),
    Control("drop_on_retry", s.failing, "I1"),
    Control("dead_letter_after_ack", s.killed_after_a_rejection, "I1"),
    Control("dead_letter_apart_from_ack", s.killed_with_a_dead_letter, "I1"),
    Control("bystanders_buried", s.killed_with_others_in_hand, "I1"),
    Control("suspects_never_run", s.killed_again_and_again, "I6"),
    Control("dead_members_keep_their_events", s.killed_with_others_in_hand, "I6"),
    Control("position_at_the_end", s.all_away, "I1"),
    Control("births_not_durable", s.all_away, "I1"),
    Control("retention_removes_unsettled", s.away_for_long, "I1"),
    Control("publish_returns_early", s.publisher_killed, "I1"),
    Control("replay_removes_first", s.replayer_killed, "I1"),
    Control("stale_ack_accepted", s.asleep_past_the_lease, "I1"),
    Control("release_lost_at_close", s.closed_but_alive, "I6"),
    Control("stored_but_called_failed", s.published, "I2"),
    Control("metadata_lost", s.published, "I3"),
    Control("acks_lost_at_close", s.closed_with_work_in_hand, "I4"),
    Control("settled_too_late", s.killed_after_many, "I4"),
    Control("lease_never_renewed", s.longer_than_the_lease, "I4"),
    Control("lane_ignored", s.one_key, "I5"),
    Control("close_takes_its_time", s.closed_at_leisure, "I7"),
    Control("connection_left_open", s.closed_at_leisure, "I8"),
)


def outcome(scenario: Scenario, folder: Path, sabotage: str = "") -> Report:
    """What the checker says of a scenario, with or without a sabotage."""
    rules = Rules(drain=s.DRAIN)
    with Supervisor(sqlite(folder), folder, rules, sabotage=sabotage) as run:
        scenario(run)
        return run.finish()
