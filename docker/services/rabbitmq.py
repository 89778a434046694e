"""RabbitMQ, a node of its own beside any other one on the machine."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from urllib.parse import quote

from . import rabbitmq_wire
from .errors import ServerError
from .install import apt, find
from .places import HOST
from .process import GLANCE, Command, Process, wait_gone
from .server import Server, private

#: Where Debian keeps the scripts that do not switch to another user.
PACKAGED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitMQ(Server):
    """RabbitMQ; `options={"vm_memory_high_watermark.relative": "0.1"}` adds to `rabbitmq.conf`.

    The user is `guest`, or `bus` if there is a password.
    """

    name = "rabbitmq"
    variable = "RABBITMQ_URL"
    usual_port = 5672
    #: Nodes find each other through a port mapper; one of our own knows no other nodes.
    port_names = ("main", "nodes", "mapper")

    @property
    def user(self) -> str:
        return "bus" if self.password else "guest"

    @property
    def url(self) -> str:
        password = quote(self.password or "guest", safe="")
        return f"{'amqps' if self.tls else 'amqp'}://{self.user}:{password}@{HOST}:{self.port}/%2F"

    def install(self) -> None:
        if _program() is None:
            apt(self.name, "rabbitmq-server", "RabbitMQ is not installed")
        if _program() is None:
            raise ServerError("rabbitmq: installed, but its rabbitmq-server is not to be found")

    def version(self) -> str:
        # `rabbitmq-server --version` would ignore its argument and start a node.
        found = re.search(r"\d+\.\d+\.\d+", str(_program().resolve()))
        return found.group() if found else "of unknown version"

    def prepare(self) -> None:
        for folder in (self.data, self.folder / "home"):
            folder.mkdir(parents=True, exist_ok=True)
        settings = {**self._settings(), **self.options}
        lines = [f"{name} = {value}" for name, value in settings.items()]
        private(self.folder / "rabbitmq.conf", "\n".join(lines) + "\n")
        private(self.folder / "advanced.config", self._login())
        (self.folder / "enabled_plugins").write_text("[].\n")
        self._start_mapper()

    def command(self) -> Command:
        return Command([_program()], self.environment())

    def environment(self) -> dict[str, str]:
        """What `rabbitmqctl` needs to find this node."""
        return {
            **self._mapper_environment(),
            "HOME": str(self.folder / "home"),
            # The name is the identity of the data: it must outlive a change of the host's name.
            "RABBITMQ_NODENAME": "eventbus@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "node.pid"),
            "RABBITMQ_DIST_PORT": str(self.port_of("nodes")),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # The script then becomes the node instead of watching over it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_CRASH_DUMP_SECONDS": "0",
        }

    def ping(self) -> None:
        rabbitmq_wire.ping(self.port, self.user, self.password or "guest", self.tls)

    def stop(self) -> None:
        super().stop()
        self._stop_mapper()

    def kill(self) -> None:
        super().kill()
        self._stop_mapper()

    def _settings(self) -> dict[str, str]:
        if self.tls is None:
            return {"listeners.tcp.1": f"{HOST}:{self.port}"}
        return {
            "listeners.tcp": "none",
            "listeners.ssl.1": f"{HOST}:{self.port}",
            "ssl_options.cacertfile": str(self.tls.ca),
            "ssl_options.certfile": str(self.tls.certificate),
            "ssl_options.keyfile": str(self.tls.key),
            "ssl_options.verify": "verify_none",
            "ssl_options.fail_if_no_peer_cert": "false",
        }

    def _login(self) -> str:
        """The user that a node without data makes; `rabbitmq.conf` cannot hold every password."""
        user, password = (_binary(text) for text in (self.user, self.password or "guest"))
        return f"[{{rabbit, [{{default_user, {user}}}, {{default_pass, {password}}}]}}].\n"

    # The port mapper would be started by the node, and outlive it.

    def _start_mapper(self) -> None:
        if self._mapper.alive:
            return
        epmd = find("epmd", ["/usr/lib/erlang/bin"])
        if epmd is None:
            raise ServerError("rabbitmq: Erlang's epmd is not on PATH; reinstall Erlang")
        command = Command([epmd], self._mapper_environment())
        mapper = Process.spawn(command, self.folder, self.log)
        self._save(mapper=mapper)
        while mapper.alive and not _listens(self.port_of("mapper")):
            time.sleep(GLANCE)

    def _stop_mapper(self) -> None:
        wait_gone(self._mapper.kill(), self.stop_timeout)

    @property
    def _mapper(self) -> Process:
        return Process(*self._state().get("mapper", (0, "")))

    def _mapper_environment(self) -> dict[str, str]:
        return {"ERL_EPMD_PORT": str(self.port_of("mapper")), "ERL_EPMD_ADDRESS": HOST}


def _program() -> Path | None:
    return PACKAGED if PACKAGED.exists() else find("rabbitmq-server", ["/opt/homebrew/sbin"])


def _binary(text: str) -> str:
    """A binary of Erlang."""
    return f"<<{','.join(map(str, text.encode()))}>>"


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
