"""`Scores`: what a detector says of each window, and how well that fits the labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cangraph.frames import CaptureInfo

METRICS = ("auroc", "auprc", "f1", "precision", "recall", "recall_at_fpr", "mcc", "fpr")
_SPECIFICITY = 1 - 1e-3 * (1 + 1e-3)  # of `recall_at_fpr`; a hair below, for what float32 rounds


@dataclass(frozen=True, eq=False)
class Scores:
    """One value for each of B windows.

    | array | dtype, shape | unit, meaning |
    |---|---|---|
    | value | f8 (B,) | higher = more likely an attack |
    | label | bool (B,) | the window is under attack, see `Graphs` |
    | attack_type | u1 (B,) | index into `ATTACK_TYPES` |
    | capture | i4 (B,) | index into `captures` |
    | start, end | f8 (B,) | s since the capture's first frame |
    | state | f4 (B, k) | what the model saw, for the fusion; named by `state_names` |

    Raises `ValueError` when lengths differ or a value is not finite.
    """

    value: np.ndarray
    label: np.ndarray
    attack_type: np.ndarray
    capture: np.ndarray
    start: np.ndarray
    end: np.ndarray
    captures: tuple[CaptureInfo, ...]
    state: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    state_names: tuple[str, ...] = ()

    def __post_init__(self):
        n = len(self.label)
        state = ("state",) if self.state.size else ()
        for name in ("value", "attack_type", "capture", "start", "end", *state):
            if len(getattr(self, name)) != n:
                came = f"Scores: {name} has {len(getattr(self, name))} rows"
                raise ValueError(f"{came}; expected {n} like label; take both of the same windows")
        if not np.isfinite(self.value).all():
            first = int(np.flatnonzero(~np.isfinite(self.value))[0])
            came = f"Scores: value {self.value[first]} at window {first}"
            raise ValueError(f"{came}; expected finite numbers; look at that window's features")

    @classmethod
    def of(cls, graphs, value: np.ndarray, state=None, state_names: Sequence[str] = ()) -> "Scores":
        """Scores of the windows of `graphs` (anything with the columns of a window)."""
        state = np.zeros((len(value), 0), np.float32) if state is None else state
        names = ("label", "attack_type", "capture", "start", "end", "captures")
        return cls(
            np.asarray(value, np.float64),
            **{name: getattr(graphs, name) for name in names},
            state=state,
            state_names=tuple(state_names),
        )

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index) -> "Scores":
        names = ("value", "label", "attack_type", "capture", "start", "end")
        parts = {name: getattr(self, name)[index] for name in names}
        return replace(self, **parts, state=self.state[index] if len(self.state) else self.state)

    @property
    def scenario(self) -> np.ndarray:
        """Scenario of each window's capture, str (B,)."""
        return np.array([c.scenario for c in self.captures])[self.capture]


def threshold(scores: Scores) -> float:
    """The decision threshold, fixed on calibration windows: `value >= threshold` is an attack.

    Let the cut with the best F1 make e errors. Of all cuts that make at most e + √e + 1, which a
    few windows cannot tell from it, the median is taken: a single odd window at the edge of an
    attack does not move the threshold. Where all windows are of one class it takes the smallest
    value above 99.9 % of them.

    >>> windows = Scores(np.array([.1, .2, .8, .9]), np.array([0, 0, 1, 1], bool),
    ...                  *np.zeros((4, 4), int), captures=())
    >>> threshold(windows)
    0.5
    """
    if not len(scores):
        raise ValueError("threshold: no windows came; expected calibration windows; raise calib")
    value, label = scores.value, scores.label
    if label.all() or not label.any():
        return float(np.nextafter(np.quantile(value, 0.999), np.inf))
    order = np.argsort(value, kind="stable")
    value, label = value[order], label[order]
    cuts = np.flatnonzero(np.diff(value) > 0)  # cut i: value[i+1:] are called attacks
    if not len(cuts):
        return float(value[0])
    hits = label.sum() - np.cumsum(label)[cuts]
    called = len(value) - 1 - cuts
    f1 = 2 * hits / (called + label.sum())
    errors = called + label.sum() - 2 * hits
    fewest = errors[f1 >= f1.max() * (1 - 1e-12)].min()
    good = cuts[errors <= fewest + np.sqrt(fewest) + 1]
    cut = good[len(good) // 2]
    middle = value[cut] / 2 + value[cut + 1] / 2
    return float(max(middle, np.nextafter(value[cut], np.inf)))  # two neighbours have no middle


def metrics(scores: Scores, at: float) -> dict:
    """Window metrics of one set of windows at a threshold; None where a metric is undefined.

    `auroc`, `auprc` and `recall_at_fpr`, the most attack windows that any threshold finds at a
    false positive rate of at most 1e-3, need both classes, `f1`, `precision`, `recall` attacks,
    `fpr` and `mcc` what their denominators say; see `why_undefined`. Computed by torchmetrics.

    >>> windows = Scores(np.array([.1, .6, .8, .9]), np.array([0, 0, 1, 1], bool),
    ...                  *np.zeros((4, 4), int), captures=())
    >>> m = metrics(windows, at=0.5)
    >>> m["auroc"], m["recall"], m["fpr"], round(m["f1"], 3)
    (1.0, 1.0, 0.5, 0.8)
    """
    import torch
    from torchmetrics.functional import classification as tm

    result = {
        "windows": len(scores),
        "attack_windows": int(scores.label.sum()),
        "prevalence": float(scores.label.mean()) if len(scores) else None,
        **dict.fromkeys(METRICS),
    }
    if not len(scores):
        return result | {"confusion": [[0, 0], [0, 0]]}
    label = torch.from_numpy(np.ascontiguousarray(scores.label)).long()
    called = torch.from_numpy(scores.value >= at).long()
    # ranks stand for the values: torchmetrics squeezes what lies outside 0..1 through a sigmoid,
    # in which close values become ties
    ranks = np.unique(scores.value, return_inverse=True)[1]
    rank = torch.from_numpy((ranks + 1.0) / (ranks.max(initial=0) + 2.0))
    attacks, benign = int(label.sum()), int((1 - label).sum())
    tp, fp, tn, fn, _ = tm.binary_stat_scores(called, label).tolist()
    result["confusion"] = [[tn, fp], [fn, tp]]
    if attacks and benign:
        result["auroc"] = float(tm.binary_auroc(rank, label))
        result["auprc"] = float(tm.binary_average_precision(rank, label))
        result["recall_at_fpr"] = float(
            tm.binary_sensitivity_at_specificity(rank, label, _SPECIFICITY)[0]
        )
        if tp + fp and tn + fn:  # "all attack" and "all benign" have none
            result["mcc"] = float(tm.binary_matthews_corrcoef(called, label))
    if attacks:
        result["f1"] = float(tm.binary_f1_score(called, label))
        result["recall"] = float(tm.binary_recall(called, label))
        if tp + fp:
            result["precision"] = float(tm.binary_precision(called, label))
    if benign:
        result["fpr"] = fp / benign
    return result


def why_undefined(row: dict, metric: str) -> str:
    """Why a metric of a row of `metrics` is None, in words; empty where it is not."""
    if row.get(metric, 0) is not None:
        return ""
    if not row["windows"]:
        return "no clean seconds to calibrate on, or nothing behind them"
    if not row["attack_windows"] and metric != "fpr":
        return "no attack"
    if row["attack_windows"] == row["windows"] and metric != "precision":
        return "attacks only"
    return "nothing called" if metric == "precision" else "all called alike"


def named(info: CaptureInfo) -> dict:
    """The beginning of a capture's row."""
    return {"scenario": info.scenario, "capture": info.name, "vehicle": info.vehicle}


def each_capture(scores: Scores, measure: Callable[[Scores], dict]) -> list[dict]:
    """What `measure` says of each capture: a row for each, with its name, scenario and vehicle."""
    rows = []
    for number in np.unique(scores.capture):
        rows.append(named(scores.captures[number]) | measure(scores[scores.capture == number]))
    return sorted(rows, key=lambda row: (row["scenario"], row["capture"]))


def by_capture(scores: Scores, at: float) -> list[dict]:
    """`metrics` of each capture: a row for each, with its name, scenario and vehicle."""
    return each_capture(scores, lambda mine: metrics(mine, at))


def _macro(rows: list[dict]) -> dict:
    """Mean of each metric over the captures in which it is defined; None where it never is."""
    means = {}
    for name in METRICS:
        defined = [row[name] for row in rows if row[name] is not None]
        means[name] = float(np.mean(defined)) if defined else None
    totals = {name: sum(row[name] for row in rows) for name in ("windows", "attack_windows")}
    confusion = np.sum([row["confusion"] for row in rows], axis=0).tolist() if rows else None
    return {"captures": len(rows)} | totals | means | {"confusion": confusion}


def by_scenario(scores: Scores, at: float, expected: Sequence[str] = ()) -> list[dict]:
    """`metrics` of each scenario: the plain mean over its captures, so that no long capture
    outvotes a short one. A scenario that is `expected` but has no windows gets a row with
    `captures` 0."""
    of: dict[str, list[dict]] = {name: [] for name in expected}
    for row in by_capture(scores, at):
        of.setdefault(row["scenario"], []).append(row)
    return [{"scenario": name} | _macro(rows) for name, rows in sorted(of.items())]


def compare(detectors: dict[str, tuple[Scores, float]], expected: Sequence[str] = ()) -> list[dict]:
    """`by_scenario` of several detectors, given as name: (scores, threshold), one below the
    other; each row says its `detector`."""
    return [
        {"detector": name} | row
        for name, (scores, at) in detectors.items()
        for row in by_scenario(scores, at, expected)
    ]


def overall(rows: Sequence[dict], metric: str) -> dict[str, float]:
    """Mean of one metric over the scenarios that define it, for each detector of `compare`."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row.get(metric) is not None:
            values.setdefault(row["detector"], []).append(row[metric])
    return {name: float(np.mean(mine)) for name, mine in values.items()}


def attack_spans(scores: Scores, longest_gap: float = 1.0) -> list[tuple[float, float]]:
    """Spans (start, end) in s of one capture's attacks: attack windows less than `longest_gap`
    apart belong to one."""
    spans: list[tuple[float, float]] = []
    for start, end in zip(scores.start[scores.label], scores.end[scores.label], strict=True):
        if spans and start - spans[-1][1] <= longest_gap:
            spans[-1] = (spans[-1][0], float(end))
        else:
            spans.append((float(start), float(end)))
    return spans
