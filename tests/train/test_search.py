"""A search goes on from its file to the same trials, and never looks at test windows."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from cangraph.data.splits import Split
from cangraph.params import load_params
from cangraph.train import search


class Blind(Split):
    """Its test windows cannot be looked at."""

    @property
    def test(self):
        raise AssertionError("the search looked at test windows")


@pytest.fixture(scope="module")
def data(attacked):
    some = attacked[np.argsort(attacked.label, kind="stable")[-180:-80]]
    return Blind(some, (np.arange(len(some)) % 4 == 3).astype(np.uint8), ())


def asked(trials, **values):
    fit = {"batch_size": 32}
    return load_params("demo", trials=trials, student={"epochs": 2}, fit=fit, **values)


@pytest.fixture
def tune(data, tmp_path):
    return lambda params: search.tune(data, params, tmp_path / "tune.db")


def summary(study):
    return [(t.params, search.reached(t), t.state) for t in search.finished(study)]


def test_a_search_goes_on_to_the_same_trials(tune, tmp_path, capsys):
    whole = tune(asked(5))
    assert len(capsys.readouterr().out.splitlines()) == 5, "one line for each trial"
    (tmp_path / "tune.db").unlink()
    tune(asked(2))
    cut_off = tune(asked(3))
    cut_off.ask()  # killed within a trial
    capsys.readouterr()
    again = tune(asked(5))
    assert summary(again) == summary(whole)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert [t.state for t in again.trials].count(TrialState.FAIL) == 1
    assert len(search.finished(tune(asked(4)))) == 5, "there are enough"


def test_the_first_trial_is_the_parameters_as_they_are_and_others_are_another_study(tune):
    params = asked(1)
    one, other = tune(params), tune(asked(1, seed=1))
    assert one.study_name != other.study_name
    assert len(one.trials) == len(other.trials) == 1
    (first,) = search.finished(one)
    assert {*first.params} == {"learning_rate", "hidden", "layers", "weight_decay"}
    run = search.suggested(optuna.trial.FixedTrial(first.params), params, "student")
    assert run.model_dump() == params.model_dump()


def test_a_bad_trial_is_given_up(tune, monkeypatch, capsys):
    def worse_and_worse(task):
        task.log("val_auprc", 1.0 / (1 + worse_and_worse.calls), sync_dist=True)
        task.log("val_rank", 0.5)
        worse_and_worse.calls += 1
        task.val_auprc.reset()

    worse_and_worse.calls = 0
    monkeypatch.setattr(search.Detector, "on_validation_epoch_end", worse_and_worse)
    study = tune(asked(4))
    states = [t.state for t in search.finished(study)]
    assert states == [TrialState.COMPLETE] * 3 + [TrialState.PRUNED]
    assert "given up in epoch 1" in capsys.readouterr().out.splitlines()[-1]
    assert study.best_trial.number == 0


def test_what_cannot_be_trained_is_a_bad_trial(tune, monkeypatch):
    def broken(*_, **__):
        raise FloatingPointError("the loss is not finite")

    monkeypatch.setattr(search, "fit", broken)
    study = tune(asked(2))
    assert [t.state for t in study.trials] == [TrialState.PRUNED] * 2
    assert np.isnan(search.reached(study.trials[0]))
