# The file DAG of papermill runs: five notebooks for every (dataset, seed), one page of all runs, and
# one that compares two.
#
#   snakemake --cores 2 runs/hcrl_sa/diagnostics.html          seed 0
#   snakemake --cores 2 runs/hcrl_sa/seed_1/diagnostics.html   another seed
#   snakemake --cores 2 --config seeds=2                       all of CANGRAPH_DATA, and the demo
#   snakemake --cores 1 --config before=kept after=hcrl_sa metric=f1 -- runs/compare.html
#
# A stage is done when its .json lies there (written last). papermill writes to *.part.ipynb; a
# notebook that fails stays as <stage>.failed.ipynb for the reader, and no output of it counts.

STAGES = ["data_prep", "teacher", "distillation", "fusion", "diagnostics"]
SEEDS = range(int(config.get("seeds", 0)))  # of every dataset; 0: only what the targets name
RUNS = []
if SEEDS:
    from cangraph.data.datasets import present

    RUNS = [f"{name}/seed_{n}" if n else name for n in SEEDS for name in present()]
REPORTS = [f"runs/{run}/diagnostics.json" for run in RUNS]
COMPARED = [
    word
    for name in ("before", "after", "metric")
    if name in config
    for word in ("-p", name, config[name])
]


wildcard_constraints:
    run=r"\w+(/seed_\d+)?",
    stage="|".join(STAGES),
    page="summary|compare",


rule all:
    input:
        "runs/summary.html",


# papermill and pages, as every rule calls them. Where snakemake is killed without a word, what it
# started would live on, and write beside what the next call starts: so it looks, and ends as well.
RENDER = """
    (while kill -0 $PPID 2> /dev/null; do sleep 1; done; pgrep -P $$ | xargs kill -9 $$) &
    trap "kill $!" EXIT
    rm -f {params.stem}.failed.ipynb
    papermill {input.notebook} {params.stem}.part.ipynb --kernel python3 --no-progress-bar \
        --log-output {params.given:q} \
        || {{ mv {params.stem}.part.ipynb {params.stem}.failed.ipynb; \
             echo "{params.stem} failed; open {params.stem}.failed.ipynb" >&2; exit 1; }}
    mv {params.stem}.part.ipynb {log.notebook}
    python -m cangraph.report.pages {log.notebook}
    """


def before(wildcards):
    """The stage before this one, which must be done first; a report takes its intervals over all
    seeds that are asked for."""
    dataset = wildcards.run.split("/")[0]
    runs = [wildcards.run]
    if wildcards.stage == "diagnostics":
        runs += [run for run in RUNS if run.split("/")[0] == dataset and run != wildcards.run]
    number = STAGES.index(wildcards.stage)
    return [f"runs/{run}/{STAGES[number - 1]}.json" for run in runs] if number else []


def given(wildcards):
    """The parameters of a run, as papermill takes them."""
    dataset, _, seed = wildcards.run.partition("/seed_")
    return ["-p", "dataset", dataset, "-p", "seed", seed or "0"]


rule stage:
    input:
        before,
        notebook="notebooks/{stage}.ipynb",
        base="params/base.yaml",
        overlay=lambda wildcards: f"params/{wildcards.run.split('/')[0]}.yaml",
    output:
        json="runs/{run}/{stage}.json",
        html="runs/{run}/{stage}.html",
    log:
        notebook="runs/{run}/{stage}.ipynb",
    params:
        given=given,
        stem="runs/{run}/{stage}",
    # Snakemake sets OMP_NUM_THREADS to it. A second thread makes nets of this size slower, not
    # faster, and other counts round otherwise; runs go side by side (benchmarks/side_by_side.py).
    threads: 1
    shell:
        RENDER


rule page:
    input:
        lambda wildcards: REPORTS if wildcards.page == "summary" else [],
        notebook="notebooks/runs.ipynb",
    output:
        json="runs/{page}.json",
        html="runs/{page}.html",
    log:
        notebook="runs/{page}.ipynb",
    params:
        given=lambda wildcards: COMPARED if wildcards.page == "compare" else [],
        stem="runs/{page}",
    shell:
        RENDER
