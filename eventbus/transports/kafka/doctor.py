"""What is right and wrong with a cluster, for `eventbus doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

from ...errors import TransportError
from ..base import Finding, SubscriptionId
from . import backlog, names
from .admin import Admin, Topic
from .catalogue import Catalogue
from .options import Options
from .registry import Birth

#: The slowest session that brokers of KIP-848 allow by default, in seconds.
SLOW = 45


def findings(
    options: Options, admin: Admin, catalogue: Catalogue,
    subscriptions: Mapping[SubscriptionId, Birth],
) -> Iterator[Finding]:
    """One line for each thing that was looked at."""
    brokers = admin.brokers()
    yield Finding("ok", "brokers", f"{len(brokers)}: {', '.join(brokers)}")
    yield _encryption(options)
    if options.config.protocol == "consumer":
        yield Finding(
            "warning", "protocol",
            "with protocol=consumer brokers decide when a member is dead: their defaults are "
            f"{SLOW} s and no less (group.consumer.min.session.timeout.ms); lower them there",
        )
    yield from _topics(admin, catalogue.events(), len(brokers))
    for id, birth in sorted(subscriptions.items()):
        yield _subscription(admin, id, birth, catalogue.matching(id))


def _encryption(options: Options) -> Finding:
    if options.config.username and not options.config.tls:
        return Finding("warning", "credentials", "the password travels unencrypted: set tls=true")
    return Finding("ok", "credentials", "accepted" if options.config.username else "none in use")


def _topics(admin: Admin, topics: Iterable[str], brokers: int) -> Iterator[Finding]:
    listed = list(topics)
    if not listed:
        yield Finding("ok", "topics", "none yet")
        return
    try:
        configs = admin.describe_configs([ConfigResource("topic", name) for name in listed])
    except TransportError as error:
        yield Finding("warning", "topics", f"their settings may not be read: {error}")
        return
    copies = admin.replicas(listed)
    single = sorted(name for name, number in copies.items() if number < 2)
    if single:
        yield Finding(
            "warning", "replication", f"one copy only of {_some(single)}: events are lost with the "
            "disk" + ("" if brokers > 1 else ", as with every cluster of one broker"),
        )
    weak = [
        name for name, config in zip(listed, configs, strict=True)
        if copies.get(name, 0) > 1 and int(config.get("min.insync.replicas") or 1) < 2
    ]
    if weak:
        yield Finding(
            "warning", "min.insync.replicas", f"1 for {_some(weak)}: an event that one broker has "
            "counts as stored, and is lost with it; set it to 2",
        )
    if not single and not weak:
        yield Finding("ok", "replication", f"{len(listed)} topics with copies")


def _subscription(
    admin: Admin, id: SubscriptionId, birth: Birth, topics: Mapping[str, Topic]
) -> Finding:
    subject = f"{id.pattern} of {id.group}"
    waiting = {p: n for p, n in backlog.by_place(admin, id, birth, topics).items() if n}
    text = f"{sum(waiting.values())} waiting"
    if waiting:
        text += " (" + _some([f"{t}/{p}: {n}" for (t, p), n in sorted(waiting.items())]) + ")"
    return Finding("ok", subject, f"{text}; group {admin.state(names.group_of(id))}")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(listed[:5]) + more
