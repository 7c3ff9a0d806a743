"""`Frames` out: logs for other tools, and files that `read_frames` gives back as they were."""

from pathlib import Path

import numpy as np

from cangraph.extras import named_extra
from cangraph.frames import LATEST, Frames

_LOGS = (".log", ".asc", ".blf", ".trc")
_ENDINGS = (".csv", ".parquet", *_LOGS)


def write_frames(frames: Frames, path: str | Path) -> None:
    """Write a log in the format that the ending of `path` names; an existing file is replaced.

    | ending | keeps | rounds the time to |
    |---|---|---|
    | .csv, .parquet | everything but the attack type | nothing |
    | .log (candump) | frames | 1 µs |
    | .asc (Vector) | frames | 1 µs, from the first frame on |
    | .blf (Vector) | frames | 1 ns; times before 1990 from the first frame's millisecond on |
    | .trc (PEAK) | data frames of up to 8 bytes | 2 µs |

    The first line is can-train-and-test's table `timestamp,arbitration_id,data_field,attack`, in
    which a 29-bit ID has eight digits and `R8` is a remote frame of DLC 8: labels survive in it
    alone. The others are written by python-can and hold CAN frames, CAN FD included, and no label.
    The name, scenario, vehicle and recording are in no file.

    Raises `ValueError` for another ending, for a time before 0, and for frames that the format
    cannot carry: none is left out.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "bus.csv")
    >>> write_frames(Frames(np.array([0.5]), np.array([0x1A0]), dlc=np.array([2])), path)
    >>> path.read_text().splitlines()
    ['timestamp,arbitration_id,data_field,attack', '0.5,1A0,0000,0']
    """
    path = Path(path)
    if path.suffix.lower() not in _ENDINGS:
        known = ", ".join(_ENDINGS)
        raise ValueError(f"{path}: the ending is not known; expected {known}; rename it")
    if len(frames) == 0:
        raise ValueError(f"{path}: there are no frames to write; expected one or more")
    if frames.timestamp[0] < 0 or frames.timestamp[-1] >= LATEST:
        raise ValueError(
            f"{path}: the times run from {frames.timestamp[0]:g} to {frames.timestamp[-1]:g} s; "
            f"expected 0 to {LATEST:g}; shift them"
        )
    if path.suffix.lower() in _LOGS:
        _write_log(frames, path)
    else:
        with named_extra(str(path)):
            _write_table(frames, path)


def _write_table(frames: Frames, path: Path) -> None:
    import polars as pl

    wide = np.where(frames.is_extended_id, 1 << 32, 0)
    codes, place = np.unique(frames.arbitration_id + wide, return_inverse=True)
    names = [f"{c & 0xFFFFFFFF:08X}" if c >> 32 else f"{c:03X}" for c in codes.tolist()]
    digits = frames.data.tobytes().hex().upper().encode()
    payload = pl.Series(np.frombuffer(digits, f"S{2 * frames.data.shape[1]}"), dtype=pl.Binary)
    used = pl.Series(2 * frames.bytes_used.astype(np.int64))
    asked = pl.Series([f"R{dlc}" for dlc in range(9)]).gather(np.minimum(frames.dlc, 8))
    table = pl.DataFrame(
        {
            "timestamp": frames.timestamp,
            "arbitration_id": pl.Series(names).gather(place),
            "data_field": asked.zip_with(
                pl.Series(frames.is_remote_frame), payload.cast(pl.String).str.head(used)
            ),
            "attack": frames.attack.astype(np.uint8),
        }
    )
    if path.suffix.lower() == ".parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path, float_scientific=False, quote_style="never")


def candump(frames: Frames, channel: str = "vcan0") -> str:
    """Frames as `candump -L` writes them, a line each.

    >>> candump(Frames(np.array([0.5]), np.array([0x1A0]), dlc=np.array([2])), "can0")
    '(0.500000) can0 1A0#0000 R\\n'
    """
    width, payload = 2 * frames.data.shape[1], frames.data.tobytes().hex().upper()
    flags = (frames.is_extended_id, frames.is_remote_frame)
    columns = (frames.timestamp, frames.arbitration_id, *flags, frames.dlc)
    rows = enumerate(zip(*(column.tolist() for column in columns), strict=True))
    return "".join(
        f"({time:f}) {channel} {number:0{8 if extended else 3}X}#"
        f"{f'R{dlc}' if asks else '#0' * (dlc > 8) + payload[i * width : i * width + 2 * dlc]} R\n"
        for i, (time, number, extended, asks, dlc) in rows
    )


def _write_log(frames: Frames, path: Path) -> None:
    import can

    suffix = path.suffix.lower()
    remote, wide = int(frames.is_remote_frame.sum()), int((frames.dlc > 8).sum())
    if suffix == ".trc" and (remote or wide):
        raise ValueError(
            f"{path}: {remote} remote frames and {wide} of more than 8 bytes came; python-can's "
            ".trc holds classic data frames alone; write .asc or .blf"
        )
    if suffix == ".log":
        path.write_text(candump(frames))
        return
    names = ("timestamp", "arbitration_id", "is_extended_id", "is_remote_frame", "dlc")
    columns = (getattr(frames, name).tolist() for name in names)
    rows = zip(zip(*columns, strict=True), frames.data, frames.bytes_used, strict=True)
    with can.Logger(path) as log:
        for row, data, used in rows:
            values = dict(zip(names, row, strict=True))
            message = can.Message(**values, is_fd=row[-1] > 8, data=data[:used].tobytes())
            log.on_message_received(message)
