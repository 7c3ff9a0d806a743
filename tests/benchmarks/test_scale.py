"""The simulated Car-Hacking of benchmarks/scale.py, and how its stages are measured."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import cangraph as cg
from cangraph.data.datasets import SCENARIOS, TRAIN_ATTACKS, TRAIN_CLEAN

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import scale


def test_the_simulated_files_are_read_as_the_original_ones(tmp_path, monkeypatch):
    scale.simulated(tmp_path / "hcrl_ch", 60_000)
    monkeypatch.setenv("CANGRAPH_DATA", str(tmp_path))
    captures = cg.read("hcrl_ch")
    found = {(c.scenario, c.name): c for c in captures}
    assert {scenario for scenario, _ in found} == {TRAIN_CLEAN, TRAIN_ATTACKS, *SCENARIOS[::2]}
    assert len({c.recording for c in captures}) == len(captures)
    assert len(found[SCENARIOS[2], "RPM_dataset"]) == round(60_000 * 4_621_702 / scale.ALL)
    (drive,) = scale.capture("spoofing", len(found[SCENARIOS[2], "RPM_dataset"]), 3)
    for column in ("timestamp", "arbitration_id", "dlc", "data", "attack"):
        read = getattr(found[SCENARIOS[2], "RPM_dataset"], column)
        assert np.array_equal(read, getattr(drive, column)), column
    flood = found[SCENARIOS[0], "DoS_dataset"]
    assert flood.attack.any() and not flood.arbitration_id[flood.attack].any()
    text = (tmp_path / "hcrl_ch" / "normal_run_data.txt").read_text().splitlines()[0]
    known = r"Timestamp: \d{10}\.\d{6}        ID: 0[0-7][0-9a-f]{2}    000    DLC: \d    "
    assert re.match(known + "([0-9a-f]{2} )+$", text)


def test_what_a_command_used(tmp_path):
    clock, used = scale.call([sys.executable, "-c", "x = bytes(300 << 20)"], {})
    assert clock > 0 and used.ru_maxrss > 300 << 10
    with pytest.raises(SystemExit, match="ended with 3"):
        scale.call([sys.executable, "-c", "raise SystemExit(3)"], {})


def test_growth_and_memory_by_hand():
    def stages(cpu, memory):
        row = {"clock_s": cpu, "cpu_s": cpu, "GB": memory, "cells": {}}
        return {"data_prep": row, "teacher": row | {"cpu_s": 2 * cpu}}

    record = scale.verdict({20: stages(3.0, 1.0), 10: stages(1.0, 0.5)})
    assert record["growth"] == {"10 to 20": dict.fromkeys(("data_prep", "teacher", "all"), 1.5)}
    assert (record["linear"], record["within 8 GB"]) == (False, True)
    assert record["sizes"][20]["all"] == {"clock_s": 6.0, "cpu_s": 9.0, "GB": 1.0}
    assert scale.verdict({10: stages(1.0, 0.5), 20: stages(2.0, 9.0)})["linear"]
    assert not scale.verdict({20: stages(2.0, 9.0)})["within 8 GB"]


def test_a_stage_is_measured_once(tmp_path, monkeypatch):
    found = scale.measured(tmp_path, 400_000, ["data_prep"])
    row = found["data_prep"]
    assert row["cpu_s"] > 1 and 0.2 < row["GB"] < 2
    assert any("cg.read" in line for line in row["cells"])
    place = tmp_path / "4e05" / "runs" / "hcrl_ch"
    assert json.loads((place / "data_prep.json").read_text())["dataset"] == "hcrl_ch"
    monkeypatch.setattr(scale, "stage", None)  # is not called again
    assert scale.measured(tmp_path, 400_000, ["data_prep"]) == found
