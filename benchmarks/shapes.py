"""Items as large as VSR's, made up: what a base-size model is fine-tuned on, without the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from lthlib.lab.lottery import Lab
from lthlib.lab.tasks import Inputs, Split, Task
from lthlib.study import Study

VSR_ITEMS = 7680
"""Training items of VSR's random split, as its authors count them."""
VSR_VALIDATION, VSR_TEST = 1097, 2195
VSR_EPOCHS = 3
REGIONS, FEATURES = 36, 2048
WORDS, LONGEST = 30_522, 30
CAPTION = (9, 20)
"""Word pieces of a caption with [CLS] and [SEP]: nearly all have so many."""


def evaluation_share() -> float:
    """Operations of evaluating a fine-tuning, over those of its steps.

    Validation items are answered after each epoch, and they and the test items at the end; an
    answer is a forward pass, which is a third of a step's work on an item.
    """
    answered = (VSR_EPOCHS + 1) * VSR_VALIDATION + VSR_TEST
    return answered / (3 * VSR_EPOCHS * VSR_ITEMS)


def vsr_task(items: int) -> Task:
    """A task of random captions and regions; features are shared by 64 items, for memory's sake."""
    draw = torch.Generator().manual_seed(0)

    def split(name: str, count: int) -> Split:
        lengths = torch.randint(*CAPTION, (count, 1), generator=draw)
        mask = torch.arange(LONGEST) < lengths
        ids = torch.randint(1000, WORDS, (count, LONGEST), generator=draw) * mask
        corner = torch.rand(count, REGIONS, 2, generator=draw) / 2
        features = torch.rand(min(count, 64), REGIONS, FEATURES, generator=draw)
        inputs = Inputs(
            input_ids=ids,
            text_mask=mask,
            region_features=features[torch.arange(count) % len(features)],
            boxes=torch.cat((corner, corner + 0.3), dim=-1),
            region_mask=torch.ones(count, REGIONS, dtype=torch.bool),
        )
        names = tuple(f"{name}-{i}" for i in range(count))
        labels = torch.from_numpy(np.arange(count) % 2)[:, None]
        return Split(names, inputs, labels, pd.DataFrame({"item": names}))

    return Task(
        name="vsr-shaped",
        kind="single",
        decisions=("true",),
        classes=("false", "true"),
        vocabulary=tuple(map(str, range(WORDS))),
        feature_dim=FEATURES,
        train=split("train", items),
        # One item: training is measured, and each epoch of this library's evaluates.
        validation=split("validation", 1),
        test=split("test", 1),
    )


def vsr_lab(model: str, items: int, device: str, size: str = "base", **more: Any) -> Lab:
    """A model on such items, with the recipe of the preset `base`, for one epoch."""
    study = Study.build(
        {
            "model": model, "size": size, "start": "random", "epochs": 1, "learning_rate": 5e-5,
            **more,
        }
    )  # fmt: skip
    return Lab(study, 0, device, task=vsr_task(items))
