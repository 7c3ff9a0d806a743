"""The schema of `diagnostics.json`, versioned: what other programs may rely on.

`python -m cangraph.report.schema > docs/diagnostics.schema.json` writes it as JSON Schema.
"""

import json
from typing import Annotated, Any, Required

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict  # of pydantic, which takes no other before Python 3.12

VERSION = "1.1"  # the first number changes when a field goes or means something else

Number = float | None  # None: undefined, see `undefined`
Row = dict[str, Any]
_open = with_config(ConfigDict(extra="allow"))  # other rows are closed, as `Findings` is


class ScenarioRow(TypedDict, total=False):
    """A detector in a scenario: plain means over its captures. A published row has the metrics that
    its authors report, and no captures."""

    detector: Required[str]
    scenario: Required[str]
    captures: Annotated[int, Field(description="captures with windows; 0: absent")]
    windows: int
    attack_windows: int
    auroc: Number
    auprc: Number
    f1: Number
    precision: Number
    recall: Number
    recall_at_fpr: Annotated[Number, Field(description="recall at a false positive rate of 1e-3")]
    mcc: Number
    fpr: Number
    confusion: Annotated[list[list[int]] | None, Field(description="[[tn, fp], [fn, tp]]")]


@_open
class CaptureRow(TypedDict):
    """A detector in one capture, at one level: windows, frames, or events (attacks)."""

    detector: str
    scenario: str
    capture: str
    vehicle: str


@_open
class MeanRow(TypedDict):
    """Means over captures (and seeds) with 95 % intervals by a bootstrap clustered by capture: of
    each metric `<metric>`, `<metric>_low`, `<metric>_high`."""

    level: Annotated[str, Field(description="window, frame or event")]
    detector: str
    scenario: str
    captures: int
    seeds: int


class UndefinedRow(TypedDict):
    """What is undefined, of which detectors, and why."""

    detector: Annotated[str, Field(description="or all")]
    metrics: str
    why: str
    captures: str


class EventRow(TypedDict):
    """A detector's alarms, all captures pooled: attacks found, delays in s, false alarms."""

    detector: str
    events: int
    found: int
    recall: Number
    delay_median: Number
    delay_p90: Number
    alarms: int
    false_alarms: int
    benign_hours: float
    false_alarms_per_hour: Number
    duty: Annotated[Number, Field(description="share of the benign time under alarm")]


class DriftRow(TypedDict):
    """Scores of benign windows of a part or capture, in log-odds, against the training windows."""

    part: str
    windows: int
    low: float
    median: float
    high: float
    ks: Annotated[Number, Field(description="Kolmogorov-Smirnov distance; None: the reference")]
    p: Number


class WrongRow(TypedDict):
    """A window that was judged wrongly, and the ID blamed in it."""

    kind: Annotated[str, Field(description="miss or false alarm")]
    capture: str
    start: Annotated[float, Field(description="s since the capture's first frame")]
    value: float
    attack: str
    blamed: Annotated[str, Field(description="arbitration ID, hexadecimal")]
    position: Annotated[int, Field(description="position among the test windows")]


class Findings(BaseModel):
    """What a report finds in a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    headline: str
    summary: list[str]
    detector: str = Field(description="the detector that figures and single rows are about")
    missing: dict[str, str] = Field(description="stage → what makes it")
    seeds: list[int] = Field(description="seeds whose runs the intervals rest on")
    scenarios: list[ScenarioRow]
    thresholds: dict[str, float]
    captures: list[Row] = Field(description="`detector` capture by capture, windows")
    by_capture: dict[str, list[CaptureRow]] = Field(description="window, frame, event → rows")
    means: list[MeanRow]
    undefined: list[UndefinedRow]
    attacks: list[Row] = Field(description="share of windows found by scenario and attack type")
    called: list[Row] = Field(description="share of windows called by capture and attack type")
    events: list[EventRow]
    events_at_5_per_hour: list[Row] = Field(description="share of attacks found, by scenario")
    delays: dict[str, list[Number]] = Field(description="capture → s per attack; None: missed")
    calibration: list[Row] = Field(description="calibration error and Brier score")
    drift: list[DriftRow]
    worst: list[WrongRow]
    blamed: list[Row] = Field(description="called windows by the ID that each blames most")
    explained: Row = Field(description="a window, and the features that carry its verdict")
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
