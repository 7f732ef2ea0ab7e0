"""Controls on what a model is shown: its regions, none (blind), or another item's."""

from __future__ import annotations

import dataclasses

from lthlib.lab.tasks import Split, Task
from lthlib.lab.tasks.inputs import HeldInputs


def show_regions(task: Task, regions: str) -> Task:
    """The task with its regions shown, none, or shuffled within each split."""
    if regions == "shown":
        return task

    def changed(split: Split) -> Split:
        inputs = split.inputs
        assert not isinstance(inputs, HeldInputs), "regions are changed before they go to a GPU"
        return dataclasses.replace(
            split, inputs=inputs.hide_regions() if regions == "none" else inputs.shuffle_regions()
        )

    return dataclasses.replace(
        task,
        train=changed(task.train),
        validation=changed(task.validation),
        test=changed(task.test),
    )
