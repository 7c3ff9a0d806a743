"""Results as published, from `published.yaml`, for the table that ours stand in."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import yaml


@cache
def _known() -> dict:
    return yaml.safe_load(files(__package__).joinpath("published.yaml").read_text("utf-8"))


def published(dataset: str, scenarios: Sequence[str]) -> list[dict]:
    """Published results on a dataset, as rows like those of `scores.compare`.

    >>> [round(row["f1"], 3) for row in published("hcrl_sa", ["test_01_known_vehicle_known_attack"])
    ...  if row["detector"].startswith("KD-GAT")]
    [0.993]
    """
    return [
        {
            "detector": f"{result['system']} ({result['source']})",
            "scenario": scenario,
            result["metric"]: value,
        }
        for result in _known()["results"]
        for number, value in enumerate(result["values"].get(dataset, ()), 1)
        for scenario in scenarios
        if scenario.startswith(f"test_{number:02}")
    ]


def citations(dataset: str) -> list[str]:
    """Where the published results on a dataset and the baselines come from.

    >>> citations("demo")[0][:21]
    'G. Ke et al.: LightGB'
    """
    known = _known()
    cited = dict.fromkeys(r["source"] for r in known["results"] if dataset in r["values"])
    return [*(known["sources"][name] for name in cited), *known["baselines"]]
