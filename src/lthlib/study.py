"""What to run: plain validated data, with no torch in sight.

A :class:`Study` names a task, a model, a protocol, a ladder of sparsities and the recipe of
training. Everything but its seeds goes into a hash, and the hash names its runs: one run is one
study at one seed. Presets are small tables of studies; notebooks build theirs from their
parameters with :func:`studies_from_parameters`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lthlib import real_text
from lthlib.errors import StudyError, unknown
from lthlib.reference import PARTS

EmbeddedName = Literal["digits", "digit-reports"]
PublishedName = Literal[
    "vsr-v1-random",
    "vsr-v1-zeroshot",
    "vsr-random",
    "vsr-zeroshot",
    "vsr-grouped",
    "open-i",
    "vqa-v2",
    "vqa-cp-v2",
    "mnist",
    "cifar-10",
    "cifar-100",
    "cub",
    "cub-attributes",
]
OwnName = Annotated[str, Field(pattern=r"^own-[a-z0-9][a-z0-9-]*$")]
TaskName = EmbeddedName | PublishedName | OwnName
ModelName = Literal["visualbert", "lxmert", "uniter"]
BranchName = Literal["random-mask", "shuffled-mask", "reinitialised", "high-magnitude"]
ObservationName = Literal["weights", "states", "barriers"]
LadderName = Literal["imp", "secondary", "concluding"]

EMBEDDED: tuple[str, ...] = get_args(EmbeddedName)
"""Tasks that need no data from outside; the others read a data folder."""
OF_PIXELS = ("mnist", "cifar-10", "cifar-100")
"""Published tasks whose regions are their pixels, so that they need no store of features."""
TASKS: tuple[str, ...] = (*EMBEDDED, *get_args(PublishedName))
"""All tasks but one's own, which are named own-NAME."""
MODELS: tuple[str, ...] = get_args(ModelName)
BRANCHES: tuple[str, ...] = get_args(BranchName)
OBSERVATIONS: tuple[str, ...] = get_args(ObservationName)
LADDERS: tuple[str, ...] = get_args(LadderName)
GROUPS = ("language", "vision", "fusion", "embeddings", "head")
MODALITIES = ("language", "vision", "fusion")

# The per-epoch amounts of the main source (its sections "secondary" and "concluding" prune).
PUBLISHED_AMOUNTS: dict[str, tuple[float, ...]] = {
    # Three of its tables head the third column 70 %, the other eighteen 75 %.
    "secondary": (0.25, 0.50, 0.75, 0.85, 0.90, 0.99),
    "concluding": (0.10, 0.17, 0.25, 0.30, 0.40, 0.50),
}
PUBLISHED_ROUNDS = 3
IMP_RATE = 0.2


@dataclass(frozen=True)
class Rung:
    """One level of a ladder.

    sparsity: share of prunable weights that are zero at this level, in [0, 1].
    amount: share of the *remaining* weights pruned in each of three rounds, where the level
        comes from the main source; None elsewhere.
    """

    level: int
    sparsity: float
    amount: float | None = None

    def zeros(self, prunable: int) -> int:
        """Exact number of zeros among `prunable` weights."""
        return round(self.sparsity * prunable)


def cumulative(amount: float, rounds: int = PUBLISHED_ROUNDS) -> float:
    """Sparsity after `rounds` rounds that each prune `amount` of what is left.

    >>> round(cumulative(0.10), 4), round(cumulative(0.50), 4)
    (0.271, 0.875)
    """
    return float(1.0 - (1.0 - amount) ** rounds)


class Study(BaseModel):
    """One question put to one model: what to train, what to prune, and how often.

    Raises StudyError (through :meth:`build`) in one line for unknown names, wrong types, values
    out of range, and combinations that make no sense.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    task: TaskName = Field("digits", description="what the model learns")
    model: ModelName = Field("uniter", description="which architecture")
    boxes: bool = Field(True, description="VisualBERT sees box positions (as published: no)")
    size: Literal["tiny", "base"] = Field("tiny", description="tiny (0.2 M weights) or base")
    start: Literal["pretrained", "random"] = Field(
        "pretrained", description="theta_0: the pre-trained weights, or drawn at random"
    )
    checkpoint: str | None = Field(
        None,
        min_length=1,
        description="published weights: a file in the data folder, or owner/name",
    )
    regions: Literal["shown", "none", "shuffled"] = Field(
        "shown", description="image regions: shown, none (a blind model), shuffled between items"
    )
    features: str | None = Field(
        None, description="store of region features in the data folder, for published tasks"
    )
    protocol: Literal["lottery", "as_published"] = Field(
        "lottery",
        description="lottery: train, prune, rewind, train; as_published: what the source ran",
    )
    search: Literal["iterative", "one-shot"] = Field(
        "iterative", description="prune level by level, or each level straight from dense"
    )
    rewind: Literal["weights", "learning-rate", "none"] = Field(
        "weights",
        description="after pruning: weights back to theta_k, learning rate only, or neither",
    )
    rewind_step: int = Field(
        0, ge=0, description="k, in optimizer steps: rewind to theta_k; 0 is the start"
    )
    ladder: LadderName | tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        "imp", description="imp, secondary, concluding, or a list of sparsities"
    )
    levels: int = Field(
        4, ge=0, le=40, description="levels of the imp ladder, 20 % of the rest each"
    )
    score: Literal["low-magnitude", "high-magnitude", "random", "magnitude-at-init"] = Field(
        "low-magnitude", description="what is pruned first"
    )
    scope: Literal["global", "layer", "modality"] = Field(
        "global", description="one threshold for all weights, for each layer, or for each modality"
    )
    prunable: Literal["encoder", "encoder+embeddings", "everything"] = Field(
        "encoder", description="which weights may be pruned"
    )
    branches: tuple[BranchName, ...] = Field((), description="controls trained beside each level")
    branch_levels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="levels that get the controls; an empty list means every pruned level"
    )
    observe: tuple[ObservationName, ...] = Field(
        (), description="what else each level records: weights, states, barriers"
    )
    epochs: int = Field(
        4, ge=1, le=1000, description="passes over the training items at each level"
    )
    dense_epochs: int | None = Field(
        None, ge=1, le=1000, description="passes at level 0, before any pruning; null: as epochs"
    )
    batch_size: int = Field(64, ge=1, description="items in one step")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak of the schedule")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW's decoupled decay")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of steps that warm up linearly")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    kernels: Literal["plain", "fused", "compiled"] = Field(
        "plain", description="plain, fused (attention in one kernel, padding cut) or compiled"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of matrix products: float32, or bfloat16 (for GPUs)"
    )
    together: int = Field(
        1, ge=1, le=64, description="seeds trained at once, in blocks of so many, by one process"
    )
    train_on: Literal["train", "train+test"] = Field(
        "train",
        description="train+test: test items get a training history, and test nothing any more",
    )
    train_items: int | None = Field(None, ge=8, description="training items; null: the default")
    validation_items: int | None = Field(
        None, ge=8, description="validation items; null: the default"
    )
    test_items: int | None = Field(None, ge=8, description="test items; null: the task's default")
    data_seed: int = Field(0, ge=0, description="seed of the task's items")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0,), min_length=1, description="one run for each"
    )

    # -- building -------------------------------------------------------------------------------
    @classmethod
    def build(cls, values: Mapping[str, Any] | None = None, /, **more: Any) -> Study:
        """A study from plain values; raises StudyError with one clear line."""
        try:
            return cls(**{**(values or {}), **more})
        except ValidationError as error:
            raise StudyError(_one_line(error)) from None

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_protocol(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("protocol") == "as_published":
            return {**AS_PUBLISHED, **values}
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _text_that_is_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads 5e-4, and papermill true, as text; what can mean one thing only is taken."""
        if not isinstance(value, str):
            return value
        annotation = cls.model_fields[str(info.field_name)].annotation
        kinds = {annotation, *get_args(annotation)}
        if bool in kinds and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if kinds & {int, float} and _NUMBER.fullmatch(value):
            number = float(value)
            return int(number) if int in kinds and number.is_integer() else number
        return value

    @field_validator("ladder", "branches", "branch_levels", "observe", "seeds", mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds", "branches", "branch_levels", "observe")
    @classmethod
    def _no_doubles(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names something twice")
        return value

    @model_validator(mode="after")
    def _makes_sense(self) -> Study:
        complaint = next(iter(self._complaints()), None)
        if complaint:
            raise ValueError(complaint)
        return self

    def _complaints(self) -> Iterable[str]:
        """Combinations of valid values that make no sense together."""
        last = len(self.rungs()) - 1
        if not self.boxes and self.model != "visualbert":
            yield f"boxes: only visualbert can go without them; {self.model} always reads boxes"
        if not self.boxes and self.regions == "none":
            yield "boxes: with regions 'none' there are no boxes to hide; leave boxes at true"
        if self.rewind_step > 0 and self.rewind != "weights":
            yield f"rewind_step: {self.rewind_step} has no meaning with rewind {self.rewind!r}"
        default_levels = type(self).model_fields["levels"].default
        if self.levels != default_levels and self.ladder != "imp":
            yield "levels: counts the levels of the imp ladder only; this ladder has its own"
        if self.task in EMBEDDED:
            if self.features is not None:
                yield f"features: {self.task} makes its own regions; leave features out"
        else:
            yield from self._complaints_published()
        if self.checkpoint is not None and self.start == "random":
            yield "checkpoint: has no meaning with start 'random'; leave start at 'pretrained'"
        if self.size == "base" and self.start == "pretrained" and self.checkpoint is None:
            yield (
                "start: no pre-trained start of base size is shipped; name a checkpoint, or use "
                "start 'random'"
            )
        if self.branches and self.rewind != "weights":
            yield f"branches: are controls of rewound tickets; rewind {self.rewind!r} rewinds none"
        if self.score == "high-magnitude" and "high-magnitude" in self.branches:
            yield "branches: high-magnitude is no control where the score is high-magnitude too"
        if self.branch_levels and not self.branches:
            yield "branch_levels: names levels, but branches is empty"
        if any(level > last for level in self.branch_levels):
            yield f"branch_levels: the ladder ends at level {last}"
        if not isinstance(self.ladder, str):
            ladder: tuple[float, ...] = self.ladder
            if any(b <= a for a, b in itertools.pairwise(ladder)):
                yield "ladder: sparsities must rise from level to level"
        if self.train_on == "train+test" and last > 0:
            yield "train_on: with the test items in training nothing can be tested; set levels to 0"
        if self.dense_epochs is not None and self.search == "iterative" and last > 1:
            yield "dense_epochs: needs search 'one-shot', so that each level is pruned from dense"
        if self.together > 1:
            yield from self._complaints_together()
        if self.protocol == "as_published":
            yield from self._complaints_as_published()

    def _complaints_together(self) -> Iterable[str]:
        if self.size != "tiny":
            yield "together: a base-size model fills a device alone; leave together at 1"
        if self.kernels != "plain" or self.precision != "float32":
            yield "together: needs plain kernels in float32, which stack"
        if self.features is not None:
            yield "together: regions that stay on disk cannot be stacked; leave together at 1"

    def _complaints_published(self) -> Iterable[str]:
        seen = self.features is not None or self.task in OF_PIXELS
        if not seen and self.regions != "none":
            yield (
                f"regions: {self.task} has none without a store of features; name one, or set "
                "regions to none"
            )
        if self.size == "tiny" and self.start == "pretrained" and self.checkpoint is None:
            yield (
                f"start: the shipped starts know the words of {' and '.join(EMBEDDED)} only; use "
                "start 'random'"
            )
        if self.data_seed:
            yield f"data_seed: {self.task} is not made from a seed; leave data_seed at 0"

    def _complaints_as_published(self) -> Iterable[str]:
        if self.ladder == "imp":
            yield (
                "ladder: as_published prunes an amount in each epoch; choose secondary, "
                "concluding, or a list of amounts"
            )
        for name, fixed in AS_PUBLISHED_FIXED.items():
            if getattr(self, name) != fixed:
                yield f"{name}: the protocol as_published fixes it at {fixed!r}"

    # -- reading --------------------------------------------------------------------------------
    def rungs(self) -> tuple[Rung, ...]:
        """The ladder, dense level first.

        Under `lottery` a published ladder stands for the sparsities that its amounts reach after
        three rounds (10 % a round: 27.1 %), so that both protocols meet at equal sparsity.
        """
        rungs: list[tuple[float, float | None]]
        if self.ladder == "imp":
            sparsities = [1 - (1 - IMP_RATE) ** level for level in range(1, self.levels + 1)]
            rungs = [(s, None) for s in sparsities]
        elif isinstance(self.ladder, str):
            rungs = [(cumulative(a), a) for a in PUBLISHED_AMOUNTS[self.ladder]]
        elif self.protocol == "as_published":
            rungs = [(cumulative(a), a) for a in self.ladder]
        else:
            rungs = [(s, None) for s in self.ladder]
        return (Rung(0, 0.0), *(Rung(i, s, a) for i, (s, a) in enumerate(rungs, start=1)))

    def branches_at(self, level: int) -> tuple[str, ...]:
        """The controls that this level gets."""
        wanted = level > 0 and (not self.branch_levels or level in self.branch_levels)
        return self.branches if wanted else ()

    def trainings(self) -> int:
        """Number of training runs that one seed needs."""
        return sum(1 + len(self.branches_at(rung.level)) for rung in self.rungs())

    def settings(self) -> dict[str, Any]:
        """Everything but the seeds, as plain JSON data."""
        return self.model_dump(mode="json", exclude={"seeds"})

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that change with any setting; seeds are no setting.

        Settings that this class learned later count only where they are not at their default, so
        that the records made before keep their names.
        """
        settings = self.settings()
        for name in _LATER:
            if settings[name] == _plain_default(name):
                del settings[name]
        if self.ladder != "imp":
            settings["levels"] = len(self.rungs()) - 1
        text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Readable and unique: model, task, protocol, ladder, hash."""
        ladder = self.ladder if isinstance(self.ladder, str) else "list"
        protocol = self.protocol.replace("_", "-")
        return f"{self.model}-{self.task}-{protocol}-{ladder}-{self.hash}"

    @property
    def judged_stage(self) -> str:
        """The stage at which levels are judged.

        As published, no training follows the last pruning.
        """
        return "pruned" if self.protocol == "as_published" else "trained"

    @property
    def start_name(self) -> str:
        """Name of the pre-trained start that this study's model is given."""
        return f"{self.model}{'' if self.boxes else '-no-boxes'}-{self.size}"

    def run_id(self, seed: int) -> str:
        """The name of one run: this study at one seed."""
        return f"{self.name}-s{seed}"

    def block(self, seed: int) -> tuple[int, ...]:
        """The seeds that are trained together with this one, itself among them.

        >>> Study.build(together=4).block(5)
        (4, 5, 6, 7)
        """
        first = seed // self.together * self.together
        return tuple(range(first, first + self.together))

    def run_ids(self) -> list[str]:
        return [self.run_id(seed) for seed in self.seeds]


_LATER = (
    "observe",
    "dense_epochs",
    "train_on",
    "features",
    "checkpoint",
    "kernels",
    "precision",
    "together",
)


def _plain_default(name: str) -> Any:
    default = Study.model_fields[name].default
    return list(default) if isinstance(default, tuple) else default


# What the main source really ran (see the book's chapter on method): three rounds of one epoch,
# each ending with a pruning of all weights and biases; no rewind in effect, and no training after
# the last pruning.
AS_PUBLISHED_FIXED: dict[str, Any] = {
    "epochs": PUBLISHED_ROUNDS,
    "prunable": "everything",
    "rewind": "none",
    "rewind_step": 0,
    "search": "iterative",
    "score": "low-magnitude",
    "scope": "global",
    "branches": (),
    "observe": (),
    "dense_epochs": None,
    "train_on": "train",
}
AS_PUBLISHED: dict[str, Any] = {**AS_PUBLISHED_FIXED, "ladder": "concluding"}


def _one_line(error: ValidationError) -> str:
    """The first complaint of pydantic, said as this project says things."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    value = first.get("input")
    if first["type"] == "extra_forbidden":
        return unknown("study parameter", name, Study.model_fields)
    if name == "ladder":
        return _about_ladder(error)
    if first["type"] == "literal_error":
        names = get_args(Study.model_fields[name].annotation)
        listed = {
            "task": (*TASKS, "own-NAME"),
            "branches": BRANCHES,
            "observe": OBSERVATIONS,
        }
        return unknown(name, value, listed.get(name, names))
    if first["type"] == "value_error":
        text = str(first["ctx"]["error"])
        return f"{name}: {text}" if name else text
    if first["type"] == "tuple_type":
        return f"{name}: {value!r} is no list; write [{value!r}] (papermill -y '{name}: [...]')"
    where = ".".join(str(part) for part in first["loc"])
    hint = ""
    if isinstance(value, str) and first["type"] in _PLAIN:
        hint = f" (it came as text; write it {_PLAIN[first['type']]})"
    return f"{where}: {value!r} will not do: {first['msg'].lower()}{hint}"


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PLAIN = {
    "float_type": "with a decimal point, such as 0.0005",
    "int_type": "as a whole number, such as 8",
    "bool_type": "as true or false (papermill: True or False)",
}


def _about_ladder(error: ValidationError) -> str:
    value = next(e["input"] for e in error.errors() if e["loc"][0] == "ladder")
    for detail in error.errors():
        if len(detail["loc"]) > 2 and not isinstance(detail["input"], str):
            return f"ladder: {detail['input']!r} is no sparsity; sparsities lie above 0 and up to 1"
    if isinstance(value, str) and value not in LADDERS:
        return unknown("ladder", value, LADDERS) + " or a list of sparsities"
    return f"ladder: {value!r} is neither one of {', '.join(LADDERS)} nor a list of sparsities"


# -- presets ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Preset:
    """Studies that belong together: settings they share, and a cell for each study."""

    about: str
    shared: Mapping[str, Any]
    cells: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def _cells(models: Sequence[str], tasks: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    return [{"model": model, "task": task, **more} for task in tasks for model in models]


PRESETS: dict[str, Preset] = {
    "ci": Preset(
        "minutes to seconds: checks that everything runs, shows nothing about tickets",
        {
            "levels": 1, "epochs": 1, "seeds": [0, 1], "train_items": 512,
            "validation_items": 128, "test_items": 256,
        },
        [*_cells(MODELS, ["digits"]), *_cells(["uniter"], ["digit-reports"])],
    ),
    "quick": Preset(
        "the default of `make report`: ten minutes on two cores",
        {"epochs": 3, "batch_size": 128, "seeds": [0, 1, 2]},
        [
            *_cells(
                MODELS, ["digits"], ladder=[0.4, 0.7, 0.9],
                branches=["random-mask", "reinitialised"], branch_levels=[1],
            ),
            *_cells(["uniter"], ["digit-reports"], ladder=[0.4, 0.7], epochs=5, batch_size=64),
        ],
    ),
    "full": Preset(
        "the reference study: ten seeds, both published ladders, both protocols, and more",
        {},
        [{**part.shared, **cell} for part in PARTS.values() for cell in part.cells],
    ),
    "real-text": Preset(
        "VSR's captions and Open-I's reports, from `lth data get`: half an hour of one core",
        real_text.SHARED,
        real_text.CELLS,
    ),
    "base": Preset(
        "base-size models, meant for a GPU",
        {
            "size": "base", "start": "random", "levels": 9, "epochs": 3, "seeds": [0, 1, 2],
            "batch_size": 32, "learning_rate": 5e-5, "kernels": "fused", "precision": "bfloat16",
        },
        _cells(MODELS, ["digits"]),
    ),
}  # fmt: skip
DEFAULT_PRESET = "quick"


def plan(preset: str = DEFAULT_PRESET, **choices: Any) -> list[Study]:
    """The studies of a preset, narrowed and changed by `choices` (fields of :class:`Study`).

    Choices of model, task, protocol and ladder pick the cells that agree with them; where none
    does, the cells that agree best lend their settings. All other choices overrule the preset's.
    """
    if preset not in PRESETS:
        raise StudyError(unknown("preset", preset, PRESETS))
    chosen = PRESETS[preset]
    studies = []
    for cell in _agreeing(chosen.cells, choices):
        drop = _overruled(choices, cell)
        settings = {k: v for k, v in {**chosen.shared, **cell}.items() if k not in drop}
        studies.append(Study.build({**settings, **choices}))
    return joined(studies)


def reference(part: str, **choices: Any) -> list[Study]:
    """The studies of one part of the reference study that agree with `choices`.

    Raises StudyError for an unknown part, and for choices with which no study of it agrees.
    """
    if part not in PARTS:
        raise StudyError(unknown("part of the reference study", part, PARTS))
    chosen = PARTS[part]
    studies = [Study.build({**chosen.shared, **cell}) for cell in chosen.cells]
    agreeing = [s for s in studies if all(getattr(s, k) == v for k, v in choices.items())]
    if not agreeing:
        asked = ", ".join(f"{name} {value!r}" for name, value in choices.items())
        raise StudyError(f"part {part!r} of the reference study has no study with {asked}")
    return agreeing


def joined(studies: Iterable[Study]) -> list[Study]:
    """Each study once, with the seeds of all its mentions."""
    found: dict[str, Study] = {}
    for study in studies:
        known = found.get(study.name)
        seeds = dict.fromkeys((*(known.seeds if known else ()), *study.seeds))
        found[study.name] = study.model_copy(update={"seeds": tuple(seeds)})
    return list(found.values())


def _agreeing(
    cells: Sequence[Mapping[str, Any]], choices: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    """Cells that agree with the choices on as many axes as any does."""
    axes = ("task", "model", "protocol", "ladder")
    for count in range(len(axes), 0, -1):
        wanted = {axis: choices[axis] for axis in axes[:count] if axis in choices}
        agreeing = [c for c in cells if all(_axis(c, k) == v for k, v in wanted.items())]
        if agreeing:
            return agreeing
    return [{}]


def _axis(cell: Mapping[str, Any], name: str) -> Any:
    return cell.get(name, Study.model_fields[name].default)


def _overruled(choices: Mapping[str, Any], cell: Mapping[str, Any]) -> set[str]:
    """Settings of a preset's cell that make no sense beside these choices."""
    drop: set[str] = set()
    if "ladder" in choices or "levels" in choices:
        drop |= {"ladder", "levels", "branch_levels"}
    if "branches" in choices:
        drop |= {"branch_levels"}
    if choices.get("protocol", _axis(cell, "protocol")) != _axis(cell, "protocol"):
        drop |= {*AS_PUBLISHED, "levels", "branch_levels"}
    return drop


# -- notebooks ----------------------------------------------------------------------------------
_IPYTHON_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}
# Parameters of a notebook that are no settings of a study, and what they may be.
_NOT_STUDY: dict[str, tuple[type, ...]] = {"preset": (str,), "store": (str,), "workers": (int,)}


def check_parameters(namespace: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The variables of a notebook's parameter cell: call it in the next cell, with `globals()`.

    Papermill only warns about a parameter that a notebook does not know. This raises StudyError
    for it, with the nearest known name.
    """
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in _IPYTHON_NAMES
        and not isinstance(value, ModuleType)
        and not callable(value)
        and type(value).__module__ != "__future__"
    }
    names = list(known)
    for name in given:
        if name not in names:
            raise StudyError(unknown("parameter", name, names))
    return given


def studies_from_parameters(namespace: Mapping[str, Any], also: Iterable[str] = ()) -> list[Study]:
    """Studies from the variables of a notebook's parameter cell, all of them checked.

    None means "as the preset says". `also` names further parameters that the notebook itself
    understands. Raises StudyError in one line for names, types and values that will not do.
    """
    given = check_parameters(namespace, [*Study.model_fields, *_NOT_STUDY, *also])
    for name, kinds in _NOT_STUDY.items():
        value = given.get(name)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            wanted = "a whole number" if kinds == (int,) else "text"
            raise StudyError(f"{name}: {value!r} will not do: it must be {wanted}")
    preset = given.get("preset") or DEFAULT_PRESET
    choices = {k: v for k, v in given.items() if k in Study.model_fields and v is not None}
    return plan(preset, **choices)
