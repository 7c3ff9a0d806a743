"""A search for better parameters of the GAT: an Optuna study that goes on from its SQLite file.

| parameter | tried | |
|---|---|---|
| learning_rate | 1e-4 … 1e-2, log | peak of the schedule |
| weight_decay | 1e-3 … 1, log | |
| hidden | half to twice as wide as asked, log | width of a head |
| layers | 1 … 4 | |

The epochs and the batch stay: more steps are better and dearer, and the learning rate stands for
what a batch changes. A trial is judged by the best AUPRC on validation windows of its epochs, and
given up when, at an epoch, it is below the median of those before (Golovin et al. 2017). Test
windows are never looked at.
"""

import io
import warnings
from contextlib import contextmanager, redirect_stdout

import numpy as np

with warnings.catch_warnings():  # tqdm's, which optuna loads: a notebook has no use for its bar
    warnings.filterwarnings("ignore", message="IProgress not found")
    import optuna
from lightning.pytorch.callbacks import Callback
from optuna.trial import TrialState

from cangraph.data.splits import Split
from cangraph.data.synthesis import Synthesis
from cangraph.nn.models import GAT
from cangraph.params import Params
from cangraph.runs import folder
from cangraph.train.checkpoints import about, key_of
from cangraph.train.fit import fit, seed_everything
from cangraph.train.guards import CollapseError
from cangraph.train.tasks import Detector

__all__ = ["finished", "importance", "reached", "tried", "tune"]

_DONE = (TrialState.COMPLETE, TrialState.PRUNED)
_BEFORE = 3  # trials that run to their end before any is given up


class Pruning(Callback):
    """Tell a trial the AUPRC of each epoch, and give it up when the study says so."""

    def __init__(self, trial: optuna.Trial):
        self.trial = trial

    def on_train_epoch_end(self, trainer, task) -> None:
        self.trial.report(float(trainer.callback_metrics["val_auprc"]), trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def tried(trial: optuna.Trial, params: Params, size: str) -> Params:
    """`params` with what a trial tries in them."""
    tree = params.model_dump()
    tree[size]["learning_rate"] = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    tree["fit"]["weight_decay"] = trial.suggest_float("weight_decay", 1e-3, 1.0, log=True)
    wide = params[size].gat.hidden
    tree[size]["gat"]["hidden"] = trial.suggest_int("hidden", -(-wide // 2), 2 * wide, log=True)
    tree[size]["gat"]["layers"] = trial.suggest_int("layers", 1, 4)
    return Params(**tree)


def _detector(data: Split | Synthesis, params: Params, size: str) -> Detector:
    seed_everything(params.seed)
    return Detector(GAT(data.val.spec, **params[size].gat))


def _dice(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


@contextmanager
def _quiet():
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def tune(data: Split | Synthesis, params: Params, size: str = "student") -> optuna.Study:
    """Go on with the study of a GAT of this `size` ("teacher" or "student") until it has
    `params.trials`, and return it; the first trial is `params` as they are. It lies in
    `runs/<dataset>/tune.db` under a name made of what its numbers depend on, the windows and the
    other parameters among them: whatever of that changes, a study begins anew.

    Each trial's dice depend on the seed and its number, so a search that was killed goes on to the
    same trials; the one that was cut off is done again.
    """
    place = folder(params)
    place.mkdir(parents=True, exist_ok=True)
    facts = about(_detector(data, params, size), data.draw(0, 0.0), data.val, params, size)
    del facts["params"]["trials"]
    with _quiet():
        study = optuna.create_study(
            storage=f"sqlite:///{place / 'tune.db'}",
            study_name=key_of(facts),
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(_BEFORE, n_warmup_steps=params[size].epochs // 4),
        )
        for cut_off in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(cut_off.number, state=TrialState.FAIL)
        while (number := len(finished(study))) < params.trials:
            study.sampler = optuna.samplers.TPESampler(seed=_dice(params.seed, number))
            if not number and not study.get_trials(states=(TrialState.WAITING,)):
                study.enqueue_trial(_values(params, size))
            study.optimize(lambda trial: _judged(trial, data, params, size), n_trials=1)
            last = finished(study)[-1]
            shown = "  ".join(f"{name} {value:.3g}" for name, value in last.params.items())
            ended = (
                ""
                if last.state == TrialState.COMPLETE
                else f", given up in epoch {len(last.intermediate_values)}"
            )
            print(
                f"trial {number + 1:>3}/{params.trials}  {shown}  auprc {reached(last):.4f}{ended}"
            )
    return study


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that ran to their end or were given up, in their order."""
    return study.get_trials(states=_DONE)


def reached(trial: optuna.trial.FrozenTrial) -> float:
    """The best AUPRC of a trial's epochs, also of one that was given up; NaN before the first."""
    return max(trial.intermediate_values.values(), default=float("nan"))


@contextmanager
def _given_up():
    """What cannot be trained is a bad trial, not the end of the search."""
    try:
        yield
    except (FloatingPointError, CollapseError) as error:
        raise optuna.TrialPruned from error


def _values(params: Params, size: str) -> dict[str, float]:
    """What is tried, as `params` have it."""
    own = {"learning_rate": params[size].learning_rate, "weight_decay": params.fit.weight_decay}
    return own | {"hidden": params[size].gat.hidden, "layers": params[size].gat.layers}


def _judged(trial: optuna.Trial, data: Split | Synthesis, params: Params, size: str) -> float:
    run = tried(trial, params, size)
    with redirect_stdout(io.StringIO()), _given_up():
        task = fit(_detector(data, run, size), data, run, size, callbacks=[Pruning(trial)])
    return max(row["val_auprc"] for row in task.history)


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of each parameter in what tells the better half of the trials that ran to their end
    from all of them (PED-ANOVA, Watanabe et al. 2023), largest first; with a few trials hardly more
    than a guess.

    Raises `ValueError` with less than two of them.
    """
    whole = len(study.get_trials(states=(TrialState.COMPLETE,)))
    if whole < 2:
        raise ValueError(
            f"search: {whole} of {len(study.trials)} trials ran to the end; expected two or more "
            "to compare; use more trials"
        )
    better = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
    return optuna.importance.get_param_importances(study, evaluator=better)
