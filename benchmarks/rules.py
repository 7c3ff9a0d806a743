"""Which frames break a rule of their ID, and which IDs break one although nobody attacks.

    CANGRAPH_DATA=… python benchmarks/rules.py [--datasets hcrl_sa set_04] [--feature broken_rule]
        [--over 1]

For each capture the frames of which a feature is told with more than `--over`: of the benign ones
how many in a million, of the attack's the share, and the benign IDs that have most of them. What a
profile tells of benign frames is what a detector has to live with; drawing the frames of the first
ID of this list is how a rule that is none is found. The last line is one JSON object.
"""

import argparse
import json
from collections import Counter

import cangraph as cg
from cangraph.features.profile import profile
from cangraph.features.schema import FRAME_FEATURES

NAMES = [feature.name for feature in FRAME_FEATURES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["hcrl_sa", "set_04"])
    parser.add_argument("--feature", default="broken_rule", choices=NAMES)
    parser.add_argument("--over", type=float, default=1.0)
    given = parser.parse_args()
    record = {}
    for dataset in given.datasets:
        for capture in cg.read(dataset):
            features, *_ = profile(capture)
            told = features[:, NAMES.index(given.feature)] > given.over
            attack = capture.attack
            ids = Counter(f"{i:X}" for i in capture.arbitration_id[told & ~attack].tolist())
            row = {
                "benign": int((told & ~attack).sum()),
                "benign a million": round(1e6 * float(told[~attack].mean()), 1),
                "attack": round(float(told[attack].mean()), 4) if attack.any() else None,
                "ids": dict(ids.most_common(5)),
            }
            print(f"{dataset:8} {capture.scenario[:7]} {capture.name:28}", row)
            record[f"{dataset} {capture.scenario}/{capture.name}"] = row
    print(json.dumps(record))


if __name__ == "__main__":
    main()
