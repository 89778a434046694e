"""What is right and wrong with a cluster, for `eventbus doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from time import time
from typing import Any

from confluent_kafka import libversion
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

from ...errors import EventBusError
from ..base import Finding, SubscriptionId
from . import backlog, names
from .admin import Admin
from .catalogue import Catalogue
from .offsets import Place
from .options import SESSION, Options
from .registry import Birth

TESTED = "4.1"
#: What is needed of each topic and of the cluster, as the client names it.
RIGHTS = ("READ", "WRITE", "DESCRIBE")
CREATE = "CREATE"


def findings(
    options: Options, admin: Admin, catalogue: Catalogue,
    subscriptions: Mapping[SubscriptionId, Birth],
) -> Iterator[Finding]:
    """One line for each thing that was looked at."""
    cluster = admin.cluster()
    brokers = [f"{node.host}:{node.port}" for node in cluster.nodes]
    yield Finding("ok", "brokers", f"{len(brokers)}: {', '.join(brokers)}")
    yield Finding(
        "ok", "version", f"librdkafka {libversion()[0]}; brokers do not tell theirs; tests ran on "
        f"Kafka {TESTED}",
    )
    yield _encryption(options)
    yield _members(options, _settings(admin, "broker", [str(cluster.nodes[0].id)])[0])
    topics = catalogue.events()
    about = admin.topics.describe(topics) if topics else {}
    yield _rights(cluster, about)
    settings = dict(zip(topics, _settings(admin, "topic", topics), strict=True))
    yield from _copies(about, settings, len(brokers))
    for id, birth in sorted(subscriptions.items()):
        waiting = backlog.by_place(admin, id, birth, catalogue.matching(id))
        waiting = {place: one for place, one in waiting.items() if one.number}
        yield _subscription(admin, id, waiting)
        yield from _age(admin, id, waiting, settings)


def _settings(admin: Admin, kind: str, names: list[str]) -> list[dict[str, str | None]]:
    """Of brokers or topics; nothing where they may not be read."""
    if not names:
        return []
    try:
        return admin.topics.configs([ConfigResource(kind, name) for name in names])
    except EventBusError:
        return [{} for _ in names]


def _encryption(options: Options) -> Finding:
    if options.config.username and not options.config.tls:
        return Finding("warning", "credentials", "the password travels unencrypted: set tls=true")
    return Finding("ok", "credentials", "accepted" if options.config.username else "none in use")


def _members(options: Options, broker: Mapping[str, str | None]) -> Finding:
    """When a killed member's events go to a peer, as the brokers' limits have it."""
    if options.config.protocol == "consumer":
        least = int(broker.get("group.consumer.min.session.timeout.ms") or 45_000) / 1000
        return Finding(
            "warning" if least > SESSION / 1000 else "ok", "members",
            f"with protocol=consumer brokers decide when a member is dead: after {least:.0f} s at "
            "the earliest (group.consumer.min.session.timeout.ms); lower that there",
        )
    session = int(options.consumer("")["session.timeout.ms"])
    least = int(broker.get("group.min.session.timeout.ms") or 0)
    if session < least:
        return Finding(
            "error", "members", f"brokers refuse sessions of {session} ms: they allow {least} ms "
            "and more (group.min.session.timeout.ms)",
        )
    return Finding("ok", "members", f"killed ones are noticed after {session / 1000:.0f} s")


def _rights(cluster: Any, topics: Mapping[str, Any]) -> Finding:
    lacking = []
    if not _has(cluster, CREATE):
        lacking.append("to create topics")
    lacking += [
        f"to {right.lower()} {name}" for name, about in topics.items() for right in RIGHTS
        if not _has(about, right)
    ]
    if lacking:
        return Finding("error", "rights", f"this user may not: {_some(lacking)}")
    return Finding("ok", "rights", f"to create topics, and to read and write {len(topics)}")


def _has(about: Any, right: str) -> bool:
    operations = getattr(about, "authorized_operations", None)
    return any(operation.name == right for operation in operations or ())


def _copies(
    topics: Mapping[str, Any], settings: Mapping[str, Mapping[str, str | None]], brokers: int
) -> Iterator[Finding]:
    copies = {
        name: min((len(partition.replicas) for partition in about.partitions), default=0)
        for name, about in topics.items() if about is not None
    }
    single = sorted(name for name, number in copies.items() if number < 2)
    if single:
        yield Finding(
            "warning", "replication", f"one copy only of {_some(single)}: events are lost with the "
            "disk" + ("" if brokers > 1 else ", as with every cluster of one broker"),
        )
    weak = [
        name for name, number in copies.items()
        if number > 1 and int(settings[name].get("min.insync.replicas") or 1) < 2
    ]
    if weak:
        yield Finding(
            "warning", "min.insync.replicas", f"1 for {_some(weak)}: an event that one broker has "
            "counts as stored, and is lost with it; set it to 2",
        )
    if not single and not weak:
        yield Finding("ok", "replication", f"{len(copies)} topics with copies")


def _subscription(
    admin: Admin, id: SubscriptionId, waiting: Mapping[Place, backlog.Waiting]
) -> Finding:
    text = f"{sum(one.number for one in waiting.values())} waiting"
    if waiting:
        lags = [f"{topic}/{n}: {one.number}" for (topic, n), one in sorted(waiting.items())]
        text += f" ({_some(lags)})"
    return Finding("ok", _subject(id), f"{text}; group {admin.groups.state(names.group_of(id))}")


def _age(
    admin: Admin, id: SubscriptionId, waiting: Mapping[Place, backlog.Waiting],
    settings: Mapping[str, Mapping[str, str | None]],
) -> Iterator[Finding]:
    """Brokers remove what is old, settled or not: say so at half of the time."""
    old = [topic for topic in {topic for topic, _ in waiting} if _is_old(
        admin, {place: one for place, one in waiting.items() if place[0] == topic},
        int(settings[topic].get("retention.ms") or -1) / 1000,
    )]
    if old:
        yield Finding(
            "warning", _subject(id), f"waits for more than half of retention.ms in "
            f"{_some(sorted(old))}: brokers remove it then, settled or not",
        )


def _is_old(admin: Admin, waiting: Mapping[Place, backlog.Waiting], retention: float) -> bool:
    if retention <= 0:
        return False
    young = admin.offsets.since(waiting, time() - retention / 2)
    return any(not 0 <= young.get(place, 0) <= one.first for place, one in waiting.items())


def _subject(id: SubscriptionId) -> str:
    return f"{id.pattern} of {id.group}"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(listed[:5]) + more
