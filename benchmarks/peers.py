"""Three ways in which others train and prune, on this project's models and data.

lightning   the main source's: pytorch-lightning's loop with its ModelPruning callback
loop        the VSR authors': a plain loop over a DataLoader, `torch.nn.utils.prune`
trainer     Hugging Face's Trainer, pruned at the end of each epoch by the same functions

All run the same model, items, batch size, learning rate, clipping and precision as `ours`, and
AdamW as their users set it up. None writes a record; none evaluates.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import os
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune
from torch.utils.data import DataLoader, Dataset

from lthlib.lab.lottery import Lab
from lthlib.lab.models import VLModel
from lthlib.lab.tasks import Inputs, Task
from lthlib.lab.tickets import Ticket
from lthlib.lab.training import loss_of, train
from lthlib.study import Study

Way = Callable[[Lab, float | None], None]


class Items(Dataset[dict[str, Tensor]]):
    """Items one by one, as a DataLoader reads them."""

    def __init__(self, task: Task) -> None:
        self.inputs, self.labels = task.train.inputs, task.train.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        fields = {name: value[index] for name, value in vars(self.inputs).items()}
        return {**fields, "labels": self.labels[index]}


def loader(task: Task, study: Study, device: str) -> DataLoader[dict[str, Tensor]]:
    """Batches in random order; for a GPU made ahead by workers, in memory that it can fetch."""
    gpu = device == "cuda"
    return DataLoader(
        Items(task),
        batch_size=study.batch_size,
        shuffle=True,
        num_workers=4 if gpu else 0,
        pin_memory=gpu,
    )


def every_weight(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """What pytorch-lightning's callback prunes where it is told nothing: weights and biases."""
    return [
        (module, name)
        for module in model.modules()
        for name in ("weight", "bias")
        if isinstance(getattr(module, name, None), nn.Parameter)
    ]


def remove(pairs: list[tuple[nn.Module, str]], amount: float) -> None:
    torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=amount)


_ON_CPU: weakref.WeakKeyDictionary[Lab, Task] = weakref.WeakKeyDictionary()


def _copy_of(lab: Lab) -> tuple[VLModel, Task]:
    """A model of one's own, and the task where a loader reads it: in the CPU's memory."""
    if lab not in _ON_CPU:
        _ON_CPU[lab] = lab.task.to("cpu")  # at the first turn, which does not count
    return copy.deepcopy(lab.model), _ON_CPU[lab]


# -- ours ---------------------------------------------------------------------------------------
def ours(lab: Lab, amount: float | None) -> None:
    """This library's loop; `amount` of what is left goes after each epoch."""
    ticket = lab.dense_ticket()

    def prune_after_epoch(_: int) -> Ticket | None:
        nonlocal ticket
        if amount is not None:
            zeros = ticket.zeros + round(amount * (ticket.prunable - ticket.zeros))
            ticket = lab._prune(lab.state(), zeros, ticket, 1)
        return ticket

    hook = None if amount is None else prune_after_epoch
    train(lab.model, lab.task, lab.study, 0, ticket=ticket, after_epoch=hook)


# -- theirs -------------------------------------------------------------------------------------
def loop(lab: Lab, amount: float | None) -> None:
    """The VSR authors' way."""
    (model, task), study = _copy_of(lab), lab.study
    device, low = lab.device.type, study.precision == "bfloat16"
    pairs = every_weight(model)
    batches = loader(task, study, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=study.learning_rate)
    for _ in range(study.epochs):
        model.train()
        for batch in batches:
            batch = {name: value.to(device) for name, value in batch.items()}
            labels = batch.pop("labels")
            with torch.autocast(device, torch.bfloat16, enabled=low):
                loss = loss_of(task, model(Inputs(**batch)), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), study.clip_norm)
            optimizer.step()
        if amount is not None:
            remove(pairs, amount)


def lightning(lab: Lab, amount: float | None) -> None:
    """The main source's way."""
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import ModelPruning

    (model, task), study = _copy_of(lab), lab.study

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
            labels = batch.pop("labels")
            return loss_of(task, self.model(Inputs(**batch)), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=study.learning_rate)

    pruning = ModelPruning(
        "l1_unstructured",
        parameters_to_prune=every_weight(model),
        amount=amount or 0.0,
        use_global_unstructured=True,
    )
    trainer = pl.Trainer(
        max_epochs=study.epochs,
        accelerator="gpu" if lab.device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if study.precision == "bfloat16" else "32-true",
        gradient_clip_val=study.clip_norm,
        callbacks=[] if amount is None else [pruning],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), loader(task, study, lab.device.type))


class _Answering(nn.Module):
    """A model as Hugging Face's Trainer wants it: fields in, a loss out."""

    def __init__(self, model: VLModel, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(
        self,
        labels: Tensor,
        input_ids: Tensor,
        text_mask: Tensor,
        region_features: Tensor,
        boxes: Tensor,
        region_mask: Tensor,
    ) -> dict[str, Tensor]:
        # Named one by one: a forward that takes anything is handed more than its fields.
        logits = self.model(Inputs(input_ids, text_mask, region_features, boxes, region_mask))
        return {"loss": loss_of(self.task, logits, labels), "logits": logits}


def trainer(lab: Lab, amount: float | None) -> None:
    """Hugging Face's Trainer."""
    import transformers

    (model, task), study = _copy_of(lab), lab.study
    pairs = every_weight(model)

    class Pruning(transformers.TrainerCallback):
        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            if amount is not None:
                remove(pairs, amount)

    gpu = lab.device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=study.epochs,
            per_device_train_batch_size=study.batch_size,
            learning_rate=study.learning_rate,
            weight_decay=study.weight_decay,
            max_grad_norm=study.clip_norm,
            use_cpu=not gpu,
            bf16=study.precision == "bfloat16",
            dataloader_num_workers=4 if gpu else 0,
            dataloader_pin_memory=gpu,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        transformers.Trainer(
            model=_Answering(model, task),
            args=arguments,
            train_dataset=Items(task),
            callbacks=[Pruning()],
        ).train()


NEEDS = {"lightning": "pytorch_lightning", "loop": "torch", "trainer": "accelerate"}
THEIRS: Mapping[str, Way] = {
    name: way
    for name, way in {"lightning": lightning, "loop": loop, "trainer": trainer}.items()
    # A GPU machine may lack them: then it measures against those that it has.
    if importlib.util.find_spec(NEEDS[name]) is not None
}
WAYS: Mapping[str, Way] = {"ours": ours, **THEIRS}


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Peers greet their users at each start; here a thousand times."""
    loggers = [logging.getLogger(n) for n in ("pytorch_lightning", "lightning", "accelerate")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere:
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
