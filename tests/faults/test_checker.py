"""The checker, fed with journals made by hand: delivery (I1 to I3) and manners (I6 to I10)."""

from __future__ import annotations

import pytest

from . import journal as steps
from .checker.history import covers
from .checker.report import check
from .journal import Step
from .story import Story


@pytest.fixture
def story() -> Story:
    return Story()


# -- a run without a fault ---------------------------------------------------------------------


def test_a_run_as_it_should_be_breaks_nothing(story):
    story.publish("a", key="k", seq=1)
    story.publish("b", key="k", seq=2)
    story.handle("a", key="k", seq=1)
    run = story.start("b", key="k", seq=2)
    story.end(run, step=steps.FAIL)
    story.handle("b", key="k", seq=2, attempt=2)
    story.add(steps.BACKLOG, group="g", pattern="job.*", number=0)
    story.add(steps.DRAINED, number=1.0)
    story.add(steps.CLOSING, who="m1", number=10.0)
    story.add(steps.CLOSED, who="m1")
    report = check(story.lines)
    assert not report.violations, str(report)
    assert (report.events, report.kills, report.lost, report.duplicates) == (2, 0, 0, 0)


def test_an_empty_journal_breaks_nothing():
    assert not check([]).violations


# -- I1 ----------------------------------------------------------------------------------------


def test_an_event_that_nobody_handled_is_lost(story):
    story.publish("a")
    report = check(story.lines)
    assert report.lost == 1
    assert report.broken == {"I1"}


def test_an_event_whose_handler_only_failed_is_lost(story):
    story.publish("a")
    story.end(story.start("a"), step=steps.FAIL)
    assert story.broken() == {"I1"}


def test_a_dead_letter_is_not_lost(story):
    story.publish("a")
    story.end(story.start("a"), step=steps.FAIL)
    story.bury("a")
    assert story.broken() == set()


def test_a_dead_letter_without_a_handler_stands_for_all_of_its_group(story):
    story.publish("a")
    story.bury("a", "undecodable", handler="")
    assert story.broken() == set()


def test_two_dead_letters_of_one_event_are_one_too_many(story):
    story.publish("a")
    story.bury("a")
    story.bury("a")
    assert story.broken() == {"I1"}


def test_who_never_started_must_not_be_buried_as_crashed(story):
    story.publish("a")
    story.bury("a", "crashed")
    assert story.broken() == {"I1"}


def test_who_started_and_never_came_back_may_be_buried_as_crashed(story):
    story.publish("a")
    story.start("a")
    story.bury("a", "crashed")
    assert story.broken() == set()


def test_what_came_before_the_subscription_or_does_not_match_is_not_owed():
    story = Story()
    story.time = -1.0
    story.publish("before")
    story.time = 1.0
    story.publish("other", type="task.a")
    story.publish("deeper", type="job.a.b")
    assert story.broken() == set()


def test_events_left_with_the_broker_break_the_first_invariant(story):
    story.add(steps.BACKLOG, group="g", pattern="job.*", number=3)
    assert story.broken() == {"I1"}


@pytest.mark.parametrize("outcome", ["", steps.UNKNOWN, steps.FAILED])
def test_what_was_never_confirmed_need_not_arrive(story, outcome):
    story.publish("a", outcome)
    story.fault(steps.KILL, "p")
    assert story.broken() == set()


def test_each_handler_owes_each_event(story):
    story.add(steps.LIVE, who="m1", group="g", pattern="job.*", handler="second")
    story.publish("a")
    story.handle("a")
    assert check(story.lines).lost == 1


# -- I2, I3 ------------------------------------------------------------------------------------


def test_what_nobody_published_is_invented(story):
    story.handle("ghost")
    report = check(story.lines)
    assert (report.broken, report.invented) == ({"I2"}, 1)


def test_a_dead_letter_of_what_nobody_published_is_invented(story):
    story.bury("ghost")
    assert story.broken() == {"I2"}


def test_what_was_called_failed_must_not_arrive(story):
    story.publish("a", steps.FAILED)
    story.handle("a")
    assert story.broken() == {"I2"}


@pytest.mark.parametrize("outcome", ["", steps.UNKNOWN])
def test_what_may_have_been_stored_may_arrive(story, outcome):
    story.publish("a", outcome)
    story.fault(steps.KILL, "p")
    story.handle("a")
    assert story.broken() == set()


def test_an_event_must_arrive_as_it_was_sent(story):
    story.publish("a")
    story.handle("a", digest="other")
    assert story.broken() == {"I3"}


def test_a_dead_letter_must_hold_what_was_sent(story):
    story.publish("a")
    story.bury("a", digest="other")
    assert story.broken() == {"I3"}


# -- I6, I10 -----------------------------------------------------------------------------------


def test_what_a_killed_member_ran_must_come_back_in_time(story):
    story.publish("a")
    story.start("a")
    story.fault(steps.KILL, "m1")
    story.time += 5.0
    story.handle("a", "m2")
    assert story.broken(take_over=6.0) == set()
    assert story.broken(take_over=4.0) == {"I6"}


def inherit(story: Story, heir: str, id: str = "a") -> None:
    story.add(steps.TAKEN, who=heir, group="g", id=id, after=5.0)


def killed_while_it_ran(story: Story) -> None:
    story.publish("a")
    story.start("a")
    story.fault(steps.KILL, "m1")


def test_who_takes_over_and_is_killed_before_it_begins_has_an_heir_too(story):
    killed_while_it_ran(story)
    inherit(story, "m2")
    story.fault(steps.KILL, "m2", after=0.1)
    story.handle("a", "m3", after=5.0)
    assert story.broken(take_over=6.0) == set()
    assert story.broken(take_over=4.9) == {"I6"}, "the first took it too late"


def test_so_has_its_heir(story):
    killed_while_it_ran(story)
    for heir in ("m2", "m3"):
        inherit(story, heir)
        story.fault(steps.KILL, heir, after=0.1)
    story.handle("a", "m4", after=5.0)
    assert story.broken(take_over=6.0) == set()


@pytest.mark.parametrize("id", ["a", "other"])
def test_who_takes_over_and_lives_or_takes_another_is_no_excuse(story, id):
    killed_while_it_ran(story)
    inherit(story, "m2", id)
    if id == "other":
        story.fault(steps.KILL, "m2")
    story.handle("a", "m3", after=5.1)
    assert story.broken(take_over=6.0) == {"I6"}


def test_nor_is_who_begins_it_late_and_is_killed_then(story):
    killed_while_it_ran(story)
    inherit(story, "m2")
    story.start("a", "m2", after=5.0)
    story.fault(steps.KILL, "m2")
    story.handle("a", "m3", after=5.0)
    assert story.broken(take_over=6.0) == {"I6"}


def test_who_dies_while_a_group_waits_for_another_gets_a_session_more(story):
    story.publish("a")
    story.start("a")
    story.fault(steps.KILL, "m1")
    story.fault(steps.KILL, "m2", after=5.0)
    story.time += 9.0
    story.handle("a", "m3")
    assert story.broken(take_over=6.0) == {"I6"}
    assert story.broken(take_over=6.0, session=4.0) == set()
    assert story.broken(take_over=6.0, session=2.0) == {"I6"}
    assert story.broken(take_over=4.0, session=9.0) == {"I6"}, "the first was not waited for"


def test_so_does_the_last_of_them(story):
    story.publish("a")
    story.fault(steps.KILL, "m1")
    story.start("a", "m2")
    story.fault(steps.KILL, "m2", after=5.0)
    story.time += 9.0
    story.handle("a", "m3")
    assert story.broken(take_over=6.0, session=4.0) == set()
    assert story.broken(take_over=6.0, session=2.0) == {"I6"}


def test_a_drain_has_its_budget(story):
    story.add(steps.DRAINED, number=7.0)
    assert story.broken(drain=8.0) == set()
    assert story.broken(drain=6.0) == {"I6"}


def outage(story: Story, *, seconds: float, back_after: float, states: bool = True) -> None:
    story.add(steps.STATE, who="m1", text="ok")
    story.publish("a")
    story.fault(steps.FAULT_ON, "broker killed")
    if states:
        story.add(steps.STATE, who="m1", text="connecting", after=1.0)
    story.fault(steps.FAULT_OFF, "broker killed", after=seconds)
    story.add(steps.STATE, who="m1", text="ok")
    story.add(steps.STATE, who="m2", text="ok")
    story.time += back_after
    story.handle("a")


def test_handling_goes_on_soon_after_an_outage(story):
    outage(story, seconds=3.0, back_after=2.0)
    assert story.broken(recovery=3.0) == set()
    assert story.broken(recovery=1.0) == {"I6"}


def test_handling_that_never_goes_on_is_no_recovery(story):
    story.fault(steps.FAULT_ON, "broker killed")
    story.fault(steps.FAULT_OFF, "broker killed")
    assert "I6" in story.broken()


def test_an_outage_after_the_other_takes_nothing_from_the_time_to_recover(story):
    story.publish("a")
    for number in range(3):
        story.fault(steps.FAULT_ON, f"kill {number}")
        story.fault(steps.FAULT_OFF, f"kill {number}", after=3.0)
        story.time += 0.5
    story.handle("a")
    assert story.broken(recovery=2.0) == set()
    assert story.broken(recovery=1.0) == {"I6"}


def test_a_group_of_sessions_begins_to_wait_anew_with_each_death(story):
    story.publish("a")
    story.fault(steps.FAULT_ON, "restart")
    story.fault(steps.FAULT_OFF, "restart", after=3.0)
    for number in range(3):
        story.fault(steps.KILL, f"m{number}", after=4.0)
    story.time += 5.0
    story.handle("a")
    assert story.broken(recovery=6.0) == {"I6"}
    assert story.broken(recovery=6.0, session=1.0) == set()
    assert story.broken(recovery=4.5, session=1.0) == {"I6"}


def test_a_start_of_its_broker_gives_a_dead_member_a_session_more(story):
    story.publish("a")
    story.start("a", "m1")
    story.fault(steps.KILL, "m1")
    story.fault(steps.FAULT_ON, "restart", after=4.0)
    story.fault(steps.FAULT_OFF, "restart", after=1.0)
    story.time += 9.0
    story.handle("a", "m2")
    assert story.broken(take_over=6.0) == {"I6"}
    assert story.broken(take_over=6.0, session=4.0) == set()
    assert story.broken(take_over=6.0, session=2.0) == {"I6"}


def test_health_must_notice_an_outage(story):
    outage(story, seconds=20.0, back_after=0.1, states=False)
    assert story.broken(detection=15.0) == {"I10"}
    assert story.broken(detection=25.0) == set()


def test_health_must_notice_the_end_of_an_outage(story):
    outage(story, seconds=20.0, back_after=0.1)
    assert story.broken() == set()
    story.lines = [line for line in story.lines if not (line.text == "ok" and line.at > 20.0)]
    assert "I10" in story.broken()


# -- I7, I8, I9 --------------------------------------------------------------------------------


def test_publish_must_return_in_time(story):
    story.add(steps.ATTEMPTED, who="p", id="a", type="task.a")
    story.add(steps.CONFIRMED, who="p", id="a", after=7.0)
    assert story.broken() == {"I7"}


def test_publish_must_return_at_all(story):
    story.publish("a", "")
    assert story.broken() == {"I7"}


@pytest.mark.parametrize(("took", "expected"), [(11.9, set()), (12.1, {"I7"})])
def test_close_has_its_timeout_and_a_grace(story, took, expected):
    story.add(steps.CLOSING, who="m1", number=10.0)
    story.add(steps.CLOSED, who="m1", after=took)
    assert story.broken() == expected


def test_close_must_end(story):
    story.add(steps.CLOSING, who="m1", number=10.0)
    assert story.broken() == {"I7"}


def test_a_member_that_was_asked_to_stop_ends_with_exit_code_0(story):
    story.fault(steps.EXIT, "m1", number=0)
    assert story.broken() == set()
    story.fault(steps.EXIT, "m2", number=143)
    assert story.broken() == {"I7"}


@pytest.mark.parametrize("more", [{"threads": 2}, {"files": 6}, {"resident": 400}])
def test_a_closed_process_holds_no_more_than_before(story, more):
    usual = {"threads": 1, "files": 5, "resident": 100}
    story.add(steps.RESOURCES, who="m1", text="before", more=usual)
    story.add(steps.RESOURCES, who="m1", text="after", more=usual)
    assert story.broken() == set()
    story.add(steps.RESOURCES, who="m1", text="after", more={**usual, **more})
    assert story.broken() == {"I8"}


def test_no_secret_is_logged(story):
    story.add(steps.LOG, who="m1", text="WARNING eventbus: no route to redis://:hunter2@h")
    assert story.broken(canaries=("hunter3",)) == set()
    assert story.broken(canaries=("hunter2",)) == {"I9"}


def test_a_fault_of_the_bus_itself_is_a_violation(story):
    story.add(steps.LOG, who="m1", text="ERROR eventbus: You have found a bug in eventbus; …")
    assert story.broken() == {"I9"}


def test_an_outage_is_not_logged_without_end(story):
    outage(story, seconds=3.0, back_after=0.1)
    begun = next(line.at for line in story.lines if line.step == steps.FAULT_ON)
    story.lines += [
        Step(step=steps.LOG, who="m1", at=begun + n / 10, text="WARNING eventbus.transport: gone")
        for n in range(7)
    ]
    assert story.broken() == set()
    story.lines += [
        Step(step=steps.LOG, who="m1", at=begun + n / 10, text="WARNING eventbus.transport: gone")
        for n in range(7, 14)
    ]
    assert story.broken() == {"I9"}


# -- patterns ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "type", "expected"),
    [
        ("a.b", "a.b", True), ("a.b", "a.c", False), ("a.*", "a.b", True),
        ("a.*", "a.b.c", False), ("a.**", "a", True), ("a.**", "a.b.c", True),
        ("**.c", "a.b.c", True), ("**.c", "a.b", False), ("*", "a.b.c", True),
    ],
)
def test_patterns(pattern, type, expected):
    assert covers(pattern, type) is expected
