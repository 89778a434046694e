"""NATS when things go wrong: credentials, TLS, silence, death; and at the edges of a process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nkeys
import pytest

from eventbus import (
    AuthenticationError,
    ConfigurationError,
    EventBus,
    PublishError,
    TopologyError,
    TransportUnavailable,
)
from eventbus.transports.base import Settlement, SubscriptionId
from tests.conformance.target import Received, wait_for
from tests.faults.proxy import Proxy
from tests.servers import Certificates, Nats
from tests.transports import nats_streams
from tests.transports.consumers import consumer, fetch
from tests.transports.nats_servers import Deaf, accounts, nkey

pytestmark = pytest.mark.nats

NOBODY = "nats://127.0.0.1:1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    with Nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def url(server: Nats) -> str:
    """Of a server that is empty, and well."""
    server.start()
    nats_streams.delete_all(server.url)
    return server.url


def make(url: str, **settings: object) -> EventBus:
    return EventBus(url, group="g", environ={}, **settings)  # type: ignore[arg-type]


def assert_works(url: str) -> None:
    received = Received()
    with make(url) as bus:
        bus.subscribe("user.*", received)
        bus.publish("user.created", 1)
        received.wait(1)
        assert bus.join(10)


def assert_refused(url: str, secret: str = "secret") -> None:
    """At once, in words, without the secret."""
    began = time.monotonic()
    with make(url) as bus:
        with pytest.raises(AuthenticationError) as caught:
            bus.subscribe("a.b", Received())
        with pytest.raises(PublishError) as refused:
            bus.publish("a.b")
        assert refused.value.outcome == "failed"
        assert secret not in f"{caught.value}{refused.value}{bus!r}{bus.health()}"
    assert time.monotonic() - began < 5


# -- credentials ---------------------------------------------------------------------------------


def test_a_password_with_signs_in_it(tmp_path: Path) -> None:
    with Nats(tmp_path / "locked", password="p@ss/%w:rd") as server:
        assert_works(server.url)
        assert_refused(f"nats://bus:wrong-secret@127.0.0.1:{server.port}")
        assert_refused(f"nats://127.0.0.1:{server.port}")


def test_a_token(tmp_path: Path) -> None:
    with Deaf(tmp_path / "token", options={"authorization": "{ token: 'a-secret' }"}) as server:
        assert_works(f"nats://a-secret@127.0.0.1:{server.port}")
        assert_refused(f"nats://wrong-secret@127.0.0.1:{server.port}")


def test_an_nkey(tmp_path: Path) -> None:
    seed, public, _ = nkey()
    right, wrong = tmp_path / "right.nk", tmp_path / "wrong.nk"
    right.write_text(seed)
    wrong.write_text(nkey()[0])
    options = {"authorization": f"{{ users: [ {{ nkey: {public} }} ] }}"}
    with Deaf(tmp_path / "nkey", options=options) as server:
        assert_works(f"nats://127.0.0.1:{server.port}?nkey={right}")
        assert_refused(f"nats://127.0.0.1:{server.port}?nkey={wrong}", wrong.read_text())


def test_credentials_of_an_account(tmp_path: Path) -> None:
    settings, credentials = accounts(tmp_path)
    with Deaf(tmp_path / "operator", options=settings) as server:
        assert_works(f"nats://127.0.0.1:{server.port}?credentials={credentials}")
        forged = tmp_path / "forged.creds"
        jwt = credentials.read_text().partition("-----BEGIN USER NKEY SEED-----")[0]
        forged.write_text(f"{jwt}-----BEGIN USER NKEY SEED-----\n{nkey()[0]}\n------END\n")
        assert_refused(f"nats://127.0.0.1:{server.port}?credentials={forged}")


def test_a_user_who_may_not_is_told_what(tmp_path: Path) -> None:
    users = (
        '{ users: [ { user: a, password: secret, permissions: { publish: { deny: "user.>" } } },'
        " { user: probe, password: x } ] }"
    )
    options = {"authorization": users, "no_auth_user": "probe"}
    with Nats(tmp_path / "rights", options=options) as server:
        with make(f"nats://a:secret@127.0.0.1:{server.port}") as bus:
            bus.publish("order.paid")
            began = time.monotonic()
            with pytest.raises(PublishError, match=r"(?i)permissions violation.*user.created"):
                bus.publish("user.created")
            assert time.monotonic() - began < 4
            bus.publish("order.paid")


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("colour=blue", "'colour' is unknown: use one of credentials"),
        ("replicas=7", "use 1 to 5"),
        ("nkey=/no/such/file", "nkey is no file that can be read"),
        ("credentials=/no/such/file", "credentials is no file that can be read"),
        ("tls_ca=/no/such/file", "TLS files"),
    ],
)
def test_wrong_parameters_are_named(parameters: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        make(f"nats://user:secret@127.0.0.1:4222?{parameters}")


def test_a_missing_package_for_keys_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)

    with pytest.raises(ConfigurationError, match="pip install nkeys"):
        make(f"nats://127.0.0.1:4222?nkey={nkeys.__file__}")


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Nats]:
    folder = tmp_path_factory.mktemp("tls")
    with Nats(folder, tls=certificates, password="a-secret") as server:
        yield server


def test_events_pass_where_the_certificate_is_trusted(
    encrypted: Nats, certificates: Certificates
) -> None:
    assert_works(f"{encrypted.url}?tls_ca={certificates.ca}")


def test_an_unknown_certificate_is_refused(encrypted: Nats) -> None:
    with make(encrypted.url) as bus:
        with pytest.raises(AuthenticationError, match="certificate") as caught:
            bus.subscribe("a.b", Received())
    assert "a-secret" not in str(caught.value)


def test_nothing_is_said_in_the_clear_where_tls_is_wanted(tmp_path: Path) -> None:
    with Nats(tmp_path / "plain", password="a-secret") as server:
        with make(server.url.replace("nats:", "tls:")) as bus:
            with pytest.raises(TopologyError, match="TLS") as caught:
                bus.subscribe("a.b", Received())
            with pytest.raises(PublishError) as refused:
                bus.publish("a.b")
        assert refused.value.outcome == "failed"
        assert "a-secret" not in f"{caught.value}{refused.value}"


# -- silence -------------------------------------------------------------------------------------


def test_nothing_listens() -> None:
    with make(NOBODY, publish_timeout=1.0) as bus:
        with pytest.raises(PublishError, match=r"(?i)connect") as caught:
            bus.publish("a.b")
        assert caught.value.outcome == "failed"
        with pytest.raises(TransportUnavailable):
            bus.subscribe("a.b", Received(), timeout=0.5)


def test_a_server_that_says_nothing_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with make(f"nats://127.0.0.1:{silent.getsockname()[1]}", publish_timeout=0.5) as bus:
            with pytest.raises(PublishError, match="could not connect in time") as caught:
                bus.publish("a.b")
            assert caught.value.outcome == "failed"


def test_the_first_server_that_answers_is_used(url: str) -> None:
    assert_works(f"{NOBODY},{url.removeprefix('nats://')},127.0.0.1:2")


def test_a_server_without_jetstream_is_told_from_one_that_is_away(tmp_path: Path) -> None:
    class Plain(Deaf):
        def _settings(self) -> dict[str, str]:
            return {k: v for k, v in super()._settings().items() if k != "jetstream"}

    with Plain(tmp_path / "plain") as server:
        began = time.monotonic()
        with make(server.url) as bus:
            with pytest.raises(TopologyError, match="JetStream"):
                bus.subscribe("a.b", Received())
        assert time.monotonic() - began < 5


def test_a_paused_server_times_out_with_an_honest_outcome(server: Nats, url: str) -> None:
    with make(url, publish_timeout=1.0) as bus:
        bus.publish("a.b", 1)
        server.pause()
        try:
            # The second time not even a connection can be made.
            for outcome in ("unknown", "failed"):
                began = time.monotonic()
                with pytest.raises(PublishError) as caught:
                    bus.publish("a.b", 2)
                assert time.monotonic() - began < 2.0
                assert caught.value.outcome == outcome
        finally:
            server.resume()
        bus.publish("a.b", 3)


def test_a_pause_is_survived(server: Nats, url: str) -> None:
    received = Received()
    with make(url, lease=3.0, publish_timeout=30.0) as bus:
        bus.subscribe("a.b", received)
        bus.publish("a.b", 1)
        received.wait(1)
        server.pause()
        threading.Timer(4.0, server.resume).start()
        bus.publish("a.b", 2)
        received.wait_for_payloads([1, 2])
        assert bus.join(15)
        assert nats_streams.stream(url, "eventbus")["state"]["messages"] == 2


def test_closing_while_the_server_is_paused_takes_no_longer(server: Nats, url: str) -> None:
    bus = make(url, close_timeout=2.0)
    for number in range(5):
        bus.subscribe(f"a.{number}", Received())
    bus.publish("a.1", 1)
    server.pause()
    try:
        began = time.monotonic()
        bus.close()
        assert time.monotonic() - began < 4.0
    finally:
        server.resume()


def test_a_killed_server_loses_nothing_that_was_confirmed(server: Nats, url: str) -> None:
    received = Received()
    with make(url, publish_timeout=10.0) as bus:
        bus.subscribe("a.*", received)
        for number in range(100):
            bus.publish("a.b", number)
            if number in (30, 60):
                server.kill()
                server.start()
        received.wait_for_payloads(range(100))
        assert bus.join(20)
        wait_for(lambda: bus.health().ok, what="a healthy bus")
        assert bus.stats().reconnects >= 1


# -- the edges of a process ----------------------------------------------------------------------


def test_publishing_from_inside_an_event_loop(url: str) -> None:
    received = Received()
    with make(url) as bus:
        bus.subscribe("a.b", received)

        async def view() -> None:
            bus.publish("a.b", 1)
            bus.publish_many([("a.b", 2), ("a.b", 3)])

        asyncio.run(view())
        received.wait_for_payloads([1, 2, 3])


def test_a_forked_child_leaves_the_connections_of_its_parent_alone(url: str) -> None:
    received = Received()
    with make(url) as bus:
        bus.subscribe("a.b", received)
        bus.publish("a.b", 0)
        received.wait(1)
        for number in (1, 2):
            child = os.fork()
            if child == 0:
                try:
                    bus.publish("a.b", f"child {number}")
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            bus.publish("a.b", number)
        received.wait_for_payloads([0, 1, 2, "child 1", "child 2"])
        assert bus.join(10)
        assert bus.stats().reconnects == 0


SCRIPT = """
import os, sys, threading
from eventbus import EventBus
bus = EventBus(sys.argv[1], group="g", environ={}, close_timeout=2.0)
handled = threading.Event()
bus.subscribe("a.b", lambda event: handled.set(), name="h")
bus.publish("a.b", 1)
assert handled.wait(10)
if sys.argv[2] == "fork":
    child = os.fork()
    if child == 0:
        bus.publish("a.b", 2)
        sys.exit(3)
    assert os.waitpid(child, 0)[1] == 3 << 8
    bus.publish("a.b", 3)
if sys.argv[2] == "dead":
    os.kill(int(sys.argv[3]), 19)
sys.exit(5)
"""


@pytest.mark.parametrize("way", ["plain", "fork", "dead"])
def test_leaving_without_closing_is_quiet(server: Nats, url: str, way: str) -> None:
    assert server.process is not None
    command = [sys.executable, "-X", "dev", "-c", SCRIPT, url, way, str(server.process.pid)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    finally:
        server.resume()

    assert (ended.returncode, ended.stdout, _noise(ended.stderr)) == (5, "", "")


IN_A_HOLE = """
import sys, threading, time
from eventbus import EventBus, PublishError
bus = EventBus(sys.argv[1], group="g", environ={}, close_timeout=2.0, publish_timeout=4.0)
handled, gate = threading.Event(), threading.Event()
def handle(event):
    handled.set()
    gate.wait()
bus.subscribe("a.b", handle, name="h")
bus.publish("a.b", 1)
assert handled.wait(10)
print("ready", flush=True)
sys.stdin.readline()
def publish():
    try:
        bus.publish("a.b", 2)
    except PublishError:
        pass
waiting = threading.Thread(target=publish)
waiting.start()
time.sleep(0.5)
if sys.argv[2] == "done":
    gate.set()
if sys.argv[2] != "exit":
    began = time.monotonic()
    bus.close()
    took = time.monotonic() - began
    assert took < 2.0 + 2.0, took
    gate.set()
gate.set()
sys.exit(5)
"""


@pytest.mark.parametrize("way", ["done", "exit"])
def test_a_black_hole_in_which_a_publish_waits_leaves_nothing_behind(
    server: Nats, url: str, way: str
) -> None:
    with Proxy(server.port) as proxy:
        through = url.replace(str(server.port), str(proxy.port))
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", IN_A_HOLE, through, way], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        proxy.swallow()
        out, err = process.communicate("go\n", timeout=30)

    assert (process.returncode, out, _noise(err)) == (5, "", "")


def _noise(text: str) -> str:
    """What is not the library's own log of a server that is gone."""
    return "\n".join(line for line in text.splitlines() if "127.0.0.1" not in line)


def test_a_member_that_is_killed_leaves_its_events_to_the_next(url: str) -> None:
    id = SubscriptionId("g", "a.b")
    with make(url, lease=1.0) as bus, make(url, lease=1.0) as other:
        bus._engine.transport.declare(id, "latest")
        bus.publish_many([("a.b", n) for n in range(20)])
        dying, last = consumer(bus), consumer(other)
        held: list[object] = []
        wait_for(lambda: held.extend(fetch(dying)) or len(held) == 20, what="all of them")
        dying._link.close()

        found: list[object] = []
        wait_for(lambda: found.extend(fetch(last, timeout=0.2)) or len(found) == 20, 10.0)

        assert last.settle(Settlement(acks=found)) == set()  # type: ignore[arg-type]
        last.close()
