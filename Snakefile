# The file DAG of papermill runs: five notebooks for every (dataset, seed).
#
#   snakemake --cores 2 runs/hcrl_sa/diagnostics.html          seed 0
#   snakemake --cores 2 runs/hcrl_sa/seed_1/diagnostics.html   another seed
#
# A stage is done when its .json lies there (written last). papermill writes to *.part.ipynb; a
# notebook that fails stays as <stage>.failed.ipynb for the reader, and no output of it counts.
import re

STAGES = ["data_prep", "teacher", "distillation", "fusion", "diagnostics"]


wildcard_constraints:
    run=r"\w+(/seed_\d+)?",
    stage="|".join(STAGES),


def before(wildcards):
    """The stage before this one, which must be done first."""
    number = STAGES.index(wildcards.stage)
    return [f"runs/{wildcards.run}/{STAGES[number - 1]}.json"] if number else []


def seed(wildcards):
    found = re.search(r"seed_(\d+)$", wildcards.run)
    return found.group(1) if found else "0"


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
        dataset=lambda wildcards: wildcards.run.split("/")[0],
        seed=seed,
        stem="runs/{run}/{stage}",
    # the kernels use every core, so one stage runs at a time on a small machine
    threads: workflow.cores
    shell:
        """
        rm -f {params.stem}.failed.ipynb
        papermill {input.notebook} {params.stem}.part.ipynb --kernel python3 --no-progress-bar \
            --log-output -p dataset {params.dataset} -p seed {params.seed} \
            || {{ mv {params.stem}.part.ipynb {params.stem}.failed.ipynb; \
                 echo "{wildcards.stage} failed; open {params.stem}.failed.ipynb" >&2; exit 1; }}
        mv {params.stem}.part.ipynb {log.notebook}
        python -m cangraph.pages {log.notebook}
        """
