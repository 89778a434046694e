"""The checker, fed with journals made by hand: repetition (I4) and order (I5)."""

from __future__ import annotations

import pytest

from . import journal as steps
from .checker.duplicates import bounds
from .checker.history import History
from .checker.report import check
from .checker.rules import Rules
from .journal import Step
from .story import Story


@pytest.fixture
def story() -> Story:
    return Story()


# -- I4 ----------------------------------------------------------------------------------------


def test_a_repetition_without_a_fault_is_not_explained(story):
    story.publish("a")
    story.handle("a")
    story.handle("a", "m2")
    report = check(story.lines)
    assert (report.broken, report.duplicates) == ({"I4"}, 1)


def test_two_runs_at_once_without_a_fault_are_not_explained(story):
    story.publish("a")
    first = story.start("a")
    story.handle("a", "m2")
    story.end(first)
    assert story.broken() == {"I4"}


def test_what_ran_when_its_member_was_killed_may_run_again(story):
    story.publish("a")
    story.start("a")
    story.fault(steps.KILL, "m1")
    story.handle("a", "m2")
    report = check(story.lines)
    assert report.broken == set()
    assert (report.duplicates, report.interrupted, report.bound) == (1, 1, 1)


def test_what_had_just_ended_before_the_kill_may_run_again(story):
    story.publish("a")
    story.handle("a")
    story.fault(steps.KILL, "m1", after=0.09)
    story.handle("a", "m2")
    assert story.broken() == set()


def test_what_had_ended_long_before_the_kill_may_not(story):
    story.publish("a")
    story.handle("a")
    story.fault(steps.KILL, "m1", after=0.11)
    story.handle("a", "m2")
    assert story.broken() == {"I4"}


def test_time_in_which_the_machine_stood_still_does_not_count(story):
    story.publish("a")
    story.handle("a")
    story.add(steps.STALL, number=0.15, after=0.2)
    story.fault(steps.KILL, "m1", after=0.04)
    story.handle("a", "m2")
    assert story.broken(settle_window=0.1) == set()
    assert story.broken(settle_window=0.08) == {"I4"}


def test_a_stall_that_outlives_the_kill_counts_up_to_it(story):
    story.publish("a")
    story.handle("a")
    story.fault(steps.KILL, "m1", after=0.15)
    story.handle("a", "m2")
    story.add(steps.STALL, number=0.1, after=0.0)
    assert story.broken(settle_window=0.1) == set()


@pytest.mark.parametrize(("who", "broken"), [("m1", set()), ("m2", {"I4"})])
def test_a_stall_of_a_members_own_counts_for_itself(story, who, broken):
    story.publish("a")
    story.handle("a")
    story.add(steps.STALL, who=who, number=0.15, after=0.16)
    story.fault(steps.KILL, "m1", after=0.04)
    story.handle("a", "m2")
    assert story.broken() == broken


@pytest.mark.parametrize(("silent", "broken"), [(0.1, set()), (0.0, {"I4"})])
def test_so_does_one_in_which_it_is_killed(story, silent, broken):
    story.publish("a")
    story.handle("a")
    story.fault(steps.KILL, "m1", after=0.15, number=silent)
    story.handle("a", "m2")
    assert story.broken() == broken


def test_a_stall_of_long_before_explains_nothing(story):
    story.publish("a")
    story.add(steps.STALL, number=0.5)
    story.handle("a")
    story.fault(steps.KILL, "m1", after=0.11)
    story.handle("a", "m2")
    assert story.broken() == {"I4"}


def test_the_kill_of_another_member_explains_nothing(story):
    story.publish("a")
    story.handle("a")
    story.fault(steps.KILL, "m2")
    story.handle("a", "m1")
    assert story.broken() == {"I4"}


def test_a_graceful_stop_explains_nothing(story):
    story.publish("a")
    story.handle("a")
    story.fault(steps.STOP, "m1")
    story.handle("a", "m2")
    assert story.broken() == {"I4"}


def test_each_kill_has_a_bound_of_its_own(story):
    for id in "abc":
        story.publish(id)
    story.handle("a")
    story.start("b", who="m2")
    story.fault(steps.KILL, "m1", after=0.05)
    story.fault(steps.KILL, "m2")
    story.start("c", who="m3")
    found = bounds(History(story.lines), Rules())
    assert [(b.fault.who, b.running, b.completed) for b in found] == [("m1", 0, 1), ("m2", 1, 0)]


def test_what_a_victim_did_after_the_line_of_its_kill_counts_as_done_before(story):
    story.publish("a")
    story.fault(steps.KILL, "m1")
    story.handle("a")
    story.handle("a", "m2")
    assert story.broken() == set()


def test_a_pause_explains_what_ran_in_it(story):
    story.publish("a")
    first = story.start("a")
    story.fault(steps.PAUSE, "m1")
    story.handle("a", "m2")
    story.fault(steps.RESUME, "m1")
    story.end(first)
    assert story.broken() == set()


def test_a_fault_of_the_broker_explains_what_ran_anywhere(story):
    story.publish("a")
    first = story.start("a")
    story.fault(steps.FAULT_ON, "broker killed")
    story.fault(steps.FAULT_OFF, "broker killed")
    story.handle("a", "m2")
    story.end(first)
    assert story.broken() == set()


def test_a_fault_that_takes_its_time_explains_what_began_before_it_struck(story):
    story.publish("a")
    story.publish("b")
    story.fault(steps.FAULT_ON, "broker killed")
    story.handle("a")
    story.fault(steps.STRUCK, "broker killed")
    story.handle("b")
    story.fault(steps.FAULT_OFF, "broker killed")
    story.handle("a")
    assert story.broken() == set()
    story.handle("b")
    assert story.broken() == {"I4"}


def test_what_a_broker_forgets_may_begin_again_after_it_struck(story):
    story.publish("a")
    story.fault(steps.FAULT_ON, "kill")
    story.fault(steps.STRUCK, "kill", number=0.015)
    story.handle("a")
    story.fault(steps.FAULT_OFF, "kill")
    story.handle("a", "m2")
    assert story.broken() == set()
    story.handle("a", "m2")
    assert story.broken() == {"I4"}


@pytest.mark.parametrize(("reconnects", "expected"), [(False, set()), (True, {"I4"})])
def test_what_ended_while_the_broker_was_away_is_not_settled(story, reconnects, expected):
    """Until its member is connected again; the faults that come later have not met it."""
    story.publish("a")
    story.add(steps.STATE, who="m1", text="ok")
    story.fault(steps.FAULT_ON, "outage")
    story.fault(steps.STRUCK, "outage")
    story.handle("a")
    story.add(steps.STATE, who="m1", text="connecting")
    story.fault(steps.FAULT_OFF, "outage", after=60.0)
    if reconnects:
        story.add(steps.STATE, who="m1", text="ok")
    story.fault(steps.FAULT_ON, "restart", after=1.0)
    story.fault(steps.STRUCK, "restart")
    story.fault(steps.FAULT_OFF, "restart")
    story.fault(steps.KILL, "m1", after=1.0)
    story.handle("a", "m2")
    assert story.broken(recovery=100.0) == expected


def test_without_leases_an_outage_explains_what_began_in_it(story):
    story.publish("a")
    story.fault(steps.FAULT_ON, "broker paused")
    story.fault(steps.STRUCK, "broker paused")
    story.handle("a")
    story.fault(steps.FAULT_OFF, "broker paused")
    story.handle("a", "m2")
    assert story.broken(leases=False) == set()
    assert story.broken() == {"I4"}


def test_a_member_that_is_not_connected_again_is_in_the_outage_still(story):
    """The next one is not to explain it."""
    story.publish("a")
    story.fault(steps.FAULT_ON, "kill")
    story.fault(steps.STRUCK, "kill")
    story.fault(steps.FAULT_OFF, "kill")
    story.handle("a")
    story.fault(steps.FAULT_ON, "restart", after=0.6)
    story.fault(steps.STRUCK, "restart")
    story.fault(steps.FAULT_OFF, "restart")
    story.handle("a", "m2")
    assert story.broken(leases=False, settle_window=0.5, reconnect=0.2) == set()
    assert story.broken(leases=False, settle_window=0.5) == {"I4"}


# -- I5 ----------------------------------------------------------------------------------------


def test_two_of_a_key_at_once_in_one_process(story):
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    first = story.start("a", key="k", seq=1)
    second = story.start("b", key="k", seq=2)
    story.end(first)
    story.end(second)
    assert story.broken() == {"I5"}


def test_two_of_a_key_at_once_in_two_processes_are_allowed(story):
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    first = story.start("a", key="k", seq=1)
    story.handle("b", "m2", key="k", seq=2)
    story.end(first)
    assert story.broken() == set()


def test_a_later_event_of_a_key_must_not_overtake(story):
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.handle("b", key="k", seq=2)
    story.handle("a", key="k", seq=1)
    assert story.broken() == {"I5"}


def test_a_later_event_of_a_key_must_wait_for_a_retry(story):
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.end(story.start("a", key="k", seq=1), step=steps.FAIL)
    story.handle("b", key="k", seq=2)
    story.handle("a", key="k", seq=1, attempt=2)
    assert story.broken() == {"I5"}


def test_a_dead_letter_releases_its_key(story):
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.end(story.start("a", key="k", seq=1), step=steps.FAIL)
    story.handle("b", key="k", seq=2)
    story.bury("a")
    assert story.broken() == set()


def test_a_server_that_is_unaware_of_a_death_may_hand_the_dead_what_is_published_after_it(story):
    story.fault(steps.KILL, "m2")
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.handle("b", key="k", seq=2)
    story.handle("a", key="k", seq=1)
    assert story.broken(unaware=0.5) == set()
    assert story.broken() == {"I5"}


def test_a_member_that_was_killed_explains_why_an_event_came_late(story):
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.handle("b", key="k", seq=2)
    story.fault(steps.KILL, "m2")
    story.handle("a", key="k", seq=1)
    assert story.broken() == set()


@pytest.mark.parametrize(("took", "expected"), [(0.2, set()), (0.005, {"I5"})])
def test_a_member_may_hand_events_back_until_its_stop_is_over(story, took, expected):
    story.fault(steps.STOP, "m2")
    begun = story.time
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.handle("b", key="k", seq=2)
    story.handle("a", key="k", seq=1)
    story.lines.append(Step(step=steps.CLOSED, who="m2", at=begun + took))
    assert story.broken() == expected


@pytest.mark.parametrize(("who", "expected"), [("m2", set()), ("m1", {"I5"})])
def test_another_member_that_handed_events_back_explains_it_too(story, who, expected):
    story.add(steps.STATE, who=who, text="ok", more={"released": 1})
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.handle("b", key="k", seq=2)
    story.add(steps.STATE, who=who, text="ok", more={"released": 2})
    story.handle("a", key="k", seq=1)
    assert story.broken() == expected


def test_a_count_of_events_handed_back_that_stands_still_explains_nothing(story):
    story.add(steps.STATE, who="m2", text="ok", more={"released": 1})
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.handle("b", key="k", seq=2)
    story.add(steps.STATE, who="m2", text="ok", number=3, more={"released": 1})
    story.handle("a", key="k", seq=1)
    assert story.broken() == {"I5"}
