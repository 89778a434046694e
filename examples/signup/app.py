"""A sign-up service: a Flask application that is handed a bus and publishes what happened."""

from __future__ import annotations

import os
import sys

import lifeline
from flask import Flask, request
from werkzeug.serving import WSGIRequestHandler, make_server

from eventbus import EventBus


def create_app(bus: EventBus) -> Flask:
    """The application; in tests, hand it a bus on memory."""
    app = Flask(__name__)

    @app.post("/signup")
    def signup() -> tuple[dict[str, object], int]:
        form = request.get_json()
        user = {"id": form["id"], "email": form["email"]}
        event = bus.publish("user.created", user, key=str(user["id"]))
        return {"event": event.id}, 201

    return app


class QuietHandler(WSGIRequestHandler):
    """HTTP/1.1 keeps connections open; no access log."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        return


def main() -> None:
    """Serve on a free port of the loopback interface and print it."""
    lifeline.hold()
    with EventBus(sys.argv[1], group="signup", environ={}) as bus:
        server = make_server(
            "127.0.0.1", int(os.environ.get("PORT", "0")), create_app(bus), threaded=True,
            request_handler=QuietHandler,
        )
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
