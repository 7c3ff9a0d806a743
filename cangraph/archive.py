"""Runs as their JSON tells of them: no graphs, no scores, no weights, and no torch."""

import json
import re
from typing import NamedTuple

from cangraph.params import home
from cangraph.runs import STAGES

__all__ = ["Run", "all_runs", "read_run"]


class Run(NamedTuple):
    """What the JSON of a run says: its `name`, which is the folder below `runs/`, and the record of
    each stage that is done, in order."""

    name: str
    stages: dict[str, dict]

    @property
    def dataset(self) -> str:
        return next(iter(self.stages.values()))["dataset"]

    @property
    def seed(self) -> int:
        return next(iter(self.stages.values()))["seed"]

    @property
    def home(self) -> str:
        """The folder that its dataset and seed have; a copy that was kept has another name."""
        return f"{self.dataset}/seed_{self.seed}" if self.seed else self.dataset

    @property
    def next_stage(self) -> str | None:
        """The first stage that is not done; None when all are."""
        return next((stage for stage in STAGES if stage not in self.stages), None)

    @property
    def command(self) -> str:
        """What makes this run, or goes on with it."""
        return f"make run DATASET={self.dataset}" + (f" SEED={self.seed}" if self.seed else "")


def read_run(name: str) -> Run:
    """The run in a folder below `runs/`: `hcrl_sa`, `hcrl_sa/seed_1`, or a copy that was kept.

    Raises `ValueError` for a name that is no folder below `runs/` and for a record that is no JSON,
    `FileNotFoundError` that names the command which makes a run.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name):
        raise ValueError(
            f"run {name!r}: not a folder below runs/; expected a name like hcrl_sa or "
            "hcrl_sa/seed_1; copy a run from elsewhere to runs/"
        )
    place = home() / "runs" / name
    stages = {}
    for stage in STAGES:
        path = place / f"{stage}.json"
        if path.is_file():
            try:
                stages[stage] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(
                    f"{path}: {error}; expected the JSON that {stage}.ipynb saves; "
                    "run the notebook again"
                ) from None
    if not stages:
        dataset, _, seed = name.partition("/seed_")
        seed = f" SEED={seed}" if seed else ""
        raise FileNotFoundError(
            f"run {name!r}: nothing in {place}; expected {STAGES[0]}.json and what follows; run "
            f"`make run DATASET={dataset}{seed}`"
        )
    return Run(name, stages)


def all_runs() -> list[Run]:
    """The run of each dataset and seed of which some stage is done. Copies that were kept under
    other names are left out.

    Raises `ValueError` as `read_run` does.
    """
    base = home() / "runs"
    places = {
        path.parent.relative_to(base).as_posix()
        for stage in STAGES
        for path in (*base.glob(f"*/{stage}.json"), *base.glob(f"*/seed_*/{stage}.json"))
    }
    found = [run for run in map(read_run, places) if run.name == run.home]
    return sorted(found, key=lambda run: (run.dataset, run.seed))
