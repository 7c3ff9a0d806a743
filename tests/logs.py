"""What the tests of readers share: small logs, packages, and chunks put together again."""

import gzip
import lzma

import numpy as np
import zstandard

from cangraph.frames import Frames, ReadReport

HEADER = "timestamp,arbitration_id,data_field,attack\n"
TABLE = HEADER + "0.5,1A0,00FF,1\n1.25,7ff,,0\n1.5,1C3E5A7,0102030405060708,0\n"
HCRL = (
    "1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R\n"
    "1478198376.389636,018f,2,fe,5b,T\n"
    "1478198376.389864,0260,0,R\n"
)
SPACED = (
    "Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2\n"
    "Timestamp: 1479121434.850423        ID: 02c0    000    DLC: 2    14 ff\n"
    "Timestamp: 1479121434.850977        ID: 0430    100    DLC: 8\n"
)
CANDUMP = "(1.500000) can0 1A0#00FF\n(1.600000) can0 000001A0#R4\n(1.700000) can0 20000080#00\n"
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda raw: zstandard.ZstdCompressor().compress(raw),
    ".xz": lzma.compress,
}


def payloads(frames):
    """The bytes in use of each frame, as hexadecimal digits."""
    return [bytes(row[:dlc]).hex() for row, dlc in zip(frames.data, frames.dlc, strict=True)]


def same(one, two):
    return one.sha256() == two.sha256()


def joined(chunks):
    """The frames of all chunks, and the sum of their reports."""
    width = max(c.data.shape[1] for c in chunks)
    columns = ("timestamp", "arbitration_id", "dlc", "is_extended_id", "is_remote_frame",
               "attack", "attack_type")  # fmt: skip
    whole = {column: np.concatenate([getattr(c, column) for c in chunks]) for column in columns}
    pad = [np.pad(c.data, ((0, 0), (0, width - c.data.shape[1]))) for c in chunks]
    reports = zip(*(c.report for c in chunks), strict=True)
    return Frames(**whole, data=np.concatenate(pad)), ReadReport(
        *(sum(part, () if isinstance(part[0], tuple) else 0) for part in reports)
    )
