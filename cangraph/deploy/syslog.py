"""Alarms to syslog, as the systems of a security team take them: RFC 5424, each with its JSON."""

import json
import os
import socket
from datetime import UTC, datetime
from logging.handlers import SysLogHandler
from typing import Any

_SENT = {  # what is sent, and how severe it is
    "alarm": SysLogHandler.LOG_ALERT,
    "update": SysLogHandler.LOG_ALERT,
    "holding": SysLogHandler.LOG_ALERT,
    "ongoing": SysLogHandler.LOG_ALERT,
    "over": SysLogHandler.LOG_NOTICE,
    "suppressed": SysLogHandler.LOG_WARNING,
    "lost": SysLogHandler.LOG_WARNING,
    "back": SysLogHandler.LOG_NOTICE,
}
_LONGEST = 8000  # bytes of a message; more do not fit any datagram


class Syslog:
    """Sends alarms to an `address`: the path of a socket, or HOST:PORT by UDP, which tells of a
    loss late, or not at all. Nobody waits for it: what cannot be sent is an event `unsent`, with
    the number of `events`; `sent` says that it can again.

    Raises `ValueError` for an address that is none, `OSError` for a host that is not known.
    """

    def __init__(self, address: str):
        self._family: Any = socket.AF_UNIX
        self._place: Any = address
        self._socket: Any = None
        self._why, self._left = "", 0
        if not address.startswith("/"):
            host, _, port = address.rpartition(":")
            if not (host and port.isdigit()):
                expected = "expected the path of a socket, or HOST:PORT; give /dev/log"
                raise ValueError(f"--syslog {address}: no address; {expected}")
            # asked for once: a name server may be slow
            found = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
            self._family, self._place = found[0], found[4]

    def say(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Send an event, if it is of those; what there is to tell of that."""
        if event["event"] not in _SENT:
            return []
        before, self._why = self._why, ""
        try:
            if self._socket is None:
                self._socket = socket.socket(self._family, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
                self._socket.connect(self._place)
            self._socket.send(_message(event))
        except OSError as error:
            self._why, self._left = error.strerror or str(error), self._left + 1
            self.close()
        if self._why == before:
            return []
        left, self._left = self._left, self._left if self._why else 0
        what = {"event": "unsent", "why": self._why} if self._why else {"event": "sent"}
        return [what | {"time": event["time"], "events": left}]

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None


def _message(event: dict[str, Any]) -> bytes:
    text = json.dumps(event, allow_nan=False)
    if len(text) > _LONGEST:
        text = json.dumps(event | {"reasons": [], "blamed": {}}, allow_nan=False)
    priority = SysLogHandler.LOG_AUTH << 3 | _SENT[event["event"]]
    name = socket.gethostname().encode("ascii", "replace").decode()
    when = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    head = f"<{priority}>1 {when} {name or '-'} cangraph {os.getpid()} {event['event']} -"
    return f"{head} {text}".encode()
