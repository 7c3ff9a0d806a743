"""The schema of `diagnostics.json`, versioned: what other programs may rely on.

`python -m cangraph.report.schema > docs/diagnostics.schema.json` writes it as JSON Schema.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["VERSION", "Report"]

VERSION = "1.0"  # the first number changes when a field goes or means something else

Number = float | None  # None: undefined, see `undefined`
Row = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Scenario(BaseModel):
    """A detector in a scenario: plain means over its captures. A published row has the metrics that
    its authors report, and no captures."""

    model_config = ConfigDict(extra="forbid")
    detector: str
    scenario: str
    captures: int | None = Field(None, description="captures with windows; 0: absent")
    windows: int | None = None
    attack_windows: int | None = None
    auroc: Number = None
    auprc: Number = None
    f1: Number = None
    precision: Number = None
    recall: Number = None
    recall_at_fpr: Number = Field(None, description="recall at a false positive rate of 1e-3")
    mcc: Number = None
    fpr: Number = None
    confusion: list[list[int]] | None = Field(None, description="[[tn, fp], [fn, tp]]")


class Capture(BaseModel):
    """A detector in one capture, at one level: windows, frames, or events (attacks)."""

    model_config = ConfigDict(extra="allow")
    detector: str
    scenario: str
    capture: str
    vehicle: str


class Mean(BaseModel):
    """Means over captures (and seeds) with 95 % intervals by a bootstrap clustered by capture: of
    each metric `<metric>`, `<metric>_low`, `<metric>_high`."""

    model_config = ConfigDict(extra="allow")
    level: str = Field(description="window, frame or event")
    detector: str
    scenario: str
    captures: int
    seeds: int


class Wrong(_Strict):
    """A window that was judged wrongly, and the ID blamed in it."""

    kind: str = Field(description="miss or false alarm")
    capture: str
    start: float = Field(description="s since the capture's first frame")
    value: float
    attack: str
    blamed: str = Field(description="arbitration ID, hexadecimal")
    position: int = Field(description="position among the test windows")


class Undefined(_Strict):
    """What is undefined, of which detectors, and why."""

    detector: str = Field(description="or all")
    metrics: str
    why: str
    captures: str


class Drifted(_Strict):
    """Scores of benign windows of a part or capture, in log-odds, against the training windows."""

    part: str
    windows: int
    low: float
    median: float
    high: float
    ks: Number = Field(description="Kolmogorov-Smirnov distance; None: the reference")
    p: Number


class Report(_Strict):
    """`runs/<dataset>/diagnostics.json`."""

    schema_version: str = VERSION
    stage: str
    dataset: str
    seed: int
    params: Row
    versions: dict[str, str]
    inputs: dict[str, str] = Field(description="stage → SHA-256 of its JSON")
    cost: dict[str, float] = Field(description="of the notebook: s, s of processors, threads")
    headline: str
    summary: list[str]
    detector: str = Field(description="the detector that figures and single rows are about")
    missing: dict[str, str] = Field(description="stage → what makes it")
    seeds: list[int] = Field(description="seeds whose runs the intervals rest on")
    scenarios: list[Scenario]
    thresholds: dict[str, float]
    captures: list[Row] = Field(description="`detector` capture by capture, windows")
    by_capture: dict[str, list[Capture]] = Field(description="window, frame, event → rows")
    means: list[Mean]
    undefined: list[Undefined]
    attacks: list[Row]
    called: list[Row] = Field(description="share of windows called by capture and attack type")
    events: list[Row]
    events_at_5_per_hour: list[Row]
    delays: dict[str, list[Number]] = Field(description="capture → s per attack; None: missed")
    calibration: list[Row]
    drift: list[Drifted]
    worst: list[Wrong]
    blamed: list[Row]
    explained: Row
    costs: list[Row]
    citations: list[str]


if __name__ == "__main__":  # writes docs/diagnostics.schema.json
    import json

    print(json.dumps(Report.model_json_schema(), indent=1))
