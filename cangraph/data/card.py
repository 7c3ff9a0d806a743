"""The data card: what a dataset contains, and which of its flaws make results look better."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment

from cangraph.data.graphs import Graphs
from cangraph.files import printable
from cangraph.frames import CaptureInfo, Frames

_SHORT_GAP = 50e-6  # s; made by the logger, since the shortest frame takes 94 µs at 500 kbit/s
_TOLD = (
    "scenario", "name", "vehicle", "recording", "frames", "arbitration_ids", "seconds",
    "attack_frames", "reordered",
)  # fmt: skip
_LEAK = 0.9  # the card warns of short gaps from this AUROC on
_OFTEN = 0.1  # and of repeated test frames from this share on


def data_card(captures: Sequence[Frames], graphs: Graphs) -> dict:
    """The data card of a dataset, ready for JSON; None stands for undefined.

    - `captures`: a row each, with shares from 0 to 1. `short_gaps` are under 50 µs; `duplicates`
      are frames of a test capture whose (ID, data) is in a training capture; `copies` were left
      out.
    - `shared_recordings`: captures that derive from one recording, a list for each recording.
    - `duplicates`: over all test frames.
    - `leak_canary`: the AUROC over captures of `short_gaps` as a detector of captures with attacks,
      and the verdict.
    - `warnings`: sentences.

    Raises `ValueError` when `graphs` are not those of `captures`.

    >>> from cangraph.data.graphs import to_graphs
    >>> log = Frames(np.arange(9) * 1e-3, np.arange(9) % 3, name="a", scenario="test_01")
    >>> data_card([log], to_graphs([log], 3, 3))["warnings"]
    ['1 capture outside the attack-free scenario has no window under attack: test_01 a. No
    detection can be measured there.']
    """
    graphs.require(captures, "data_card")
    infos = graphs.captures
    windows = np.bincount(graphs.capture, minlength=len(infos)).tolist()
    attacked = np.bincount(graphs.capture, graphs.label, len(infos)).astype(int).tolist()
    columns = zip(captures, infos, windows, attacked, _repeated(captures), strict=True)
    rows = [_row(*column) for column in columns]
    tested = [row for row in rows if row["repeated_frames"] is not None]
    repeated, frames = (sum(row[n] for row in tested) for n in ("repeated_frames", "frames"))
    card = {
        "captures": rows,
        "shared_recordings": _groups((i.recording, i.label) for i in infos if i.recording),
        "duplicates": {"frames": repeated, "of": frames, "share": _share(repeated, frames)},
        "leak_canary": _leak_canary(rows),
    }
    return card | {"warnings": _warnings(card)}


def _groups(keyed: Iterable[tuple[str, Any]]) -> list[list]:
    """The items of each key that has more than one."""
    groups = defaultdict(list)
    for key, item in keyed:
        groups[key].append(item)
    return [group for group in groups.values() if len(group) > 1]


def _row(
    capture: Frames, info: CaptureInfo, windows: int, attacked: int, repeated: int | None
) -> dict:
    gaps = np.diff(capture.timestamp)
    return {
        "capture": info.label,
        **{name: getattr(info, name) for name in _TOLD},
        "attack_frame_share": _share(info.attack_frames, info.frames),
        "windows": windows,
        "attack_windows": attacked,
        "attack_window_share": _share(attacked, windows),
        "short_gaps": float((gaps < _SHORT_GAP).mean()),
        "repeated_frames": repeated,
        "duplicates": None if repeated is None else _share(repeated, info.frames),
        "copies": list(capture.copies),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _repeated(captures: Sequence[Frames]) -> list[int | None]:
    """Frames of each test capture whose (ID, data) a training capture holds; None in training."""
    is_train = [capture.scenario.startswith("train") for capture in captures]
    words = -(-max(capture.data.shape[1] for capture in captures) // 8)
    trained = [_messages(c, words).unique() for c, t in zip(captures, is_train, strict=True) if t]
    if not trained:
        return [None] * len(captures)
    known = pl.concat(trained).unique()
    return [
        None if t else _messages(capture, words).join(known, on="message", how="semi").height
        for capture, t in zip(captures, is_train, strict=True)
    ]


def _messages(frames: Frames, words: int) -> pl.DataFrame:
    """A hash of (arbitration_id, data) of each frame, u8: the columns would take gigabytes."""
    padded = np.zeros((len(frames), 8 * words), np.uint8)
    padded[:, : frames.data.shape[1]] = frames.data
    columns = {f"word_{i}": word.copy() for i, word in enumerate(padded.view("<u8").T)}
    table = pl.DataFrame({"id": frames.arbitration_id, "dlc": frames.dlc} | columns)
    return table.hash_rows().to_frame("message")


def _leak_canary(rows: list[dict]) -> dict:
    """How well a number that no attack should change tells captures with attacks from others."""
    from sklearn.metrics import roc_auc_score

    value = np.array([row["short_gaps"] for row in rows])
    attack = np.array([row["attack_frames"] > 0 for row in rows])
    found: dict = {"auroc": None, "leaks": False}
    if attack.all() or not attack.any():
        some = "every" if attack.any() else "no"
        return found | {"verdict": f"Undefined: {some} capture holds an attack"}
    auroc = float(roc_auc_score(attack, value))
    found = {"auroc": auroc, "leaks": auroc >= _LEAK}
    what = "tell" if found["leaks"] else "do not tell"
    verdict = f"Gaps under 50 µs {what} which captures hold an attack (AUROC {auroc:.2f})"
    return found | {"verdict": verdict}


def _warnings(card: dict) -> list[str]:
    """The sentences of card.txt that hold of a card."""
    free = [row["scenario"] for row in card["captures"] if "attack_free" in row["scenario"]]
    text = Path(__file__).with_name("card.txt").read_text(encoding="utf-8")
    template = Environment(trim_blocks=True, finalize=printable).from_string(text)
    return template.render(card, attack_free=free, often=_OFTEN).splitlines()
