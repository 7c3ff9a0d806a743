"""Published numbers stand as published, under their scenarios, with their sources."""

from cangraph.data.datasets import DATASETS, SCENARIOS
from cangraph.report.literature import citations, published


def test_published_rows_stand_under_their_scenarios():
    rows = published("hcrl_sa", SCENARIOS)
    gat = [r for r in rows if r["detector"].startswith("GAT (")]
    assert [(r["scenario"], r["f1"]) for r in gat if "f1" in r] == list(
        zip(SCENARIOS, (0.999, 0.577, 0.685, 0.563), strict=True)
    )
    assert [r["auroc"] for r in gat if "auroc" in r] == [0.999, 0.265, 1.0, 0.894]
    assert {r["scenario"] for r in published("hcrl_sa", SCENARIOS[:1])} == {SCENARIOS[0]}
    assert published("demo", SCENARIOS) == published("hcrl_sa", []) == []


def test_published_rows_are_shares_with_a_citation():
    for dataset in DATASETS:
        rows = published(dataset, SCENARIOS)
        assert all(0 < row.get("f1", row.get("auroc")) <= 1 for row in rows)
        assert bool(rows) == (len(citations(dataset)) > len(citations("demo")))
    cited = "\n".join(citations("hcrl_sa"))
    assert "2507.19686" in cited and "2508.04845" in cited
