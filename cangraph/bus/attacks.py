"""The attack synthesiser: labelled attacks put into any bus log.

Added frames compete with the genuine ones for the bus: each waits until the bus is free, the
lowest ID wins, and genuine frames queue behind it. So no impossible gap reveals an attack.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cangraph.bus.arbitration import Queued, transmit
from cangraph.bus.lies import LIES, agreeing, false_values, retell
from cangraph.frames import AttackSpan, Frames, attack_code
from cangraph.signals import Signal, find_signals, read_signal

PAYLOADS = ("frozen", "fixed", "shifted", "replayed", "drifting")  # what a masquerade sends
_MOVING = 0.1  # share of an ID's frames that differ from the one before, for its data to change
_REGULAR = 5  # frames within a span from which on an ID sends regularly


class NoVictimError(ValueError):
    """A span of the log holds nothing that the attack could work on."""


def inject(
    frames: Frames,
    attack: str,
    *,
    spans: Iterable[tuple[float, float]],
    severity: float = 1.0,
    seed: int = 0,
    payload: str = "",
) -> Frames:
    """The log with an attack of one of `ATTACKS` in each of the `spans`, labelled.

    `spans` are (start, end) in s since the first frame. `severity` in (0, 1] goes from a single
    frame or ID and a small change of payload to many, often and far. `payload` is what a
    masquerade sends, one of `PAYLOADS`, drawn for each span when empty, or a lie about one signal
    of an ID: one of `lies.LIES`, or "pair", the same offset in the signals of two IDs that agree.
    `seed` draws the rest: the victim, among the IDs that send regularly in the span, the moments,
    the bytes.

    | attack | what happens in a span |
    |---|---|
    | flooding | ID 0 takes up to half of the bus |
    | fuzzing | random IDs and payloads |
    | spoofing | an ID sends a payload from another time, or one with flipped bits, as well |
    | malfunction | an ID sends random bytes as well |
    | replay | some IDs of an earlier stretch of the log are sent again |
    | suppression | frames of some IDs are missing: `attack_spans`, not `attack`, says so |
    | masquerade | the frames of an ID carry other bytes, at their own times |

    `arbitration.transmit` sends what is added, at 500 kbit/s. Genuine frames that are not
    delayed keep their exact timestamps; suppression and masquerade delay none.

    Raises `ValueError` for what is unknown or out of range; `NoVictimError`, which is one, for a
    span without a frame to work on.

    >>> log = Frames(np.arange(1000) * 0.01, np.arange(1000) % 5)
    >>> inject(log, "fuzzing", spans=[(2, 3), (5, 6)], severity=0.5)
    Frames('': 1,069 frames, 51 IDs, 10.0 s, 69 attack frames)
    """
    spans = [(float(start), float(end)) for start, end in spans]
    _check(frames, attack, spans, severity, payload)
    rng = np.random.default_rng(seed)
    since = frames.timestamp - frames.timestamp[0]
    stretches = [_Stretch(frames, since, *span, severity, rng) for span in spans]
    if attack == "suppression":
        return _suppressed(frames, stretches)
    if attack == "masquerade":
        return _masqueraded(frames, stretches, payload)
    added = [_ADDING[attack](stretch) for stretch in stretches]
    return transmit(frames, added, attack)


def _check(frames, attack, spans, severity, payload):
    where = f"attacks.inject into {frames.name!r}"
    if attack not in ATTACKS:
        raise ValueError(f"attack: {attack!r} is unknown; expected one of {', '.join(ATTACKS)}")
    if not 0 < severity <= 1:
        raise ValueError(f"{where}: severity {severity}; expected 0 < severity <= 1; 1 is gross")
    known = (*PAYLOADS, *LIES, "pair")
    if payload and (attack != "masquerade" or payload not in known):
        wanted = f"expected one of {', '.join(known)} for a masquerade; leave it out"
        raise ValueError(f"{where}: payload {payload!r} for {attack}; {wanted}")
    if not spans or not all(0 <= start < end and start < frames.duration for start, end in spans):
        wanted = f"(start, end) within the log's {frames.duration:.1f} s; count in s from its start"
        raise ValueError(f"{where}: spans {spans}; expected {wanted}")


class _Stretch(NamedTuple):
    """One span of a log, s since its first frame, and how hard the attack is there."""

    frames: Frames
    since: np.ndarray
    start: float
    end: float
    severity: float
    rng: np.random.Generator

    def moments(self, gap: float) -> np.ndarray:
        """Release times, s: one every `gap` s at severity 1, a single one towards severity 0."""
        length = self.end - self.start
        n = self.some(length / gap)
        # not exactly periodic: an attacker's task has jitter too
        steps = np.arange(n) + self.rng.uniform(0, 0.8) + self.rng.uniform(0, 0.2, n)
        return self.start + steps * length / n

    def some(self, most: float) -> int:
        """How many of `most`: all at severity 1, one towards severity 0."""
        return round(max(most, 1) ** self.severity)

    def genuine(self, start: float, end: float) -> np.ndarray:
        """Rows that no attack has touched."""
        begin, stop = np.searchsorted(self.since, (start, end))
        return begin + np.flatnonzero(~self.frames.attack[begin:stop])

    def own(self, rows: np.ndarray) -> np.ndarray:
        """All rows of the ID of these that no attack has touched."""
        ids = self.frames.arbitration_id
        return np.flatnonzero((ids == ids[rows[0]]) & ~self.frames.attack)

    def nothing(self, what: str) -> NoVictimError:
        """The error that says so."""
        return NoVictimError(f"attacks.inject into {self.frames.name!r}: {what}")

    def victims(self, moving: bool = False) -> list[np.ndarray]:
        """The rows here of each ID that regularly sends data (if `moving`: that changes), or else
        of the next best."""
        rows = self.genuine(self.start, self.end)
        rows = rows[self.frames.bytes_used[rows] > 0]
        if not len(rows):
            span = f"{self.start:g} to {self.end:g} s"
            raise self.nothing(f"no data from {span}; expected frames; choose another span")
        rows = rows[np.argsort(self.frames.arbitration_id[rows], kind="stable")]
        of_id = np.split(rows, 1 + np.flatnonzero(np.diff(self.frames.arbitration_id[rows])))
        steady = [r for r in of_id if len(r) >= _REGULAR and self._steady(r)]
        if moving:
            both = [r for r in steady if self._changes(r)]
            steady = both or [r for r in of_id if self._changes(r)] or steady
        return steady or [max(of_id, key=len)]

    def _steady(self, rows):
        gaps = np.diff(self.since[rows])
        return np.quantile(gaps, 0.9) <= 2 * np.median(gaps)

    def _changes(self, rows):
        return len(rows) > 1 and np.diff(self.frames.data[rows], axis=0).any(1).mean() >= _MOVING

    def victim(self) -> np.ndarray:
        """The rows here of one ID that sends changing data regularly."""
        victims = self.victims(moving=True)
        return victims[self.rng.integers(len(victims))]

    def period(self, rows: np.ndarray) -> float:
        """Median time from one frame to the next, s."""
        return float(np.median(np.diff(self.since[rows]))) if len(rows) > 1 else np.inf


def _flooding(stretch) -> Queued:
    release = stretch.moments(stretch.rng.uniform(0.45e-3, 0.5e-3))
    zero = np.zeros(len(release), np.uint32)  # ID 0 wins every arbitration
    data = np.zeros((len(release), stretch.frames.data.shape[1]), np.uint8)
    return Queued(release, zero, zero + 8, data, zero, zero)


def _fuzzing(stretch) -> Queued:
    release = stretch.moments(stretch.rng.uniform(0.5e-3, 1e-3))
    n, extended = len(release), stretch.frames.is_extended_id.mean() > 0.5
    known = stretch.rng.integers(0, 1 << (29 if extended else 11), stretch.some(2048))
    data = np.zeros((n, stretch.frames.data.shape[1]), np.uint8)
    data[:, :8] = stretch.rng.integers(0, 256, (n, 8), np.uint8)
    ids = stretch.rng.choice(known, n)
    return Queued(release, ids, np.full(n, 8), data, np.full(n, extended), np.zeros(n, np.bool_))


def _spoofing(stretch) -> Queued:
    rows = stretch.victim()
    release = stretch.moments(min(stretch.period(rows) / 4, 8e-3))
    data = np.tile(_forged(stretch, rows), (len(release), 1))
    return Queued.like(stretch.frames, np.full(len(release), rows[0]), release, data)


def _forged(stretch, rows):
    """A payload that the victim does not send now: its own of another time, or with flipped bits;
    the higher the severity, the more bits differ."""
    frames, now = stretch.frames, stretch.frames.data[rows[0]]
    sent = np.unique(frames.data[stretch.own(rows)], axis=0)
    distance = np.bitwise_count(sent ^ now).sum(1)
    if len(sent) > 1 and stretch.rng.random() < 0.5:
        nearest_first = np.argsort(distance, kind="stable")  # the first is `now`
        return sent[nearest_first[int(np.ceil(stretch.severity * (len(sent) - 1)))]]
    bits = 8 * int(frames.dlc[rows[0]])
    flips = np.zeros(8 * len(now), np.uint8)
    flips[stretch.rng.permutation(bits)[: int(np.ceil(stretch.severity * bits / 2))]] = 1
    return now ^ np.packbits(flips)


def _malfunction(stretch) -> Queued:
    rows = stretch.victim()
    release = stretch.moments(min(stretch.period(rows) / 4, 4e-3))
    n, dlc = len(release), int(stretch.frames.dlc[rows[0]])
    data = np.tile(stretch.frames.data[rows[0]], (n, 1))
    wild = stretch.rng.permutation(dlc)[: int(np.ceil(stretch.severity * dlc))]
    data[:, wild] = stretch.rng.integers(0, 256, (n, len(wild)), np.uint8)
    return Queued.like(stretch.frames, np.full(n, rows[0]), release, data)


def _replay(stretch) -> Queued:
    length = min(stretch.end - stretch.start, stretch.start)
    begin = stretch.rng.uniform(0, stretch.start - length)
    rows = stretch.genuine(begin, begin + length)
    if not len(rows):
        what = f"no genuine frame before {stretch.start:g} s to replay"
        raise stretch.nothing(f"{what}; expected an earlier stretch; start the span later")
    ids = np.unique(stretch.frames.arbitration_id[rows])
    ids = stretch.rng.permutation(ids)[: stretch.some(-(-len(ids) // 2))]
    rows = rows[np.isin(stretch.frames.arbitration_id[rows], ids)]
    release = stretch.since[rows] + (stretch.start - begin)
    return Queued.like(stretch.frames, rows, release, stretch.frames.data[rows])


_ADDING = {"flooding": _flooding, "fuzzing": _fuzzing, "spoofing": _spoofing}
_ADDING |= {"malfunction": _malfunction, "replay": _replay}
ATTACKS = (*_ADDING, "suppression", "masquerade")


def _suppressed(frames, stretches) -> Frames:
    keep, spans = np.ones(len(frames), np.bool_), list(frames.attack_spans)
    for stretch in stretches:
        victims = stretch.victims()
        chosen = stretch.rng.permutation(len(victims))[: stretch.some(-(-len(victims) // 4))]
        for rows in (victims[k] for k in np.sort(chosen)):
            keep[rows] = False
            first, last = stretch.since[rows[[0, -1]]].tolist()
            victim = int(frames.arbitration_id[rows[0]])
            spans.append(AttackSpan(first, last, "suppression", victim))
    return replace(frames, attack_spans=tuple(spans))[keep]


def _masqueraded(frames, stretches, payload) -> Frames:
    data, kind = frames.data.copy(), frames.attack_type.copy()
    for stretch in stretches:
        if payload in PAYLOADS or not payload:
            rows = stretch.victim()
            drawn = PAYLOADS[stretch.rng.integers(len(PAYLOADS))]  # also where it is given
            forged = [(rows, _posed(stretch, rows, payload or drawn))]
        else:
            forged = _pair(stretch) if payload == "pair" else [_lie(stretch, payload)]
        for rows, posed in forged:
            data[rows] = posed
            kind[rows] = attack_code("masquerade")
    return replace(frames, data=data, attack=frames.attack | (kind > 0), attack_type=kind)


def _posed(stretch, rows, payload):
    """What the frames of `rows` carry instead. The severity says how many of the moving bytes are
    frozen, fixed at another time's or replayed, or how far one is shifted or drifts."""
    frames, rng = stretch.frames, stretch.rng
    data, n = frames.data[rows], len(rows)
    moving = np.flatnonzero(np.ptp(data, 0))
    moving = rng.permutation(moving if len(moving) else int(frames.dlc[rows].min()))
    moving = moving[: int(np.ceil(stretch.severity * len(moving)))]
    own = stretch.own(rows)
    if payload == "frozen":
        data[:, moving] = data[0, moving]
    elif payload == "fixed":
        data[:, moving] = frames.data[rng.choice(own)][moving]
    elif payload == "replayed":
        before = own[stretch.since[own] < stretch.start]
        if not len(before):
            what = f"the victim sends nothing before {stretch.start:g} s"
            raise stretch.nothing(f"{what}; expected frames to replay; start the span later")
        first = rng.integers(max(1, len(before) - n))
        old = frames.data[before[(first + np.arange(n)) % len(before)]]
        data[:, moving] = old[:, moving]
    else:
        share = np.ones(n) if payload == "shifted" else np.arange(1, n + 1) / n
        data[:, moving[0]] += np.ceil(share * stretch.severity * 128).astype(np.uint8)
    return data


def _signals(stretch, rows) -> list[Signal]:
    own = stretch.own(rows)
    used = int(stretch.frames.bytes_used[own].min())
    return find_signals(stretch.frames.data[own], used)


def _lie(stretch, kind) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a victim and what they carry instead. It has a signal, if any victim has; else a
    byte is lied about. A plateau ends, at the latest with the span, the later the severer."""
    frames, rng = stretch.frames, stretch.rng
    victims = stretch.victims(moving=True)
    moves = kind in ("mirrored", "plateau")  # which say the same of a value that stands still
    rows, signals = victims[0], []
    for k in rng.permutation(len(victims)):
        found = _signals(stretch, victims[k])
        found = [s for s in found if not moves or np.ptp(read_signal(frames.data[victims[k]], s))]
        if found:
            rows, signals = victims[k], found
            break
    own = frames.data[stretch.own(rows)]
    if not signals:
        moving = np.flatnonzero(np.ptp(own, axis=0)).tolist() or [0]
        signals = [Signal(8 * k + 7, 8, False, False) for k in moving[:-1] or moving]
    signal = signals[rng.integers(len(signals))]
    if kind == "plateau":
        rows = rows[: int(np.ceil(stretch.severity * len(rows)))]
    values, within = (read_signal(data, signal) for data in (frames.data[rows], own))
    values = false_values(values, within, kind, stretch.severity)
    return rows, retell(frames.data[rows], own, signal, values)


def _pair(stretch) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of two victims and what they carry instead: offsets of two signals that agree, in
    the proportion in which they move."""
    frames = stretch.frames
    known = [(r, s) for r in stretch.victims(moving=True) for s in _signals(stretch, r)]
    own = [stretch.own(rows) for rows, _ in known]
    within = [read_signal(frames.data[o], s) for o, (_, s) in zip(own, known, strict=True)]
    group = [int(frames.arbitration_id[rows[0]]) for rows, _ in known]
    if len(set(group)) < 2:
        what = f"signals are found in {len(set(group))} ID"
        raise stretch.nothing(f"{what}; expected two for a pair; choose another payload")
    pairs = agreeing([stretch.since[o] for o in own], within, group)
    first, second, slope = pairs[stretch.rng.integers(len(pairs))]
    before = [read_signal(frames.data[known[k][0]], known[k][1]) for k in (first, second)]
    shift = (false_values(before[0], within[first], "offset", stretch.severity) - before[0])[0]
    return [
        (known[k][0], retell(frames.data[known[k][0]], frames.data[own[k]], known[k][1], values))
        for k, values in ((first, before[0] + shift), (second, before[1] + slope * shift))
    ]
