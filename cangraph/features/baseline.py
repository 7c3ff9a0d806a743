"""What is normal for one vehicle: the profiles of its buses, kept from its own clean traffic."""

import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from cangraph.features.kernel import HEARD, slot_record
from cangraph.features.profile import Profiles
from cangraph.features.relations import Relations
from cangraph.features.windows import LAST, Known, Sliding
from cangraph.frames import Frames

_PIECE = 20_000  # frames that are learnt at once, which bounds the memory
_WIDEST = 64  # bytes of a payload
LONG = 300.0  # s of clean traffic; in less a vehicle shows too few modes to learn relations
_LARGEST = 1 << 27  # bytes; all IDs of 11 bit with payloads of CAN FD do not fill more


@dataclass(frozen=True, repr=False)
class Baseline:
    """The profiles of a vehicle by the name of the bus, for what comes later to start with, and the
    `relations` between its messages, of buses that were heard for five minutes.

    A stream that starts with them has no blind first seconds: it knows the gaps, flip rates, rules
    and load of the vehicle, and which IDs are foreign to it (`NODE_FEATURES`, foreign).

    >>> log = Frames(np.arange(4000) * 0.01, np.arange(4000) % 4)
    >>> baseline = Baseline.learn([log])
    >>> baseline, Baseline.from_bytes(baseline.to_bytes())
    (Baseline(4 IDs, 40 s), Baseline(4 IDs, 40 s))
    """

    buses: dict[str, Known]
    relations: dict[str, Relations] = field(default_factory=dict)

    def __repr__(self) -> str:
        ids = sum(len(known.profiles.slots) for known in self.buses.values())
        return f"Baseline({ids} IDs, {self.seconds:.0f} s)"

    @property
    def seconds(self) -> float:
        """How long the bus was heard, the longest if there are several."""
        return max(float(known.profiles.heard["time"][0]) for known in self.buses.values())

    @classmethod
    def learn(cls, logs: Iterable[Frames]) -> "Baseline":
        """What clean logs of one vehicle teach, one after the other, also of other days and modes.
        All that they hold is trusted. Raises `ValueError` where there is no frame."""
        buses: dict[str, Known] = {}
        heard: dict[str, list[Frames]] = {}
        for log in logs:
            for bus, frames in log.by_bus().items():
                sliding = Sliding(1, 1, known=buses.get(bus))
                for piece in frames.chunks(_PIECE):
                    sliding.feed(piece)
                if len(frames):
                    heard.setdefault(bus, []).append(frames)
                    end = float(frames.timestamp[-1])
                    buses[bus] = Known(sliding.profiles, sliding.last, end)
        if not buses:
            raise ValueError("baseline: no frame came; expected clean traffic; give other logs")
        for known in buses.values():  # from here on what comes is foreign
            known.profiles.table["trust"]["amount"] = 1.0
            known.profiles.heard["known"] = len(known.profiles.slots)
        long = {bus: one for bus, one in heard.items() if sum(f.duration for f in one) >= LONG}
        return cls(buses, {bus: Relations.learn(one) for bus, one in long.items()})

    def of(self, bus: str) -> Known | None:
        """What is known of a bus; the only one has no need of its name."""
        return self.buses.get(self._name(bus))

    def related(self, bus: str) -> Relations | None:
        """The relations of a bus, if any were learnt."""
        return self.relations.get(self._name(bus))

    def _name(self, bus: str) -> str:
        return next(iter(self.buses)) if len(self.buses) == 1 else bus

    def to_bytes(self) -> bytes:
        """As a file holds it."""
        arrays = {"ended": np.array([known.ended for known in self.buses.values()])}
        arrays["names"] = np.frombuffer(json.dumps([*self.buses]).encode(), np.uint8)
        for n, (bus, (profiles, last, _)) in enumerate(self.buses.items()):
            slots = np.array([*profiles.slots], np.uint32)
            arrays |= {f"{n}/slots": slots, f"{n}/table": profiles.table[: len(slots)]}
            arrays |= {f"{n}/heard": profiles.heard, f"{n}/last": last}
            if known := self.relations.get(bus):
                arrays |= {f"{n}/signals": known.signals, f"{n}/relations": known.relations}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Baseline":
        """What `to_bytes` wrote. Raises `ValueError` for anything else, also where another version
        with other profiles wrote it: numba takes the arrays as they are."""
        try:
            arrays = arrays_of(content, _LARGEST)
            names, ended = json.loads(arrays["names"].tobytes()), arrays["ended"]
            buses = {str(bus): _known(arrays, n, float(ended[n])) for n, bus in enumerate(names)}
            if not buses:
                raise ValueError("no bus")
            relations = {
                bus: Relations.checked(arrays[f"{n}/signals"], arrays[f"{n}/relations"])
                for n, bus in enumerate(buses)
                if f"{n}/signals" in arrays
            }
        except Exception as error:  # zip, json, numpy: whatever reading raises
            why = f"{type(error).__name__}: {str(error)[:80]}"
            came = f"baseline: not one that this version of cangraph wrote ({why})"
            raise ValueError(f"{came}; expected one; make it again: cangraph baseline") from error
        return cls(buses, relations)


def _known(arrays: dict[str, np.ndarray], n: int, ended: float) -> Known:
    slots, table, heard, last = (arrays[f"{n}/{k}"] for k in ("slots", "table", "heard", "last"))
    check_profiles(slots, table, heard, last)
    if slots.dtype != np.uint32 or int(heard["known"][0]) != len(slots) or not np.isfinite(ended):
        raise ValueError("its IDs are not as many as it says, or it ended at no time")
    return Known(Profiles({k: s for s, k in enumerate(slots.tolist())}, table, heard), last, ended)


def check_profiles(
    slots: np.ndarray, table: np.ndarray, heard: np.ndarray, last: np.ndarray
) -> None:
    """Raises `ValueError` for arrays that no profiles can have left (see `Profiles`, and `Sliding`
    for the `last` frames): the kernels trust them with places in memory."""
    n, width = len(slots), table.dtype["data"].shape[0]
    right = (table.dtype, heard.dtype, last.dtype) == (
        slot_record(min(max(width, 8), _WIDEST)),
        HEARD,
        LAST,
    )
    right = right and (heard.shape, last.shape, slots.shape, table.ndim) == ((1,), (n,), (n,), 1)
    right = right and len(table) >= n == len(np.unique(slots)) and slots.dtype.kind in "iu"
    if not right or not all(map(sound, (slots, table, heard, last))):
        raise ValueError("its profiles are of other kinds or lengths, or no numbers")
    longest = max(int(table[name].max(initial=0)) for name in ("dlc", "early_dlc"))
    if slots.max(initial=0) >= 1 << 32 or longest > width:
        raise ValueError("an ID or a payload is longer than its room")


def arrays_of(content: bytes, most: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz file. Raises `ValueError` where they have more than `most` bytes, and
    what numpy and zipfile raise for anything else; nothing is unpickled."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        size = sum(member.file_size for member in packed.infolist())
    if size > most:
        raise ValueError(f"it unpacks to {size:,} bytes")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def sound(array: np.ndarray) -> bool:
    """Whether all numbers of an array, also of records, are finite, and whole ones at least 0."""
    if array.dtype.names:
        return all(sound(array[name]) for name in array.dtype.names)
    if array.dtype.kind == "f":
        return bool(np.isfinite(array).all())
    return array.dtype.kind != "i" or bool((array >= 0).all())
