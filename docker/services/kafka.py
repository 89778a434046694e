"""Apache Kafka: one node, broker and controller at once, from its jars."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from . import kafka_wire
from .downloads import jars
from .errors import ServerError
from .install import apt, find, run
from .places import HOST
from .process import Command
from .server import Server, private

VERSION = "4.1.2"
POM = Path(__file__).with_name("kafka-pom.xml")
#: What the brokers of this version need at least.
JAVA = 17
#: Whom clients log in as, if there is a password.
USER = "bus"


class Kafka(Server):
    """Kafka; `options={"auto.create.topics.enable": "false"}` adds to `server.properties`.

    With a password, clients log in as `bus` with SASL PLAIN.
    """

    name = "kafka"
    variable = "KAFKA_BROKERS"
    usual_port = 9092
    port_names = ("main", "controller")
    start_timeout = 120.0
    # The lock of a killed server's folder.
    passing = r"Failed to acquire lock on file"

    @property
    def url(self) -> str:
        """A list of brokers; how to log in is not part of it."""
        return f"{HOST}:{self.port}"

    @property
    def protocol(self) -> str:
        """`security.protocol` of the clients."""
        secure = "SSL" if self.tls else "PLAINTEXT"
        return f"SASL_{secure}" if self.password else secure

    def install(self) -> None:
        _jars()
        if _java() is None:
            apt(self.name, "default-jre-headless", f"there is no Java {JAVA} or later")
        if _java() is None:
            raise ServerError(
                f"kafka: Debian's Java is older than {JAVA}; set JAVA_HOME to a newer one"
            )

    def version(self) -> str:
        return VERSION

    def prepare(self) -> None:
        lines = [f"{name}={value}" for name, value in {**self._settings(), **self.options}.items()]
        self._properties = private(self.folder / "server.properties", "\n".join(lines) + "\n")
        (self.folder / "log4j2.xml").write_text(LOG4J)
        if not (self.data / "meta.properties").exists():
            format_it = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
            # Compiling well what runs for a second takes longer than running it.
            java = self._jvm("-XX:TieredStopAtLevel=1")
            if failed := run([*java, *format_it, "-t", CLUSTER_ID, "-c", self._properties]):
                raise ServerError(f"kafka: its data folder cannot be formatted{failed}")

    def command(self) -> Command:
        return Command([*self._jvm(), "kafka.Kafka", self._properties])

    def ping(self) -> None:
        login = (USER, self.password) if self.password else None
        kafka_wire.ping(self.port, login, self.tls)

    def _jvm(self, *flags: str) -> list[str | Path]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}"
        # On a small heap the simplest collector starts fastest.
        flags = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", *flags)
        return [_java(), *flags, logging, "-cp", f"{_jars()}/*"]

    def _settings(self) -> dict[str, str]:
        controller = f"{HOST}:{self.port_of('controller')}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CLIENTS://{HOST}:{self.port},CONTROLLER://{controller}",
            "listener.security.protocol.map": f"CLIENTS:{self.protocol},CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENTS",
            "log.dirs": str(self.data),
            # One node: the default of three copies makes groups and transactions fail for ever.
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            # Fifty only cost time at the start.
            "offsets.topic.num.partitions": "4",
            "num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            # After a crash it must outwait its own registration, nine seconds by default.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            # One node has no copies: only what is flushed survives a power cut.
            "log.flush.interval.messages": "1",
        }
        return {**settings, **self._sasl(), **self._ssl()}

    def _sasl(self) -> dict[str, str]:
        if self.password is None:
            return {}
        secret = _escaped(self.password)
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        users = f'username="{USER}" password="{secret}" user_{USER}="{secret}"'
        return {
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.clients.plain.sasl.jaas.config": f"{module} required {users};",
        }

    def _ssl(self) -> dict[str, str]:
        if self.tls is None:
            return {}
        pem = self.tls.key.read_text() + self.tls.certificate.read_text()
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(private(self.folder / "keystore.pem", pem)),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.tls.ca),
        }


#: Any 22 characters of base 64; the data belongs to it.
CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAQ"

LOG4J = """\
<Configuration>
  <Appenders>
    <Console name="log"><PatternLayout pattern="%d %p %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="log"/></Root>
  </Loggers>
</Configuration>
"""


def _jars() -> Path:
    return jars("kafka", POM, f"kafka-{VERSION}")


def _java() -> Path | None:
    """A Java that is new enough: JAVA_HOME's, that on PATH, or any other that is installed."""
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home, "bin/java")] if home else []
    candidates += filter(None, [find("java")])
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    return next((java for java in candidates if _java_version(java) >= JAVA), None)


def _java_version(java: Path) -> int:
    if not java.exists():
        return 0
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    return int(found.group(1)) if found else 0


def _escaped(text: str) -> str:
    """For a quoted string in a line of properties: both take backslashes away."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return quoted.replace("\\", "\\\\")
