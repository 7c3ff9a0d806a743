"""Lightning callbacks, only what Lightning lacks."""

import time

from lightning.pytorch.callbacks import Callback

__all__ = ["EpochLines"]


class EpochLines(Callback):
    """One printed line an epoch, and `task.history`: a dict of the means of each epoch."""

    def on_train_epoch_start(self, trainer, task):
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer, task):
        row = {"epoch": trainer.current_epoch + 1}
        row |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        task.history.append(row)
        shown = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k.endswith(("loss", "auprc")))
        took = time.perf_counter() - self.began
        print(f"epoch {row['epoch']:>3}/{trainer.max_epochs}  {shown}  {took:.1f} s", flush=True)
