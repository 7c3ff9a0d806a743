"""The schema of `diagnostics.json`, versioned: what other programs may rely on.

`python -m cangraph.report.schema > docs/diagnostics.schema.json` writes it as JSON Schema. In rows,
None stands for undefined (see `undefined`); metrics are those of `evaluation`.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

VERSION = "4.0"  # the first number changes when a field goes or means something else

Row = dict[str, Any]


class Findings(BaseModel):
    """What a report finds in a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    headline: str
    detector: str = Field(description="the detector that figures and single rows are about")
    missing: dict[str, str] = Field(description="stage → what makes it")
    seeds: list[int] = Field(description="seeds whose runs the intervals rest on")
    scenarios: list[Row] = Field(
        description="detector, scenario → plain means over captures (0: absent) of window metrics; "
        "published rows have the metrics that their authors report, and no captures"
    )
    states: dict[str, str] = Field(
        description="scenario → whether its captures were trained, developed on, frozen before "
        "they were opened, or never opened (docs/protocol.md)"
    )
    thresholds: dict[str, float]
    by_capture: dict[str, list[Row]] = Field(
        description="window, event → detector, scenario, capture, vehicle and metrics"
    )
    means: list[Row] = Field(
        description="level, detector, scenario → each metric with its 95 % interval, `_low` and "
        "`_high`, over captures and seeds by a bootstrap clustered by capture"
    )
    undefined: list[Row] = Field(description="detector (or all), metrics, why, captures")
    called: list[Row] = Field(description="share of windows called by capture and attack type")
    events: list[Row] = Field(
        description="detector → attacks found, delays in s, false alarms, all captures pooled; "
        "duty: share of the benign time under alarm"
    )
    calibration: dict[str, float] = Field(description="calibration error and Brier score")
    worst: list[Row] = Field(
        description="windows judged wrongly: kind, capture, start in s, value, attack, the ID "
        "blamed, position among the test windows"
    )
    blamed: list[Row] = Field(description="called windows by the ID that each blames most")
    costs: list[Row] = Field(description="of nets and files, as the stages measured them")
    citations: list[str]


class Record(Findings):
    """`runs/<dataset>/diagnostics.json`."""

    schema_version: str = VERSION
    stage: str
    dataset: str
    seed: int
    params: Row
    versions: dict[str, str]
    inputs: dict[str, str] = Field(description="stage → SHA-256 of its JSON without `cost`")
    files: dict[str, str] = Field(description="file beside this one → SHA-256")
    cost: dict[str, float] = Field(description="of the notebook: s, s of processors, threads")
    sha256: str = Field(description="of what stands before it")


if __name__ == "__main__":  # writes docs/diagnostics.schema.json
    print(json.dumps(Record.model_json_schema(), indent=1))
