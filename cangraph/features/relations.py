"""Messages that should agree: relations between signals of different IDs, and who contradicts them.

A car says the same thing several times: speed, four wheels, gear and engine move together, in
messages of several control units. Who changes one of them contradicts the others.

1. `Relations.learn` finds the signals of each ID in clean traffic (`cangraph.signals`), samples all
   of them every `TICK` s, and keeps for each one those of other IDs that predict it best: a curve
   through `KNOTS` points, fitted so that single frames do not bend it, and how far it was missed.
2. `Following` goes along a stream. The misses of each relation, relative to the largest of the
   clean traffic, are averaged over `MEMORY` s. A signal contradicts as far as the *median* of its
   partners says: a liar has all of them against it, a partner of a liar but one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cangraph.features.windows import compiled
from cangraph.frames import Frames
from cangraph.signals import Signal, find_signals, read_signal

TICK = 0.05  # s
MEMORY = 0.5  # s, time constant of the average of misses
_PULL = 1 - np.exp(-TICK / MEMORY)  # of a tick on that average
KNOTS = 9
BINS = 8  # parts of a partner's range, each with its own largest miss
_STALE = 2.5  # s; what was last heard so long ago says nothing
_CHANGE = 1.0  # s over which partners must change together
_ALIKE = 0.6  # least correlation of partners over the whole traffic
_TOGETHER = 0.5  # and of their changes: two that drift alike are no partners
_TIGHT = 0.25  # largest averaged miss, relative to the range of the signal
_PARTNERS = 5  # of a signal, each of another ID
_TRIED = 12  # candidates of which these are the best
_RANGE = 8  # counts that a signal moves at least
_SMOOTH = 1.0  # ticks' worth of pull of the knots to a straight line
_USUAL = 0.9  # quantile of the misses in a bin that is no miss
_MOST = 4.0  # limits: a larger miss is no more of one, so that the average forgets it as soon
_BEYOND = 0.05  # of a partner's range, as far as it may leave it to be asked
_TURNS = 1  # times at least that a signal goes back by a quarter of its range: all drifts are alike
_LAG = 0.99  # quantile of the steps
_SETTLED = 1.0  # s at the begin of a log, in which nodes wake up
LIMIT = 2.0  # from which a contradiction is told; clean simulated cars reach 1.5
QUIET = 5.0  # s without one after which the next is another
_PIECE = 2000  # frames that `disputes` looks at, which bounds the memory

SIGNAL = np.dtype(
    [
        ("arbitration_id", np.uint32),
        ("start", np.int64),
        ("length", np.int64),
        ("little", np.bool_),
        ("signed", np.bool_),
        ("low", np.float64),
        ("high", np.float64),
    ],
    align=True,
)
RELATION = np.dtype(
    [
        ("target", np.int64),
        ("partner", np.int64),
        ("miss", np.float64),  # the largest in clean traffic, over the range of the target
        ("knots", np.float64, (KNOTS,)),
        ("limits", np.float64, (BINS,)),
    ],
    align=True,
)


class Contradiction(NamedTuple):
    """How far IDs contradict their partners: at each of the `ticks` (s, (T,)) the `value` of each
    signal, f4 (T, S), and of each relation, f4 (T, R); 1 is the most of the clean traffic."""

    ticks: np.ndarray
    value: np.ndarray
    relation: np.ndarray

    def between(self, start: float, end: float) -> "Contradiction":
        """The ticks between two moments, s since the first."""
        since = self.ticks - self.ticks[:1].sum()
        part = slice(*np.searchsorted(since, (start, end)))
        return Contradiction(*(column[part] for column in self))


class Dispute(NamedTuple):
    """From `start` to `end` (s since the first frame) an ID contradicts the messages of others: the
    `blamed` one (see `Relations.blamed`) and its `partners` whose relations to it are the furthest
    off, the worst first. `value`: how far, in limits of clean traffic, up to 4."""

    start: float
    end: float
    blamed: int
    partners: tuple[int, ...]
    value: float


class Pairs(NamedTuple):
    """The `ids` that have signals, u4 (N,), as a graph: `edge_index` (2, E), from an ID to one that
    it speaks about, with the `strength` 0..1 of the best relation between the two; of each signal
    its ID and of each relation its edge, as positions."""

    ids: np.ndarray
    edge_index: np.ndarray
    strength: np.ndarray
    of_signal: np.ndarray
    of_relation: np.ndarray


@dataclass(frozen=True, repr=False)
class Relations:
    """Which signals of one bus move together: `signals` (S,) and `relations` (R,), records of
    `SIGNAL` and `RELATION`; those of one target stand in a row."""

    signals: np.ndarray
    relations: np.ndarray

    def __repr__(self) -> str:
        covered = len(np.unique(self.relations["target"]))
        return f"Relations({covered} of {len(self.signals)} signals have partners)"

    @classmethod
    def checked(cls, signals: np.ndarray, relations: np.ndarray) -> "Relations":
        """Relations from a file. Raises `ValueError` for arrays that `learn` cannot have made: the
        kernels trust them with places in memory."""
        kinds = [(a.dtype, a.ndim) for a in (signals, relations)]
        if kinds != [(SIGNAL, 1), (RELATION, 1)]:
            raise ValueError("its relations are records of another kind")
        ends = np.stack([relations["target"], relations["partner"]])
        right = ends.min(initial=0) >= 0 and ends.max(initial=-1) < len(signals)
        ids = signals["arbitration_id"].astype(np.int64)
        right = right and (np.diff(ids) >= 0).all() and (np.diff(ends[0]) >= 0).all()
        numbers = [signals["low"], signals["high"], *(relations[n] for n in ("knots", "limits"))]
        right = right and all(np.isfinite(part).all() for part in numbers)
        if not right or not ((signals["low"] < signals["high"]).all() and (numbers[3] > 0).all()):
            raise ValueError("its relations are of signals that are not there, or no numbers")
        if not all(((a >= 0) & (a <= 64)).all() for a in (signals["start"], signals["length"])):
            raise ValueError("its signals are longer than a payload")
        for record in signals:  # raises where it lies outside of a payload
            read_signal(np.zeros((1, 8), np.uint8), signal_of(record))
        return cls(signals, relations)

    @classmethod
    def learn(cls, logs: Sequence[Frames]) -> "Relations":
        """Those that hold in all of the clean `logs` of one bus.

        Raises `ValueError` where there is no log, or one of several buses.

        >>> time = np.arange(6000) * 0.01
        >>> speed = (2000 + 1500 * np.sin(time) + 500 * np.sin(time / 3)).astype(">u2")
        >>> data = np.zeros((6000, 8), np.uint8)
        >>> data[:, :2] = speed[:, None].view(np.uint8)
        >>> Relations.learn([Frames(time, np.arange(6000) % 3, data=data)])
        Relations(3 of 3 signals have partners)
        """
        if not logs or any(log.bus.any() for log in logs):
            came = "a log of several buses" if logs else "no log"
            wanted = "expected clean traffic of one bus; give one of log.by_bus()"
            raise ValueError(f"relations: {came} came; {wanted}")
        signals = _signals(logs)
        gap = np.full((len(signals), round(_CHANGE / TICK)), np.nan)
        parts = [part for log in logs for part in (_sampled(log, signals), gap)]
        values = np.concatenate(parts, axis=1)
        spread = _range(values)
        turning = [turns(row, size / 4) for row, size in zip(values, spread, strict=True)]
        moving = np.flatnonzero((spread >= _RANGE) & (np.array(turning) >= _TURNS))
        signals, values = signals[moving], values[moving]
        if len(signals):
            signals["low"], signals["high"] = np.nanmin(values, 1), np.nanmax(values, 1)
        lag = _steps(values)
        found = [
            _relations(values, signals, lag, k, tried) for k, tried in _candidates(values, signals)
        ]
        return cls(signals, np.concatenate([np.zeros(0, RELATION), *found]))

    def pairs(self) -> Pairs:
        """The relations between IDs in place of signals."""
        ids, of_signal = np.unique(self.signals["arbitration_id"], return_inverse=True)
        target, partner = (of_signal[self.relations[k]] for k in ("target", "partner"))
        edges, of_relation = np.unique(partner * len(ids) + target, return_inverse=True)
        strength = np.zeros(len(edges))
        np.maximum.at(strength, of_relation, 1 - self.relations["miss"])
        ends = np.stack(np.divmod(edges, max(len(ids), 1)))
        return Pairs(ids, ends, strength, of_signal, of_relation)

    def contradicting(self, said: Contradiction, start: float, end: float) -> dict[int, float]:
        """How far each ID contradicts its partners between two moments, s since the first tick: the
        largest of its signals, the worst first."""
        most = said.between(start, end).value.max(axis=0, initial=0.0)
        return self._worst_first(most)

    def blamed(self, said: Contradiction, start: float, end: float) -> dict[int, float]:
        """Who lies between two moments: by how many octaves all relations of an ID's worst signal
        miss on average, those in which it is a partner too; the worst first. Of two that contradict
        each other, the one that others agree with is no liar."""
        return self._to_blame(said.between(start, end).relation.max(axis=0, initial=0.0))

    def _to_blame(self, most: np.ndarray) -> dict[int, float]:
        most = np.log2(1 + most)
        part = np.concatenate([self.relations["target"], self.relations["partner"]])
        total = np.bincount(part, np.tile(most, 2), len(self.signals))
        return self._worst_first(total / np.maximum(np.bincount(part, minlength=len(total)), 1))

    def disputes(self, log: Frames) -> Iterator[Dispute]:
        """When IDs of a log of the bus contradict each other by more than `LIMIT`. Behind a pause
        of `QUIET` s nothing of what was said before it counts.

        >>> time = np.arange(9000) * 0.01
        >>> speed = 2000 + 1500 * np.sin(time) + 500 * np.sin(time / 3)
        >>> lie = (np.arange(9000) % 3 == 1) & (time > 70) & (time < 75)
        >>> data = np.zeros((9000, 8), np.uint8)
        >>> data[:, :2] = (speed + 900 * lie).astype(">u2")[:, None].view(np.uint8)
        >>> log = Frames(time, np.arange(9000) % 3, data=data)
        >>> (found,) = Relations.learn([log[:6000]]).disputes(log[6000:])
        >>> round(found.start), found.blamed, sorted(found.partners)
        (10, 1, [0, 2])
        """
        pauses = 1 + np.flatnonzero(np.diff(log.timestamp) > QUIET)
        for begin, stop in pairwise([0, *pauses.tolist(), len(log)]):
            following = Following(self)
            said = map(following.feed, log[begin:stop].chunks(_PIECE))
            for start, end, most, value in _over(said):
                blamed = next(iter(self._to_blame(most)))
                times = float(start - log.timestamp[0]), float(end - log.timestamp[0])
                yield Dispute(*times, blamed, self._against(blamed, most), value)

    def _against(self, arbitration_id: int, most: np.ndarray) -> tuple[int, ...]:
        """The IDs whose relations to this one miss by more than in clean traffic."""
        ids = self.signals["arbitration_id"]
        target, partner = (ids[self.relations[end]] for end in ("target", "partner"))
        other = np.where(target == arbitration_id, partner, target)
        mine = ((target == arbitration_id) | (partner == arbitration_id)) & (most > 1)
        order = np.argsort(-most, kind="stable")
        return tuple(dict.fromkeys(other[order[mine[order]]].tolist()))

    def _worst_first(self, value: np.ndarray) -> dict[int, float]:
        found: dict[int, float] = {}
        for k in np.argsort(-value, kind="stable").tolist():
            found.setdefault(int(self.signals["arbitration_id"][k]), float(value[k]))
        return found


def _signals(logs: Sequence[Frames]) -> np.ndarray:
    """The signals of all IDs, records of `SIGNAL`."""
    found = []
    ids = np.concatenate([log.arbitration_id for log in logs])
    data, dlc = (np.concatenate([getattr(log, name) for log in logs]) for name in ("data", "dlc"))
    order = np.argsort(ids, kind="stable")
    for rows in np.split(order, 1 + np.flatnonzero(np.diff(ids[order]))):
        used = min(int(dlc[rows].min(initial=8)), 8)
        found += [(ids[rows[0]], *signal, 0, 0) for signal in find_signals(data[rows], used)]
    return np.array(found, SIGNAL)


def _sampled(log: Frames, signals: np.ndarray) -> np.ndarray:
    """The values of the signals at each tick of a log but those of its first second, f8 (S, T)."""
    _, values = Samples(signals).feed(log)
    return values[:, round(_SETTLED / TICK) :]


class Samples:
    """The values of `signals` every `TICK` s of a stream that comes piece by piece."""

    def __init__(self, signals: np.ndarray):
        self.signals = signals
        self.value, self.heard = np.zeros(len(signals)), np.full(len(signals), -np.inf)
        self.origin, self.tick = np.nan, 0

    def feed(self, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
        """The ticks up to the last of these frames, s (T,), and the values there, f8 (S, T), NaN of
        what is not heard."""
        time = frames.timestamp
        if not len(time):
            return np.zeros(0), np.zeros((len(self.signals), 0))
        if np.isnan(self.origin):
            self.origin = float(time[0])
        stop = int(np.floor((time[-1] - self.origin) / TICK)) + 1
        ticks = self.origin + TICK * np.arange(self.tick, max(stop, self.tick))
        self.tick = max(stop, self.tick)
        values = np.repeat(self.value[:, None], len(ticks), 1)
        heard = np.repeat(self.heard[:, None], len(ticks), 1)
        ids, first = np.unique(self.signals["arbitration_id"], return_index=True)
        first = np.append(first, len(self.signals))
        for k, arbitration_id in enumerate(ids):
            rows = np.flatnonzero(frames.arbitration_id == arbitration_id)
            if len(rows):
                mine = slice(first[k], first[k + 1])
                self._hold(frames, rows, ticks, mine, values, heard)
        values[ticks - heard > _STALE] = np.nan
        return ticks, values

    def _hold(self, frames, rows, ticks, mine, values, heard):
        """Write what the frames of `rows` say at the ticks behind them."""
        last = np.searchsorted(frames.timestamp[rows], ticks, "right") - 1
        known = np.flatnonzero(last >= 0)
        wanted = np.append(rows[last[known]], rows[-1])
        data = frames.data[wanted]
        for s in range(mine.start, mine.stop):
            said = read_signal(data, signal_of(self.signals[s]))
            values[s, known], self.value[s] = said[:-1], said[-1]
        heard[mine, known] = frames.timestamp[wanted[:-1]]
        self.heard[mine] = frames.timestamp[rows[-1]]


def _over(said: Iterable[Contradiction]) -> Iterator[tuple[float, float, np.ndarray, float]]:
    """Begin and end of each time over `LIMIT`, with the most that each relation missed in it, f4
    (R,), and the most of all signals."""
    start, end, most, value = np.nan, -np.inf, np.zeros(0), 0.0
    for ticks, values, relation in said:
        worst = values.max(axis=1, initial=0.0)
        for t in np.flatnonzero(worst > LIMIT).tolist():
            if ticks[t] - end > QUIET:
                if value:
                    yield start, end, most, value
                start, most, value = float(ticks[t]), np.zeros(relation.shape[1], np.float32), 0.0
            end, most = float(ticks[t]), np.maximum(most, relation[t])
            value = max(value, float(worst[t]))
    if value:
        yield start, end, most, value


def signal_of(record: np.void) -> Signal:
    """The signal that a record of `SIGNAL` describes."""
    return Signal(*(record[name].item() for name in Signal._fields))


def _range(values: np.ndarray) -> np.ndarray:
    """Largest less smallest value of each row, 0 without any."""
    low = np.min(values, axis=1, where=np.isfinite(values), initial=np.inf)
    high = np.max(values, axis=1, where=np.isfinite(values), initial=-np.inf)
    return np.maximum(high - low, 0)


def _correlation(values: np.ndarray) -> np.ndarray:
    """|Pearson's r| of all rows, f8 (S, S); what is not known counts as the mean."""
    known = np.isfinite(values)
    mean = values.sum(axis=1, where=known) / np.maximum(known.sum(1), 1)
    centred = np.where(known, values - mean[:, None], 0)
    length = np.sqrt((centred**2).sum(1))
    scaled = centred / np.where(length > 0, length, 1)[:, None]
    return np.abs(scaled @ scaled.T)


def _steps(values: np.ndarray) -> np.ndarray:
    """What nearly the longest step of each signal within a tick is, f8 (S,): as much it may differ
    from one that is sent a little earlier."""
    step, found = np.abs(np.diff(values, axis=1)), np.zeros(len(values))
    some = np.isfinite(step).any(axis=1)
    found[some] = np.nanquantile(step[some], _LAG, axis=1)
    return found


def _candidates(values: np.ndarray, signals: np.ndarray):
    """Each signal with those of other IDs that may be partners, the most alike first."""
    if len(signals) < 2:
        return
    step = round(_CHANGE / TICK)
    alike, together = _correlation(values), _correlation(values[:, step:] - values[:, :-step])
    ids = signals["arbitration_id"]
    may = (alike >= _ALIKE) & (together >= _TOGETHER) & (ids[:, None] != ids)
    for k in np.flatnonzero(may.any(1)).tolist():
        order = np.argsort(-alike[k], kind="stable")
        yield k, order[may[k, order]][:_TRIED]


def _relations(values, signals, lag, target: int, tried: np.ndarray) -> np.ndarray:
    """The best relations of a signal, one for each other ID."""
    found = []
    for partner in tried.tolist():
        both = np.isfinite(values[target]) & np.isfinite(values[partner])
        low, high = signals["low"][partner], signals["high"][partner]
        x, y = values[partner, both], values[target, both]
        weights = hats((x - low) / (high - low))
        knots, miss = _curve(weights, y)
        miss = _unseen(weights, y, miss)
        most = float(np.abs(averaged(miss)).max(initial=0.0))
        most = max(most, lag[target])
        share = most / (signals["high"][target] - signals["low"][target])
        if share > _TIGHT:
            continue
        part = np.minimum((BINS * (x - low) / (high - low)).astype(int), BINS - 1)
        limits = np.full(BINS, most)
        for k in np.unique(part).tolist():
            limits[k] = max(most, np.quantile(np.abs(miss[part == k]), _USUAL))
        found.append((target, partner, share, knots, limits + 1))  # a count is no miss
    found.sort(key=lambda relation: relation[2])
    _, best = np.unique([signals["arbitration_id"][r[1]] for r in found], return_index=True)
    return np.array([found[k] for k in np.sort(best)][:_PARTNERS], RELATION)


def hats(position: np.ndarray) -> np.ndarray:
    """The weights of the knots at positions in 0..1, f8 (n, KNOTS): a curve is `hats @ knots`."""
    place = position[:, None] * (KNOTS - 1) - np.arange(KNOTS)
    return np.clip(1 - np.abs(place), 0, 1)


def _curve(weights: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The knots of the curve through `wanted`, and by how much it misses: least squares with
    Huber's weights (three rounds), and a penalty on bends."""
    bends = np.diff(np.eye(KNOTS), 2, axis=0)
    penalty = _SMOOTH * bends.T @ bends + 1e-6 * np.eye(KNOTS)
    trust, middle = np.ones(len(wanted)), wanted.mean()
    for _ in range(3):
        mine = weights * trust[:, None]
        knots = np.linalg.solve(mine.T @ weights + penalty, mine.T @ (wanted - middle)) + middle
        miss = wanted - weights @ knots
        scale = max(1.4826 * float(np.median(np.abs(miss))), 0.5)
        trust = 1 / np.maximum(1, np.abs(miss) / (2 * scale))
    return knots, miss


def _unseen(weights: np.ndarray, wanted: np.ndarray, miss: np.ndarray) -> np.ndarray:
    """The larger of the misses of the curve and of one that was fitted to the other half."""
    half = len(wanted) // 2
    worst = miss.copy()
    if half:
        for mine, other in (
            (slice(0, half), slice(half, None)),
            (slice(half, None), slice(0, half)),
        ):
            knots, _ = _curve(weights[other], wanted[other])
            away = wanted[mine] - weights[mine] @ knots
            worst[mine] = np.where(np.abs(away) > np.abs(miss[mine]), away, miss[mine])
    return worst


@compiled
def turns(values, least):
    """How often the values go back by `least` or more from where they had come to."""
    count, way, high, low = 0, 0, -np.inf, np.inf
    for value in values:
        if np.isnan(value):
            continue
        high, low = max(high, value), min(low, value)
        if way <= 0 and value - low >= least:
            count, way, high = count + (way < 0), 1, value
        elif way >= 0 and high - value >= least:
            count, way, low = count + (way > 0), -1, value
    return count


@compiled
def averaged(miss):
    """Exponential average over `MEMORY` s of what comes every tick, f8 (n,), from 0 on."""
    state, out = 0.0, np.empty(len(miss))
    for t in range(len(miss)):
        state += _PULL * (miss[t] - state)
        out[t] = state
    return out


@compiled
def expected(relation, low, high, x):
    """What a relation says of its target where the partner is at `x`, and how far it may miss."""
    place = (x - low) / (high - low)
    inside = min(max(place, 0.0), 1.0)
    k = min(int(inside * (KNOTS - 1)), KNOTS - 2)
    first, second = relation.knots[k], relation.knots[k + 1]
    said = first + (second - first) * (place * (KNOTS - 1) - k)
    if abs(place - inside) > _BEYOND:
        return said, np.inf
    return said, relation.limits[min(int(inside * BINS), BINS - 1)]


@compiled
def follow(values, signals, relations, average, out, each):
    """Go on with the `average` miss of each relation over the columns of `values`; of each column
    the lower median over the partners of a signal into `out`, all into `each`."""
    found = np.empty(len(relations))
    for t in range(values.shape[1]):
        begin = 0
        while begin < len(relations):
            target, stop, n = relations[begin].target, begin, 0
            while stop < len(relations) and relations[stop].target == target:
                partner = relations[stop].partner
                x, y = values[partner, t], values[target, t]
                if np.isnan(x) or np.isnan(y):
                    average[stop] = 0.0
                else:
                    known = signals[partner]
                    said, limit = expected(relations[stop], known.low, known.high, x)
                    miss = min(max((y - said) / limit, -_MOST), _MOST)
                    average[stop] += _PULL * (miss - average[stop])
                    if np.isfinite(limit):
                        found[n] = abs(average[stop])
                        n += 1
                each[t, stop] = abs(average[stop])
                stop += 1
            if n:
                out[t, target] = np.sort(found[:n])[(n - 1) // 2]
            begin = stop


class Following:
    """How far the IDs of a stream contradict each other, piece by piece."""

    def __init__(self, relations: Relations):
        self.relations, self.samples = relations, Samples(relations.signals)
        self.average = np.zeros(len(relations.relations))

    def feed(self, frames: Frames) -> Contradiction:
        """What the ticks say that these frames complete."""
        ticks, values = self.samples.feed(frames)
        known = self.relations
        out = np.zeros((len(ticks), len(known.signals)), np.float32)
        each = np.zeros((len(ticks), len(known.relations)), np.float32)
        follow(values, known.signals, known.relations, self.average, out, each)
        return Contradiction(ticks, out, each)
