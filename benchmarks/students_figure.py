"""Draw which student to take: AUPRC and F1 against size, with a teacher and without.

python benchmarks/students.py | tail -n 1 > docs/students.json
python benchmarks/students_figure.py      reads docs/students.json, writes docs/students.png

The last line is one JSON object: for each dataset the smallest distilled student that loses no more
than .005 of F1 and .01 of AUPRC in the mean over scenarios, and what it loses in the worst one.
"""

import json

import matplotlib.pyplot as plt

import cangraph as cg
from cangraph.files import home

MEASURES = {"auprc": "AUPRC", "f1": "window F1"}
KINDS = {"alone": "labels alone", "distilled": "distilled"}
LOSSES = {"f1": 0.005, "auprc": 0.01}  # that a student may have


def lost(row: dict, teacher: dict, measure: str) -> dict[str, float]:
    """What a student loses in each scenario, and in the mean over them."""
    places = [place for place in teacher if isinstance(teacher[place], dict)]
    return {p: round(teacher[p][measure][0] - row[p][measure][0], 4) for p in places}


def panel(ax, rows: dict[str, dict], measure: str) -> None:
    """One measure of one dataset: a line for each kind of student, and the teacher."""
    for kind, label in KINDS.items():
        mine = sorted((r for n, r in rows.items() if n.endswith(kind)), key=lambda r: r["bytes"])
        means, halves = zip(*[row["mean"][measure][:2] for row in mine], strict=True)
        size = [row["parameters"] for row in mine]
        ax.errorbar(size, means, [h or 0 for h in halves], marker="o", capsize=3, label=label)
        if kind == "distilled":
            for row, x in zip(mine, size, strict=True):
                ax.annotate(f"{row['p50_ms']:.1f} ms", (x, 1.01), **BESIDE)
    teacher = rows["teacher"]
    mean, half, _ = teacher["mean"][measure]
    ax.errorbar(teacher["parameters"], mean, half or 0, marker="*", ms=12, capsize=3, color="0.3")
    ax.annotate("teacher", (teacher["parameters"], mean), (0, 10), **ABOVE)
    ax.set(xscale="log", xlabel="parameters", ylabel=MEASURES[measure])
    ax.margins(y=0.25)


ABOVE = {"textcoords": "offset points", "ha": "center"}
BESIDE = {
    "xycoords": ("data", "axes fraction"), "rotation": 90, "ha": "center", "va": "top",
    "color": "0.4", "fontsize": "small",
}  # fmt: skip


def main() -> None:
    cg.figures.use_style()
    record = json.loads((home() / "docs" / "students.json").read_text())
    datasets = list(dict.fromkeys(key.split(" | ")[0] for key in record))
    figure, axes = plt.subplots(
        len(datasets), len(MEASURES), figsize=(11, 3.4 * len(datasets)), squeeze=False
    )
    found = {}
    for dataset, line in zip(datasets, axes, strict=True):
        rows = {k.split(" | ")[1]: row for k, row in record.items() if k.startswith(f"{dataset} |")}
        teacher = rows["teacher"]
        losses = {
            name: {m: lost(row, teacher, m) for m in LOSSES}
            for name, row in rows.items()
            if name.endswith("distilled")
        }
        good = [
            name
            for name, loss in losses.items()
            if all(loss[m]["mean"] <= most for m, most in LOSSES.items())
        ]
        if good:
            name = min(good, key=lambda name: rows[name]["parameters"])
            size = rows[name]["parameters"]
            worst = {m: max(loss.values()) for m, loss in losses[name].items()}
            found[dataset] = {"student": name, "parameters": size, "lost at worst": worst}
            loss = losses[name]["f1"]
            place = max(loss, key=loss.get)
            says = f"{size:,} parameters, {teacher['parameters'] / size:.0f} times fewer than the "
            says += f"teacher: F1 {-loss['mean']:+.3f} in the mean, at worst {-loss[place]:+.3f} "
            says += f"({' '.join(place.split('_')[:2])})"
        else:
            says = "no student keeps F1 within .005 and AUPRC within .01"
            found[dataset] = None
        for ax, measure in zip(line, MEASURES, strict=True):
            panel(ax, rows, measure)
        line[0].set_title(f"{dataset}: {says}", loc="left")
    axes[0][0].legend(loc="lower right")
    figure.savefig("docs/students.png", dpi=100)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
