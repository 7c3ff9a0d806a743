"""`cangraph data`: the datasets of the catalog, where their authors publish them, what is there."""

import hashlib
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cangraph.data.datasets import DATASETS, TRAIN, captures_of_disk, wanting
from cangraph.files import data_home, printable
from cangraph.frames import Frames
from cangraph.io.readers import read_frames

KNOWN = Path(__file__).with_name("checksums.txt")
_COLUMNS = ("arbitration_id", "dlc", "data", "attack")


def run_data(words: Sequence[str]) -> int:
    """Run `cangraph data`; returns its exit status: 1 where --check finds something wrong."""
    about = "List the datasets of the catalog, where their authors publish them, and what is there."
    parser = ArgumentParser("cangraph data", description=about)
    parser.add_argument("datasets", nargs="*", help="some of them; without, all")
    check = "read every file, count what is no frame, and compare the frames with known checksums"
    parser.add_argument("--check", action="store_true", help=check)
    given = parser.parse_args(words)
    unknown = sorted(set(given.datasets) - set(DATASETS))
    if unknown:
        came = f"{', '.join(unknown)}: no such dataset"
        raise ValueError(f"{came}; expected some of {', '.join(DATASETS)}")
    print(f"{data_home()} (CANGRAPH_DATA)")
    wrong = False
    for row in map(there, given.datasets or DATASETS):
        print("\n".join(_lines(row)))
        for name, fine, says in checks(row["dataset"]) if given.check else ():
            wrong |= not fine
            print(printable(f"    {name}: {says}"))
    return int(wrong)


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


def content(frames: Frames) -> str:
    """A hash of times, IDs, payloads and labels: the same in whatever format they are kept.

    >>> content(Frames(np.arange(2.0), np.array([1, 2])))
    '6dc39dcbc45e519d'
    """
    # readers of other formats may round otherwise in the last bit
    digest = hashlib.sha256(np.rint(frames.timestamp * 1e6).astype(np.int64).tobytes())
    for name in _COLUMNS:
        digest.update(getattr(frames, name).tobytes())
    return digest.hexdigest()[:16]


def checks(dataset: str) -> Iterator[tuple[str, bool, str]]:
    """Each file of a dataset, by its name within it: whether it is fine, which is to say every row
    is read and the frames are the known ones, where any are known; and what reading it says."""
    from rich.console import Console
    from rich.progress import track

    known = dict(line.split()[::-1] for line in KNOWN.read_text(encoding="utf-8").splitlines())
    console, about = Console(stderr=True), f"reading {dataset}"
    quiet = not console.is_terminal
    files = captures_of_disk(dataset)
    for path, _ in track(files, about, console=console, transient=True, disable=quiet):
        name = path.relative_to(data_home()).as_posix()
        try:
            frames = read_frames(path, strict=False)
        except (ValueError, OSError) as error:
            yield name, False, str(error)
            continue
        # known without its endings, which say how it is kept
        folder, _, file = name.rpartition("/")
        expected = known.get(f"{folder}/{file.split('.')[0]}")
        same, refused = expected in (None, content(frames)), frames.report.refused
        told = "as known" if same else "other content"
        rows = f"{len(frames):,} frames, {int(frames.attack.sum()):,} of them attacks"
        odd = f", {refused:,} rows refused" if refused else ""
        yield (
            name,
            same and not refused,
            f"{rows}{odd}; {told if expected else 'no checksum is known'}",
        )
