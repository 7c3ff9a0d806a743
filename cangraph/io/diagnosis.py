"""Diagnostic messages on the bus: who asks, which services, in which session.

ISO 15765-4 (OBD: 0x7DF asks all, 0x7E0 to 0x7E7 one, 0x7E8 to 0x7EF answer; 29 bit: 18DA and 18DB),
ISO 15765-2 (the first byte of a frame), ISO 14229-1 (UDS) and SAE J1979 (services below 0x10).
"""

from collections import Counter
from typing import Any

import numpy as np

from cangraph.frames import Frames

SERVICES = {
    0x01: "current data", 0x02: "freeze frame", 0x03: "stored trouble codes",
    0x04: "clear trouble codes", 0x07: "pending trouble codes", 0x09: "vehicle information",
    0x0A: "permanent trouble codes", 0x10: "session control", 0x11: "ECU reset",
    0x14: "clear trouble codes", 0x19: "read trouble codes", 0x22: "read data",
    0x23: "read memory", 0x24: "read scaling", 0x27: "security access",
    0x28: "communication control", 0x29: "authentication", 0x2A: "read data periodically",
    0x2C: "define data", 0x2E: "write data", 0x2F: "control inputs and outputs",
    0x31: "routine control", 0x34: "request download", 0x35: "request upload",
    0x36: "transfer data", 0x37: "end of transfer", 0x3D: "write memory", 0x3E: "tester present",
    0x85: "control of trouble codes", 0x86: "response on event",
}  # fmt: skip
SESSIONS = {1: "default", 2: "programming", 3: "extended", 4: "safety"}
# what changes an ECU or its access, and belongs in a workshop
GRAVE = (0x11, 0x27, 0x28, 0x2E, 0x2F, 0x31, 0x34, 0x35, 0x36, 0x3D, 0x85)
_SESSION, _ANSWER, _REFUSED = 0x10, 0x40, 0x7F


def part_of(arbitration_id: int) -> str:
    """Whether an ID belongs to a `tester` or an `ECU` that answers it; empty for all others.

    >>> part_of(0x7DF), part_of(0x7E8), part_of(0x18DA10F1), part_of(0x316)
    ('tester', 'ECU', 'tester', '')
    """
    if arbitration_id >> 16 in (0x18DA, 0x18DB):  # target, source; testers are F0 to FA
        return "tester" if 0xF0 <= arbitration_id & 0xFF <= 0xFA else "ECU"
    if arbitration_id == 0x7DF or 0x7E0 <= arbitration_id <= 0x7E7:
        return "tester"
    return "ECU" if 0x7E8 <= arbitration_id <= 0x7EF else ""


def conversations(frames: Frames) -> list[dict[str, Any]]:
    """Of each ID that speaks of diagnosis (two messages or more, and most, are of a known service):
    its `id`, its `part`, how many `frames`, the `services` that it asks for or answers, with their
    number, how many it `refused`, the `sessions` it opens, and whether any of them is `grave`.

    >>> data = np.zeros((2, 8), np.uint8)
    >>> data[:, :3] = [[2, 0x10, 3], [2, 0x27, 1]]
    >>> (found,) = conversations(Frames(np.arange(2.0), np.full(2, 0x7E0), data=data))
    >>> found["services"], found["sessions"], found["grave"]
    ({'session control': 1, 'security access': 1}, ['extended'], True)
    """
    found = []
    for number in np.unique(frames.arbitration_id).tolist():
        if part := part_of(number):
            mine = frames.arbitration_id == number
            if services := _services(frames.data[mine], frames.bytes_used[mine], part):
                row = {"id": number, "part": part, "frames": int(mine.sum())}
                found.append(row | services)
    return found


def _services(data: np.ndarray, used: np.ndarray, part: str) -> dict[str, Any]:
    """What the first bytes say, if most are of a known service: a single frame is 0 and its length,
    the first of several 1."""
    first = np.where(data[:, 0] >> 4 == 1, 2, 1)  # a first frame has two bytes of length
    begins = (data[:, 0] >> 4 <= 1) & (data[:, 0] > 0) & (used > first)
    rows, at = np.flatnonzero(begins), first[begins]
    service = data[rows, at].astype(int)
    refused = (service == _REFUSED) if part == "ECU" else np.zeros(len(rows), bool)
    asked = service - _ANSWER if part == "ECU" else service
    sessions = data[rows, at + 1][(asked == _SESSION) & ~refused] & 0x7F
    count = Counter(asked[~refused].tolist())
    names = Counter[str]()
    for number, times in count.most_common():
        names[SERVICES.get(number, f"service {number & 0xFF:02X}")] += times
    known = refused.sum() + sum(times for number, times in count.items() if number in SERVICES)
    if known < 2 or 2 * known <= len(rows):
        return {}
    return {
        "services": dict(names),
        "refused": int(refused.sum()),
        "sessions": [SESSIONS.get(s, f"{s:02X}") for s in np.unique(sessions).tolist()],
        "grave": part == "tester" and any(number in GRAVE for number in count),
    }
