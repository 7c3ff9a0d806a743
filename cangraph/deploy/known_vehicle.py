"""`cangraph baseline`: a detector that knows one vehicle, by the `Baseline` in its file."""

import base64
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from cangraph.deploy.box import boxed, takes_detector
from cangraph.deploy.detector import BASELINE, Exported, graph_of
from cangraph.features.baseline import LONG, Baseline
from cangraph.files import apart, put
from cangraph.io.readers import read_frames

_SHORT = 30.0  # s; in less a vehicle shows too little of itself


def with_baseline(detector: Exported, baseline: Baseline, path: Path | str) -> Exported:
    """Write the detector to `path` with this baseline, in place of the one that it may have, and
    return it as `Exported` reads it. To a detector that was trained without (`synthesis.known` 0)
    it means nothing that an ID is foreign."""
    content = detector.path.read_bytes()
    if before := graph_of(content)[1].get(BASELINE):
        content = content.removesuffix(_entry(before.encode()))
    put(Path(path), content + _entry(base64.b64encode(baseline.to_bytes())))
    return Exported(path)


def _entry(text: bytes) -> bytes:
    """What is appended to an ONNX file: field 14 of a ModelProto, a pair of metadata (fields of a
    protobuf message may come in pieces, one behind the other)."""
    return _field(14, _field(1, BASELINE.encode()) + _field(2, text))


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes as protobuf encodes it: tag, length in groups of seven bits, content."""
    length, size = bytearray(), len(content)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def run_baseline(arguments: Sequence[str]) -> int:
    """Run `cangraph baseline`; returns its exit status. Raises as reading the logs does."""
    about = "Learn what is normal for one vehicle from logs of its clean traffic: its IDs, gaps, "
    about += "payloads and rules. More modes, such as parked, city and motorway, are better."
    parser = ArgumentParser("cangraph baseline", description=about)
    parser.add_argument(
        "logs", nargs="+", type=Path, metavar="LOG", help="clean traffic, without any attack"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="the detector to write, car.onnx"
    )
    takes_detector(parser)
    given = parser.parse_args(arguments)
    apart(given.out, given.logs)
    detector = Exported(given.detector or boxed())
    if not detector.about["trained_on"]["params"].get("synthesis", {}).get("known"):
        came = f"{detector.path}: it was trained without baselines"
        expected = "expected synthesis.known above 0, as in params/your_car.yaml"
        raise ValueError(f"{came}; {expected}; take the bundled detector, or train it so")
    logs = [read_frames(path, strict=False) for path in given.logs]
    for path, log in zip(given.logs, logs, strict=True):
        refused = f", {log.report.refused:,} rows refused" if log.report.refused else ""
        print(f"{path}: {len(log):,} frames, {log.duration:.0f} s{refused}")
    baseline = Baseline.learn(logs)
    made = with_baseline(detector, baseline, given.out)
    print(f"{made.path}: {baseline}. Use it: cangraph scan --detector {made.path} my.log")
    if baseline.seconds < _SHORT:
        print(f"That is less than {_SHORT:.0f} s: what the vehicle did not show is foreign to it.")
    for bus, known in baseline.relations.items():
        print(f"{bus or made.path}: {known}: scan tells when messages contradict each other.")
    if not baseline.relations:
        print(f"From {LONG / 60:.0f} minutes of driving, it also holds which messages agree.")
    return 0
