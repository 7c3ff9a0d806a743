"""`Frames`: a CAN bus log as columns. The first of the four nouns."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

ATTACK_TYPES = ("benign", "flooding", "fuzzing", "spoofing", "malfunction", "replay", "suppression",
                "masquerade", "other")  # fmt: skip

PAYLOAD_LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)  # bytes; CAN, then CAN FD
LATEST = 1e11  # s, the year 5138; a log with larger times counts in milliseconds or less
BUSES = 16  # of a vehicle, at most

COLUMNS = {
    "timestamp": np.float64,
    "arbitration_id": np.uint32,
    "dlc": np.uint8,
    "data": np.uint8,
    "is_extended_id": np.bool_,
    "is_remote_frame": np.bool_,
    "attack": np.bool_,
    "attack_type": np.uint8,
    "bus": np.uint8,
}
_NAMES = ("name", "scenario", "vehicle", "recording")  # where a capture belongs


def attack_code(attack_type: str) -> int:
    """The number of an attack type in `Frames.attack_type`. Raises `ValueError` for others.

    >>> attack_code("fuzzing")
    2
    """
    if attack_type not in ATTACK_TYPES:
        known = ", ".join(ATTACK_TYPES)
        raise ValueError(f"attack type: {attack_type!r} is unknown; expected one of {known}")
    return ATTACK_TYPES.index(attack_type)


def _crc_table(polynomial: int) -> np.ndarray:
    crc = np.arange(256)
    for _ in range(8):
        crc = np.where(crc & 0x80, crc << 1 ^ polynomial, crc << 1) & 0xFF
    return crc.astype(np.uint8)


CRC_8 = _crc_table(0x1D)  # SAE J1850, which AUTOSAR's E2E profile 1 uses too: of each byte, u1


class AttackSpan(NamedTuple):
    """An interval of missing frames: `start` and `end` are those of the first and the last one, in
    s since the capture's first frame."""

    start: float
    end: float
    attack_type: str
    arbitration_id: int


class ReadReport(NamedTuple):
    """What became of the rows of a file: `rows` = frames + `error_frames` + `refused` + `others`.

    Repaired rows are frames: `reordered` steps back in time that the stable sort mended, `padded`
    payloads whose bytes past the DLC were cut off. `first_refused` holds one message for each kind
    of refusal, at its first line. `others` hold no frame of a bus: remarks, states of the recorder,
    requests to send whose frame follows. `dialect` says what the file was read as, `notes` what was
    told from it (the unit of its times) and what is odd.
    """

    rows: int = 0
    reordered: int = 0
    padded: int = 0
    error_frames: int = 0
    refused: int = 0
    first_refused: tuple[str, ...] = ()
    others: int = 0
    dialect: str = ""
    notes: tuple[str, ...] = ()


class CaptureInfo(NamedTuple):
    """What is known of a capture without its frames."""

    name: str
    scenario: str
    vehicle: str
    recording: str
    frames: int
    attack_frames: int
    seconds: float
    arbitration_ids: int
    reordered: int
    sha256: str
    padded: int = 0
    error_frames: int = 0
    refused: int = 0

    @property
    def label(self) -> str:
        """A short name: `test_01 DoS-sonata`."""
        return " ".join(["_".join(self.scenario.split("_")[:2]), self.name]).strip()


def _filled_in():  # by `Frames.__post_init__`
    return field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class Frames:
    """One capture of a CAN bus, frame by frame, sorted by time.

    | column | dtype, shape | unit, meaning |
    |---|---|---|
    | timestamp | f8 (n,) | s, never decreasing |
    | arbitration_id | u4 (n,) | 11 or 29 bit |
    | dlc | u1 (n,) | payload bytes in use |
    | data | u1 (n, 8) | payload, zero padded (CAN FD: up to 64 columns) |
    | is_extended_id, is_remote_frame | bool (n,) | |
    | attack | bool (n,) | True: injected or altered by an attacker |
    | attack_type | u1 (n,) | index into `ATTACK_TYPES` |
    | bus | u1 (n,) | index into `bus_names`, where a log holds several |

    Captures with one `recording` derive from the same drive; `copies` names captures of equal
    content that were left out. `attack_spans` labels suppression, which `attack` cannot label by
    frame; a part (`frames[index]`) keeps the spans, counted from its own first frame and cut to
    its own time.

    Raises `ValueError` when columns differ in length, a DLC exceeds the columns of `data`,
    timestamps are not finite and sorted, a bus has no name, or a span is not one.

    >>> frames = Frames(timestamp=np.array([0.0, 0.01]), arbitration_id=np.array([0x1A0, 0x2B0]))
    >>> frames
    Frames('': 2 frames, 2 IDs, 0.0 s, 0 attack frames)
    >>> frames[frames.arbitration_id == 0x1A0].dlc
    array([8], dtype=uint8)
    """

    timestamp: np.ndarray
    arbitration_id: np.ndarray
    dlc: np.ndarray = _filled_in()
    data: np.ndarray = _filled_in()
    is_extended_id: np.ndarray = _filled_in()
    is_remote_frame: np.ndarray = _filled_in()
    attack: np.ndarray = _filled_in()
    attack_type: np.ndarray = _filled_in()
    bus: np.ndarray = _filled_in()
    name: str = ""
    scenario: str = ""
    vehicle: str = ""
    recording: str = ""
    copies: tuple[str, ...] = ()
    report: ReadReport = ReadReport()
    attack_spans: tuple[AttackSpan, ...] = ()
    bus_names: tuple[str, ...] = ("",)

    def __post_init__(self):
        n, where = len(self.timestamp), f"Frames {self.name!r}"
        attack, kind = np.asarray(self.attack), np.asarray(self.attack_type)
        attack = attack if len(attack) else np.zeros(n, np.bool_)
        filled = {
            "dlc": np.full(n, 8, np.uint8),
            "data": np.zeros((n, 8), np.uint8),
            "is_extended_id": np.asarray(self.arbitration_id) > 0x7FF,
            "is_remote_frame": np.zeros(n, np.bool_),
            "attack": kind > 0 if len(kind) == n else attack,
            "attack_type": np.where(attack, attack_code("other"), 0),
            "bus": np.zeros(n, np.uint8),
        }
        for column, dtype in COLUMNS.items():
            values = np.asarray(getattr(self, column))
            values = np.ascontiguousarray(values if len(values) else filled.get(column, []), dtype)
            if len(values) != n:
                raise ValueError(
                    f"{where}: {column} has {len(values)} rows; expected {n} like timestamp"
                )
            object.__setattr__(self, column, values)
        width = self.data.shape[1]
        if self.data.ndim != 2 or width < 8 or (n and self.dlc.max() > width):
            raise ValueError(
                f"{where}: data has shape {self.data.shape} and dlc goes up to "
                f"{self.dlc.max(initial=0)}; expected at least 8 columns and dlc; pad with zeros"
            )
        if n and self.bus.max() >= len(self.bus_names):
            raise ValueError(
                f"{where}: bus goes up to {self.bus.max()}; expected an index into the bus_names "
                f"{self.bus_names}; name each bus"
            )
        if not np.array_equal(self.attack, self.attack_type > 0):
            raise ValueError(
                f"{where}: attack and attack_type disagree; expected a type that is not benign "
                "for attack frames only; give one of the two columns"
            )
        if n and not (np.isfinite(self.timestamp).all() and (np.diff(self.timestamp) >= 0).all()):
            raise ValueError(
                f"{where}: timestamps are not finite and ascending; sort with Frames.in_order(...)"
            )
        object.__setattr__(self, "attack_spans", tuple(AttackSpan(*s) for s in self.attack_spans))
        for span in self.attack_spans:
            attack_code(span.attack_type)
            if not 0 <= span.start <= span.end:
                raise ValueError(
                    f"{where}: attack span from {span.start} to {span.end} s; expected "
                    "0 <= start <= end; count in seconds from the first frame"
                )

    @classmethod
    def in_order(cls, timestamp, **columns) -> "Frames":
        """Frames from columns in any order: sorted stably by time, the steps back counted."""
        timestamp = np.asarray(timestamp, np.float64)
        backward = int((np.diff(timestamp) < 0).sum())
        if backward:
            order = np.argsort(timestamp, kind="stable")
            timestamp = timestamp[order]
            columns = {k: v[order] if k in COLUMNS else v for k, v in columns.items()}
        report = columns.pop("report", ReadReport(rows=len(timestamp)))
        return cls(timestamp, **columns, report=report._replace(reordered=backward))

    def __len__(self) -> int:
        return len(self.timestamp)

    def __getitem__(self, index) -> "Frames":
        columns = {column: getattr(self, column)[index] for column in COLUMNS}
        part = replace(self, **columns, attack_spans=())
        if not (self.attack_spans and len(part)):
            return part
        later = float(part.timestamp[0] - self.timestamp[0])
        spans = [
            s._replace(start=max(s.start - later, 0.0), end=min(s.end - later, part.duration))
            for s in self.attack_spans
        ]
        return replace(part, attack_spans=tuple(s for s in spans if s.start <= s.end))

    def chunks(self, size: int = 1 << 18) -> Iterator["Frames"]:
        """The frames in consecutive chunks of `size`; `report` and `attack_spans` come whole with
        the first, since a cut may fall into a span."""
        for begin in range(0, max(len(self), 1), size):
            part = {column: getattr(self, column)[begin : begin + size] for column in COLUMNS}
            later: dict = {"report": ReadReport(), "attack_spans": ()}
            yield replace(self, **part, **(later if begin else {}))

    def __repr__(self) -> str:
        ids = len(np.unique(self.arbitration_id))
        spans = f", {len(self.attack_spans)} attack spans" if self.attack_spans else ""
        buses = len(np.unique(self.bus))
        on = f" on {buses} buses" if buses > 1 else ""
        return (
            f"Frames({self.name!r}: {len(self):,} frames, {ids} IDs{on}, "
            f"{self.duration:.1f} s, {int(self.attack.sum()):,} attack frames{spans})"
        )

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last."""
        return float(self.timestamp[-1] - self.timestamp[0]) if len(self) else 0.0

    @property
    def bytes_used(self) -> np.ndarray:
        """Payload bytes in use: `dlc`, and 0 for remote frames. u1 (n,)."""
        return np.where(self.is_remote_frame, 0, self.dlc).astype(np.uint8)

    def by_bus(self) -> dict[str, "Frames"]:
        """The frames of each bus that has any, by its name: streams of one vehicle and one drive,
        each named after its bus too if there are several. All have the attack spans.

        >>> log = Frames(np.arange(3.0), np.ones(3), bus=np.array([0, 1, 0]), name="drive",
        ...              bus_names=("can0", "can1"))
        >>> [(bus, part.name, len(part)) for bus, part in log.by_bus().items()]
        [('can0', 'drive can0', 2), ('can1', 'drive can1', 1)]
        """
        codes, parts = np.unique(self.bus).tolist(), {}
        for code in codes or [0]:
            bus = self.bus_names[code]
            part = self if len(codes) < 2 else self[self.bus == code]
            name = self.name if len(codes) < 2 else f"{self.name} {bus}".strip()
            zeros = np.zeros(len(part), np.uint8)
            parts[bus] = replace(part, name=name, bus=zeros, bus_names=(bus,))
        return parts

    def sha256(self) -> str:
        """Hash of the content: columns and spans, not the name; nor the bus where there is one."""
        digest = hashlib.sha256()
        for column in COLUMNS:
            if column == "bus" and not (len(self) and self.bus.any()):
                continue
            digest.update(getattr(self, column).reshape(-1).view(np.uint8))
        for span in self.attack_spans:
            digest.update(repr(tuple(span)).encode())
        return digest.hexdigest()

    @property
    def info(self) -> CaptureInfo:
        """The capture's summary, for the data card and for provenance."""
        named = {name: getattr(self, name) for name in _NAMES}
        repairs = ("reordered", "padded", "error_frames", "refused")
        return CaptureInfo(
            **named | {name: getattr(self.report, name) for name in repairs},
            frames=len(self),
            attack_frames=int(self.attack.sum()),
            seconds=round(self.duration, 6),
            arbitration_ids=len(np.unique(self.arbitration_id)),
            sha256=self.sha256(),
        )

    def label(self, **where) -> "Frames":
        """The same frames with other names, `copies` or `attack_spans`."""
        known = (*_NAMES, "copies", "attack_spans")
        if unknown := set(where) - set(known):
            raise ValueError(f"Frames.label: {unknown} unknown; expected some of {known}")
        return replace(self, **where)
