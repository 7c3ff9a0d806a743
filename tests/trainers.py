"""A Lightning trainer for tests."""

import lightning as L


def plain_trainer(**options):
    """Lightning's trainer, which writes and says nothing."""
    options |= dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    return L.Trainer(accelerator="cpu", enable_model_summary=False, **options)
