"""Print the data cards of datasets, and the recordings that they share with each other.

CANGRAPH_DATA=... python benchmarks/data_card.py set_01 set_02 set_03 set_04

The last line is one JSON object: {"cards": {dataset: card}, "shared_between": [[capture, …], …]}.
"""

import argparse
import json
from collections import defaultdict

import cangraph as cg
from cangraph.data.datasets import same_recording


def shared_between(datasets: dict) -> list[list[str]]:
    """Captures of several datasets (name → captures) that derive from one recording, a list for
    each recording. A model trained on one of them must not be tested on another."""
    everything = [(name, capture) for name, mine in datasets.items() for capture in mine]
    # the datasets reuse names for different drives, and same_recording knows drives by name
    numbered = [c.label(name=str(i), scenario="") for i, (_, c) in enumerate(everything)]
    groups = defaultdict(list)
    for recording, (name, capture) in zip(same_recording(numbered), everything, strict=True):
        groups[recording].append((name, f"{name} {capture.info.label}"))
    return [[label for _, label in g] for g in groups.values() if len({name for name, _ in g}) > 1]


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("datasets", nargs="+", metavar="DATASET", choices=cg.data.DATASETS)
# a dataset named twice would share every recording with itself
names = list(dict.fromkeys(parser.parse_args().datasets))
captures = {name: cg.read(name) for name in names}
cards = {}
columns = ["capture", "vehicle", "frames", "arbitration_ids", "seconds", "attack_frame_share"]
columns += ["attack_window_share", "reordered", "short_gaps", "duplicates"]
for name, mine in captures.items():
    params = cg.load_params(name)
    card = cards[name] = cg.data.data_card(mine, cg.to_graphs(mine, params.window, params.stride))
    print(f"\n{name}\n\n{cg.report.show(card['captures'], columns)}\n")
    print(*(f"- {warning}" for warning in card["warnings"] or ["Nothing found."]), sep="\n")
shared = shared_between(captures) if len(captures) > 1 else []
if len(captures) > 1:
    print(f"\n{len(shared)} recordings are shared between {', '.join(captures)}")
    print(*(f"- {' = '.join(group)}" for group in shared), sep="\n")
print(json.dumps({"cards": cards, "shared_between": shared}, allow_nan=False))
