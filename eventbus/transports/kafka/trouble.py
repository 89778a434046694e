"""What a client tells of its connections, in callbacks and in its log; nothing else tells.

Callbacks never raise: that would destroy what the client was handing over.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError

from ...errors import AuthenticationError, ConfigurationError, TransportUnavailable
from .errors import translate
from .stranding import Forgetting

logger = logging.getLogger("eventbus.transport.kafka")

#: Lines of a client's log in so many seconds; what is beyond is counted.
MOST, WINDOW = 10, 10.0
#: What the client logs when a broker hangs up, and how often one does that to a client that does
#: not speak its protocol. Nothing else tells.
_HUNG_UP, OFTEN = "Disconnected", 3

#: In an error of a handshake in whose middle the broker went away, which the client calls refused.
BROKEN_OFF = "Local: Broker transport failure"

#: Seconds for an operation of a client that was refused before.
GRACE = 2.0


class Trouble:
    """Remembers why a client does not get through.

    Args:
        name: of the cluster, fit to be shown.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._denied: KafkaError | None = None
        self._denied_at = 0.0
        self._hung_up = 0
        self._last = ""
        self.reason = ""
        #: No broker is connected, as far as is known.
        self.down = False
        self.down_at = 0.0
        self.worked = False
        self.forgetting = Forgetting()
        #: The client cannot go on.
        self.fatal: KafkaError | None = None
        self._lines = 0
        self._since = 0.0

    def callbacks(self, polled: bool = False) -> dict[str, Any]:
        """Settings for a client.

        Args:
            polled: all the time.
        """
        found = {"error_cb": self._error, "logger": self}
        return {**found, **self.forgetting.callbacks()} if polled else found

    def _error(self, error: KafkaError) -> None:
        code = error.code()
        refused = code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)
        if refused and BROKEN_OFF not in str(error.str()):
            self._denied, self._denied_at = error, monotonic()
        elif code == KafkaError._ALL_BROKERS_DOWN:
            self.silent()
        else:
            self.reason = str(error.str())
        if error.fatal():
            self.fatal = error

    def silent(self) -> None:
        """No broker answers."""
        self.down, self.down_at = True, monotonic()

    def log(self, level: int, message: str, *arguments: Any) -> None:
        """The client's log goes to ours, but not hundreds of lines of the same."""
        text = str(message % arguments if arguments else message)
        if _HUNG_UP in text:
            self._hung_up += 1
            self._last = text.rpartition("]: ")[2]
        now = monotonic()
        if now - self._since > WINDOW:
            if self._lines > MOST:
                logger.info("librdkafka: %d more lines", self._lines - MOST)
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines <= MOST:
            logger.log(min(level, logging.INFO), "librdkafka: %s", text)

    def works(self) -> None:
        """A broker has answered."""
        self.down, self.worked = False, True
        self._hung_up, self.reason, self._denied = 0, "", None

    def check(self, since: float | None = None) -> None:
        """Raise what a person must change, or what ends this client.

        Args:
            since: when an operation began. An older refusal may be over: the client says the same
                thing once in half a minute only, so the operation gets a little time.
        """
        old = since is not None and self._denied_at < since
        if self._denied is not None and not (old and monotonic() - (since or 0.0) < GRACE):
            raise AuthenticationError(f"{self.name}: {self._denied.str()}")
        if self.fatal is not None:
            raise translate(self.fatal, self.name)
        if self.forgetting.found:
            raise self.unavailable("the client has lost all brokers")

    @property
    def hopeless(self) -> bool:
        """No broker answers, and none has refused us, which is worth waiting for."""
        return self.down and self._denied is None

    @property
    def mistaken(self) -> ConfigurationError | None:
        """The broker speaks, but expects another protocol: no waiting mends that."""
        if self.worked or self._hung_up < OFTEN:
            return None
        return ConfigurationError(
            f"{self.name}: the broker hangs up: it may want TLS or SASL (KafkaConfig.tls, "
            f"username), or be no Kafka: {self._last}"
        )

    def explain(self, text: str) -> str:
        """What went wrong, with the reason that is known."""
        reason = self.reason
        return f"{self.name}: {text}" + (f": {reason}" if reason else "")

    def unavailable(self, text: str) -> TransportUnavailable:
        return TransportUnavailable(self.explain(text))
