"""A log is unpacked whole or by blocks alike, and one that is cut is refused."""

import numpy as np
import pytest
from logs import PACK

from cangraph.io.readers import read_frames
from cangraph.io.unpack import text_blocks, unpacked

TEXT = "".join(f"{i},{i * 7919 % 1009:x}\n" for i in range(90_000)).encode()


@pytest.fixture(params=PACK)
def log(request, tmp_path):
    path = tmp_path / f"bus.csv{request.param}"
    path.write_bytes(PACK[request.param](TEXT))
    return path


@pytest.mark.parametrize("end", ["", "\n", "cut", "\n\n"])
def test_blocks_are_whole_lines_and_in_a_row_the_file(log, end):
    text = TEXT.rstrip() + end.encode()
    log.write_bytes(PACK[log.suffix.replace(".csv", "")](text))
    blocks = [*text_blocks(log, 200)]
    assert b"".join(blocks) == text
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert all(len(block) < 140_000 for block in blocks) and len(blocks) >= 6
    assert [bytes(block) for block in text_blocks(log, 10**6)] == [text]


def test_a_line_longer_than_a_block_is_one(log):
    text = b"a\n" + b"b" * 150_000 + b"\nc\n"
    log.write_bytes(PACK[log.suffix.replace(".csv", "")](text))
    blocks = [*text_blocks(log, 100)]
    assert b"".join(blocks) == text and all(block.endswith(b"\n") for block in blocks)


@pytest.mark.parametrize("size", [10**6, 200])
@pytest.mark.parametrize("packed", [".gz", ".zst", ".xz"])
def test_a_package_that_is_cut_is_refused_behind_what_can_be_read(tmp_path, packed, size):
    path = tmp_path / f"bus.csv{packed}"
    noise = np.random.default_rng(0).integers(0, 2**31, 60_000)
    rows = "".join(f"{i},1A0,{n:08X}\n" for i, n in enumerate(noise))
    whole = PACK[packed](b"timestamp,arbitration_id,data_field\n" + rows.encode())
    for share in (0.3, 0.9, 0.999):  # some way behind the first rows
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=r"cannot be unpacked .*; copy or record it again"):
            for _ in text_blocks(path, size):
                pass
        with pytest.raises(ValueError, match="cannot be unpacked"):
            read_frames(path)
        some = read_frames(path, strict=False)
        assert 0 < len(some) < len(noise) and some.report.refused == 1
        assert "cannot be unpacked" in some.report.first_refused[0]


def test_packages_in_a_row_are_one(log):
    if log.suffix == ".zip":
        pytest.skip("a zip file ends with its list of files")
    log.write_bytes(log.read_bytes() * 2)
    assert b"".join(text_blocks(log, 200)) == TEXT * 2
    assert b"".join(bytes(block) for block in text_blocks(log, 10**6)) == TEXT * 2


def test_a_packed_file_is_unpacked_beside_for_those_who_need_one(log):
    with unpacked(log) as (plain, fault):
        assert fault is None
        assert plain.read_bytes() == TEXT and plain.suffix == ".csv"
        assert (plain == log) == (log.suffix == ".csv")
    assert plain.exists() == (log.suffix == ".csv")
