"""`cangraph data`: the datasets of the catalog, where their authors publish them, what is there."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from cangraph.data.datasets import DATASETS, TRAIN, captures_of_disk, wanting
from cangraph.files import data_home


def run_data(words: Sequence[str]) -> int:
    """Run `cangraph data`; returns its exit status."""
    about = "List the datasets of the catalog, where their authors publish them, and what is there."
    parser = ArgumentParser("cangraph data", description=about)
    parser.add_argument("datasets", nargs="*", help="some of them; without, all")
    given = parser.parse_args(words)
    unknown = sorted(set(given.datasets) - set(DATASETS))
    if unknown:
        came = f"{', '.join(unknown)}: no such dataset"
        raise ValueError(f"{came}; expected some of {', '.join(DATASETS)}")
    print(f"{data_home()} (CANGRAPH_DATA)")
    for row in map(there, given.datasets or DATASETS):
        print("\n".join(_lines(row)))
    return 0


def there(dataset: str) -> dict[str, Any]:
    """What is there of a dataset: its `files` and `bytes`, how many files each of its `scenarios`
    has, which are `missing`, and its `publisher`."""
    known, files = DATASETS[dataset], captures_of_disk(dataset)
    scenarios = dict.fromkeys((*TRAIN, *known.scenarios), 0)
    for _, mine in files:
        for scenario in mine:
            scenarios[scenario] += 1
    return {
        "dataset": dataset,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path, _ in files),
        "scenarios": scenarios,
        "missing": [name for name, number in scenarios.items() if not number and known.publisher],
        "publisher": known.publisher,
    }


def _lines(row: dict[str, Any]) -> list[str]:
    if not row["publisher"]:
        return [f"{row['dataset']}: simulated, nothing to get"]
    if not row["files"]:
        return [f"{row['dataset']}: nothing is there", f"    {wanting(row['dataset'])}"]
    missing = ", ".join(row["missing"]) or "no scenario"
    size = f"{row['files']} files, {row['bytes'] / 1e6:,.1f} MB"
    return [f"{row['dataset']}: {size}; missing: {missing}", f"    from {row['publisher']}"]
