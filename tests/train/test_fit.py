"""Batches, and what `fit` promises about them."""

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.batches import Batches
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split, split
from cangraph.evaluation.scores import Scores, threshold
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector, Reconstructor

SPLIT = {"gap": 0.05}  # s; the captures here are short


@pytest.fixture(scope="module")
def graphs():
    captures = [
        simulate("aster", 16.0, attack="fuzzing", seed=1).label(
            scenario="train_02_with_attacks", recording="a"
        ),
        simulate("borage", 6.0, seed=2).label(scenario="test_01_known", recording="b"),
    ]
    return to_graphs(captures, 100, 100)


def test_an_epoch_holds_every_window_once(graphs):
    batches = list(Batches(graphs, 7, seed=0))
    assert len(batches) == len(Batches(graphs, 7)) == -(-len(graphs) // 7)
    assert sum(batch.num_graphs for batch in batches) == len(graphs)
    assert sum(float(batch.x.double().sum()) for batch in batches) == pytest.approx(
        float(graphs.x.astype(float).sum())
    )


def test_batches_keep_the_order_without_a_seed_and_draw_a_new_one_with(graphs):
    labels = torch.cat([batch.label for batch in Batches(graphs, 16)])
    assert torch.equal(labels, torch.from_numpy(graphs.label).float())
    drawn = Batches(graphs, len(graphs), seed=0)
    first, second = next(iter(drawn)), next(iter(drawn))
    assert not torch.equal(first.x[:100], second.x[:100])


def test_scaler_sees_benign_training_windows_only(graphs):
    params = load_params("demo", split=SPLIT, student={"epochs": 1})
    data = split(graphs, params.split)
    task = fit(Detector(GAT(graphs.spec, **params.student.gat)), data, params, "student")
    benign = data.train[~data.train.label].x.astype(float)
    np.testing.assert_allclose(task.model.encoder.node_scale.mean, benign.mean(0), rtol=1e-4)


def test_attack_windows_weigh_as_benign_per_attack_at_most_ten(graphs):
    task = Detector(GAT(graphs.spec, hidden=2, heads=1, layers=1))
    attacks = np.flatnonzero(graphs.label)
    benign = np.flatnonzero(~graphs.label)
    for n, weight in [(10, 3.0), (1, 10.0)]:
        task.prepare(graphs[np.concatenate([attacks[:n], benign[:30]])])
        assert task.positive_weight.item() == weight


def test_fit_prints_one_line_an_epoch_and_keeps_the_best_rank(graphs, capsys):
    params = load_params("demo", split=SPLIT, student={"epochs": 4}, fit={"average": "none"})
    data = split(graphs, params.split)
    task = fit(Detector(GAT(graphs.spec, **params.student.gat)), data, params, "student")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert len(lines) == len(task.history) == 4
    (kept,) = [row for row in task.history if row.get("kept")]
    with torch.no_grad():
        (batch,) = Batches(data.val, len(data.val))
        loss = task.terms(task.model.heads(batch), batch)["hard"].item()
    assert loss == pytest.approx(kept["val_loss"], rel=1e-4)
    best = max(row["val_auprc"] for row in task.history)
    assert kept["val_auprc"] == best
    assert all(row["val_auprc"] < best for row in task.history[kept["epoch"] :])


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_the_weights_kept_are_the_average_that_was_validated(graphs, average):
    params = load_params("demo", split=SPLIT, student={"epochs": 4}, fit={"average": average})
    data = split(graphs, params.split)
    tasks = []
    for run in (
        params,
        load_params("demo", split=SPLIT, student={"epochs": 4}, fit={"average": "none"}),
    ):
        seed_everything(0)
        tasks.append(fit(Detector(GAT(graphs.spec, **run.student.gat)), data, run, "student"))
    task, plain = tasks
    (kept,) = [row for row in task.history if row.get("kept")]
    with torch.no_grad():
        (batch,) = Batches(data.val, len(data.val))
        loss = task.terms(task.model.heads(batch), batch)["hard"].item()
    assert loss == pytest.approx(kept["val_loss"], rel=1e-4)
    assert task.history[-1]["val_loss"] != plain.history[-1]["val_loss"]
    assert task.history[-1]["train_loss"] == plain.history[-1]["train_loss"], "steps are the same"


def test_a_score_is_the_probability_in_float64(graphs):
    task = Detector(GAT(graphs.spec, hidden=2, heads=1, layers=1))
    scores = task.score(graphs)
    assert scores.value.dtype == np.float64
    logit = scores.state[:, scores.state_names.index("gat_logit")].astype(float)
    np.testing.assert_allclose(scores.value, 1 / (1 + np.exp(-logit)), rtol=1e-6)
    assert len(task.score(graphs[:0])) == 0


def test_a_probability_is_decided_at_an_even_chance_and_an_error_where_calibration_says(graphs):
    label = np.array([False, False, True, True])
    calib = Scores(np.array([0.1, 0.6, 0.8, 0.9]), label, *np.zeros((4, 4), int), captures=())
    assert Detector(GAT(graphs.spec, 4, 2, 1)).zero_shot(calib) == 0.5
    assert Reconstructor(VGAE(graphs.spec, 4, 2, 1, 2)).zero_shot(calib) == threshold(calib) == 0.7


def test_batches_draw_new_windows_for_each_epoch_and_keep_the_length_of_the_first(graphs):
    asked = []

    def draw(epoch):
        asked.append(epoch)
        return graphs[: 30 - 10 * epoch]

    batches = Batches(draw, 10, seed=0)
    lengths = [[batch.num_graphs for batch in batches] for _ in range(2)]
    assert lengths == [[10, 10, 10], [10, 10, 10]], "twenty windows are gone through again"
    assert asked == [0, 1]


def test_the_loss_is_that_of_windows_nodes_and_types(graphs):
    torch.manual_seed(0)
    task = Detector(GAT(graphs.spec, hidden=2, heads=1, layers=1))
    (batch,) = Batches(graphs[20:60], 40)
    out = task.model.heads(batch)
    task.positive_weight.fill_(3.0)
    terms = task.terms(out, batch)

    def bce(logit, label, weight):
        p = torch.sigmoid(logit)
        return -(weight * label * p.log() + (1 - label) * (1 - p).log()).mean().item()

    assert terms["window"].item() == pytest.approx(bce(out.window, batch.label, 3.0), rel=1e-4)
    assert terms["node"].item() == pytest.approx(bce(out.node, batch.node_label, 5.0), rel=1e-4)
    odds = out.attack_type.log_softmax(1)
    kind = -odds[torch.arange(40), batch.attack_type].mean().item()
    assert terms["type"].item() == pytest.approx(kind, rel=1e-4)
    total = terms["window"] + terms["node"] + 0.2 * terms["type"]
    assert terms["hard"].item() == pytest.approx(total.item())


def test_blame_is_the_probability_of_each_node(graphs):
    task = Detector(GAT(graphs.spec, hidden=2, heads=1, layers=1)).eval()
    blame = task.blame(graphs[:9])
    assert blame.shape == (len(graphs[:9].x),) and blame.dtype == np.float64
    (batch,) = Batches(graphs[:9], 9)
    with torch.no_grad():
        expected = torch.sigmoid(task.model.heads(batch).node)
    np.testing.assert_allclose(blame, expected, rtol=1e-5)


def test_windows_without_attacks_train_no_detector(graphs):
    params = load_params("demo", split=SPLIT, student={"epochs": 1})
    data = split(graphs, params.split)
    data.__dict__["train"] = data.train[~data.train.label]
    with pytest.raises(ValueError, match=r"all benign; expected some under attack; .*train_on"):
        fit(Detector(GAT(graphs.spec, **params.student.gat)), data, params, "student")


@pytest.fixture
def short(graphs):
    """A run of one epoch: its task and data, with the values of `fit` that are asked for."""

    def run(**values):
        params = load_params("demo", split=SPLIT, student={"epochs": 1}, fit=values)
        seed_everything(0)
        task = Detector(GAT(graphs.spec, **params.student.gat))
        return fit(task, split(graphs, params.split), params, "student")

    return run


def test_sixteen_bits_are_close_to_thirty_two_and_not_the_same(short):
    full, half = short().history[0], short(precision="bf16-mixed").history[0]
    assert half["train_loss"] == pytest.approx(full["train_loss"], rel=0.02)
    assert half["train_loss"] != full["train_loss"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_half_floats_are_refused_on_a_cpu(short):
    with pytest.raises(ValueError, match=r"'16-mixed' on a CPU, .*; expected a GPU; use bf16-mix"):
        short(precision="16-mixed")


def test_batches_of_one_step_are_one_batch(graphs):
    """Two batches of 32 windows a step, or one of 64: the gradient is the mean of the two."""
    params = [
        load_params("demo", student={"epochs": 2}, fit=values)
        for values in ({"batch_size": 64}, {"batch_size": 32, "accumulate": 2})
    ]
    rows = np.flatnonzero(~graphs.label)[:64]
    rows[:32] = np.flatnonzero(graphs.label)[:32]
    some = graphs[rows]
    weights = []
    for run in params:
        data = Split(some, np.zeros(64, np.uint8), ())
        data.__dict__["val"] = some
        seed_everything(0)
        task = Detector(GAT(graphs.spec, **run.student.gat))
        # the mean over nodes of a batch is not that over two of them
        task.terms = lambda out, batch, task=task: Detector.terms(
            task, out._replace(node=out.node.detach()), batch
        )
        weights.append(fit(task, data, run, "student").state_dict())
    for name, one in weights[0].items():
        torch.testing.assert_close(one, weights[1][name], rtol=1e-3, atol=1e-5)


def test_the_encoder_is_compiled_while_it_trains_and_plain_after(short, monkeypatch):
    plain, asked = short(), []

    def compiled(function, **options):
        asked.append(options)
        return lambda *values: function(*values)

    monkeypatch.setattr(torch, "compile", compiled)
    task = short(compile=True)
    assert asked == [{"dynamic": True}]
    assert "forward" not in vars(task.encoder)
    assert task.history == plain.history


def test_clipping_bounds_the_step(short):
    loose, tight = short(weight_decay=0.0), short(weight_decay=0.0, clip=1e-9)
    assert tight.history[0]["train_loss"] != loose.history[0]["train_loss"]
