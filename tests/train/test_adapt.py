"""Fine-tuning: what learns, what stays, what is refused; several detectors as one."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.batches import batch_of
from cangraph.evaluation.scores import metrics, threshold
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params
from cangraph.train.adapt import adapt, stretch
from cangraph.train.callbacks import FineTuning
from cangraph.train.distillation import distill
from cangraph.train.fit import seed_everything
from cangraph.train.tasks import Detector, Reconstructor

CUT = {"blocks": 8, "gap": 0.05, "val": 0.2, "calib": 0.2}


def asked(cut=CUT, epochs=3, **values):
    synthesis = {"seconds": 24, "fleet": 0, "varied": 0.0}
    return load_params(
        "demo", split=cut, synthesis=synthesis, student={"epochs": epochs}, fit=values
    )


@pytest.fixture(scope="module")
def new():
    """Twelve clean seconds of another car."""
    return [simulate("clover", 12.0, seed=7)]


@pytest.fixture
def given(attacked):
    """A detector with a fitted scaler, as if it had been trained."""
    seed_everything(3)
    task = Detector(GAT(attacked.spec, hidden=4, heads=2, layers=2))
    task.prepare(attacked)
    return task


@pytest.fixture
def seen(monkeypatch):
    """The weights before the first epoch and after each."""
    seen = []

    def look(tuning, trainer, task):
        seen.append(copy.deepcopy(task.model.state_dict()))

    monkeypatch.setattr(FineTuning, "on_train_start", look)
    monkeypatch.setattr(FineTuning, "on_train_epoch_end", look)
    return seen


def moved(before, after):
    """The parts of a GAT whose weights differ: `head`, `0`, `1` (layers), `mean` and `std`."""
    differ = [n.split(".") for n, w in before.items() if not torch.equal(w, after[n])]
    return {words[2] if words[0] == "encoder" else "head" for words in differ}


@pytest.mark.parametrize(
    "how, learns",
    [
        ("frozen", [{"head"}, {"head"}, {"head"}]),
        ("gradual", [{"head"}, {"head", "1"}, {"head", "0", "1"}]),
        ("discriminative", [{"head", "0", "1"}] * 3),
    ],
)
def test_layers_learn_in_the_epochs_that_the_schedule_says(given, new, seen, how, learns):
    before = copy.deepcopy(given.state_dict())
    found = adapt(given, new, asked(), how, "student").task
    start = {name.removeprefix("model."): w for name, w in before.items()}
    assert not moved(start, seen[0])
    assert [moved(*pair) for pair in pairwise(seen)] == learns
    assert all(torch.equal(w, before[name]) for name, w in given.state_dict().items())
    assert all(w.requires_grad for task in (found, given) for w in task.parameters())


@pytest.mark.parametrize("options", [{"average": "ema"}, {"average": "swa", "clip": 0.01}])
def test_what_is_frozen_stays_in_an_average_of_the_weights_too(given, new, seen, options):
    adapt(given, new, asked(epochs=2, **options), "frozen", "student")
    assert moved(seen[0], seen[-1]) == {"head"}


def test_the_scaler_of_the_weights_is_kept_and_the_threshold_is_set_anew(given, new):
    params = asked(epochs=1)
    found = adapt(given, new, params, "discriminative", "student")
    for name in ("node_scale", "edge_scale"):
        one, two = (getattr(task.encoder, name) for task in (given, found.task))
        assert torch.equal(one.mean, two.mean) and torch.equal(one.std, two.std)
    train = stretch(new, params).draw(0, 0.0)
    benign = batch_of(train[~train.label]).x.mean(0)
    assert not torch.allclose(found.task.encoder.node_scale.mean, benign, atol=1e-2)
    scores = found.task.score(found.calib)
    assert found.threshold == threshold(scores)
    assert metrics(scores, found.threshold)["f1"] is not None, "attacks are among them"
    # labels weigh as the new material says
    attacks = int(train.label.sum())
    weight = found.task.balance.window_weight
    assert weight == pytest.approx(min((len(train) - attacks) / attacks, 10.0))
    assert weight != given.balance.window_weight


def test_no_moment_of_the_traffic_stands_in_two_parts(new):
    material = stretch(new, asked())
    drawn = material.draw(0, 0.0), material.val, material.calib
    frames = new[0]
    seconds = [np.zeros(len(frames), bool) for _ in drawn]
    since = frames.timestamp - frames.timestamp[0]
    for mine, part in zip(seconds, drawn, strict=True):
        for start, end in zip(part.start, part.end, strict=True):
            mine[(since >= start) & (since <= end)] = True
    assert all(mine.any() for mine in seconds)
    assert np.sum(seconds, axis=0).max() == 1
    # `both` has the traffic as it is as well
    plain = stretch(new, asked(train_on="clean")).draw(0, 0.0)
    assert len(drawn[0]) - len(plain) == len(material.data.train)


def test_a_run_that_was_killed_goes_on_to_the_same_weights(given, new, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    params = asked()
    whole = adapt(given, new, params, "gradual", "student").task
    learning = FineTuning.learning

    def killed(tuning, epoch, layers):
        if epoch == 2:
            raise KilledError
        return learning(tuning, epoch, layers)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "learning", killed)
        with pytest.raises(KilledError):
            adapt(given, new, params, "gradual", "student", tmp_path)
    task = adapt(given, new, params, "gradual", "student", tmp_path).task
    assert all(torch.equal(w, whole.state_dict()[name]) for name, w in task.state_dict().items())
    assert task.history == whole.history
    adapt(given, new, params, "frozen", "student", tmp_path)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2, "a run of its own"


def test_a_student_is_fine_tuned_without_its_teacher(given, attacked, new):
    student = distill(given, GAT(attacked.spec, hidden=2, heads=1, layers=1), asked().distillation)
    student.prepare(attacked)
    found = adapt(student, new, asked(epochs=1), "frozen", "student").task
    assert type(found) is Detector and found.model.config == student.model.config


def test_a_vgae_keeps_its_encoder_and_takes_the_scale_of_its_errors_from_the_car(attacked, new):
    seed_everything(3)
    given = Reconstructor(VGAE(attacked.spec, hidden=4, heads=2, layers=2, latent=3))
    given.prepare(attacked)
    given.finish(attacked)
    before = copy.deepcopy(given.state_dict())
    found = adapt(given, new, asked(epochs=1), "frozen", "student").task
    differ = {n for n, w in found.state_dict().items() if not torch.equal(w, before[n])}
    assert not {name for name in differ if name.startswith("model.encoder.encoder.")}
    assert {"model.encoder.mu.weight", "model.features.0.weight", "model.error_scale.mean"} < differ
    benign = stretch(new, asked(epochs=1)).draw(0, 0.0)
    value = found.score(benign[~benign.label]).value
    assert value.mean() == pytest.approx(0.0, abs=1e-4)


# what is refused


@pytest.mark.parametrize(
    "how, values, message",
    [
        ("thawed", {}, r"how = 'thawed'; use frozen, gradual or discriminative"),
        ("frozen", {"rate": "found"}, r"fit.rate = 'found' .*; set it to given"),
        ("frozen", {"freeze": 0.5}, r"fit.freeze = 0.5 with fine-tuning"),
        ("frozen", {"train_on": "labelled"}, r"train_on = 'labelled', and no window is"),
        ("frozen", {"cut": CUT | {"gap": 0.5, "blocks": 20}}, r"split: val has no window"),
    ],
)
def test_parameters_that_cannot_work_are_refused(given, new, how, values, message):
    with pytest.raises(ValueError, match=message):
        adapt(given, new, asked(**values), how, "student")


def test_what_was_never_trained_and_traffic_that_is_not_clean_are_refused(given, new):
    other = GAT(**given.model.config)
    with pytest.raises(ValueError, match=r"scaler .* was never fitted; .*fit"):
        adapt(Detector(other), new, asked())
    with pytest.raises(ValueError, match="hold attacks; expected clean traffic"):
        adapt(given, [simulate("clover", 12.0, attack="fuzzing", seed=1)], asked())
    with pytest.raises(ValueError, match="captures: none came"):
        adapt(given, [], asked())
