"""Changes are named, noise is not called an improvement, an improvement is."""

import numpy as np
import pytest
from reported import SCENARIOS, put_run, resealed
from scipy import stats

from cangraph.report.compare import capture_metrics, changes, compare_runs, replicates
from cangraph.runs import read_run

MODELS = ("GAT teacher", "fusion")


def noisy(seed, base=0.9, between=0.02, within=0.003, gain=0.0):
    """Values that differ between captures much, between seeds little, and by a gain."""
    drawn = np.random.default_rng(seed)
    seeds = {model: drawn.normal(0, within, 40) for model in MODELS}
    hard = np.random.default_rng(99).normal(0, between, 40)
    return lambda model, k: float(base + hard[k] + seeds[model][k] + gain)


def put(home, name, seed, key, captures=10, fit=None, **more):
    """A run of hcrl_sa under a name, with figures drawn from `key`."""
    place, changed = f"{name}/seed_{seed}" if seed else name, {"fit": fit} if fit else {}
    put_run(
        home, "hcrl_sa", seed, noisy(key, **more), captures, name=place, models=MODELS, **changed
    )


def test_parameters_versions_captures_and_stages_that_changed_are_named(home):
    put(home, "one", 0, key=1)
    put(home, "other", 0, key=1)
    assert changes(read_run("one"), read_run("other")) == []
    put(home, "other", 0, key=1, captures=11, fit={"batch_size": 3})
    resealed(home / "runs/other/teacher.json", lambda r: r["versions"].update(torch="3.0"))
    (home / "runs/other/diagnostics.json").unlink()
    rows = changes(read_run("one"), read_run("other"))
    found = {(r["kind"], r["what"]): (r["before"], r["after"], r["stages"]) for r in rows}
    assert found == {
        ("parameter", "fit.batch_size"): ("64", "3", "all"),
        ("version", "torch"): ("2.13", "3.0", "teacher"),
        ("capture", f"{SCENARIOS[0]}/capture-10"): ("not there", "hcrl_sa capt", "data_prep"),
        ("stage", "diagnostics"): ("done", "not there", "diagnostics"),
    }


def test_replicates_differ_by_the_seed_alone(home):
    for seed in (0, 1, 2):
        put(home, "one", seed, key=seed, fit={"batch_size": 3} if seed == 2 else None)
    names = [run.name for run in replicates(read_run("one/seed_1"))]
    assert names == ["one", "one/seed_1"]
    put(home, "one", 1, key=1, captures=9)  # other data
    assert [run.name for run in replicates(read_run("one"))] == ["one"]
    for seed in (0, 1):  # the demo draws its data
        put_run(home, "demo", seed, captures=4 + seed)
    assert len(replicates(read_run("demo"))) == 2


def row_of(before, after, detector="fusion"):
    (row,) = (r for r in compare_runs(before, after, "f1").detectors if r["detector"] == detector)
    return row


def figures(name, detector="fusion"):
    return np.array([*capture_metrics(read_run(name), "f1")[detector].values()])


def put_both(home, *keys, **after):
    """Runs `one` and `other` with a seed for each key, which differ by a parameter."""
    for seed, key in enumerate(keys):
        put(home, "one", seed, key=key)
        put(home, "other", seed, key=key + 10, fit={"batch_size": 9}, **after)


def test_figures_are_those_of_scipy(home):
    put_both(home, 1, gain=0.01)
    row = row_of("one", "other")
    old, new = figures("one"), figures("other")
    assert row["difference"] == pytest.approx((new - old).mean(), abs=1e-6)
    assert row["p"] == pytest.approx(2 / 2**10)  # all ten differences have one sign
    assert row["noise"] is None
    assert row["verdict"].startswith("better beyond the captures; whether beyond the seeds needs")
    assert row["verdict"].endswith("make run DATASET=hcrl_sa SEED=1")


def test_an_improvement_beyond_captures_and_seeds_is_one(home):
    put_both(home, 0, 1, 2, gain=0.02)
    row = row_of("one", "other", "GAT teacher")
    assert row["seeds"] == "3, 3"
    assert row["verdict"] == "better, beyond captures and seeds"
    seeds = ("", "/seed_1", "/seed_2")
    sides = (
        [figures(f"{name}{s}", "GAT teacher").mean() for s in seeds] for name in ("one", "other")
    )
    ends = stats.ttest_ind(*sides).confidence_interval(0.95)
    assert row["noise"] == pytest.approx((ends.high - ends.low) / 2)
    assert row_of("other", "one", "GAT teacher")["verdict"] == "worse, beyond captures and seeds"


def test_a_gain_that_seeds_make_as_well_is_none(home):
    # seeds shift whole runs by ±.02: far beyond captures, and nothing beyond each other
    for seed, shift in enumerate((-0.02, 0.0, 0.02)):
        put(home, "one", seed, key=1, base=0.9 + shift)
    put(home, "other", 0, key=2, base=0.92, fit={"batch_size": 9})
    row = row_of("one", "other")
    assert row["p"] < 0.05 and abs(row["difference"]) < row["noise"]
    assert row["verdict"] == "better beyond the captures, but not beyond what seeds do"


def test_captures_of_one_recording_are_one_witness(home):
    put_both(home, 1, gain=0.01)

    def drives(record):
        for k, capture in enumerate(record["captures"]):
            capture["recording"] = f"drive {k // 5}"

    for name in ("one", "other"):
        resealed(home / "runs" / name / "data_prep.json", drives)
    row = row_of("one", "other")
    assert row["recordings"] == 2
    assert row["verdict"] == "not told apart: of 2 recordings p cannot be below 0.5"


def test_equal_figures_make_no_difference_and_none_in_common_is_undefined(home):
    for name in ("one", "other"):
        put(home, name, 0, key=1)
    row = row_of("one", "other")
    assert (row["difference"], row["p"]) == (0.0, 1.0)
    assert row["verdict"] == "no difference"
    put_run(home, "hcrl_sa", 0, lambda m, k: None, 10, name="other", models=MODELS)
    row = row_of("one", "other")
    assert row["difference"] is None and row["verdict"].startswith("undefined")


def test_pure_noise_is_rarely_called_a_difference(home):
    called = 0
    for trial in range(12):
        put_both(home, 1000 + 20 * trial, 1001 + 20 * trial)
        rows = compare_runs("one", "other", "f1").detectors
        called += sum(row["verdict"].endswith("beyond captures and seeds") for row in rows)
    assert called <= 4  # of 24; one in twenty would be one


def test_differences_stand_capture_by_capture(home):
    put(home, "one", 0, key=1)
    put(home, "other", 0, key=1, base=0.92)
    rows = compare_runs("one", "other", "f1").captures
    assert len(rows) == 20 and {row["difference"] for row in rows} == {0.02}


@pytest.mark.parametrize(
    ("names", "metric", "said"),
    [
        (("other", "one"), "aurc", r"metric = 'aurc' is not in the report of 'other'"),
        (("demo", "one"), "f1", r"no detector in common.*make run DATASET=hcrl_sa"),
        (("one", "one"), "f1", r"'one' and 'one' .* differ by the seed alone"),
        (("one", "one/seed_1"), "f1", r"differ by the seed alone; keep a run before a change"),
        (("begun", "one"), "f1", r"no captures in diagnostics\.json.*DATASET=set_01 SEED=1"),
        (("one", ""), "f1", r"run '': not a folder"),
    ],
)
def test_what_cannot_be_compared_is_refused(home, names, metric, said):
    put(home, "one", 0, key=1)
    put(home, "one", 1, key=2)
    put(home, "other", 0, key=2, fit={"batch_size": 9})
    put_run(home, "demo", models=("GAT student",))
    put_run(home, "set_01", 1, name="begun", stages=["data_prep"])
    with pytest.raises(ValueError, match=said):
        compare_runs(*names, metric)


def test_without_names_nothing_is_compared():
    nothing = compare_runs("", "")
    assert (nothing.detectors, nothing.changes) == ((), ()) and "make compare" in nothing.verdict
