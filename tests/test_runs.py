"""What a stage leaves behind comes back as it was; nothing untrusted is unpickled, and no name of
a run leads out of runs/."""

import io
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from reported import put_run, resealed
from safetensors.numpy import load, save

from cangraph import runs
from cangraph.bus.simulator import simulate
from cangraph.data.batches import batch_of
from cangraph.data.graphs import Graphs, to_graphs
from cangraph.data.splits import split
from cangraph.data.store import prepare
from cangraph.evaluation.scores import Scores
from cangraph.files import file_sha256
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params

SPLIT = {"gap": 0.05}  # s; the captures here are short


@pytest.fixture
def params(home):
    """The demo's parameters, in a home of its own."""
    return load_params("demo", split=SPLIT)


@pytest.fixture(scope="module")
def captures():
    made = [
        simulate("aster", 16.0, attack="fuzzing", seed=1).label(scenario="train_02_with_attacks"),
        simulate("aster", 4.0, seed=2).label(scenario="test_01_known_vehicle_known_attack"),
    ]
    return [c.label(recording=f"r{i}") for i, c in enumerate(made)]


@pytest.fixture
def data(captures, params):
    folder = runs.graphs_folder(params)
    return split(prepare(captures, params.window, params.stride, folder=folder), params.split)


def test_data_comes_back_as_it_was(params, data):
    runs.save_data(params, data)
    back = runs.load_data(params)
    for name in Graphs.names():
        assert np.array_equal(getattr(back.graphs, name), getattr(data.graphs, name)), name
        assert getattr(back.graphs, name).dtype == getattr(data.graphs, name).dtype, name
    assert back.graphs.captures == data.graphs.captures
    assert np.array_equal(back.part, data.part)
    assert back.notes == data.notes


def test_graphs_are_saved_by_their_key_and_others_refused(params, captures):
    place = runs.graphs_folder(params)
    graphs = prepare(captures, params.window, params.stride, folder=place)
    before = sorted(place.rglob("*"))
    runs.save_data(params, split(graphs, params.split))
    assert sorted(place.rglob("*")) == before
    back, key = runs.load_data(params).graphs, runs.load("data_prep", params)["graphs"]
    assert back.key == graphs.key == key
    part = split(graphs[np.arange(len(graphs)) % 7 > 0], params.split)
    for other in (part, split(to_graphs(captures, params.window), params.split)):
        with pytest.raises(ValueError, match=r"runs.save_data: Graphs\(.*; prepare them"):
            runs.save_data(params, other)


@pytest.mark.parametrize(
    ("left", "name", "error", "said"),
    [
        (None, "about.json", FileNotFoundError, r"about.json is not there; "),
        (None, "x.npy", FileNotFoundError, r"x.npy is not there; "),
        (-1, "x.npy", ValueError, r"x.npy: .*whole; run `"),
    ],
)
def test_graphs_that_are_lost_or_damaged_name_the_command(params, data, left, name, error, said):
    runs.save_data(params, data)
    (file,) = runs.graphs_folder(params).glob(f"*/{name}")
    content = file.read_bytes()
    file.unlink()
    if left is not None:
        file.write_bytes(content[:left])
    with pytest.raises(error, match=rf"{said}.*papermill notebooks/data_prep"):
        runs.load_data(params)


def test_a_path_in_place_of_the_key_is_refused(params, data):
    runs.save_data(params, data)
    record = runs.folder(params) / "data_prep.json"
    resealed(record, lambda said: said.update(graphs="../../x"))
    with pytest.raises(ValueError, match=r"'../../x' is no key of graphs"):
        runs.load_data(params)


def test_data_of_other_parameters_is_refused(params, data):
    runs.save_data(params, data)
    other = load_params("demo", split=SPLIT, window=50)
    with pytest.raises(ValueError, match="data_prep ran with window = 100; expected 50"):
        runs.load_data(other)


def test_models_come_back_and_score_the_same(params, data):
    nets = {
        "gat": GAT(data.graphs.spec, hidden=4, heads=2, layers=1).eval(),
        "vgae": VGAE(data.graphs.spec, hidden=4, heads=2, layers=1, latent=3).eval(),
    }
    runs.save("teacher", params, models=nets)
    back = runs.load_models("teacher", params)
    batch = batch_of(data.test)
    for name, net in nets.items():
        with torch.no_grad():
            assert torch.equal(back[name].model(batch), net(batch))


def save_all(params, data):
    """Save data_prep and a teacher that was not trained, with scores of both kinds."""
    runs.save_data(params, data)
    n = len(data.test)
    test = Scores.of(data.test, np.linspace(0, 1, n), np.ones((n, 2), np.float32), "ab")
    models = {"gat": GAT(data.graphs.spec, hidden=4, heads=2, layers=1)}
    scores = {"gat/test": test, "gat/drawn": replace(test, value=test.value[::-1])}
    runs.save("teacher", params, models=models, scores=scores)


def load_all(params):
    data = runs.load_data(params)
    return runs.load_models("teacher", params), runs.load_scores("teacher", params, data)


def flipped(place, content):
    """The bytes with one bit flipped, at a share of their length."""
    at = bytearray(content)
    at[int(place * len(at))] ^= 1 << int(place * 1e6) % 8
    return bytes(at)


def rearranged(change, content):
    """A file of arrays after a change to their dict."""
    arrays = load(content)
    return save({name: np.ascontiguousarray(a) for name, a in change(arrays).items()})


def faults(files, other):
    """(file, its damaged content) for about 200 faults. `other`: the files of another run."""
    dice = np.random.default_rng(0)
    for path, content in files.items():
        flips = {".ckpt": 60, ".npy": 4, ".json": 12, ".safetensors": 12}[path.suffix]
        made = [flipped(place, content) for place in dice.random(flips)]
        made += [content[:-1], content[: len(content) // 2], b"", content + b"\0"]
        yield from ((path, each) for each in made)
        if other[path.name] != content:
            yield path, other[path.name]
    by_name = {path.name: path for path in files}
    for name, change in (
        ("data_prep", lambda a: {"part": np.roll(a["part"], 1)}),
        ("data_prep", lambda a: {"part": a["part"].astype(np.int32)}),
        ("data_prep", lambda a: {"part": a["part"][:-1]}),
        ("teacher", lambda a: a | {"gat/test/value": a["gat/test/value"].astype(np.float32)}),
        ("teacher", lambda a: a | {"gat/test/value": a["gat/drawn/value"]}),
        ("teacher", lambda a: a | {"gat/drawn/label": ~a["gat/drawn/label"]}),
        ("teacher", lambda a: a | {"gat/test/state": a["gat/test/state"][:, :1]}),
    ):
        path = by_name[f"{name}.safetensors"]
        yield path, rearranged(change, files[path])
    for one, two in (("start", "end"), ("node_count", "node_id"), ("label", "node_attack")):
        yield by_name[f"{one}.npy"], files[by_name[f"{two}.npy"]]


@pytest.mark.acceptance
def test_whatever_is_damaged_or_swapped_in_a_run_is_refused_by_name(
    params, captures, data, tmp_path
):
    other = params.model_copy(update={"seed": 1})
    save_all(other, data)
    place = runs.graphs_folder(params)
    shutil.move(place, tmp_path / "others")
    graphs = prepare([c[:-500] for c in captures], params.window, params.stride, folder=place)
    save_all(params, split(graphs, params.split))
    read = {"data_prep.safetensors", "teacher.safetensors", "data_prep.json", "teacher.json"}
    read |= {"teacher.ckpt", "about.json", *(f"{name}.npy" for name in Graphs.names())}
    places = runs.folder(params), runs.folder(other)
    mine = [*places[0].glob("*.*"), *runs.graphs_folder(params).glob("*/*")]
    files = {path: path.read_bytes() for path in mine if path.name in read}
    others = [*places[1].glob("*.*"), *(tmp_path / "others").glob("*/*")]
    count = 0
    for path, content in faults(files, {p.name: p.read_bytes() for p in others}):
        path.write_bytes(content)
        with pytest.raises((ValueError, FileNotFoundError), match=rf"{path.name}: .*; run `pa"):
            load_all(params)
        path.write_bytes(files[path])
        count += 1
    load_all(params)
    assert len(files) == 20 and count > 200
    print(f"{count} faults in {len(files)} files, each refused by the file's name")


def test_a_stage_of_other_stages_than_those_that_lie_here_counts_as_missing(params, data):
    save_all(params, data)
    runs.save_data(params, data)  # again alike
    load_all(params)
    runs.save_data(params, replace(data, part=np.roll(data.part, 1)), note="other")
    with pytest.raises(FileNotFoundError, match=r"teacher\.json: made of another data_prep\.json"):
        runs.load("teacher", params)


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("part", ["test", "drawn"])
def test_scores_come_back_however_their_bytes_lie(params, data, layout, part):
    n = len(data.test)
    value = np.random.default_rng(0).random(2 * n)[::2]
    state = np.asarray(np.arange(2 * n, dtype=np.float32).reshape(n, 2), order=layout)
    made = Scores.of(data.test, value, state, "ab")
    if part == "drawn":
        made = replace(made, label=~made.label)
    runs.save("teacher", params, scores={f"gat/{part}": made})
    back = runs.load_scores("teacher", params, data)[f"gat/{part}"]
    for name in ("value", "label", "attack_type", "capture", "start", "end", "state"):
        assert np.array_equal(getattr(back, name), getattr(made, name)), name
    assert back.captures == made.captures and back.state_names == ("a", "b")


def test_checkpoints_of_unknown_kinds_are_refused_and_no_pickle_is_run(params, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("boom").touch, ())

    def put(content):
        path = runs.folder(params) / "teacher.ckpt"
        path.write_bytes(content)
        said = {"files": {path.name: file_sha256(path)}}
        resealed(path.with_suffix(".json"), lambda record: record.update(said))

    runs.save("teacher", params)
    put(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(pickle.UnpicklingError):
        runs.load_models("teacher", params)
    assert not (tmp_path / "boom").exists()
    torch.save({"gat": {"kind": "Other", "config": {}, "weights": {}}}, other := io.BytesIO())
    put(other.getvalue())
    with pytest.raises(ValueError, match="gat is a 'Other'; expected one of GAT, VGAE"):
        runs.load_models("teacher", params)


def test_a_stage_records_parameters_versions_and_what_it_was_made_from(params, data):
    runs.save_data(params, data)
    runs.save("teacher", params, note="hello")
    record = runs.load("teacher", params)
    assert record["params"] == params.model_dump()
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(record["inputs"]) == {"data_prep"}
    assert record["note"] == "hello"


def test_a_missing_stage_names_the_commands_that_make_it(params):
    other = params.model_copy(update={"seed": 3})
    said = r"papermill notebooks/teacher\.ipynb .* demo -p seed 3`, or `make run .*demo SEED=3`"
    with pytest.raises(FileNotFoundError, match=said):
        runs.load("teacher", other)


def test_an_unknown_stage_and_nan_are_refused(params):
    with pytest.raises(ValueError, match="'techer' is no stage"):
        runs.save("techer", params)
    with pytest.raises(ValueError, match="JSON compliant"):
        runs.save("teacher", params, f1=float("nan"))
    assert not (runs.folder(params) / "teacher.json").exists()


@pytest.mark.parametrize("best", [1, 2])
def test_checkpoints_go_when_the_stage_would_repeat_them(params, best):
    run = params.model_copy(update={"fit": params.fit.model_copy(update={"checkpoints": best})})
    place = runs.folder(run) / "teacher"
    (place / "gat/0123").mkdir(parents=True)
    (place / "gat/history.csv").write_text("epoch\n")
    (place / "gat/0123/last.ckpt").write_bytes(b"")
    runs.save("data_prep", run)
    assert (place / "gat/0123/last.ckpt").exists(), "another stage's"
    runs.save("teacher", run)
    assert (place / "gat/0123").exists() == (best > 1)
    assert (place / "gat/history.csv").exists(), "records stay"


def test_all_runs_come_by_dataset_and_seed_and_copies_do_not(home):
    assert runs.all_runs() == []
    put_run(home, "hcrl_sa", 10, stages=["data_prep", "teacher"])
    put_run(home, "hcrl_sa", 2)
    put_run(home, "demo")
    put_run(home, "demo", name="before")
    put_run(home, "demo", 1, name="before/seed_1")
    put_run(home, "demo", 4, name="kept/before")
    copy = runs.read_run("kept/before")
    assert (copy.dataset, copy.seed) == ("demo", 4)
    (home / "runs/demo/graphs").mkdir()
    (home / "runs/demo/graphs/0123.json").write_text("{}")
    (home / "runs/summary.json").write_text("{}")
    found = [(r.name, r.dataset, r.seed, r.next_stage, r.command) for r in runs.all_runs()]
    assert found == [
        ("demo", "demo", 0, None, "make run DATASET=demo"),
        ("hcrl_sa/seed_2", "hcrl_sa", 2, None, "make run DATASET=hcrl_sa SEED=2"),
        ("hcrl_sa/seed_10", "hcrl_sa", 10, "distillation", "make run DATASET=hcrl_sa SEED=10"),
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "../runs", "demo/..", "/etc", "demo//x", "a b", 3])
def test_a_name_that_leaves_runs_is_refused(home, name):
    with pytest.raises(ValueError, match="not a folder below runs/; expected hcrl_sa"):
        runs.read_run(name)


def test_a_run_that_is_not_there_names_its_command_and_a_damaged_record_its_file(home):
    for name, command in (("demo", "DATASET=demo`"), ("demo/seed_3", "DATASET=demo SEED=3`")):
        with pytest.raises(FileNotFoundError, match=f"no data_prep.json in .*make run {command}"):
            runs.read_run(name)
    place = put_run(home, "demo")
    (place / "fusion.json").write_text('{"stage": ')
    with pytest.raises(ValueError, match=r"fusion\.json: .*run fusion\.ipynb again"):
        runs.all_runs()
