"""Two runs: what changed between them, and whether what they reach differs beyond noise.

The unit is the base recording: windows of one capture, and captures of one drive, are no
independent witnesses. Runs that differ by the seed alone (replicates) give the noise floor.
"""

import json
from collections.abc import Sequence

import numpy as np
from scipy import stats

from cangraph.evaluation.scores import METRICS
from cangraph.files import put
from cangraph.params import flatten, home, near
from cangraph.runs import Run, read_run

__all__ = ["SCHEMA", "by_capture", "changes", "compare", "differences", "replicates", "save"]
__all__ += ["verdict"]

SCHEMA = 1  # of compare.json

_LEVEL = 0.95


def _of_seed(run: Run) -> bool:
    """Whether a seed draws the data as well as the weights: that of the simulated bus."""
    return run.dataset == "demo"


def _captures(run: Run) -> dict[str, dict]:
    prepared = run.stages.get("data_prep", {})
    return {f"{c['scenario']}/{c['name']}": c for c in prepared.get("captures", [])}


def _settings(record: dict) -> dict:
    return {k: v for k, v in flatten(record["params"]).items() if k not in ("seed", "dataset")}


def replicates(run: Run) -> list[Run]:
    """The run and those beside it (its folder and `seed_<n>`) that differ by the seed alone: equal
    parameters and versions in every stage, and equal data but where the seed draws it."""

    def like(other: Run) -> tuple:
        same = [(s, _settings(r), r["versions"]) for s, r in other.stages.items()]
        hashes = [] if _of_seed(other) else [c["sha256"] for c in _captures(other).values()]
        return other.dataset, same, sorted(hashes)

    base = run.name.rpartition("/seed_")[0] or run.name
    places = [home() / "runs" / base, *sorted((home() / "runs" / base).glob("seed_*"))]
    names = [path.relative_to(home() / "runs").as_posix() for path in places]
    beside = [read_run(n) for n in names if any((home() / "runs" / n).glob("*.json"))]
    return [other for other in beside if like(other) == like(run)]


def changes(before: Run, after: Run) -> list[dict]:
    """What differs: parameters and versions, stage by stage, and captures by their hashes; a row
    for each with `kind`, `what`, `before`, `after` and the `stages` that say so."""
    found: dict[tuple, list[str]] = {}
    for stage in [s for s in before.stages if s in after.stages]:
        one, other = before.stages[stage], after.stages[stage]
        sides = {
            "parameter": (flatten(one["params"]), flatten(other["params"])),
            "version": (one["versions"], other["versions"]),
        }
        for kind, (old, new) in sides.items():
            for name in dict.fromkeys((*old, *new)):
                if old.get(name) != new.get(name):
                    pair = (kind, name, _said(old, name), _said(new, name))
                    found.setdefault(pair, []).append(stage)
    old, new = _captures(before), _captures(after)
    for name in dict.fromkeys((*old, *new)):
        one, other = (side.get(name, {}).get("sha256", "not there")[:12] for side in (old, new))
        if one != other:
            found["capture", name, one, other] = ["data_prep"]
    for stage in dict.fromkeys((*before.stages, *after.stages)):
        there = [("done" if stage in run.stages else "not there") for run in (before, after)]
        if there[0] != there[1]:
            found["stage", stage, *there] = [stage]
    names = ("kind", "what", "before", "after")
    both = before.stages.keys() & after.stages.keys()
    said = {k: "all" if len(s) == len(both) else ", ".join(s) for k, s in found.items()}
    return [dict(zip(names, k, strict=True)) | {"stages": s} for k, s in said.items()]


def _said(side: dict, name: str) -> str:
    return str(side[name]) if name in side else "not there"


def by_capture(run: Run, metric: str) -> dict[str, dict[str, float]]:
    """A metric of each detector on each capture, from the report; captures that do not define it
    are left out.

    Raises `ValueError` for a run without a report and for a metric that it does not hold.
    """
    report = run.stages.get("diagnostics", {})
    rows = report.get("by_capture", {}).get("window")
    if not rows:
        raise ValueError(
            f"run {run.name!r}: no captures in diagnostics.json; expected the report of a finished "
            f"run; run `{run.command}`"
        )
    known = [name for name in METRICS if name in rows[0]]
    if metric not in known:
        raise ValueError(
            f"compare: metric = {metric!r} is not in the report of run {run.name!r}; expected one "
            f"of {', '.join(known)}{near(metric, known)}"
        )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        mine = found.setdefault(row["detector"], {})
        if row[metric] is not None:
            mine[f"{row['scenario']}/{row['capture']}"] = row[metric]
    return found


def differences(before: Run, after: Run, metric: str = "auprc") -> list[dict]:
    """By how much each detector of `after` differs from its namesake in `before` on each capture
    (within one run: from its first detector), as rows of `capture`, `detector`, `difference`."""
    old, new = by_capture(before, metric), by_capture(after, metric)
    first, rows = next(iter(old)), []
    same = before.name == after.name
    for name, mine in new.items():
        base = {} if same and name == first else old.get(first if same else name, {})
        for capture in sorted(base.keys() & mine.keys()):
            apart = {"difference": round(mine[capture] - base[capture], 7)}
            rows.append({"capture": capture, "detector": name} | apart)
    return rows


def compare(before: Run, after: Run, metric: str = "auprc") -> list[dict]:
    """Each detector of `after` against the same one of `before`; where both are one run, each of
    its detectors against the first. A row for each:

    | key | what it is |
    |---|---|
    | detector, against | what is compared with what |
    | captures, recordings | that define the metric on both sides; recordings are the witnesses |
    | before, after, difference | plain means over recordings, each a mean over its captures |
    | low, high | the 95 % interval of the difference over recordings (Student's t) |
    | p | how often differences of random sign are as large; exact up to 13 recordings |
    | seeds | runs of each side that are averaged |
    | noise | how far apart two such means lie, in 95 % of cases, by their seeds alone |
    | verdict | in words |

    Raises `ValueError` where nothing can be compared, and as `by_capture` does.

    Replicates beside a run (`replicates`) are averaged with it, unless the two runs are replicates
    of each other. `noise` is the half width of the two-sample t interval, from the pooled variance
    of the replicates (within one run, of the paired one). None where nothing defines a figure.
    p and interval are scipy's `permutation_test` and `ttest_1samp`. Of twenty detectors that did
    not change, one has p < .05.
    """
    old, new = replicates(before), replicates(after)
    values = {run.name: by_capture(run, metric) for run in (*old, *new)}
    same = before.name == after.name
    twins = not same and before.name in {run.name for run in new}
    recording = {name: c.get("recording") or name for name, c in _captures(before).items()}
    first, rows = next(iter(values[before.name])), []
    for name in values[after.name]:
        against = first if same else name
        if against not in values[before.name] or (same and name == first):
            continue
        sides = [values[r.name].get(against, {}) for r in old]
        sides += [values[r.name].get(name, {}) for r in new]
        common = sorted(set.intersection(*map(set, sides)))
        table = np.array([_units(side, common, recording) for side in sides])
        ours, theirs = table[: len(old)], table[len(old) :]  # (runs, recordings)
        noise = None
        if common:
            noise = _noise(ours.mean(1), theirs.mean(1), paired=same, single=twins)
        if twins:
            ours = ours[[run.name == before.name for run in old]]
            theirs = theirs[[run.name == after.name for run in new]]
        row = {"detector": name, "against": against, "captures": len(common)}
        row |= _apart(ours.mean(0), theirs.mean(0))
        row |= {"seeds": f"{len(ours)}, {len(theirs)}", "noise": noise}
        rows.append(row | {"verdict": _verdict(row, twins, after)})
    if not rows:
        raise ValueError(
            f"compare: the reports of {before.name!r} and {after.name!r} leave nothing to compare; "
            f"expected one of the same name in both, or two in one run; run `{after.command}` again"
        )
    return rows


def _units(side: dict[str, float], common: Sequence[str], recording: dict[str, str]) -> np.ndarray:
    """The mean over the captures of each base recording, f8 (recordings,)."""
    groups: dict[str, list[float]] = {}
    for name in common:
        groups.setdefault(recording.get(name, name), []).append(side[name])
    return np.array([np.mean(group) for group in groups.values()])


def _apart(before: np.ndarray, after: np.ndarray) -> dict:
    apart = np.round(after - before, 7)  # metrics are rounded in float32
    n, found = len(apart), dict.fromkeys(("before", "after", "difference", "low", "high", "p"))
    if n:
        means = (before.mean(), after.mean(), apart.mean())
        found |= dict(zip(("before", "after", "difference"), map(float, means), strict=True))
    if n > 1:
        flips = {"permutation_type": "samples", "rng": np.random.default_rng(0)}
        found["p"] = float(stats.permutation_test((apart,), np.mean, **flips).pvalue)
        if np.ptp(apart):
            ends = stats.ttest_1samp(apart, 0).confidence_interval(_LEVEL)
            found |= {"low": float(ends.low), "high": float(ends.high)}
    return {"recordings": n} | found


def _noise(ours: np.ndarray, theirs: np.ndarray, paired: bool, single: bool) -> float | None:
    """How far apart two means lie by their seeds alone, from a mean of each run, (runs,)."""
    n, m = len(ours), len(theirs)
    if paired or single:  # one set of runs, paired with itself or each for itself
        values = theirs - ours if paired else ours
        degrees, variance = n - 1, np.var(values, ddof=1) if n > 1 else 0.0
        scale = 1 / n if paired else 2.0
    else:
        degrees = n + m - 2
        squares = sum(np.square(side - side.mean()).sum() for side in (ours, theirs))
        variance, scale = squares / max(degrees, 1), 1 / n + 1 / m
    if degrees < 1 or not np.isfinite(variance):
        return None
    return float(stats.t.ppf(0.5 + _LEVEL / 2, degrees) * np.sqrt(variance * scale))


def _verdict(row: dict, twins: bool, after: Run) -> str:
    """What the figures of a row say."""
    difference, p, noise = row["difference"], row["p"], row["noise"]
    if difference is None:
        return "undefined: no capture defines the metric on both sides"
    if twins:
        return "replicates: whatever differs is noise"
    if not difference and (p is None or p == 1):
        return "no difference"
    way = "better" if difference > 0 else "worse"
    if p is None:
        return f"{way}, on one recording: no test"
    if p >= 1 - _LEVEL:
        few = 2.0 ** (1 - row["recordings"])
        if few >= 1 - _LEVEL:
            return f"not told apart: of {row['recordings']} recordings p cannot be below {few:.2g}"
        return "not told apart from noise over captures"
    if noise is None:
        seed = f"make run DATASET={after.dataset} SEED={after.seed + 1}"
        return f"{way} beyond the captures; whether beyond the seeds needs another: {seed}"
    if abs(difference) <= noise:
        return f"{way} beyond the captures, but not beyond what seeds do"
    return f"{way}, beyond captures and seeds"


def verdict(rows: Sequence[dict], metric: str) -> str:
    """All rows of `compare` in one sentence.

    >>> verdict([{"detector": "GAT", "verdict": "no difference"}], "f1")
    'F1 of 1 detectors: none better or worse beyond captures and seeds.'
    """
    sides: dict[str, list[str]] = {"better": [], "worse": []}
    for row in rows:
        way, _, beyond = row["verdict"].partition(", ")
        if beyond == "beyond captures and seeds":
            sides[way].append(row["detector"])
    said = [f"{', '.join(names)} {way}" for way, names in sides.items() if names]
    text = "; ".join(said) or "none better or worse"
    return f"{metric.upper()} of {len(rows)} detectors: {text} beyond captures and seeds."


def save(before: Run, after: Run, metric: str, rows: list[dict], changed: list[dict]) -> None:
    """Write the comparison to `runs/compare.json`."""
    facts = {"schema": SCHEMA, "before": before.name, "after": after.name, "metric": metric}
    facts |= {"verdict": verdict(rows, metric), "changes": changed, "detectors": rows}
    facts["captures"] = differences(before, after, metric)
    text = json.dumps(facts, indent=1, allow_nan=False)
    put(home() / "runs" / "compare.json", [text.encode()])
