"""Why the wide teacher needs weight decay and a small learning rate: AUROC on unseen attacks.

    CANGRAPH_DATA=... make run DATASET=hcrl_sa      (for the graphs)
    python benchmarks/teacher_regularisation.py [seed ...]

Trains the GAT teacher of hcrl_sa with each pair of settings and prints the AUROC of every test
scenario, mean over captures. The last line is one JSON object.
"""

import json
import sys

import cangraph as cg

SETTINGS = {"plain": (0.002, 0.0001), "decay": (0.002, 0.3), "default": (0.0005, 0.3)}

seeds = [int(seed) for seed in sys.argv[1:]] or [0]
figures, clean = {}, cg.clean_captures(cg.read("hcrl_sa"))
for name, (learning_rate, weight_decay) in SETTINGS.items():
    for seed in seeds:
        params = cg.load_params(
            "hcrl_sa",
            seed=seed,
            teacher={"learning_rate": learning_rate},
            fit={"weight_decay": weight_decay},
        )
        data = cg.runs.load_data(cg.load_params("hcrl_sa"))
        material = cg.Synthesis(data, clean, params)
        cg.seed_everything(seed)
        gat = cg.Detector(cg.GAT(data.graphs.spec, **params.teacher.gat))
        gat = cg.fit(gat, material, params)
        rows = cg.by_scenario(gat.score(data.test), gat.even_chance)
        figures[f"{name}, seed {seed}"] = [round(row["auroc"], 4) for row in rows]
        print(name, seed, *figures[f"{name}, seed {seed}"], flush=True)
print(json.dumps(figures))
