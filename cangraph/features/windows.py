"""What a window of frames says of its IDs and their successions: the kernels under `graphs`."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numba
import numpy as np

from cangraph.features.kernel import FRAME, PARTS
from cangraph.features.profile import Profiles, profile
from cangraph.features.schema import AGGREGATES, EDGE_FEATURES, FRAME_FEATURES, NODE_FEATURES
from cangraph.frames import AttackSpan, Frames, attack_code

NODE, EDGE = (
    np.dtype([(feature.name, np.float32) for feature in features])
    for features in (NODE_FEATURES, EDGE_FEATURES)
)
SUM, LEAST, MOST = range(3)
# how a node sums up its frames: rows of (frame feature, what of it is pooled). An argument of what
# is compiled, as are the dtypes: numba's cache does not see a change of the features elsewhere.
FRAME_NAMES = [feature.name for feature in FRAME_FEATURES]
TABLE = np.array(
    [
        (FRAME_NAMES.index(name), {"mean": SUM, "min": LEAST, "max": MOST}[how])
        for name, how in AGGREGATES
    ]
)
SUPPRESSION = attack_code("suppression")
BREAK = 60.0  # s between what is known of a bus and the stream: nobody is missed who spoke before

# what the last frame of each ID said, for the windows that it is missing from
LAST = np.dtype(
    [
        ("time", np.float64),
        ("log_period", np.float64),  # log2 of ticks
        ("jitter", np.float64),
        ("rate", np.float64),
        ("trust", np.float64),
        ("first", np.float64),
        ("seen", np.int64),
        ("lower", np.int64),  # IDs heard so far that are lower
        ("company", np.int64),  # other IDs first heard within COMPANY.arrival
        ("arbitration_id", np.uint32),
    ],
    align=True,
)


class Company(NamedTuple):
    """Who else is new."""

    arrival: float = 2.0  # s; an ID first heard so short ago has just arrived,
    stray: float = 10.0  # s; one of so short ago that was heard once or twice
    heard: int = 2  # frames; is a stray
    aged: float = 6.0  # octaves over 1 s; an ID that is older is as good as old
    most: float = 2.0  # octaves; three others are company: an exact number would tell IDs apart


COMPANY = Company()


class Silence(NamedTuple):
    """When an ID is missed, and by how much."""

    known: int = 8  # frames; an ID seen less often is not missed,
    trust: float = 0.5  # nor one that is trusted less,
    steady: float = 0.3  # octaves; nor one with more jitter: events, each sent up to thrice
    gone: float = 15.0  # s; what stayed away so long is not expected back
    patience: float = 2.0  # octaves over its period that any ID may stay away,
    unsteady: float = 4.0  # and as many more for each octave of its jitter
    clip: float = 6.0  # octaves


SILENCE = Silence()


def constants() -> dict[str, float]:
    """The constants of all features, by part and name: what depends on windows depends on them.

    >>> constants()["clock.pull"], constants()["silence.patience"]
    (0.5, 2.0)
    """
    parts: dict[str, Any] = PARTS | {"silence": SILENCE, "company": COMPANY}
    return {f"{part}.{k}": v for part, of in parts.items() for k, v in of._asdict().items()}


class Stream(NamedTuple):
    """Consecutive frames: the columns held between two pieces, and the `features` by name."""

    timestamp: np.ndarray
    arbitration_id: np.ndarray
    attack_type: np.ndarray
    features: np.ndarray
    slot: np.ndarray
    log_period: np.ndarray
    since: np.ndarray
    rate: np.ndarray
    named: np.ndarray


class Pool(NamedTuple):
    """Room for one window: of each slot the window that saw it last (`stamp`) and its `node` there;
    of each node its `slot`, what is `pooled` of its frames (also by name), how often another
    followed it (`departures`); of each pair of nodes the window that saw it last and its `edge`;
    the node `of` each frame. `table` says what of the pool is a feature of the node; slots from
    `known` on are foreign to the baseline, if that is over 0."""

    stamp: np.ndarray
    node: np.ndarray
    slot: np.ndarray
    pooled: np.ndarray
    named: np.ndarray
    departures: np.ndarray
    pair: np.ndarray
    edge: np.ndarray
    of: np.ndarray
    table: np.ndarray
    known: int


class Found(NamedTuple):
    """The windows as flat arrays (see `graphs.Graphs`), nodes and edges by name as well."""

    x: np.ndarray
    node: np.ndarray
    node_id: np.ndarray
    node_count: np.ndarray
    node_attack: np.ndarray
    edge_index: np.ndarray
    edge: np.ndarray
    attack_type: np.ndarray


class Known(NamedTuple):
    """What is known of a bus before a stream of it begins: the `profiles` of its IDs, what the
    `last` frame of each said, and when (s) the last one of all came."""

    profiles: Profiles
    last: np.ndarray
    ended: float


class Sliding:
    """The windows of one capture that comes piece by piece: of `window` frames, one every `stride`.

    Between two pieces it keeps the `profiles`, what the `last` frame of each ID said, the frames
    of unfinished windows (columns `held`) and the `spans` of suppression, so that the cuts leave
    no trace. `passed` frames are behind the held ones; of these, `last` knows of `told`; `origin`
    is the time of the first frame in s; `features`, f4 (n, 14), are those of the last piece. The
    first profiles may be `known` ones, which stay as they are: they are copied, and their bus
    pauses before the first frame.
    """

    def __init__(self, window: int, stride: int, threads: int = 1, known: Known | None = None):
        self.window, self.stride, self.threads = window, stride, threads
        self.profiles, self.last, self.ended = Profiles(), np.zeros(0, LAST), 0.0
        if known:
            self.profiles, self.last = known.profiles.copy(), known.last.copy()
            self.ended = known.ended
        self.held: list[np.ndarray] = []
        self.spans: list[AttackSpan] = []  # s since the first frame
        self.passed, self.told, self.origin = 0, 0, 0.0
        self.features = np.zeros((0, len(FRAME_FEATURES)), np.float32)

    def feed(self, frames: Frames) -> dict[str, np.ndarray] | None:
        """The windows that these frames complete, as flat arrays like those of `graphs.Graphs`,
        with the `node_size` and `edge_size` of each window in place of pointers; None without."""
        if not len(frames):
            return None
        if not self.held:
            self.origin = float(frames.timestamp[0])
            self._resume()
        offset = frames.timestamp[0] - self.origin
        self.spans += [
            span._replace(start=offset + span.start, end=offset + span.end)
            for span in frames.attack_spans
            if span.attack_type == "suppression"
        ]
        told = profile(frames, self.profiles, self.threads)
        self.features = told.features
        columns = [frames.timestamp, frames.arbitration_id, frames.attack_type, *told]
        if self.held:
            columns = [np.concatenate(pair) for pair in zip(self.held, columns, strict=True)]
        new = np.zeros(len(self.profiles.slots) - len(self.last), LAST)
        self.last = np.concatenate([self.last, new])
        stream = Stream._make([*columns, columns[3].view(FRAME)[:, 0]])
        first = -self.passed % self.stride
        begin = np.arange(first, len(columns[0]) - self.window + 1, self.stride)
        found = self._windows(stream, begin) if len(begin) else None
        done = min(int(begin[-1]) + self.stride if len(begin) else first, len(columns[0]))
        if self.told < done:
            tell(self.last, stream, self.told, done)
            self.told = done
        self.held = [column[done:] for column in columns]
        self.passed, self.told = self.passed + done, self.told - done
        return found

    def _resume(self) -> None:
        """Let what is known be so old as to leave a pause before the first frame."""
        by = self.origin - BREAK - self.ended
        clock, heard = self.profiles.table["clock"], self.profiles.heard
        for name in ("last_time", "base_time", "clock_time"):
            clock[name] += by
        self.profiles.table["trust"]["first_time"] += by
        heard["last_time"] += by
        heard["since"] += by
        self.last["time"] += by
        self.last["first"] += by

    def _windows(self, stream: Stream, begin: np.ndarray) -> dict[str, np.ndarray]:
        """The windows that begin at these frames of the stream."""
        last = self.last.copy()
        node_size, edge_size = count(stream, begin, self._pool(), last, self.told)
        n, e = int(node_size.sum()), int(edge_size.sum())
        out: dict[str, np.ndarray] = {
            "x": np.empty((n, len(NODE_FEATURES)), np.float32),
            "node_id": np.empty(n, np.uint32),
            "node_count": np.empty(n, np.int32),
            "node_attack": np.empty(n, np.bool_),
            "edge_index": np.empty((2, e), np.int32),
            "edge_attr": np.empty((e, len(EDGE_FEATURES)), np.float32),
            "attack_type": np.empty(len(begin), np.uint8),
        }
        by_name = {"node": out["x"].view(NODE)[:, 0], "edge": out["edge_attr"].view(EDGE)[:, 0]}
        found = Found(**{k: (out | by_name)[k] for k in Found._fields})
        fill(stream, begin, self._pool(), self.last, self.told, found)
        self.told = int(begin[-1]) + self.window
        start, end = (stream.timestamp[begin + k] - self.origin for k in (0, self.window - 1))
        node_window = np.repeat(np.arange(len(begin)), node_size)
        for span in self.spans:  # frames that are missing leave no other trace
            missed = (start <= span.end) & (end >= span.start)
            found.attack_type[missed] = np.maximum(found.attack_type[missed], SUPPRESSION)
            found.node_attack[missed[node_window] & (found.node_id == span.arbitration_id)] = True
        return out | {
            "node_size": node_size,
            "edge_size": edge_size,
            "label": found.attack_type > 0,
            "begin": begin + self.passed,
            "start": start,
            "end": end,
        }

    def _pool(self) -> Pool:
        slots, window = len(self.last), self.window
        pooled = np.zeros((window, 3, len(FRAME_FEATURES)), np.float32)
        return Pool(
            stamp=np.full(slots, -1),
            node=np.zeros(slots, np.int64),
            slot=np.zeros(window + slots, np.int64),
            pooled=pooled,
            named=pooled.view(FRAME)[..., 0],
            departures=np.zeros(window, np.int64),
            pair=np.full((window, window), -1),
            edge=np.zeros((window, window), np.int64),
            of=np.zeros(window, np.int64),
            table=TABLE,
            known=int(self.profiles.heard["known"][0]),
        )


def windows(
    chunks: Iterable[Frames],
    window: int,
    stride: int,
    threads: int = 1,
    known: Known | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """The windows of one capture in consecutive `chunks`, as `Sliding.feed` gives them, of a bus of
    which this is `known`. Frames behind the last whole window belong to no window."""
    sliding = Sliding(window, stride, threads, known)
    for frames in chunks:
        if (found := sliding.feed(frames)) is not None:
            yield found


compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@compiled
def tell(last, stream, begin, end):
    """Let `last` know of the frames from `begin` to `end`."""
    for i in range(begin, end):
        p, frame = last[stream.slot[i]], stream.named[i]
        p.time, p.log_period = stream.timestamp[i], stream.log_period[i]
        p.jitter, p.rate, p.trust = frame.jitter, frame.rate, 1.0 - frame.distrust
        p.arbitration_id = stream.arbitration_id[i]
        if not p.seen:
            p.first = p.time
            rank(last, p)
        p.seen += 1


@compiled
def rank(last, p):
    """Count an ID that is new among those heard so far, and as company of those just heard."""
    for s in range(len(last)):
        other = last[s]
        if other.seen:
            p.lower += other.arbitration_id < p.arbitration_id
            other.lower += other.arbitration_id > p.arbitration_id
            together = p.time - other.first < COMPANY.arrival
            p.company += together
            other.company += together


@compiled
def octaves_away(p, now, since):
    """Octaves of its period that the ID has stayed away at time `now`, of what was heard of the bus
    without a pause `since` then."""
    ticks = np.floor(max(now - max(p.time, since), 0.0) * 1e3 + 5e-4) + 1.0
    return min(max(np.log2(ticks) - p.log_period, -SILENCE.clip), SILENCE.clip)


@compiled
def silence_of(p, now, since):
    """Octaves that the ID has stayed away beyond what is usual for it, 0 while it is not missed."""
    if p.seen < SILENCE.known or p.trust < SILENCE.trust or p.jitter > SILENCE.steady:
        return 0.0
    if now - p.time > SILENCE.gone:
        return 0.0
    usual = SILENCE.patience + SILENCE.unsteady * p.jitter
    return max(octaves_away(p, now, since) - usual, 0.0)


@compiled
def count(stream, begin, pool, last, told):
    """Distinct IDs, seen or missed, and distinct successions of each window."""
    window = len(pool.of)
    node_size, edge_size = np.zeros(len(begin), np.int64), np.zeros(len(begin), np.int64)
    slot, stamp, node, pair = stream.slot, pool.stamp, pool.node, pool.pair
    for w in range(len(begin)):
        n, e, before, stop = 0, 0, -1, begin[w] + window
        for i in range(begin[w], stop):
            s = slot[i]
            if stamp[s] != w:
                stamp[s], node[s] = w, n
                n += 1
            v = node[s]
            if before >= 0 and pair[before, v] != w:
                pair[before, v] = w
                e += 1
            before = v
        tell(last, stream, told, stop)
        told = stop
        for s in range(len(last)):
            silence = silence_of(last[s], stream.timestamp[stop - 1], stream.since[stop - 1])
            n += stamp[s] != w and silence > 0
        node_size[w], edge_size[w] = n, e
    return node_size, edge_size


@compiled
def fill(stream, begin, pool, last, told, found):
    """Features of nodes and edges in order of appearance, nodes that are missed last."""
    row, edge, window = 0, 0, len(pool.of)
    for w in range(len(begin)):
        start, stop = begin[w], begin[w] + window
        n = pool_nodes(stream, start, pool, found, w, row)
        e = link_nodes(stream, start, pool, found, w, edge)
        tell(last, stream, told, stop)
        told, now, since = stop, stream.timestamp[stop - 1], stream.since[stop - 1]
        span = (now - stream.timestamp[start]) * 1e3
        seen_nodes(pool, n, found, row, span)
        for v in range(n):
            found.node[row + v].silence = silence_of(last[pool.slot[v]], now, since)
        first, row = row, row + n
        for s in range(len(last)):
            if pool.stamp[s] != w and silence_of(last[s], now, since) > 0:
                missed_node(last[s], found, row, now, since, span)
                pool.slot[row - first] = s
                row += 1
        pace = np.log2(window / (span + 1.0)), np.log2(1e3 / stream.rate[start])
        bus_nodes(last, pool, found, (first, row), row - first - n, now, pace)
        for k in range(edge, edge + e):
            said, departures = found.edge[k], pool.departures[found.edge_index[0, k]]
            times = said.log_count
            said.log_count = np.log2(1 + times)
            said.share = times / departures
            said.log_gap = np.log2(1 + said.log_gap / times)
        edge += e


@compiled
def pool_nodes(stream, start, pool, found, w, row):
    """Pool the frames of a window by node, the first in `row`; how many nodes there are."""
    slot, features, attacks = stream.slot, stream.features, stream.attack_type
    stamp, node, pooled, named = pool.stamp, pool.node, pool.pooled, pool.named
    of, node_count, width = pool.of, found.node_count, features.shape[1]
    n, worst = 0, np.uint8(0)
    for i in range(start, start + len(of)):
        s = slot[i]
        if stamp[s] != w:
            stamp[s], node[s], pool.slot[n], pool.departures[n] = w, n, s, 0
            pooled[n, SUM], pooled[n, LEAST], pooled[n, MOST] = 0.0, np.inf, -np.inf
            found.node_id[row + n], found.node_count[row + n] = stream.arbitration_id[i], 0
            found.node_attack[row + n] = False
            n += 1
        v = node[s]
        of[i - start] = v
        for c in range(width):
            value = features[i, c]
            pooled[v, SUM, c] += value
            pooled[v, LEAST, c] = min(pooled[v, LEAST, c], value)
            pooled[v, MOST, c] = max(pooled[v, MOST, c], value)
        if not node_count[row + v]:  # its intruder is in a window before
            for how in range(3):
                named[v, how].intruder = 0.0
        node_count[row + v] += 1
        if attacks[i]:
            found.node_attack[row + v] = True
            worst = max(worst, attacks[i])
    found.attack_type[w] = worst
    return n


@compiled
def link_nodes(stream, start, pool, found, w, first):
    """Count the successions of a window, the first as edge `first`, in `log_count`, and their gaps
    in ms in `log_gap`; how many there are."""
    timestamp, pair, edge = stream.timestamp, pool.pair, pool.edge
    of, departures, edges, e = pool.of, pool.departures, found.edge, 0
    for i in range(1, len(of)):
        u, v = of[i - 1], of[i]
        departures[u] += 1
        if pair[u, v] != w:
            pair[u, v], edge[u, v] = w, first + e
            found.edge_index[0, first + e], found.edge_index[1, first + e] = u, v
            edges[first + e].log_count, edges[first + e].log_gap = 0.0, 0.0
            e += 1
        said = edges[edge[u, v]]
        said.log_count += 1
        gap = timestamp[start + i] - timestamp[start + i - 1]
        said.log_gap += np.floor(gap * 1e3 + 5e-4)
    return e


@compiled
def seen_nodes(pool, n, found, first, span):
    """The features of the n nodes that have frames in a window of `span` ms."""
    x, table, pooled = found.x, pool.table, pool.pooled
    for v in range(n):
        row = first + v
        count = found.node_count[row]
        rate = pool.named[v, SUM].rate / count
        found.node[row].share = count / len(pool.of)
        found.node[row].count_ratio = np.log2((count + 1) / (span * rate + 1))
        for c in range(len(table)):
            column, how = table[c]
            value = pooled[v, how, column]
            x[row, 1 + c] = value / count if how == SUM else value


@compiled
def bus_nodes(last, pool, found, rows, missed, now, pace):
    """What a window says of the whole bus, on each of its nodes in `rows`, of which the last
    `missed` are missing: who came, and its `pace`, log2 of the frames in a ms and of the ms that
    one usually takes."""
    arrived, strays, heard = 0, 0, 0
    for s in range(len(last)):
        age = now - last[s].first
        if last[s].seen and age >= 0:
            heard += 1
            arrived += age < COMPANY.arrival
            strays += age < COMPANY.stray and last[s].seen <= COMPANY.heard
    arrivals, stray, share = np.log2(1.0 + arrived), np.log2(1.0 + strays), missed / heard
    ahead = min(max(pace[0] + pace[1], -SILENCE.clip), SILENCE.clip)
    first, stop = rows
    for row in range(first, stop):
        said, slot = found.node[row], pool.slot[row - first]
        said.rank = last[slot].lower / heard
        said.age = min(np.log2(1.0 + max(now - last[slot].first, 0.0)), COMPANY.aged)
        # who came alone and stayed is no intruder: with time it is as if others had come too
        company = max(np.log2(1.0 + last[slot].company), COMPANY.most * said.age / COMPANY.aged)
        said.company = min(company, COMPANY.most)
        said.foreign = slot >= pool.known > 0
        said.bus_rate, said.bus_pace, said.missed = pace[0], ahead, share
        said.arrivals, said.strays = arrivals, stray


@compiled
def missed_node(p, found, row, now, since, span):
    """The features of a node that is missing from a window of `span` ms: the gap so far."""
    found.node_id[row], found.node_count[row] = p.arbitration_id, 0
    found.node_attack[row] = False
    found.x[row] = 0.0
    said, away = found.node[row], octaves_away(p, now, since)
    said.count_ratio = np.log2(1.0 / (span * p.rate + 1.0))
    said.gap_ratio_mean, said.gap_ratio_min, said.gap_ratio_max = away, away, away
    said.jitter_mean, said.distrust_max = p.jitter, 1.0 - p.trust
    said.silence = silence_of(p, now, since)
