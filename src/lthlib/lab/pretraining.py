"""Pre-training: how the shipped starts are made, from scenes of training digits and true captions.

A tiny model that starts from random weights does not learn where words point within the steps that
a fine-tuning has. So it is first taught, on scenes of its own, four things whose answers come with
the drawing of a scene:

- *grounding*: from the state of each digit's name, the box of that digit;
- *reading back*: from the pooled vector, the boxes of both digits that the caption names;
- *masked words*: some words of a true caption are hidden or replaced, and are to be restored
  (Devlin et al. 2019, section 3.1; as in all three models' papers);
- *region class*: from the state of each region, the digit in it, or that there is none.

It sees no label and no item of a task, and no image of their validation and test parts. To restore
a hidden relation is close to what `digits` asks, which is why fine-tuning needs few epochs.

The heads for the lessons are thrown away; what is left is a start (`lthlib.lab.models.load_start`).
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lthlib.errors import StudyError
from lthlib.lab import provenance
from lthlib.lab.models import VLModel, build
from lthlib.lab.models.starts import WEIGHTS, body
from lthlib.lab.tasks import Task
from lthlib.lab.tasks.inputs import Inputs
from lthlib.lab.tasks.relations import NOUNS, captions, training_scenes
from lthlib.lab.tasks.scenes import CANVAS, CROP, DISTRACTOR, EMPTY, Scenes, detect
from lthlib.lab.tasks.vocabulary import MASK, PAD, UNK, encode, vocabulary
from lthlib.lab.training import derive_seed, deterministic, rate, train
from lthlib.study import Study, check_parameters

CLASSES = DISTRACTOR + 1  # region classes: ten digits, and none
WIDTH = 12  # ids in the longest caption, its two marks included
HELD_OUT = 2_000  # scenes to measure on
IGNORED = -100  # target that cross entropy passes over


@dataclass(frozen=True)
class Recipe:
    """How to pre-train. Counts are of scenes; every epoch reads each scene a new caption.

    Raises StudyError for a count, a seed or a learning rate that cannot be.
    """

    scenes: int = 48_000
    epochs: int = 14
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05  # share of all steps
    clip_norm: float = 1.0
    masked: float = 0.3  # share of words to restore
    box_weight: float = 10.0  # of the two lessons on boxes, whose errors are small numbers
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"scenes": 1, "epochs": 1, "batch_size": 1, "seed": 0}.items():
            _check_whole(name, getattr(self, name), least)
        if not _is_number(self.learning_rate) or not 0 < self.learning_rate <= 1:
            raise _will_not_do("learning_rate", self.learning_rate, "a number above 0 and up to 1")

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.epochs * -(-self.scenes // self.batch_size)


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _will_not_do(name, value, f"a whole number from {least}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _will_not_do(name: str, value: object, needed: str) -> StudyError:
    return StudyError(f"{name}: {value!r} will not do: {needed} is needed")


PARAMETERS = (
    "model", "boxes", "scenes", "epochs", "learning_rate", "seed", "tries", "least", "folder",
)  # fmt: skip


def read_parameters(namespace: Mapping[str, Any]) -> tuple[Recipe, Study, Path]:
    """How to pre-train, how to try the start, and where to write it, from a notebook's variables.

    All of them are checked before anything is taught, the folder by making it. Raises StudyError
    in one line for names, types and values that will not do.
    """
    given = check_parameters(namespace, PARAMETERS)
    recipe = Recipe(**{k: given[k] for k in ("scenes", "epochs", "learning_rate", "seed")})
    _check_whole("tries", given["tries"], 1)
    if not _is_number(given["least"]) or not 0 <= given["least"] <= 1:
        raise _will_not_do("least", given["least"], "a number from 0 to 1")
    study = Study.build(
        model=given["model"], boxes=given["boxes"], epochs=4, seeds=list(range(given["tries"]))
    )
    return recipe, study, _folder(given["folder"])


def _folder(name: object) -> Path:
    """An existing folder that can be written to; "" is the library's own of weights."""
    if not isinstance(name, str):
        raise _will_not_do("folder", name, "text")
    folder = Path(name) if name else WEIGHTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StudyError(f"folder: {str(folder)!r} cannot be written to: {reason}") from None
    return folder


@dataclass(frozen=True)
class Corpus:
    """N scenes as a model sees them, and what is known about them from their drawing.

    features, boxes, mask: of the regions [N, R, D], [N, R, 4], [N, R]; region_class: int64 [N, R],
    -100 where there is no region; digit_boxes: true box of each digit 0..9 [N, 10, 4], in 0..1.
    """

    scenes: Scenes
    features: Tensor
    boxes: Tensor
    mask: Tensor
    region_class: Tensor
    digit_boxes: Tensor

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Captions:
    """One true caption for each scene, and where it names its two digits.

    ids: int64 [N, T]; noun_at: position of subject and object [N, 2]; noun: which digits [N, 2].
    """

    ids: Tensor
    noun_at: Tensor
    noun: Tensor


def draw_corpus(count: int, seed: int) -> Corpus:
    """Scenes of training images, none an item of a task; the same for the same seed."""
    scenes = training_scenes(count, seed)
    regions = detect(scenes, seed)
    digit_boxes = np.zeros((count, len(NOUNS), 4), dtype=np.float32)
    row, slot = np.nonzero(scenes.present)
    digit_boxes[row, scenes.digit[row, slot]] = scenes.boxes[row, slot] / CANVAS
    return Corpus(
        scenes=scenes,
        features=torch.from_numpy(regions.region_features),
        boxes=torch.from_numpy(regions.unit_boxes),
        mask=torch.from_numpy(regions.mask),
        region_class=torch.from_numpy(np.where(regions.label == EMPTY, IGNORED, regions.label)),
        digit_boxes=torch.from_numpy(digit_boxes),
    )


def read_captions(corpus: Corpus, seed: int) -> Captions:
    """A random true caption for each scene."""
    said = captions(corpus.scenes, seed)
    ids = torch.from_numpy(encode(said.text, WIDTH))
    noun = torch.from_numpy(np.stack([said.subject, said.object], axis=1))
    words = torch.tensor([vocabulary().index(word) for word in NOUNS])
    noun_at = (ids[:, None, :] == words[noun][..., None]).long().argmax(dim=2)
    return Captions(ids, noun_at, noun)


def hide_words(ids: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Captions with words hidden, and the words to restore (-100 elsewhere), both [N, T].

    Of the words chosen, 80 % become [MASK], 10 % another word, and 10 % stay (Devlin et al. 2019,
    appendix A.1).
    """
    chosen = (torch.rand(ids.shape, generator=generator) < share) & (ids > UNK)
    fate = torch.rand(ids.shape, generator=generator)
    other = torch.randint(UNK + 1, len(vocabulary()), ids.shape, generator=generator)
    shown = torch.where(chosen & (fate < 0.8), MASK, ids)
    shown = torch.where(chosen & (fate >= 0.9), other, shown)
    return shown, torch.where(chosen, ids, IGNORED)


@dataclass(frozen=True)
class Targets:
    """Answers for one batch: words [B, T] and region classes [B, R], -100 where none is asked;
    positions of the two nouns [B, 2], and the boxes that they name [B, 2, 4]."""

    word: Tensor
    region_class: Tensor
    noun_at: Tensor
    noun_box: Tensor


class Lessons(nn.Module):
    """A model and the heads for what it is taught; the heads are thrown away afterwards."""

    def __init__(self, model: VLModel) -> None:
        super().__init__()
        self.model = model
        self.word = nn.Linear(model.hidden, len(vocabulary()))
        self.region = nn.Linear(model.hidden, CLASSES)
        self.noun_box = nn.Linear(model.hidden, 4)
        self.both_boxes = nn.Linear(model.hidden, 8)

    def forward(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Mean loss of each lesson over a batch."""
        states = self.model.encode(inputs)
        at_nouns = targets.noun_at[..., None].expand(-1, -1, self.model.hidden)
        noun_box = self.noun_box(states.text.gather(1, at_nouns))
        # A hidden name does not say which box is meant.
        named = (targets.word.gather(1, targets.noun_at) == IGNORED)[..., None].to(noun_box.dtype)
        distance = F.smooth_l1_loss(noun_box, targets.noun_box, reduction="none", beta=0.1)
        words = self.word(states.text)
        regions = self.region(states.regions)
        return {
            "word": F.cross_entropy(words.flatten(0, 1), targets.word.flatten()),
            "region": F.cross_entropy(regions.flatten(0, 1), targets.region_class.flatten()),
            "noun_box": (distance * named).mean(),
            "both_boxes": F.smooth_l1_loss(
                self.both_boxes(states.pooled), targets.noun_box.flatten(1), beta=0.1
            ),
        }


def batches(
    corpus: Corpus, said: Captions, recipe: Recipe, generator: torch.Generator
) -> Iterator[tuple[Inputs, Targets]]:
    """One epoch, in random order, with words hidden afresh."""
    shown, word = hide_words(said.ids, recipe.masked, generator)
    boxes = corpus.digit_boxes.gather(1, said.noun[..., None].expand(-1, -1, 4))
    order = torch.randperm(len(corpus), generator=generator)
    for rows in torch.split(order, recipe.batch_size):
        ids = shown[rows]
        inputs = Inputs(
            input_ids=ids,
            text_mask=ids != PAD,
            region_features=corpus.features[rows],
            boxes=corpus.boxes[rows],
            region_mask=corpus.mask[rows],
        )
        yield (
            inputs,
            Targets(word[rows], corpus.region_class[rows], said.noun_at[rows], boxes[rows]),
        )


def pretrain(
    name: str,
    *,
    boxes: bool = True,
    recipe: Recipe | None = None,
    report: Callable[[dict[str, float]], None] = lambda row: None,
) -> tuple[VLModel, pd.DataFrame]:
    """A tiny model taught from random weights, and its curves: a row per epoch.

    The last columns of the curves are measured after the epoch on scenes that no epoch trains on:
    the share of regions whose class is told, of hidden words restored, and the mean distance in
    parts of the canvas between the edges of named boxes and where the model sees them. `report`
    is called with each row as it is made.
    """
    recipe = recipe or Recipe()
    with deterministic(), torch.random.fork_rng(devices=[]):
        model = build(
            name,
            size="tiny",
            boxes=boxes,
            vocabulary_size=len(vocabulary()),
            feature_dim=CROP * CROP,
            outputs=1,
            seed=derive_seed(recipe.seed, "pretrained model"),
        )
        torch.manual_seed(derive_seed(recipe.seed, "pre-training heads"))
        lessons = Lessons(model)
        corpus = draw_corpus(recipe.scenes, derive_seed(recipe.seed, "scenes"))
        held_out = draw_corpus(HELD_OUT, derive_seed(recipe.seed, "held-out scenes"))
        optimizer = torch.optim.AdamW(
            lessons.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate(min(step, recipe.steps - 1), recipe.steps, recipe.warmup)
        )
        curves = []
        for epoch in range(recipe.epochs):
            started = time.perf_counter()
            losses = _teach(lessons, corpus, recipe, epoch, optimizer, schedule)
            seconds = time.perf_counter() - started
            row = {"epoch": epoch, **losses, **_examine(lessons, held_out, recipe)}
            curves.append({**row, "seconds": round(seconds, 2)})
            report(curves[-1])
    return model, pd.DataFrame(curves)


def _teach(
    lessons: Lessons,
    corpus: Corpus,
    recipe: Recipe,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> dict[str, float]:
    """One epoch; returns the mean loss of each lesson."""
    lessons.train()
    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "epoch", epoch))
    said = read_captions(corpus, derive_seed(recipe.seed, "captions", epoch))
    sums: dict[str, float] = {}
    for inputs, targets in batches(corpus, said, recipe, generator):
        losses = lessons(inputs, targets)
        loss = losses["word"] + losses["region"]
        loss = loss + recipe.box_weight * (losses["noun_box"] + losses["both_boxes"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(lessons.parameters(), recipe.clip_norm)
        optimizer.step()
        schedule.step()
        for lesson, value in losses.items():
            sums[lesson] = sums.get(lesson, 0.0) + float(value.detach()) * len(inputs)
    return {f"{lesson}_loss": total / len(corpus) for lesson, total in sums.items()}


@torch.inference_mode()
def _examine(lessons: Lessons, held_out: Corpus, recipe: Recipe) -> dict[str, float]:
    """What is right on scenes that no epoch trains on."""
    lessons.eval()
    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "examination"))
    said = read_captions(held_out, derive_seed(recipe.seed, "examination"))
    right: dict[str, list[Tensor]] = {"word_accuracy": [], "region_accuracy": [], "box_error": []}
    for inputs, targets in batches(held_out, said, recipe, generator):
        states = lessons.model.encode(inputs)
        asked = targets.word != IGNORED
        right["word_accuracy"].append(
            (lessons.word(states.text).argmax(-1) == targets.word)[asked].float()
        )
        shown = targets.region_class != IGNORED
        right["region_accuracy"].append(
            (lessons.region(states.regions).argmax(-1) == targets.region_class)[shown].float()
        )
        distance = (lessons.both_boxes(states.pooled) - targets.noun_box.flatten(1)).abs()
        right["box_error"].append(distance.mean(dim=1))
    return {name: round(float(torch.cat(values).mean()), 5) for name, values in right.items()}


def try_start(start: VLModel, task: Task, study: Study) -> pd.DataFrame:
    """Fine-tune from a start at each of the study's seeds: columns of the curves, and `seed`.

    A start can look well taught and still leave fine-tuning stuck, so each is tried before it
    ships. Look at validation accuracy: the test items are for the report.
    """
    tries = []
    for seed in study.seeds:
        with deterministic():
            model = build(
                start.name,
                size="tiny",
                boxes=start.boxes,
                vocabulary_size=len(task.vocabulary),
                feature_dim=task.feature_dim,
                outputs=task.outputs,
                seed=seed,
            )
            model.load_state_dict(body(start), strict=False)
            tries.append(train(model, task, study, seed).curves.assign(seed=seed))
    return pd.concat(tries, ignore_index=True)


def record_of(
    model: VLModel, recipe: Recipe, curves: pd.DataFrame, tries: pd.DataFrame
) -> dict[str, Any]:
    """What `save_start` writes beside the weights: how they were made, and what they are worth."""
    words = files("lthlib.lab.tasks").joinpath("vocabulary.txt").read_bytes()
    last = tries[tries["epoch"] == tries["epoch"].max()]
    return {
        "model": model.name,
        "boxes": model.boxes,
        "size": model.size,
        "feature_dim": CROP * CROP,
        "vocabulary_sha256": hashlib.sha256(words).hexdigest(),
        "recipe": {**asdict(recipe), "steps": recipe.steps},
        "seconds": round(float(curves["seconds"].sum()), 1),
        "made": provenance.now(),
        **provenance.describe_environment(torch.device("cpu")),
        "curves": curves.round(5).to_dict("records"),
        "tried": {
            "task": "digits",
            "epochs": int(tries["epoch"].max()) + 1,
            "validation_accuracy": last.set_index("seed")["validation_accuracy"].round(4).to_dict(),
        },
    }
