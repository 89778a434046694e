"""The checker itself, fed with journals made by hand: one that is right, and ways to spoil it."""

from __future__ import annotations

from typing import Any

import pytest

from . import journal as steps
from .checker.duplicates import bounds
from .checker.history import History, covers
from .checker.report import check
from .checker.rules import Rules
from .journal import Step


class Story:
    """Writes a journal line by line, a hundredth of a second apart unless told otherwise."""

    def __init__(self) -> None:
        self.lines: list[Step] = []
        self.time = 0.0
        self._runs = 0
        for who in ("m1", "m2"):
            self.add(steps.SPAWNED, who=who)
            self.add(steps.LIVE, who=who, group="g", pattern="job.*", handler="h")

    def add(self, step: str, *, after: float = 0.01, **fields: Any) -> None:
        self.time += after
        self.lines.append(Step(step=step, at=self.time, **fields))

    def publish(self, id: str, outcome: str = steps.CONFIRMED, **fields: Any) -> None:
        fields = {"type": "job.a", "digest": "d-" + id, **fields}
        self.add(steps.ATTEMPTED, who="p", id=id, **fields)
        if outcome:
            self.add(outcome, who="p", id=id)

    def start(self, id: str, who: str = "m1", **fields: Any) -> int:
        self._runs += 1
        fields = {"attempt": 1, "digest": "d-" + id, **fields}
        self.add(steps.START, who=who, id=id, group="g", handler="h", run=self._runs, **fields)
        return self._runs

    def end(self, run: int, who: str = "m1", step: str = steps.END, after: float = 0.01) -> None:
        start = next(line for line in self.lines if line.step == "start" and line.run == run)
        self.add(
            step, who=who, id=start.id, group="g", handler="h", run=run, key=start.key,
            seq=start.seq, after=after,
        )

    def handle(self, id: str, who: str = "m1", **fields: Any) -> None:
        self.end(self.start(id, who, **fields), who)

    def bury(self, id: str, reason: str = "failed", **fields: Any) -> None:
        fields = {"digest": "d-" + id, "handler": "h", **fields}
        self.add(steps.DEAD, id=id, group="g", text=reason, **fields)

    def fault(self, step: str, who: str, **fields: Any) -> None:
        self.add(step, text=who, **fields)

    def broken(self, **rules: Any) -> set[str]:
        return check(self.lines, Rules(**rules)).broken


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


# -- I6, I10 -----------------------------------------------------------------------------------


def test_what_a_killed_member_ran_must_come_back_in_time(story):
    story.publish("a")
    story.start("a")
    story.fault(steps.KILL, "m1")
    story.time += 5.0
    story.handle("a", "m2")
    assert story.broken(take_over=6.0) == set()
    assert story.broken(take_over=4.0) == {"I6"}


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
