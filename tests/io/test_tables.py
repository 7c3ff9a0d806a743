"""Tables of any shape: by their names of columns, or as the caller says; units are told."""

import numpy as np
import polars as pl
import pytest
from logs import rows_of, same

from cangraph.io.readers import LogFile, read_frames

ASKED = {"timestamp": "when", "arbitration_id": "who", "data": ["x", "y"]}


def test_a_table_of_any_shape_is_read_as_the_caller_says(read):
    text = "who;note;when;x;y\n416;a;1500;0;255\n688;b;2500;1;2\n"
    frames = read(text, columns=ASKED, time_unit="us", base=10)
    assert frames.timestamp.tolist() == [0.0015, 0.0025]
    assert rows_of(frames) == ["1a0#00ff", "2b0#0102"]


def test_columns_are_numbers_where_there_is_no_header(read):
    numbers = {"timestamp": 1, "arbitration_id": 0, "data": 2}
    frames = read("1A0,0.5,00FF\n2B0,0.6,0102\n", columns=numbers)
    assert rows_of(frames) == ["1a0#00ff", "2b0#0102"] and frames.timestamp.tolist() == [0.5, 0.6]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"columns": {"time": "when"}}, "'time'"),
        ({"columns": {"timestamp": "when"}}, "expected timestamp, arbitration_id, data"),
        ({"time_unit": "minutes"}, "'minutes'; expected one of s, ms, us"),
        ({"base": 8}, "base: 8; expected 10 or 16"),
    ],
)
def test_what_is_said_wrong_is_refused(read, how, said):
    with pytest.raises(ValueError, match=said):
        read("who,when,x\n", **how)


def test_a_base_is_said_of_tables_alone(read):
    with pytest.raises(ValueError, match="base 10 came for candump log, which is no table"):
        read("(1.5) can0 1A0#00\n", base=10)
    assert read("(1500) can0 1A0#00\n", time_unit="ms").timestamp.tolist() == [1.5]


def test_columns_that_are_not_there_are_named(read):
    with pytest.raises(ValueError, match=r"bus.csv:1: 'a,b,c' has not the columns"):
        read("a,b,c\n1,2,3\n", columns=ASKED)


def test_the_refusal_prints_the_call_with_what_was_found(error_of):
    message = error_of("label,moment,id,content\n0,0.5,1A0,00FF00FF\n")
    columns = {"timestamp": "moment", "arbitration_id": "id", "data": "content"}
    assert f"read_frames('bus.csv', columns={columns}, time_unit='s', base=16)" in message


def test_also_where_no_column_is_called_as_usual(error_of):
    message = error_of("moment;who;content\n1.5;416;00FF\n1.6;417;00FE\n")
    columns = {"timestamp": "moment", "arbitration_id": "who", "data": "content"}
    assert f"read_frames('bus.csv', columns={columns}, time_unit='s', base=16)" in message


def table(times, ids=("1A0", "2B0")):
    rows = [f"{t},{ids[i % len(ids)]},00FF" for i, t in enumerate(times)]
    return "timestamp,arbitration_id,data_field\n" + "\n".join(rows)


@pytest.mark.parametrize("per_second", [1, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("since", [0, 1_700_000_000])
@pytest.mark.parametrize("rate", [90, 800, 4000])
@pytest.mark.parametrize("size", [None, 3000])
def test_the_unit_of_whole_numbers_is_told_from_the_file(tmp_path, per_second, since, rate, size):
    seconds = since + np.cumsum(np.random.default_rng(1).uniform(0.5, 1.5, 9000)) / rate
    path = tmp_path / "bus.csv"
    path.write_text(table(f"{int(t)}{int(t % 1 * per_second):0{len(str(int(per_second))) - 1}d}"
                          if per_second > 1 else f"{int(t)}" for t in seconds))  # fmt: skip
    chunks = [read_frames(path)] if size is None else [*LogFile(path).chunks(size)]
    first, last = chunks[0].timestamp[0], chunks[-1].timestamp[-1]
    assert [first, last] == pytest.approx([seconds[0], seconds[-1]], abs=1.01 / per_second)
    (note,) = (note for chunk in chunks for note in chunk.report.notes)
    unit = {1: "s", 1e3: "ms", 1e6: "µs", 1e9: "ns"}[per_second]
    assert f"times read as {unit}: 9,000 frames" in note


def test_ids_without_a_letter_are_decimal_where_there_are_many(read):
    many = [str(100 + 37 * i) for i in range(40)]
    frames = read(table((i / 100 for i in range(200)), many))
    assert set(frames.arbitration_id.tolist()) == set(map(int, many))
    assert any("decimal" in note for note in frames.report.notes)
    few = read(table((i / 100 for i in range(200)), ("100", "137")))
    assert set(few.arbitration_id.tolist()) == {0x100, 0x137}


def test_what_no_bus_can_be_is_named(read):
    calm = [i / 100 for i in range(2000)]
    assert "no frame for 3.0 hours after 10.0 s" in str(
        read(table(t + 10_800 * (t > 10) for t in calm)).report.notes
    )
    fast = read(table(i / 200_000 for i in range(2000)), time_unit="s").report.notes
    assert any("more than 1 bus can carry" in note for note in fast)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_of_dates_and_numbers(tmp_path, unit):
    when = pl.Series("timestamp", [1_700_000_000_500, 1_700_000_000_600]).cast(pl.Datetime("ms"))
    frame = pl.DataFrame({"timestamp": when.cast(pl.Datetime(unit)), "id": [0x1A0, 0x12345],
                          "data": [b"\x00\xff", b""], "label": [False, True]})  # fmt: skip
    frame.write_parquet(tmp_path / "bus.parquet")
    frames = read_frames(tmp_path / "bus.parquet")
    assert rows_of(frames) == ["1a0#00ff", "12345x# T"]
    assert frames.timestamp.tolist() == [1_700_000_000.5, 1_700_000_000.6]
    frame.with_columns(pl.col("timestamp").dt.epoch(unit)).write_parquet(tmp_path / "b.parquet")
    assert same(read_frames(tmp_path / "b.parquet"), frames)


@pytest.mark.parametrize("row", ["3,0F", "0,00", "0F,0", "10,0x1"])
def test_bytes_of_one_digit_and_of_two_are_in_no_row_together(error_of, row):
    assert "bus.csv:2: " in error_of(f"id,time,d1,d2\n1A0,0.5,{row}\n1A0,0.7,00,FF\n")


@pytest.mark.parametrize("payload", ["AP8", "AP/=", "AP8=="])
def test_digits_of_base_64_come_in_fours(error_of, payload):
    header = "timestamp,arbitration_id,extended,remote,error,dlc,data"
    assert "bus.csv:2: " in error_of(f"{header}\n0.5,0x1A0,0,0,0,2,{payload}\n")
