"""Errors of the client and of brokers in words of ours."""

from __future__ import annotations

from typing import Literal

from confluent_kafka import KafkaError, KafkaException

from ...errors import (
    AuthenticationError,
    TopologyError,
    TransportError,
    TransportUnavailable,
)

_DENIED = frozenset(
    (
        KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    )
)
_TOPOLOGY = {
    KafkaError.MSG_SIZE_TOO_LARGE: "raise the topic's max.message.bytes, or lower max_event_bytes",
    KafkaError.INVALID_CONFIG: "the broker does not allow this setting",
    KafkaError.INVALID_REPLICATION_FACTOR: "set KafkaConfig.replication to what the cluster has",
    KafkaError.INVALID_PARTITIONS: "set KafkaConfig.partitions",
    KafkaError.POLICY_VIOLATION: "a policy of the cluster forbids it",
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "other members of the group use another assignor: "
    "set KafkaConfig.assignor='range' for a group that is shared with members in Go",
}
#: What a topic that is not there (any more) looks like, at the broker and in the client.
MISSING = frozenset(
    (
        KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
    )
)
#: What says nothing.
LATE = (
    KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._WAIT_COORD,
    KafkaError._ALL_BROKERS_DOWN,
)
#: What stands for a confirmation that the client has not got, but inferred.
INFERRED = KafkaError(KafkaError._NO_OFFSET, "no confirmation of its own")
#: What a message is sent again for.
UNSTORED = MISSING | {INFERRED.code()}


def translate(
    error: KafkaError | KafkaException, name: str, outcome: Literal["failed", "unknown"] = "failed"
) -> TransportError:
    """An error as one of ours."""
    found: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    text = f"{name}: {found.str()}"
    code = found.code()
    if code in _DENIED:
        return AuthenticationError(text)
    if code in _TOPOLOGY:
        return TopologyError(f"{text}: {_TOPOLOGY[code]}")
    return TransportUnavailable(text, outcome=outcome)


def code_of(error: BaseException) -> int | None:
    """The code of an exception of the client."""
    return error.args[0].code() if isinstance(error, KafkaException) else None
