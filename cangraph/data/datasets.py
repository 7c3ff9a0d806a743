"""The catalog: six public datasets and the demo bus, and the role of each capture."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cangraph.bus.simulator import demo_captures
from cangraph.files import data_home
from cangraph.frames import Frames
from cangraph.io.readers import ENDINGS, is_log, read_frames

TRAIN_CLEAN, TRAIN_ATTACKS = "train_01_attack_free", "train_02_with_attacks"
TRAIN = (TRAIN_CLEAN, TRAIN_ATTACKS)
SCENARIOS = (
    "test_01_known_vehicle_known_attack",
    "test_02_unknown_vehicle_known_attack",
    "test_03_known_vehicle_unknown_attack",
    "test_04_unknown_vehicle_unknown_attack",
)


class Original(NamedTuple):
    """Files of a dataset's original release: the `pattern` of their names (of those in folders of
    scenarios: none), their scenario (none: they are left aside), and the span, in shares of the
    rows, that belongs to it."""

    pattern: str
    scenario: str
    since: float = 0.0
    until: float = 1.0


class Dataset(NamedTuple):
    """A dataset: its test scenarios, where its authors publish it, and its original files."""

    scenarios: tuple[str, ...]
    publisher: str
    originals: tuple[Original, ...] = ()


_LAMPE = (
    "can-train-and-test by Lampe and Meng (2023), published on bitbucket as "
    "brooke-lampe/can-train-and-test"
)
_HCRL = "the Hacking and Countermeasure Research Lab (HCRL), ocslab.hksecurity.net"
_SETS = (*SCENARIOS, "test_05_suppress", "test_06_masquerade")

DATASETS = {
    "demo": Dataset(_SETS, ""),
    "hcrl_ch": Dataset(
        SCENARIOS,
        f"{_HCRL}, Car-Hacking Dataset; or {_LAMPE}",
        (
            Original(r"normal_run_data.*", TRAIN_CLEAN),
            Original(r"(DoS|Fuzzy)_dataset", TRAIN_ATTACKS, until=0.7),
            Original(r"(DoS|Fuzzy)_dataset", SCENARIOS[0], since=0.75),
            Original(r"(gear|RPM)_dataset", SCENARIOS[2]),
        ),
    ),
    "hcrl_sa": Dataset(
        SCENARIOS,
        f"{_HCRL}, Survival Analysis Dataset; or {_LAMPE}",
        (
            Original(r"FreeDrivingData.*(KIA|SONATA).*", TRAIN_CLEAN),
            Original(r"Flooding_dataset.*KIA", TRAIN_ATTACKS),
            Original(r"Fuzzy_dataset.*SONATA", TRAIN_ATTACKS),
            Original(r"Flooding_dataset.*SONATA", SCENARIOS[0]),
            Original(r"Fuzzy_dataset.*KIA", SCENARIOS[0]),
            Original(r"FreeDrivingData.*Spark", ""),  # the unknown vehicle, and no attack
            Original(r"(Flooding|Fuzzy)_dataset.*Spark", SCENARIOS[1]),
            Original(r"Malfunction.*(KIA|SONATA)", SCENARIOS[2]),
            Original(r"Malfunction.*Spark", SCENARIOS[3]),
        ),
    ),
    **{f"set_0{n}": Dataset(_SETS, _LAMPE) for n in range(1, 5)},
}

_ATTACK_NAMES = {  # in the authors' file names
    r"dos|flood": "flooding",
    r"fuzz": "fuzzing",
    r"malfunction": "malfunction",
    r"suppress": "suppression",
    r"masquerade": "masquerade",
    r"replay": "replay",
    r"rpm|speed|gear|standstill|systematic|interval|force|neutral|double|triple|spoof": "spoofing",
}

# hidden files, documents, and what SQLite keeps beside a .db
_NO_CAPTURE = re.compile(
    r"^\.|^(readme|licen[cs]e|notes?|citation|changelog)\b"
    r"|\.(md|rst|pdf|html?|docx?|json|ya?ml|toml|bib|py|ipynb|png|jpe?g|md5|sha\d+)$"
    r"|-(wal|shm|journal)$|^(desktop\.ini|thumbs\.db)$",
    re.IGNORECASE,
)


def _attack_type(name: str) -> str:
    meant = (kind for pattern, kind in _ATTACK_NAMES.items() if re.search(pattern, name.lower()))
    return next(meant, "other")


def _vehicle(name: str) -> str:
    """The word or number behind the last dash or underscore: DoS-sonata, rpm-accessory-2."""
    return re.split(r"[-_]", name)[-1].lower()


def read(dataset: str, seed: int = 0) -> list[Frames]:
    """Every capture of a dataset, with its scenario, vehicle and base recording.

    The files in `CANGRAPH_DATA` are `<dataset>/<scenario>/*`, of any format that `read_frames`
    knows, or the original HCRL files anywhere under `<dataset>/`. Hidden files and documents (a
    README, a licence, .md, .pdf, …) are ignored. Of captures with equal content the first is kept
    and names the others in `Frames.copies`. A log of several buses is one capture for each, of one
    recording. Only the demo bus depends on `seed`.

    Raises `FileNotFoundError` that names the folder, the files and their publisher, and
    `ValueError` for a file that is neither a known capture nor a document.
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset: {dataset!r} is unknown; expected one of {', '.join(DATASETS)}")
    captures = demo_captures(seed) if dataset == "demo" else _read_folder(dataset)
    captures = _distinct(captures)
    recordings = same_recording(captures)
    named = (c.label(recording=r) for c, r in zip(captures, recordings, strict=True))
    return [part for capture in named for part in capture.by_bus().values()]


def present() -> list[str]:
    """The datasets that can be read now, by the names of files alone: the demo bus, and those with
    captures in `CANGRAPH_DATA`."""
    return [name for name in DATASETS if name == "demo" or captures_of_disk(name)]


def captures_of_disk(dataset: str) -> list[tuple[Path, list[str]]]:
    """The files of a dataset in `CANGRAPH_DATA` and the scenarios that each belongs to, by the
    names of files alone."""
    planned = [(path, roles) for path, roles in _planned(dataset) if roles]
    return [(path, [r.scenario for r in roles if r.scenario]) for path, roles in planned]


def wanting(dataset: str) -> str:
    """What the folder of a dataset of the catalog should hold, and where that is published."""
    known = DATASETS[dataset]
    layout = f"{TRAIN_CLEAN}/*.csv, {TRAIN_ATTACKS}/*.csv, {SCENARIOS[0]}/*.csv, …"
    if known.originals:
        names = dict.fromkeys(original.pattern for original in known.originals)
        layout += f" or the original files {', '.join(names)}"
    return (
        f"expected {layout}; get them from {known.publisher}, or set CANGRAPH_DATA to the folder "
        f"above {dataset}/"
    )


def _planned(dataset: str) -> list[tuple[Path, list[Original]]]:
    """The files in the folders of scenarios with their role, or else the original ones with theirs,
    of which some may have none."""
    folder, known = data_home() / dataset, DATASETS[dataset]
    filed = [
        (path, [Original("", scenario)])
        for scenario in TRAIN + known.scenarios
        for path in _logs((folder / scenario).glob("*"))
    ]
    if filed or not known.originals:
        return filed
    return [
        (path, [o for o in known.originals if re.fullmatch(o.pattern, _stem(path), re.IGNORECASE)])
        for path in _logs(folder.rglob("*"))
    ]


def _read_folder(dataset: str) -> list[Frames]:
    captures = []
    for path, roles in _planned(dataset):
        stem, filed = _stem(path), any(not role.pattern for role in roles)
        if filed and not is_log(path):
            raise ValueError(
                f"{path}: the ending is not known; expected {', '.join(ENDINGS)}, plain or as .gz, "
                ".zst or .xz; convert the file, or take it away"
            )
        if not roles:
            names = dict.fromkeys(o.pattern for o in DATASETS[dataset].originals)
            raise ValueError(
                f"{path}: no original file has this name; expected {', '.join(names)}; "
                "rename the file, or take it away"
            )
        if not any(role.scenario for role in roles):
            continue
        vehicle = _vehicle(stem) if filed else _original_vehicle(stem)
        frames = read_frames(path, attack_type=_attack_type(stem), vehicle=vehicle)
        for role in roles:
            part = slice(int(role.since * len(frames)), int(role.until * len(frames)))
            captures.append(frames[part].label(scenario=role.scenario))
    if not captures:
        place = data_home() / dataset
        raise FileNotFoundError(f"dataset {dataset!r}: no captures in {place}; {wanting(dataset)}")
    return captures


def _logs(paths: Iterable[Path]) -> list[Path]:
    """The files in order, without those whose names are not of captures."""
    return sorted(p for p in paths if p.is_file() and not _NO_CAPTURE.search(p.name))


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _original_vehicle(stem: str) -> str:
    named = re.search(r"kia|sonata|spark", stem.lower())
    return named.group() if named else "sonata"  # the Car-Hacking files name no car; it is one


def _distinct(captures: Sequence[Frames]) -> list[Frames]:
    """The captures without copies of earlier ones, which the first of them names."""
    seen: dict[str, list[Frames]] = {}
    for capture in captures:
        seen.setdefault(capture.sha256(), []).append(capture)
    return [
        first.label(copies=tuple(copy.info.label for copy in copies))
        for first, *copies in seen.values()
    ]


def clean_captures(captures: Sequence[Frames]) -> list[Frames]:
    """The attack-free training captures that share no recording with a test capture, to synthesise
    attacks into."""
    tested = {c.recording for c in captures if not c.scenario.startswith("train")}
    return [c for c in captures if c.scenario == TRAIN_CLEAN and c.recording not in tested]


_GRAM = 8  # frames in a row; such runs with equal (ID, data) do not recur by chance
_SHARED = 0.3  # two captures with this share of common runs are one recording


def same_recording(captures: Sequence[Frames]) -> list[str]:
    """The base recording of each capture: the name of the first capture it shares one with.

    Two captures derive from one recording when at least 30 % of the shorter one's runs of 8 benign
    frames, by (ID, data), are in the other as well. Authors shift timestamps, so these do not
    count. Drives of one car share under 15 %, altered copies over 50 %.

    >>> log = Frames(np.arange(99.), np.arange(99) % 7, data=np.arange(99 * 8).reshape(99, 8) % 251)
    >>> same_recording([log.label(name="a"), log[20:].label(name="b")])
    ['a', 'a']
    """
    runs = [_runs(capture) for capture in captures]
    group = np.arange(len(captures))  # each capture's recording, by its first capture
    for i, mine in enumerate(runs):
        for j in range(i):
            shorter = min(len(mine), len(runs[j]))
            common = len(np.intersect1d(mine, runs[j], assume_unique=True))
            if shorter and common >= _SHARED * shorter:
                one, other = sorted((group[i], group[j]))
                group[group == other] = one
    firsts = [captures[k] for k in group.tolist()]
    return [f"{first.scenario}/{first.name}".lstrip("/") for first in firsts]


def _runs(frames: Frames) -> np.ndarray:
    """Hashes of an eighth of the runs of `_GRAM` benign frames, sorted, u8."""
    benign = ~frames.attack
    odd = np.uint64(0x9E3779B97F4A7C15)
    payload = np.ascontiguousarray(frames.data[benign, :8]).view("<u8")[:, 0]
    mixed = payload * odd ^ (payload >> np.uint64(31))
    mixed = (mixed + frames.arbitration_id[benign]) * odd
    mixed ^= mixed >> np.uint64(29)
    n = len(mixed) - _GRAM + 1
    if n < 1:
        return np.zeros(0, np.uint64)
    run = np.zeros(n, np.uint64)
    for i in range(_GRAM):
        run = run * odd + mixed[i : i + n]
    run ^= run >> np.uint64(32)
    return np.unique(run[run % np.uint64(8) == 0])
