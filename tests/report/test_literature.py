"""Published numbers stand as published."""

from cangraph.data.datasets import DATASETS, SCENARIOS
from cangraph.report.literature import PUBLISHED, citations, published


def test_published_rows_are_complete():
    for row in PUBLISHED:
        assert row["dataset"] in DATASETS
        assert any(scenario.startswith(row["scenario"]) for scenario in SCENARIOS)
        assert row["metric"] in ("f1", "auroc")
        assert 0 < row["value"] <= 1
        assert row["source"]


def test_published_rows_stand_under_their_scenarios():
    rows = published("hcrl_sa", SCENARIOS)
    gat = [r for r in rows if r["detector"].startswith("GAT (")]
    assert [(r["scenario"], r["f1"]) for r in gat if "f1" in r] == list(
        zip(SCENARIOS, (0.999, 0.577, 0.685, 0.563), strict=True)
    )
    assert [r["auroc"] for r in gat if "auroc" in r] == [0.999, 0.265, 1.0, 0.894]
    assert {r["scenario"] for r in published("hcrl_sa", SCENARIOS[:1])} == {SCENARIOS[0]}
    assert published("demo", SCENARIOS) == published("hcrl_sa", []) == []


def test_every_published_row_has_a_citation():
    for row in PUBLISHED:
        assert citations(row["dataset"])
    cited = citations("hcrl_sa")
    assert any("2507.19686" in line for line in cited)
    assert any("2508.04845" in line for line in cited)
    assert len(citations("demo")) == 2, "the baselines' own"
