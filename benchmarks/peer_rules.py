"""Published rules without a net: timing of each ID, sequences of IDs, agreement of signals, counts.

Each is written anew from its paper. It `fit`s on benign stretches of frames and `judge`s every
frame of a capture from that frame and those before it, higher = more suspicious; `Entropy` and
`Count` take windows (`Graphs`) and give a `value` for each; `UNKNOWN` says
that the ID was not in training. No threshold is set here: `peers.py` takes each one's from benign
training windows that it was not fitted on, in the place of the constant that its authors tuned.
Where a detail is not in the paper or was written from memory, the docstring says so.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from scipy.special import xlogy
from scipy.stats import gaussian_kde

import cangraph as cg

UNKNOWN = 1e6  # value of a frame whose ID was not in training
_LEAST = 1e-4  # s; a spread of gaps under this is that of the recorder's clock


def gaps(frames: cg.Frames) -> np.ndarray:
    """Seconds since the last frame of the same ID, f8 (n,); NaN for the first."""
    order = np.argsort(frames.arbitration_id, kind="stable")
    ids, time = frames.arbitration_id[order], frames.timestamp[order]
    gap = np.full(len(frames), np.nan)
    gap[order[1:]] = np.where(ids[1:] == ids[:-1], np.diff(time), np.nan)
    return gap


def by_id(segments: Sequence[cg.Frames]) -> dict[int, np.ndarray]:
    """The gaps of each ID over all stretches; an ID with fewer than two gaps is left out."""
    ids = np.concatenate([segment.arbitration_id for segment in segments])
    gap = np.concatenate([gaps(segment) for segment in segments])
    ids, gap = ids[np.isfinite(gap)], gap[np.isfinite(gap)]
    order = np.argsort(ids, kind="stable")
    names, first = np.unique(ids[order], return_index=True)
    parts = np.split(gap[order], first[1:])
    return {int(n): part for n, part in zip(names, parts, strict=True) if len(part) > 1}


class Timing:
    """What the timing rules share: `learn` a row of numbers from the gaps of an ID, and `value` of
    later gaps under them. The first frame of an ID says nothing; one that was not in training is
    `UNKNOWN`, which the papers leave open."""

    def fit(self, segments: Sequence[cg.Frames]) -> None:
        self.known = {number: self.learn(part) for number, part in by_id(segments).items()}
        self.heard = np.unique(np.concatenate([s.arbitration_id for s in segments]))

    def judge(self, frames: cg.Frames) -> np.ndarray:
        value, gap = np.zeros(len(frames)), gaps(frames)
        value[~np.isin(frames.arbitration_id, self.heard)] = UNKNOWN
        for number in np.unique(frames.arbitration_id).tolist():
            if number in self.known:
                rows = np.flatnonzero(frames.arbitration_id == number)
                found = self.value(self.known[number], frames.timestamp[rows], gap[rows])
                value[rows] = np.where(np.isfinite(gap[rows]), found, 0.0)
        return value

    def learn(self, gap: np.ndarray):
        raise NotImplementedError

    def value(self, known, time: np.ndarray, gap: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class MeanGap(Timing):
    """1 − gap / mean gap of its ID: a frame is an attack that comes earlier than (1 − α) of the
    mean (Blevins et al., AutoSec 2021, "mean"; α is the tolerance)."""

    def learn(self, gap: np.ndarray) -> float:
        return float(gap.mean())

    def value(self, known: float, time: np.ndarray, gap: np.ndarray) -> np.ndarray:
        return 1 - gap / max(known, _LEAST)


class Binning(Timing):
    """Frames of the ID in the last `bins` mean gaps, over the most there were in training (Blevins
    et al., AutoSec 2021, "binning": an attack adds messages to a bin). From memory: `bins` is 6,
    and the most is of each ID."""

    bins = 6

    def _counts(self, mean: float, time: np.ndarray) -> np.ndarray:
        return np.arange(len(time)) + 1 - np.searchsorted(time, time - self.bins * mean, "right")

    def learn(self, gap: np.ndarray) -> tuple[float, int]:
        mean = max(float(gap.mean()), _LEAST)
        return mean, int(self._counts(mean, np.cumsum(gap)).max())

    def value(self, known: tuple[float, int], time: np.ndarray, gap: np.ndarray) -> np.ndarray:
        mean, most = known
        return self._counts(mean, time) / most


class Gaussian(Timing):
    """|gap − μ| / σ of its ID: the less probable a gap under the normal distribution of training,
    the more suspicious (Blevins et al., AutoSec 2021, "Gaussian"; the p-value falls with this)."""

    def learn(self, gap: np.ndarray) -> tuple[float, float]:
        return float(gap.mean()), max(float(gap.std()), _LEAST)

    def value(self, known: tuple[float, float], time: np.ndarray, gap: np.ndarray) -> np.ndarray:
        mean, spread = known
        return np.abs(gap - mean) / spread


class KernelDensity(Timing):
    """−ln of the density of a gap over the highest density of its ID (Blevins et al., AutoSec 2021,
    "KDE"). A Gaussian kernel with Scott's bandwidth on at most `most` gaps, read from a grid of 512
    points; where less than e⁻³⁰ is left, 30 + the distance from the most likely gap in s."""

    most = 1000
    _floor = 30.0

    def learn(self, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        some = gap[:: max(1, len(gap) // self.most)]
        spread = np.ptp(some)
        if spread < 1e-9:
            some = some + np.linspace(-_LEAST, _LEAST, len(some))
        margin = 3 * some.std() + _LEAST
        grid = np.linspace(max(0.0, some.min() - margin), some.max() + margin, 512)
        density = gaussian_kde(some)(grid)
        with np.errstate(divide="ignore"):
            surprise = np.minimum(-np.log(density / density.max()), self._floor)
        return grid, surprise, float(grid[density.argmax()])

    def value(self, known, time: np.ndarray, gap: np.ndarray) -> np.ndarray:
        grid, surprise, likely = known
        found = np.interp(gap, grid, surprise, left=self._floor, right=self._floor)
        return np.where(found < self._floor, found, self._floor + np.abs(gap - likely))


@njit(cache=True)
def _cusum(gap: np.ndarray, mean: float, spread: float, slack: float, most: float, memory: float):
    high, low, out = 0.0, 0.0, np.zeros(len(gap))
    for i in range(len(gap)):
        if not np.isfinite(gap[i]):
            continue
        z = (gap[i] - mean) / spread
        high, low = max(0.0, high + z - slack), max(0.0, low - z - slack)
        out[i] = max(high, low)
        if out[i] > most:  # an alarm starts the sums anew
            high, low = 0.0, 0.0
        else:
            mean += memory * (gap[i] - mean)
    return out


class Cusum(Timing):
    """Cumulated sums of late and of early gaps of each ID (Olufowobi et al., "Anomaly Detection
    Approach Using Adaptive Cumulative Sum Algorithm for CAN", AutoSec 2019):

        z = (gap − μ)/σ,  S⁺ ← max(0, S⁺ + z − k),  S⁻ ← max(0, S⁻ − z − k),  value = max(S⁺, S⁻)

    From memory: k = ½, both sums start anew beyond h = 5 (Page's usual values), and μ adapts as an
    exponential mean of weight .01 while there is no alarm."""

    slack, most, memory = 0.5, 5.0, 0.01

    def learn(self, gap: np.ndarray) -> tuple[float, float]:
        return float(gap.mean()), max(float(gap.std()), _LEAST)

    def value(self, known: tuple[float, float], time: np.ndarray, gap: np.ndarray) -> np.ndarray:
        return _cusum(gap, *known, self.slack, self.most, self.memory)


class Daga:
    """1 for a frame that ends an n-gram of IDs which training does not hold, else 0 (DAGA; Stabili,
    Ferretti, Andreolini, Marchetti, IEEE TVT 2022; n = 2 is the transition matrix of Marchetti and
    Stabili, IV 2017). Of `lengths` it takes the longest whose n-grams of the last third of training
    were in the other two thirds but for 1 %, or else the shortest."""

    lengths = (2, 3, 4, 5)
    share = 0.01

    def fit(self, segments: Sequence[cg.Frames]) -> None:
        ids = np.unique(np.concatenate([s.arbitration_id for s in segments]))
        self.ids, self.n = ids, self.lengths[0]
        cut = [(s[: 2 * len(s) // 3], s[2 * len(s) // 3 :]) for s in segments]
        for n in self.lengths:
            seen = self._of([begin for begin, _ in cut], n)
            new = [~np.isin(self._grams(rest, n)[n - 1 :], seen) for _, rest in cut]
            if np.concatenate(new).mean() <= self.share:
                self.n = n
        self.seen = self._of(segments, self.n)

    def _of(self, segments: Sequence[cg.Frames], n: int) -> np.ndarray:
        return np.unique(np.concatenate([self._grams(s, n)[n - 1 :] for s in segments]))

    def _grams(self, frames: cg.Frames, n: int) -> np.ndarray:
        """The n-gram that each frame ends as one number; an unknown ID has a number of its own."""
        at = np.minimum(np.searchsorted(self.ids, frames.arbitration_id), len(self.ids) - 1)
        code = np.where(self.ids[at] == frames.arbitration_id, at + 1, 0).astype(np.uint64)
        base, gram = np.uint64(len(self.ids) + 1), np.zeros(len(code), np.uint64)
        for back in range(n):
            shifted = np.concatenate([np.zeros(back, np.uint64), code[: len(code) - back]])
            gram = gram * base + shifted
        return gram

    def judge(self, frames: cg.Frames) -> np.ndarray:
        new = ~np.isin(self._grams(frames, self.n), self.seen)
        new[: self.n - 1] = False
        return new.astype(float)


class SignalClusters:
    """How the signals of a stretch cluster, against how they did in training (after Moriano,
    Bridges, Iannacone, "Detecting CAN Masquerade Attacks with Signal Clustering Similarity",
    AutoSec 2022): a masquerade breaks the correlation of one signal with its kin.

    Signals are the `most` bytes that vary most often in training without turning at nine frames of
    ten, held and read every `step` s. Of each `length` s, every `every` s: d = 1 − |correlation|,
    average linkage, and the value is 1 − the correlation (Sokal and Rohlf, Taxon 1962) of its
    cophenetic distances with the mean ones of training. The paper decodes signals with CAN-D, links
    them by Ward, compares trees by their element-centric similarity and judges whole captures; none
    of these can be had here, or is no detector online."""

    most, step, length, every = 48, 0.1, 4.0, 0.5

    def fit(self, segments: Sequence[cg.Frames]) -> None:
        self.signals = self._choose(segments)
        trees = [tree for s in segments for _, tree in self._trees(s)]
        self.usual = np.mean(trees, axis=0) if trees else np.zeros(0)

    def _choose(self, segments: Sequence[cg.Frames]) -> list[tuple[int, int]]:
        rates: dict[tuple[int, int], float] = {}
        ids = np.concatenate([s.arbitration_id for s in segments])
        data = np.concatenate([s.data[:, :8] for s in segments])
        for number in np.unique(ids).tolist():
            turn = (np.diff(data[ids == number].astype(int), axis=0) != 0).mean(0)
            for byte in np.flatnonzero((turn > 0) & (turn < 0.9)).tolist():
                rates[number, byte] = float(turn[byte])
        return sorted(sorted(rates, key=lambda key: -rates[key])[: self.most])

    def _held(self, frames: cg.Frames) -> tuple[np.ndarray, np.ndarray]:
        """Times of the grid, and each signal's last value there, f8 (signals, times)."""
        grid = np.arange(frames.timestamp[0], frames.timestamp[-1], self.step)
        held = np.zeros((len(self.signals), len(grid)))
        for row, (number, byte) in enumerate(self.signals):
            mine = np.flatnonzero(frames.arbitration_id == number)
            if len(mine):
                last = np.searchsorted(frames.timestamp[mine], grid, "right") - 1
                held[row] = frames.data[mine[np.maximum(last, 0)], byte]
        return grid, held

    def _trees(self, frames: cg.Frames):
        """The end of each stretch and its cophenetic distances."""
        if len(self.signals) < 3 or len(frames) < 2:
            return
        grid, held = self._held(frames)
        size, hop = round(self.length / self.step), round(self.every / self.step)
        for end in range(size, len(grid) + 1, hop):
            part = held[:, end - size : end]
            still = part.std(1) == 0
            with np.errstate(invalid="ignore", divide="ignore"):
                alike = np.nan_to_num(np.abs(np.corrcoef(part)))
            alike[still] = alike[:, still] = 0
            away = 1 - np.clip((alike + alike.T) / 2, 0, 1)
            np.fill_diagonal(away, 0)
            yield grid[end - 1], cophenet(linkage(squareform(away, checks=False), "average"))

    def judge(self, frames: cg.Frames) -> np.ndarray:
        value = np.zeros(len(frames))
        if not len(self.usual):
            return value
        found = [(end, self._unlike(tree)) for end, tree in self._trees(frames)]
        if found:
            ends, unlike = map(np.array, zip(*found, strict=True))
            at = np.searchsorted(ends, frames.timestamp, "right") - 1
            value = np.where(at >= 0, unlike[np.maximum(at, 0)], 0.0)
        return value

    def _unlike(self, tree: np.ndarray) -> float:
        if np.ptp(tree) == 0 or np.ptp(self.usual) == 0:
            return 1.0
        return 1 - float(np.corrcoef(tree, self.usual)[0, 1])


class Entropy:
    """|H − mean| / std of the entropy H = −Σ p log₂ p of a window's IDs, p shares of frames (Müter,
    Asaj, IEEE IV 2011); mean and std of benign windows, the latter at least .01 bits."""

    @staticmethod
    def bits(graphs: cg.Graphs) -> np.ndarray:
        p = graphs.node_count / graphs.window
        return -np.add.reduceat(xlogy(p, p) / np.log(2), graphs.node_ptr[:-1])

    def fit(self, benign: cg.Graphs) -> None:
        usual = self.bits(benign)
        self.mean, self.spread = usual.mean(), max(usual.std(), 0.01)

    def value(self, graphs: cg.Graphs) -> np.ndarray:
        return np.abs(self.bits(graphs) - self.mean) / self.spread


class Count:
    """Frames of an ID in a window over the most in any benign one, the largest excess of the IDs;
    the length of the window for an unseen ID: `evaluation.calibrated_count`, learnt elsewhere."""

    def fit(self, benign: cg.Graphs) -> None:
        self.ids, code = np.unique(benign.node_id, return_inverse=True)
        self.most = np.zeros(len(self.ids), np.int64)
        np.maximum.at(self.most, code, benign.node_count)

    def value(self, graphs: cg.Graphs) -> np.ndarray:
        at = np.minimum(np.searchsorted(self.ids, graphs.node_id), len(self.ids) - 1)
        known = self.ids[at] == graphs.node_id
        excess = np.where(known, graphs.node_count - self.most[at], graphs.window)
        excess[graphs.node_count == 0] = -graphs.window  # a silent ID exceeds nothing
        return np.maximum.reduceat(excess, graphs.node_ptr[:-1]).astype(float)
