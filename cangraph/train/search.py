"""A search for better parameters of the GAT: an Optuna study that goes on from its SQLite file.

| parameter | tried | |
|---|---|---|
| learning_rate | 1e-4 … 1e-2, log | peak of the schedule |
| weight_decay | 1e-3 … 1, log | |
| hidden | half to twice as wide as asked, log | width of a head |
| layers | 1 … 4 | |

A trial is judged by the best validation AUPRC of its epochs, and given up at an epoch where it is
below the median of the trials before (Golovin et al. 2017). Test windows are never looked at.
"""

import io
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import optuna
from lightning.pytorch.callbacks import Callback
from optuna.trial import TrialState

from cangraph.data.splits import Split
from cangraph.data.synthesis import Synthesis
from cangraph.nn.models import GAT
from cangraph.params import Params
from cangraph.train.callbacks import CollapseError
from cangraph.train.checkpoints import about, key_of
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector

_BEFORE = 3  # trials that run to their end before any is given up


class _Report(Callback):
    """Tell a trial the AUPRC of each epoch, and give it up when the study says so."""

    def __init__(self, trial: optuna.Trial):
        self.trial = trial

    def on_train_epoch_end(self, trainer, task) -> None:
        self.trial.report(float(trainer.callback_metrics["val_auprc"]), trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def suggested(trial: optuna.Trial, params: Params, size: str) -> Params:
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


def tune(
    data: Split | Synthesis, params: Params, path: Path | str, size: str = "student"
) -> optuna.Study:
    """Go on with the study of a GAT of this `size` ("teacher" or "student") until it has
    `params.trials`, and return it; the first trial is `params` as they are. It lies in the SQLite
    file `path`, under a name made of what its numbers depend on: when any of that changes, a study
    begins anew. A search that was killed goes on to the same trials.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    facts = about(_detector(data, params, size), data.draw(0, 0.0), data.val, params, size)
    del facts["params"]["trials"]
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # its lines would fill a notebook
    study = optuna.create_study(
        storage=f"sqlite:///{path}",
        study_name=key_of(facts),
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(_BEFORE, n_warmup_steps=params[size].epochs // 4),
    )
    for cut_off in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(cut_off.number, state=TrialState.FAIL)
    while (number := len(finished(study))) < params.trials:
        dice = np.random.SeedSequence([params.seed, number]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(dice[0]))
        if not number and not study.get_trials(states=(TrialState.WAITING,)):
            model = params[size]
            as_they_are = {"learning_rate": model.learning_rate} | model.gat.model_dump()
            study.enqueue_trial(as_they_are | {"weight_decay": params.fit.weight_decay})
        study.optimize(lambda trial: _judged(trial, data, params, size), n_trials=1)
        trial = finished(study)[-1]
        shown = "  ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
        given_up = f", given up in epoch {len(trial.intermediate_values)}"
        ended = "" if trial.state == TrialState.COMPLETE else given_up
        print(f"trial {number + 1:>3}/{params.trials}  {shown}  auprc {reached(trial):.4f}{ended}")
    return study


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that ran to their end or were given up, in their order."""
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def reached(trial: optuna.trial.FrozenTrial) -> float:
    """The best AUPRC of a trial's epochs, NaN before the first."""
    return max(trial.intermediate_values.values(), default=float("nan"))


def _judged(trial: optuna.Trial, data: Split | Synthesis, params: Params, size: str) -> float:
    """The best AUPRC of a training with what the trial tries."""
    run = suggested(trial, params, size)
    try:
        with redirect_stdout(io.StringIO()):
            task = fit(_detector(data, run, size), data, run, size, callbacks=[_Report(trial)])
    except (FloatingPointError, CollapseError) as error:  # a bad trial, not the end of the search
        raise optuna.TrialPruned from error
    return max(row["val_auprc"] for row in task.history)
