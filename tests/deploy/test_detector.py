"""Files are tried before they are trusted, and run where there is no torch."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import onnx
import onnx.parser
import pytest

from cangraph.data.graphs import to_graphs
from cangraph.deploy.detector import KEY, Exported, graph_of, proof
from cangraph.io.writers import write_frames

CATS = """<ir_version: 10, opset_import: ["" : 20]>
cat_or_dog (float[1] image) => (float[1] class) { class = Relu(image) }"""


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


def test_scores_do_not_depend_on_the_windows_around(detector, drive):
    graphs = to_graphs([drive])
    whole = detector.score(graphs)
    assert np.array_equal(detector.score(graphs[7:30]).value, whole.value[7:30])
    assert detector.score(graphs[:0]).value.shape == (0,)
    assert detector.blame(graphs).shape == (len(graphs.x),)


def test_bad_and_foreign_files_are_refused_by_name(detector_file, tmp_path):
    path = tmp_path / "odd.onnx"
    with pytest.raises(FileNotFoundError, match=r"odd\.onnx: "):
        Exported(path)
    for content in (b"", b"no protobuf at all", detector_file.read_bytes()[:9000]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"odd\.onnx: (no whole ONNX file|operators that)"):
            Exported(path)
    onnx.save(onnx.parser.parse_model(CATS), path)
    with pytest.raises(ValueError, match=r"odd\.onnx: an ONNX file with inputs image that cang"):
        Exported(path)


@pytest.mark.parametrize(
    "facts, says",
    [
        ({"threshold": "high"}, r"its metadata cannot be read \(threshold\)"),
        ({"format": 1}, "a file of format 1; expected format 3"),
        ({"format": 1, "kind": None}, "a file of format 1; expected format 3"),
        ({"proof": {}}, "its metadata cannot be read"),
        ({"node_features": ["speed"]}, "made for other features, node features: 0 = speed "),
        ({"profile": {}}, r"made for other features, profile: scale.tick = None"),
        ({"window": 50}, "the window that it is tried on comes out with"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(facts, says, detector_file, tmp_path):
    with pytest.raises(ValueError, match=says):
        Exported(changed(detector_file, tmp_path / "odd.onnx", facts))


def test_a_weight_that_was_altered_is_noticed(detector_file, tmp_path):
    model, path = onnx.load(detector_file), tmp_path / "odd.onnx"
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    array = onnx.numpy_helper.to_array(weights) * 1.5
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"odd\.onnx: weights_sha256 is not that of what the file"):
        Exported(path)
    sha256 = hashlib.sha256(graph_of(path.read_bytes())[0]).hexdigest()
    with pytest.raises(ValueError, match=r"a value of .* instead of .*: it is damaged, or for oth"):
        Exported(changed(path, path, {"weights_sha256": sha256}))


def test_judging_a_log_needs_none_of_what_training_needs(detector_file, tmp_path, drive):
    write_frames(drive, tmp_path / "bus.log")
    code = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('torch', 'torch_geometric', 'lightning', 'polars', "
        "'matplotlib', 'scipy', 'sklearn', 'pydantic', 'yaml', 'safetensors', 'onnx', "
        "'onnxscript', 'pandas', 'rich'))\n"  # to import them fails
        "from cangraph.__main__ import main\n"
        "sys.exit(main(['monitor', sys.argv[1], '--log', sys.argv[2]]))\n"
    )
    command = [sys.executable, "-c", code, str(detector_file), str(tmp_path / "bus.log")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "stopped"
