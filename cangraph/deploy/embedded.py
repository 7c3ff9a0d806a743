"""`cangraph export --c`: a detector as one C99 file, for an ECU, which runs no Python.

The C stands in `car.c` and `car.h` beside this module. It follows `features.kernel`,
`features.windows` and `evaluation.alarms` line by line and holds none of their numbers: constants,
names of features and weights are written into it here. `tests/deploy/test_embedded.py` compares
what both say of the same traffic.
"""

import re
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import pack, unpack
from textwrap import fill
from typing import Any

import numpy as np

from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported, graph_of, message_fields
from cangraph.evaluation.alarms import evidence_constants
from cangraph.features.kernel import SUMS, Lapse
from cangraph.features.schema import AGGREGATES, EDGE_FEATURES, FRAME_FEATURES, NODE_FEATURES
from cangraph.features.windows import BREAK, FRAME_NAMES, Known, constants
from cangraph.files import apart, put
from cangraph.frames import ATTACK_TYPES, CRC_8, LATEST

_HOLD = 1.0  # s; as `Monitor` has it
_LAYER = {  # of a layer, as C calls it
    "left": "convs.{}.lin_l.weight",
    "left_bias": "convs.{}.lin_l.bias",
    "right": "convs.{}.lin_r.weight",
    "right_bias": "convs.{}.lin_r.bias",
    "edge": "convs.{}.lin_edge.weight",
    "att": "convs.{}.att",
    "residual": "convs.{}.res.weight",
    "bias": "convs.{}.bias",
    "norm": "norms.{}.weight",
    "norm_bias": "norms.{}.bias",
}


def to_c(detector: Exported, path: Path | str, bus: str = "") -> tuple[Path, Path]:
    """Write a detector to `path`, a C99 file, with what it knows of this `bus` if it has a
    baseline, and its header beside it; returns both.

    Raises `ValueError` for a detector other than a GAT, one whose windows overlap, a bus that its
    baseline lacks, and a name that is none of a C file.
    """
    path = Path(path)
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.c", path.name):
        raise ValueError(f"{path}: no name of a C file; expected letters, digits and .c; use car.c")
    if detector.kind not in ("GAT", "fusion (gat)"):
        came = f"{detector.path}: a {detector.kind}"
        raise ValueError(f"{came}; expected a GAT, the net that C knows; export gat.onnx")
    baseline = detector.baseline
    known = baseline.of(bus) if baseline else None
    if baseline and known is None:
        came = f"{detector.path}: its baseline does not hold the bus {bus!r}"
        raise ValueError(f"{came}; expected one of {', '.join(baseline.buses)}; name it with --bus")
    if detector.stride < detector.window:
        came = f"{detector.path}: windows of {detector.window} frames, {detector.stride} apart"
        raise ValueError(f"{came}; expected windows that do not overlap; train it with such")
    header = path.with_suffix(".h")
    sizes, numbers, tables = _net(graph_of(detector.path.read_bytes())[0])
    sizes |= {"window": detector.window, "stride": detector.stride}
    sizes |= {"edge_features": len(EDGE_FEATURES), "sums": SUMS}
    sizes |= {
        "frame_features": len(FRAME_FEATURES),
        "row": max(len(NODE_FEATURES), sizes["states"]),
    }
    numbers = _numbers(detector) | numbers
    words = {name: f"{numbers[name]:g}" for name in ("latest", "silence_gone", "scale_young")}
    words |= {"header": header.name, "name": re.sub(r"[^\w.-]", "_", detector.path.name)}
    blocks = {
        "sizes": _defines({f"cangraph_{name}": size for name, size in sizes.items()}),
        "attacks": ", ".join(f"CANGRAPH_{name.upper()}" for name in ATTACK_TYPES),
        "lapses": ", ".join(lapse.name for lapse in Lapse),
        "constants": "\n".join([_defines(numbers), _features(), tables, _known(known)]),
    }
    for place in (path, header):
        text = Path(__file__).with_name(f"car{place.suffix}").read_text()
        for name, value in blocks.items():
            text = text.replace(f"/*@{name}@*/", value)
        for name, value in words.items():
            text = text.replace(f"@{name}@", value)
        put(place, text.encode())
    return path, header


def _numbers(detector: Exported) -> dict[str, float]:
    """The constants of kernel, windows and alarms, and what the detector says of itself."""
    found = constants() | {f"evidence.{k}": v for k, v in evidence_constants().items()}
    own = {"threshold": detector.threshold, "hold": _HOLD, "latest": LATEST}
    own |= {"extended": 1 << 31, "id_bits": (1 << 29) - 1, "id_bits_standard": (1 << 11) - 1}
    return {name.replace(".", "_"): value for name, value in (found | own).items()}


def _defines(values: dict[str, float]) -> str:
    """
    >>> _defines({"tick": 0.001, "young": 8})
    '#define TICK 0.001\\n#define YOUNG 8'
    """
    lines = []
    for name, value in values.items():
        big = "u" if isinstance(value, int) and value >> 31 else ""
        lines.append(f"#define {name.upper()} {value!r}{big}")
    return "\n".join(lines)


def _features() -> str:
    """The places of features by name, and which of a frame a node sums up."""
    text = ""
    places = {"F": FRAME_FEATURES, "N": NODE_FEATURES, "E": EDGE_FEATURES}
    for letter, features in places.items():
        names = ", ".join(f"{letter}_{feature.name.upper()}" for feature in features)
        text += _wrapped("enum", names)
    text += f"enum {{ KINDS = {len(ATTACK_TYPES)} }};\n"
    text += f"enum {{ NODE_FEATURES = {len(NODE_FEATURES)} }};\n"
    text += _wrapped("static const uint8_t CRC_8[256] =", ", ".join(map(str, CRC_8.tolist())))
    nodes, hows = [feature.name for feature in NODE_FEATURES], {"mean": "SUM", "min": "LEAST"}
    pooled = (
        f"{{{FRAME_NAMES.index(name)}, {nodes.index(f'{name}_{how}')}, {hows.get(how, 'MOST')}}}"
        for name, how in AGGREGATES
    )
    text += f"enum {{ SUM, LEAST, MOST, POOLED_FEATURES = {len(AGGREGATES)} }};\n"
    return text + _wrapped(
        "static const struct pooled POOLED[POOLED_FEATURES] =", ", ".join(pooled)
    )


def _wrapped(name: str, content: str) -> str:
    return f"{name} {{\n{fill(content, 98, initial_indent='    ', subsequent_indent='    ')}\n}};\n"


def _net(graph: bytes) -> tuple[dict[str, int], dict[str, float], str]:
    """The GAT in the graph of a detector's file: its sizes, the numbers of its operators, and its
    weights as C. Raises `ValueError` for any other net."""
    parts = [(n, message_fields(part)) for n, part in message_fields(graph) if n in (1, 5)]
    nodes = [fields for number, fields in parts if number == 1]
    weights = dict(_tensor(fields) for number, fields in parts if number == 5)
    try:
        layers = sum(name.endswith(".att") for name in weights)
        tables = dict(_tables({k.removeprefix("net."): w for k, w in weights.items()}, layers))
        numbers = {
            "net_epsilon": _attribute(nodes, b"LayerNormalization", b"epsilon"),
            "net_leak": _attribute(nodes, b"LeakyRelu", b"alpha"),
            "net_clip": max(float(w) for w in weights.values() if not w.ndim),
        }
        _, heads, width = weights["net.encoder.convs.0.att"].shape
    except (KeyError, IndexError) as error:
        raise ValueError(f"a net without {error}; expected a GAT; export it again") from error
    text = "".join(_table(name, values) for name, values in tables.items())
    rows = (
        f"{{{len(tables[f'LEFT_{k}']) // (heads * width)}, "
        + ", ".join(f"{name.upper()}_{k}" for name in _LAYER)
        + "}"
        for k in range(layers)
    )
    text += _wrapped(f"static const struct layer LAYER[{layers}] =", ", ".join(rows))
    sizes = {"hidden": len(tables["NODE_LAST"]), "states": heads * width}
    text += f"enum {{ LAYERS = {layers}, HEADS = {heads}, PER_HEAD = {width} }};\n"
    return sizes, numbers, text


def _known(known: Known | None) -> str:
    """What is known of a bus before its first frame, as C."""
    if known is None:
        return _defines({"known_ids": 0, "known_bytes": 0, "known_width": 0})
    keys, heard = [*known.profiles.slots], known.profiles.heard[0]
    slots: list[str] = []
    changed = ["{.next = 0}"]  # the first record stands for none
    for slot, said in zip(known.profiles.table[: len(keys)], known.last, strict=True):
        slots.append(_initial(_slot(slot, said, changed)))
    width = known.profiles.table.dtype["data"].shape[0]
    numbers = {"ids": len(keys), "bytes": len(changed) - 1, "width": width, "pause": BREAK}
    numbers |= {"ended": known.ended, "heard": float(heard["time"])}
    numbers |= {name: float(heard[name]) for name in ("last_time", "since", "rate")}
    text = _defines({f"known_{name}": number for name, number in numbers.items()})
    rows = {"uint32_t": ("KEY", [f"{key}u" for key in keys])}
    rows |= {"struct cangraph_slot": ("SLOT", slots), "struct cangraph_byte": ("BYTE", changed)}
    for kind, (name, content) in rows.items():
        text += "\n" + _wrapped(f"static const {kind} KNOWN_{name}[] =", ",\n".join(content))
    return text


def _slot(slot: np.void, said: np.void, changed: list[str]) -> dict[str, Any]:
    """The fields of a `struct cangraph_slot`; the records of its bytes go to `changed`."""
    flips, moves, counters, sums = (slot[part] for part in ("flips", "moves", "counters", "sums"))
    by_byte = {name: flips[name] for name in ("rate", "moves")}
    by_byte |= {name: moves[name] for name in ("rest", "longest", "step", "changes", "values")}
    by_byte |= {name: counters[name] for name in ("kept", "turn", "lapsed")}
    values = np.unpackbits(moves["values"], axis=1, bitorder="little")
    records, first = np.zeros(len(values), int), 0
    for j, value in enumerate(slot["data"].tolist()):
        odd = values[j].sum() > values[j, value]
        if odd or any(part[j].any() for name, part in by_byte.items() if name != "values"):
            changed.append(_initial({name: part[j] for name, part in by_byte.items()}))
            records[j] = len(changed) - 1
        elif values[j].any():
            first = j + 1  # it has its first value
    told = {name: np.float32(said[name]) for name in ("jitter", "rate")}
    told |= {"distrust": np.float32(1.0 - said["trust"])}
    fields = {name: slot["clock"][name] for name in slot["clock"].dtype.names}
    fields |= {"trust": slot["trust"]["amount"], "first_time": slot["trust"]["first_time"]}
    fields |= {"told_period": said["log_period"]} | {f"told_{k}": v for k, v in told.items()}
    fields |= {"trend": flips["trend"]} | {n: slot["usual"][n] for n in slot["usual"].dtype.names}
    fields |= {f"sum_{name}": sums[name] for name in sums.dtype.names}
    fields |= {"sum_seen": min(int(sums["seen"]), 0xFFFF), "node": 0xFFFF, "byte": records}
    fields |= {n: slot[n] for n in ("seen", "data", "before", "early", "dlc", "early_dlc")}
    company = min(int(said["company"]), 0xFF)
    return fields | {"first_dlc": first, "watched": np.count_nonzero(records), "company": company}


def _initial(fields: dict[str, Any]) -> str:
    """
    >>> _initial({"time": np.float64(0.5), "kept": np.ones(2, np.float32), "dlc": 8})
    '{.time = 0.5, .kept = {1.f, 1.f}, .dlc = 8}'
    """
    parts = []
    for name, value in fields.items():
        array = np.asarray(value)
        text = _floats(array.reshape(-1)) if array.dtype == np.float32 else None
        text = text or ", ".join(map(repr, array.reshape(-1).tolist()))
        parts.append(f".{name} = {{{text}}}" if array.ndim else f".{name} = {text}")
    return f"{{{', '.join(parts)}}}"


def _tensor(fields: list[tuple[int, Any]]) -> tuple[str, np.ndarray]:
    """Name and values of a TensorProto; integers come out empty."""
    said, shape = dict(fields), [size for number, size in fields if number == 1]
    values = np.frombuffer(said[9], np.float32).reshape(shape) if said[2] == 1 else np.zeros(0)
    return said[8].decode(), values


def _attribute(nodes: list[list[tuple[int, Any]]], kind: bytes, name: bytes) -> float:
    """A number that the first operator of this kind has."""
    node = next(fields for fields in nodes if dict(fields)[4] == kind)
    (value,) = (a[2] for a in (dict(message_fields(v)) for n, v in node if n == 5) if a[1] == name)
    return unpack("<f", pack("<I", value))[0]


def _tables(weights: dict[str, np.ndarray], layers: int) -> Iterator[tuple[str, np.ndarray]]:
    """The weights by their names in C; matrices by their inputs."""
    for k in range(layers):
        for name, key in _LAYER.items():
            values = weights[f"encoder.{key.format(k)}"]
            yield f"{name.upper()}_{k}", (values.T if values.ndim == 2 else values).reshape(-1)
    for part in ("node", "edge"):
        for moment in ("mean", "std"):
            yield f"{part}_{moment}".upper(), weights[f"encoder.{part}_scale.{moment}"]
    for part in ("window", "node"):
        yield f"{part}_head".upper(), weights[f"{part}_head.0.weight"].T.reshape(layers, -1)
        yield f"{part}_bias".upper(), weights[f"{part}_head.0.bias"]
        yield f"{part}_last".upper(), weights[f"{part}_head.2.weight"][0]
        yield f"{part}_last_bias".upper(), weights[f"{part}_head.2.bias"]
    rows = sum(weights[f"encoder.norms.{k}.bias"].size for k in range(layers))
    # the exporter turns this one, and forgets its name
    (kinds,) = (w for w in weights.values() if w.shape == (rows, len(ATTACK_TYPES)))
    yield "KIND_HEAD", kinds.reshape(layers, -1)
    yield "KIND_BIAS", weights["type_head.bias"]


def _table(name: str, values: np.ndarray) -> str:
    shape = "".join(f"[{size}]" for size in values.shape)
    rows = (_floats(row) for row in values) if values.ndim > 1 else [_floats(values)]
    content = ", ".join(f"{{{row}}}" if values.ndim > 1 else row for row in rows)
    return _wrapped(f"static const float {name}{shape} =", content)


def _floats(values: np.ndarray) -> str:
    """Numbers as C reads them back to the same bits.

    >>> _floats(np.array([0.1, 2, 1e-9], np.float32))
    '0.100000001f, 2.f, 9.99999972e-10f'
    """
    texts = (f"{value:.9g}" for value in values.tolist())
    return ", ".join(f"{t}f" if "." in t or "e" in t else f"{t}.f" for t in texts)


def run_export(arguments: Sequence[str]) -> int:
    """Run `cangraph export`; returns its exit status. Raises as `to_c` does."""
    about = "Write a detector as one C99 file for an ECU: frames in, verdicts out, no allocation."
    parser = ArgumentParser("cangraph export", description=about)
    parser.add_argument(
        "detector", nargs="?", type=Path, help="car.onnx (without: the bundled one)"
    )
    parser.add_argument(
        "--c",
        required=True,
        type=Path,
        metavar="CAR.c",
        help="the C file to write, and CAR.h beside it",
    )
    parser.add_argument("--bus", default="", help="bus of the baseline, if it holds several")
    given = parser.parse_args(arguments)
    apart(given.c, [given.detector])
    source, header = to_c(Exported(given.detector or boxed()), given.c, given.bus)
    print(f"{source}, {header}: compile with -std=c99 -O2 -ffp-contract=off, link with -lm")
    return 0
