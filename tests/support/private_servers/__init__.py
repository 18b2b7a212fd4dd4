"""Runs a command with the servers that the tests talk to, each private, and gone afterwards.

There are two processes. One runs the command. A keeper, in a session of its own where no Ctrl-C reaches it, starts the
servers and stops them when its standard input ends: which is when the first process ends, in whatever way. So not even
kill -9 leaves a server or a file behind, and one piece of code does all the cleaning up.
"""

from support.private_servers.installing import apt_get, obtain, say, search_path
from support.private_servers.known import SERVERS, Server
from support.private_servers.starting import VERSION, answer, free_port, start, stop

__all__ = [
    "SERVERS",
    "VERSION",
    "Server",
    "answer",
    "apt_get",
    "free_port",
    "obtain",
    "say",
    "search_path",
    "start",
    "stop",
]
