"""Draw the README's figure: one window of the demo bus, as frames and as a graph.

python benchmarks/window_figure.py        writes docs/window.png
"""

import json

import matplotlib.pyplot as plt
import numpy as np

import cangraph as cg

cg.figures.use_style()
captures = [c for c in cg.read("demo") if c.name == "spoofing-clover"]
graphs = cg.to_graphs(captures, 100, 100)
counts = np.add.reduceat(graphs.node_count * graphs.node_attack, graphs.node_ptr[:-1])
shown = int(np.argmax(counts))
one, begin = graphs[shown], int(graphs.begin[shown])
frames = captures[0][begin : begin + 100]

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.2), width_ratios=[1.1, 1])
cg.figures.frames(
    frames.timestamp, frames.arbitration_id, frames.attack, left, "100 frames on the bus …"
)
lit = one.node_attack[one.edge_index[0]] | one.node_attack[one.edge_index[1]]
cg.figures.graph(
    one.node_id,
    one.edge_index,
    2 ** one.edge_attr[:, 0] - 1,
    one.node_attack,
    lit,
    ax=right,
    title="… and the graph a detector sees",
)
figure.savefig("docs/window.png", dpi=110)
print(json.dumps({"window": shown, "attack_frames": int(frames.attack.sum())}))
