"""Controls on what a model is shown: its regions, none (blind), or another item's."""

from __future__ import annotations

import dataclasses

import torch

from lthlib.lab.tasks import Split, Task


def show_regions(task: Task, regions: str) -> Task:
    """The task with its regions shown, hidden, or shuffled between the items of each split."""
    if regions == "shown":
        return task
    change = _hide if regions == "none" else _shuffle
    return dataclasses.replace(
        task,
        train=change(task.train),
        validation=change(task.validation),
        test=change(task.test),
    )


def _hide(split: Split) -> Split:
    """All regions blank, and all of them attended to: not even their number tells anything."""
    inputs = dataclasses.replace(
        split.inputs,
        region_features=torch.zeros_like(split.inputs.region_features),
        boxes=torch.zeros_like(split.inputs.boxes),
        region_mask=torch.ones_like(split.inputs.region_mask),
    )
    return dataclasses.replace(split, inputs=inputs)


def _shuffle(split: Split) -> Split:
    """Regions of the item half a split further on: no item keeps its own."""
    count = len(split.items)
    other = (torch.arange(count) + count // 2) % count
    inputs = dataclasses.replace(
        split.inputs,
        region_features=split.inputs.region_features[other],
        boxes=split.inputs.boxes[other],
        region_mask=split.inputs.region_mask[other],
    )
    return dataclasses.replace(split, inputs=inputs)
