"""Files are tried before they are trusted, and run where there is no torch."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from cangraph.data.graphs import to_graphs
from cangraph.deploy.detector import KEY, Exported, proof


def changed(path, to, facts):
    """The file with other facts in its metadata."""
    model = onnx.load(path)
    old = json.loads({p.key: p.value for p in model.metadata_props}[KEY])
    onnx.helper.set_model_props(model, {KEY: json.dumps(old | facts)})
    onnx.save(model, to)
    return to


def test_the_proof_sees_all_features_but_those_of_other_cars():
    window = proof(100)
    moving = np.ptp(window["x"], axis=0) > 0
    assert moving.sum() >= 20
    assert window["edge_index"].max() < len(window["x"])


def test_scores_do_not_depend_on_the_windows_around(detector_file, drive):
    detector, graphs = Exported(detector_file), to_graphs([drive])
    whole = detector.score(graphs)
    assert np.array_equal(detector.score(graphs[7:30]).value, whole.value[7:30])
    assert detector.score(graphs[:0]).value.shape == (0,)
    assert detector.blame(graphs).shape == (len(graphs.x),)


def test_it_says_what_it_is(detector_file):
    assert repr(Exported(detector_file)).startswith("Exported('gat.onnx': GAT, ")


def test_what_it_costs(detector_file, drive):
    cost = Exported(detector_file).footprint(drive, 3)
    assert cost["bytes"] == detector_file.stat().st_size > cost["parameters"] > 0
    assert 0 < cost["p50_ms"] <= cost["p99_ms"]


def test_bad_and_foreign_files_are_refused_by_name(detector_file, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: there is no such file"):
        Exported(tmp_path / "none.onnx")
    path = tmp_path / "odd.onnx"
    for content in (b"", b"no protobuf at all", detector_file.read_bytes()[:9000]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"odd\.onnx: (no whole ONNX file|an ONNX file with)"):
            Exported(path)


def test_a_model_of_another_kind_is_refused(tmp_path):
    make = onnx.helper
    ends = [make.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in ("image", "class")]
    node = make.make_node("Relu", ["image"], ["class"])
    graph = make.make_graph([node], "cat or dog", ends[:1], ends[1:])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "cats.onnx")
    with pytest.raises(ValueError, match=r"cats\.onnx: an ONNX file with inputs image that cang"):
        Exported(tmp_path / "cats.onnx")


@pytest.mark.parametrize(
    "facts, says",
    [
        ({"threshold": "high"}, r"its metadata cannot be read \(threshold\)"),
        ({"format": 1}, "a file of format 1; expected format 2"),
        ({"format": 1, "kind": None}, "a file of format 1; expected format 2"),
        ({"proof": {}}, "its metadata cannot be read"),
        ({"node_features": ["speed"]}, "made for other features, node features: other names: "),
        ({"profile": {}}, r"made for other features, profile: scale.tick = None"),
        ({"window": 50}, "the window that it is tried on comes out with"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(facts, says, detector_file, tmp_path):
    with pytest.raises(ValueError, match=says):
        Exported(changed(detector_file, tmp_path / "odd.onnx", facts))


def test_a_weight_that_was_altered_is_noticed(detector_file, tmp_path):
    model = onnx.load(detector_file)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    array = onnx.numpy_helper.to_array(weights) * 1.5
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ValueError, match=r"a value of .* instead of .*: it is damaged, or for oth"):
        Exported(tmp_path / "odd.onnx")


def test_judging_a_log_needs_none_of_what_training_needs(detector_file, tmp_path, drive):
    from cangraph.io.writers import write_frames

    write_frames(drive, tmp_path / "bus.log")
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in NONE:\n"
        "            raise ImportError(f'{name} is not installed')\n"
        "NONE = {'torch', 'torch_geometric', 'lightning', 'polars', 'matplotlib', 'scipy', "
        "'sklearn', 'pydantic', 'yaml', 'safetensors', 'onnx', 'onnxscript', 'pandas', 'rich'}\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from cangraph.__main__ import main\n"
        f"sys.exit(main(['monitor', {str(detector_file)!r}, '--log', "
        f"{str(tmp_path / 'bus.log')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "stopped"
