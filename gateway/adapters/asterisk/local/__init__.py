"""An Asterisk of our own on this machine, for demonstrations and tests: found, configured on loopback, run, ended."""

from gateway.adapters.asterisk.local.configuration import Peers, configure
from gateway.adapters.asterisk.local.installation import AsteriskMissing, Installation, find_asterisk
from gateway.adapters.asterisk.local.server import Asterisk, AsteriskFailed, free_port, running

__all__ = [
    "Asterisk",
    "AsteriskFailed",
    "AsteriskMissing",
    "Installation",
    "Peers",
    "configure",
    "find_asterisk",
    "free_port",
    "running",
]
