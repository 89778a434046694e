"""What members promise each other across processes."""

from __future__ import annotations

import random
import signal

from eventbus import EventBus

#: Handlers that a member runs at the same time.
WORKERS = 8
#: Seconds before its death for which a member may not have settled what it completed: the
#: settle interval, and as much again for the settlement itself.
UNSETTLED = 0.1


def test_a_killed_members_events_go_to_its_peers_and_none_is_lost(crew):
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    members = [crew.member("--seconds", "0.002") for _ in range(2)]
    with EventBus(crew.url, environ={}) as bus:
        for n in range(20):
            bus.publish_many([(f"job.t{n % 3}", n * 100 + i) for i in range(100)])
            if n in (4, 9, 14):
                # An event that was with several members when they died would be a suspect.
                crew.wait_for_handled((n - 4) * 100)
                crew.wait_for_progress((n + 1) * 100)
                crew.kill(members.pop(chance.randrange(len(members))))
                members.append(crew.member("--seconds", "0.002"))
    crew.wait_for_handled(2000)
    repeated = crew.repeated()
    # Only what was with a killed member is handled again, and of that only what it was running
    # or had completed just before.
    assert repeated.keys() <= {killed.pid for killed in crew.killed}
    for pid, at in crew.killed:
        steps = repeated.get(pid, [])
        assert len([step for step in steps if step.step == "start"]) <= WORKERS
        assert [step for step in steps if step.step == "ok" and step.at < at - UNSETTLED] == []


def test_members_share_the_events_of_their_group_and_each_group_gets_all(crew):
    crew.member("--seconds", "0.002")
    crew.member("--seconds", "0.002")
    crew.member("--group", "audit")
    with EventBus(crew.url, environ={}) as bus:
        bus.publish_many([("job.x", n) for n in range(1500)])
    crew.wait("two groups have everything", lambda: len(crew.journal("ok")) >= 3000)
    by_pid: dict[int, list[int]] = {}
    for step in crew.journal("ok"):
        by_pid.setdefault(step.pid, []).append(step.payload)
    sizes = sorted(len(payloads) for payloads in by_pid.values())
    assert sizes[-1] == 1500
    assert sizes[0] + sizes[1] == 1500
    assert sizes[0] > 0


def test_a_handler_longer_than_the_lease_keeps_its_event_until_it_is_killed(crew):
    first = crew.member("--seconds", "4.5", "--lease", "1.5")
    with EventBus(crew.url, environ={}) as bus:
        bus.publish("job.long", 1)
    crew.wait("it runs", lambda: len(crew.journal("start")) == 1)
    crew.member("--seconds", "0", "--lease", "1.5")
    crew.wait("three leases later it is done", lambda: len(crew.journal("ok")) == 1)
    assert crew.journal("ok")[0].pid == first.pid
    assert len(crew.journal("start")) == 1


def test_the_events_of_a_killed_member_are_with_its_peer_within_the_lease(crew):
    first = crew.member("--seconds", "60", "--lease", "10")
    with EventBus(crew.url, environ={}) as bus:
        bus.publish_many([("job.long", n) for n in range(40)])
    crew.wait("all its workers are busy", lambda: len(crew.journal("start")) == 8)
    crew.member("--lease", "10")
    crew.kill(first)
    crew.wait(
        "the peer has them all, well before the lease ends",
        lambda: {step.payload for step in crew.journal("ok")} == set(range(40)), timeout=5,
    )


def test_wildcards_get_types_born_later_in_another_process_and_while_all_were_down(crew):
    member = crew.member("--pattern", "shop.**")
    with EventBus(crew.url, environ={}) as bus:
        bus.publish("shop.order.paid", 1)
        crew.wait("a type born after the subscription", lambda: len(crew.journal("ok")) == 1)
        member.send_signal(signal.SIGTERM)
        assert member.wait(timeout=10) == 0
        bus.publish("shop.refund", 2)
        bus.publish("elsewhere", 3)
    crew.member("--pattern", "shop.**")
    crew.wait("a type born while all were down", lambda: len(crew.journal("ok")) == 2)
    assert [(s.payload, s.type) for s in crew.journal("ok")] == [
        (1, "shop.order.paid"), (2, "shop.refund"),
    ]


def test_graceful_restarts_under_load_repeat_nothing(crew):
    member = crew.member("--seconds", "0.002")
    with EventBus(crew.url, environ={}) as bus:
        for n in range(5):
            bus.publish_many([("job.x", n * 100 + i) for i in range(100)])
            crew.wait_for_progress((n + 1) * 100)
            member.send_signal(signal.SIGTERM)
            assert member.wait(timeout=30) == 0
            member = crew.member("--seconds", "0.002")
    crew.wait_for_handled(500)
    assert len(crew.journal("ok")) == 500
    assert len(crew.journal("start")) == 500
