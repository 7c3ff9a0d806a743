"""Two runs: what changed between them, and whether what they reach differs beyond noise.

The unit is the base recording, since captures of one drive depend on each other. Runs that differ
by the seed alone (replicates) say how much a seed does.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from cangraph.evaluation.scores import METRICS
from cangraph.files import home
from cangraph.params import flatten, near
from cangraph.runs import Run, make_run, read_run

_LEVEL = 0.95
_SURE = "beyond captures and seeds"

Rows = list[dict[str, Any]]  # for `report.show` and `report.wide`


class Comparison(NamedTuple):
    """Two runs side by side by one metric, as rows for tables and figures. `detectors`:

    | key | what it is |
    |---|---|
    | detector | what is compared |
    | recordings | with captures that define the metric on both sides |
    | before, after, difference | plain means over recordings, each a mean over its captures |
    | p | how often differences of random sign are as large; exact up to 13 recordings |
    | seeds | runs of each side that are averaged |
    | noise | how far apart two such means lie, in 95 % of cases, by their seeds alone |
    | verdict | what that says |
    """

    before: str
    after: str
    metric: str
    detectors: Sequence[dict[str, Any]] = ()
    captures: Sequence[dict[str, Any]] = ()  # capture, detector, difference
    changes: Sequence[dict[str, Any]] = ()  # kind, what, before, after, stages

    @property
    def verdict(self) -> str:
        """All detectors in one sentence."""
        if not self.detectors:
            return "No two runs are named: `make compare BEFORE=kept AFTER=hcrl_sa` compares them."
        said = [
            f"{row['detector']} {row['verdict'].partition(',')[0]}"
            for row in self.detectors
            if row["verdict"].endswith(_SURE)
        ]
        what = f"{self.metric.upper()} of {len(self.detectors)} detectors"
        text = ", ".join(said) or "none better or worse"
        return f"From {self.before} to {self.after}, {what}: {text} {_SURE}."


def compare_runs(before: str, after: str, metric: str = "auprc") -> Comparison:
    """Each detector of the run `after` against the same one of the run `before`. Without names
    nothing is compared.

    Replicates beside a run are averaged with it. `noise` is the half width of the two-sample t
    interval, from the pooled variance of the replicates. Of twenty detectors that did not change,
    one has p < .05.

    Raises as `read_run` and `capture_metrics` do, and `ValueError` where nothing can be compared.
    """
    if not before and not after:
        return Comparison(before, after, metric)
    one, other = read_run(before), read_run(after)
    old, new = replicates(one), replicates(other)
    values = {run.name: capture_metrics(run, metric) for run in (*old, *new)}
    both = [name for name in values[after] if name in values[before]]
    if not both or before in [run.name for run in new]:
        raise ValueError(
            f"compare: {before!r} and {after!r} have no detector in common, or differ by the seed "
            f"alone; keep a run before a change, and run `{other.command}` after it"
        )
    recording = {name: c.get("recording") or name for name, c in captures_of(one).items()}
    detectors, captures = [], []
    for name in both:
        sides = [values[run.name].get(name, {}) for run in (*old, *new)]
        common = sorted(set.intersection(*map(set, sides)))
        means = np.array([_over_recordings(side, common, recording) for side in sides])
        row = {"detector": name, "seeds": f"{len(old)}, {len(new)}"}
        row |= _figures(means[: len(old)], means[len(old) :])
        detectors.append(row | {"verdict": _verdict(row, other)})
        start, end = values[before][name], values[after][name]
        for capture in sorted(start.keys() & end):
            apart = round(end[capture] - start[capture], 7)
            captures.append({"capture": capture, "detector": name, "difference": apart})
    return Comparison(before, after, metric, detectors, captures, changes(one, other))


def captures_of(run: Run) -> dict[str, dict]:
    """What data_prep saved of each capture, by `<scenario>/<name>`."""
    captures = run.stages.get("data_prep", {}).get("captures", [])
    return {f"{c['scenario']}/{c['name']}": c for c in captures}


def capture_metrics(run: Run, metric: str) -> dict[str, dict[str, float]]:
    """A metric of each detector on each capture that defines it, from the report.

    Raises `ValueError` for a run without a report and for a metric that it does not hold.
    """
    rows = run.stages.get("diagnostics", {}).get("by_capture", {}).get("window")
    if not rows:
        raise ValueError(f"run {run.name!r}: no captures in diagnostics.json; run `{run.command}`")
    known = [name for name in METRICS if name in rows[0]]
    if metric not in known:
        raise ValueError(
            f"compare: metric = {metric!r} is not in the report of {run.name!r}; expected one of "
            f"{', '.join(known)}{near(metric, known)}"
        )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        mine = found.setdefault(row["detector"], {})
        if row[metric] is not None:
            mine[f"{row['scenario']}/{row['capture']}"] = row[metric]
    return found


def replicates(run: Run) -> list[Run]:
    """The run and those beside it (its folder and `seed_<n>`) that differ by the seed alone, which
    also draws the captures of the demo."""
    base = home() / "runs" / (run.name.rpartition("/seed_")[0] or run.name)
    places = [place for place in (base, *sorted(base.glob("seed_*"))) if any(place.glob("*.json"))]
    beside = [read_run(place.relative_to(home() / "runs").as_posix()) for place in places]
    drawn = {("parameter", "seed")}
    if run.dataset == "demo":
        drawn |= {("capture", name) for one in beside for name in captures_of(one)}
    return [
        one for one in beside if {(row["kind"], row["what"]) for row in changes(run, one)} <= drawn
    ]


def changes(before: Run, after: Run) -> Rows:
    """What differs: parameters and versions of stages, captures by their hashes, and stages that
    one run lacks; rows of `kind`, `what`, `before`, `after`, and the `stages` that say so."""
    old, new = _said(before), _said(after)
    both = [stage for stage in before.stages if stage in after.stages]
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for name in old | new:
        stage, kind, what = name.split(".", 2)
        one, other = (str(side.get(name, "not there")) for side in (old, new))
        if one != other and (stage in both or kind == "stage"):
            found.setdefault((kind, what, one, other), []).append(stage)
    names = ("kind", "what", "before", "after")
    said = {k: "all" if len(s) == len(both) else ", ".join(s) for k, s in found.items()}
    return [dict(zip(names, k, strict=True)) | {"stages": s} for k, s in said.items()]


def _said(run: Run) -> dict[str, Any]:
    """What a run rests on, by `<stage>.<kind>.<what>`."""
    captures = {name: capture["sha256"][:12] for name, capture in captures_of(run).items()}
    records = {
        stage: {"parameter": record["params"], "version": record["versions"]}
        | {"capture": captures if stage == "data_prep" else {}, "stage": {stage: "done"}}
        for stage, record in run.stages.items()
    }
    return flatten(records)


def _over_recordings(side: dict[str, float], common: Sequence[str], recording: dict[str, str]):
    """Means over the captures of each base recording, f8 (recordings,)."""
    groups: dict[str, list[float]] = {}
    for name in common:
        groups.setdefault(recording.get(name, name), []).append(side[name])
    return np.array([np.mean(group) for group in groups.values()])


def _figures(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Means, p and noise of the values of each run, (runs, recordings)."""
    before, after = ours.mean(0), theirs.mean(0)
    apart = np.round(after - before, 7)  # metrics are rounded in float32
    row = dict.fromkeys(("before", "after", "difference", "p", "noise"))
    if apart.size:
        row |= {"before": before.mean(), "after": after.mean(), "difference": apart.mean()}
    if apart.size > 1:
        signs = {"permutation_type": "samples", "rng": np.random.default_rng(0)}
        row["p"] = stats.permutation_test((apart,), np.mean, **signs).pvalue
    if apart.size and (degrees := len(ours) + len(theirs) - 2) > 0:
        spread = sum(len(side) * side.mean(1).var() for side in (ours, theirs)) / degrees
        reach = np.sqrt(spread * (1 / len(ours) + 1 / len(theirs)))
        row["noise"] = stats.t.ppf(0.5 + _LEVEL / 2, degrees) * reach
    row = {name: None if value is None else float(value) for name, value in row.items()}
    return {"recordings": apart.size} | row


def _verdict(row: dict[str, Any], after: Run) -> str:
    difference, p, noise = row["difference"], row["p"], row["noise"]
    if difference is None:
        return "undefined: no capture defines the metric on both sides"
    if not difference and (p is None or p == 1):
        return "no difference"
    way, few = "better" if difference > 0 else "worse", 2.0 ** (1 - row["recordings"])
    if few >= 1 - _LEVEL:
        return f"not told apart: of {row['recordings']} recordings p cannot be below {few:.2g}"
    if p >= 1 - _LEVEL:
        return "not told apart from noise over captures"
    if noise is None:
        again = make_run(after.dataset, after.seed + 1)
        return f"{way} beyond the captures; whether beyond the seeds needs another: {again}"
    if abs(difference) <= noise:
        return f"{way} beyond the captures, but not beyond what seeds do"
    return f"{way}, {_SURE}"
