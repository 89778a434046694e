"""The engine: everything that is written once for all transports. Not a public interface."""

import logging

logging.getLogger("eventbus").addHandler(logging.NullHandler())
