"""1,000 closes at random times in random states; each prints its seed."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eventbus import (
    BusClosedError,
    EventBus,
    EventBusError,
    MemoryConfig,
    Reject,
    RetryLater,
    RetryPolicy,
    SQLiteConfig,
    TransportUnavailable,
)

#: Closes per seed; 10 seeds and two transports make 1,000.
ROUNDS = 50
SEEDS = range(10)
#: Seconds that a close may take beyond its timeout.
TOLERANCE = 1.0


class Round:
    """One bus, what goes on with it, and its end."""

    def __init__(self, rng: random.Random, transport: str, folder: Path) -> None:
        self.rng = rng
        self.gate = threading.Event()
        #: Handlers may get stuck: then `close` takes all its time.
        self.sticky = rng.random() < 0.3
        self.away = False
        #: Of `subscribe`, in seconds; `None` once there is somebody who will close.
        self.patience: float | None = 0.02
        self.over = threading.Event()
        self.threads: list[threading.Thread] = []
        self.late: list[str] = []
        self.bus = self._make(transport, folder)

    def _make(self, transport: str, folder: Path) -> EventBus:
        own = {
            "memory": {"memory": MemoryConfig(buffer_size=self.rng.choice((3, 1000)))},
            "sqlite": {"sqlite": SQLiteConfig(path=str(folder / "events.db"))},
        }[transport]
        bus = EventBus(
            provider=transport, group=f"g{self.rng.randrange(3)}", environ={},
            max_concurrent_handlers=self.rng.choice((1, 4, 50)),
            close_timeout=self.rng.choice((0.02, 0.1)), publish_timeout=0.1,
            retry=RetryPolicy(max_attempts=3, initial=self.rng.choice((0.001, 0.1))), **own,
        )
        for name in ("publish", "declare", "consumer"):
            self._make_breakable(bus._engine.transport, name)
        return bus

    def _make_breakable(self, transport: object, name: str) -> None:
        original = getattr(transport, name)

        def breakable(*arguments: object, **keywords: object) -> object:
            if self.away:
                raise TransportUnavailable("away")
            return original(*arguments, **keywords)

        setattr(transport, name, breakable)

    # -- what goes on ----------------------------------------------------------------------

    def handle(self, event: object) -> None:
        """Whatever a handler may do."""
        choice = self.rng.randrange(12)
        if choice == 0 and self.sticky:
            self.gate.wait(20)
        elif choice == 1:
            raise RuntimeError("no")
        elif choice == 2:
            raise Reject("never")
        elif choice == 3:
            raise RetryLater(delay=self.rng.choice((0.01, 100)))
        elif choice == 4:
            with suppress(EventBusError):
                self.bus.publish("a.c", 1)
        elif choice == 5:
            with suppress(EventBusError):
                self.bus.publish_soon("a.c", 1)
        elif choice < 9:
            time.sleep(self.rng.random() * 0.01)

    def publish(self) -> None:
        self.bus.publish("a.b", 1, key=self.rng.choice((None, "k")))

    def publish_many(self) -> None:
        self.bus.publish_many([("a.b", n) for n in range(self.rng.randrange(300))])

    def publish_soon(self) -> None:
        for n in range(self.rng.randrange(300)):
            self.bus.publish_soon("a.b", n)

    def subscribe(self) -> None:
        subscription = self.bus.subscribe(
            self.rng.choice(("a.b", "a.*", "**")), self.handle,
            name=f"h{self.rng.random()}", timeout=self.patience,
        )
        if self.rng.random() < 0.5:
            subscription.cancel()

    def declare(self) -> None:
        self.bus.on("a.b", self.handle, name=f"h{self.rng.random()}")

    def start(self) -> None:
        self.bus.start(0.02)

    def join(self) -> None:
        self.bus.join(0.02)

    def look(self) -> None:
        self.bus.health()
        self.bus.stats()

    def flicker(self) -> None:
        self.away = not self.away

    def run(self) -> None:
        self.bus.run()

    def fork(self) -> None:
        pid = os.fork()
        if pid == 0:
            with suppress(EventBusError):
                self.bus.publish("a.b", "child")
            os._exit(0)
        os.waitpid(pid, 0)

    def again_and_again(self, action: Callable[[], None]) -> None:
        while not self.over.is_set():
            try:
                action()
            except BusClosedError:
                return
            except EventBusError:
                self.over.wait(0.002)

    def in_background(self, action: Callable[[], None]) -> None:
        thread = threading.Thread(target=self.again_and_again, args=(action,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def begin(self) -> None:
        actions = [
            self.publish, self.publish_many, self.publish_soon, self.subscribe, self.declare,
            self.start, self.join, self.look, self.flicker, self.subscribe, self.publish_many,
        ]
        if self.rng.random() < 0.1:
            actions.append(self.fork)
        for action in self.rng.sample(actions, self.rng.randrange(6)):
            with suppress(EventBusError):
                action()
        self.patience = self.rng.choice((0.02, None))
        background = [
            self.publish, self.publish_many, self.publish_soon, self.subscribe, self.join,
            self.look, self.run,
        ]
        for action in self.rng.sample(background, self.rng.choice((0, 0, 1, 2, 3))):
            self.in_background(action)
        time.sleep(self.rng.choice((0, self.rng.random() * 0.03)))

    # -- its end ---------------------------------------------------------------------------

    def close(self, timeout: float | None) -> None:
        begun = time.monotonic()
        self.bus.close(timeout)
        taken = time.monotonic() - begun
        allowed = (self.bus.config.close_timeout if timeout is None else timeout) + TOLERANCE
        if taken > allowed:
            self.late.append(f"close({timeout}) took {taken:.2f} s")

    def timeout(self) -> float | None:
        return self.rng.choice((0, 0.01, 0.1, None))

    def close_here(self) -> None:
        self.close(self.timeout())

    def close_twice(self) -> None:
        self.close(self.timeout())
        self.close(self.timeout())

    def close_in_threads(self) -> None:
        closers = [
            threading.Thread(target=self.close, args=(self.timeout(),), daemon=True)
            for _ in range(10)
        ]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(20)

    def close_in_a_handler(self) -> None:
        self.away = False
        with suppress(EventBusError):
            self.bus.subscribe("end", lambda event: self.close(0.1), name="end", timeout=0.1)
            self.bus.publish("end")
            self.bus._engine.closing.wait(0.1)
        self.close(self.timeout())

    def close_in_a_signal_handler(self) -> None:
        """Whatever the main thread does at that moment."""
        before = signal.signal(signal.SIGUSR1, lambda number, frame: self.close(0.1))
        timer = threading.Timer(
            self.rng.random() * 0.02, signal.pthread_kill,
            (threading.main_thread().ident, signal.SIGUSR1),
        )
        action = self.rng.choice(
            (self.publish, self.publish_many, self.publish_soon, self.join, self.subscribe)
        )
        # Measuring coverage takes locks of its own in the very frames that the signal cuts into.
        trace = sys.gettrace()
        sys.settrace(None)
        timer.start()
        try:
            while not self.bus._engine.closing.is_set():
                with suppress(EventBusError):
                    action()
            timer.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
            sys.settrace(trace)
        self.close(self.timeout())

    def leave_the_block(self) -> None:
        begun = time.monotonic()
        with self.bus:
            pass
        if time.monotonic() - begun > self.bus.config.close_timeout + TOLERANCE:
            self.late.append("leaving the block took too long")

    def end(self) -> None:
        ends = [
            self.close_here, self.close_here, self.close_twice, self.close_in_threads,
            self.close_in_a_handler, self.close_in_a_signal_handler, self.leave_the_block,
        ]
        self.rng.choice(ends)()
        self.over.set()
        self.gate.set()
        self.away = False
        self._join_threads()

    def _join_threads(self) -> None:
        for thread in self.threads:
            thread.join(10)
            if thread.is_alive():
                self.late.append(f"{thread.name} is stuck")
        self.threads.clear()


def children() -> set[str]:
    """Processes that this one has started, living or not yet waited for."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


@pytest.fixture(autouse=True)
def nothing_left_over(leak_free: None) -> Iterator[None]:
    """No thread, no file; and no child but those of before, such as servers of other tests."""
    before = children()
    yield
    assert children() <= before


@pytest.mark.parametrize("transport", ["memory", "sqlite"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_close_at_any_time_in_any_state_is_bounded(
    seed: int, transport: str, tmp_path: Path
) -> None:
    for number in range(ROUNDS):
        name = f"{transport}-{seed}-{number}"
        one = Round(random.Random(name), transport, tmp_path)
        one.begin()
        one.end()
        assert not one.late, f"random.Random({name!r}): {one.late}"
