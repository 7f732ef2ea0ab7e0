"""Protocols: how training, pruning and rewinding follow each other.

`lottery` is iterative magnitude pruning as Frankle and Carbin (2019, section 1) define it, with
rewinding to theta_k (Frankle et al. 2020):

    train theta_0 to the end                                      level 0, dense
    for each level of the ladder:
        prune the smallest of the weights that the last level trained
        rewind the survivors to theta_k
        train to the end

`as_published` is what the first source really ran: three rounds of one epoch, each ending with a
pruning of what is left; nothing is rewound, and nothing is trained after the last pruning.

Each level is written as soon as it is done, and holds what the next one needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
import transformers
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from lthlib.errors import StudyError, UnusableRecordError
from lthlib.lab import WORKSPACE, models, observations
from lthlib.lab.hub import checkpoint_file
from lthlib.lab.models.checkpoints import load_checkpoint
from lthlib.lab.provenance import describe_environment, now, task_key
from lthlib.lab.regions import show_regions
from lthlib.lab.scores import score as pruning_score
from lthlib.lab.tasks import Task
from lthlib.lab.tasks import load as load_task
from lthlib.lab.tasks.published import data_folder
from lthlib.lab.tickets import (
    Ticket,
    collapsed,
    merge_tickets,
    prune,
    random_mask,
    shuffled_mask,
)
from lthlib.lab.together import Meeting
from lthlib.lab.training import (
    MOST_LOGITS,
    Answers,
    Training,
    answer,
    derive_seed,
    deterministic,
    steps_in,
    train,
)
from lthlib.lab.wordpieces import WordPieces
from lthlib.records import (
    FORMAT,
    LAB_FORMAT,
    RecordStore,
    RunWriter,
    file_sha256,
    remedy,
    to_json,
)
from lthlib.study import GROUPS, MODALITIES, Rung, Study

State = dict[str, Tensor]
Progress = Callable[[str], None]


def run(
    study: Study,
    seed: int,
    store: RecordStore,
    *,
    device: str = "cpu",
    progress: Progress = lambda _: None,
    until: int | None = None,
) -> str:
    """Run one study at one seed into the store, or finish what was begun; returns the run's name.

    until: stop once this many levels are done, so that a run can be a chain of short jobs; a run
        is finished with its last level, and None goes on to it.

    Raises RecordError (damaged parts, a store that cannot be written), WeightsError (no start),
    TaskError, StudyError and TrainingError, each in one line.
    """
    name = study.run_id(seed)
    if study.kernels == "compiled":
        models.forget_compiled()
    with deterministic(), contextlib.ExitStack() as stack:
        # Always the whole block, also when only one of its runs is asked for or was lost: what a
        # seed gives, rounding included, must not depend on that. A run alone is a block of one.
        labs = [Lab(study, each, device, progress) for each in study.block(seed)]
        finished = [lab for lab in labs if store.has(lab.name)]
        for lab in finished:
            store.check_identity(lab.name, lab.identity())
            store.tidy(lab.name)
        if len(finished) < len(labs):
            writers = [stack.enter_context(store.writer(lab.name, lab.identity())) for lab in labs]
            _write_block(labs, writers, store, until)
    return name


def _write_block(
    labs: Sequence[Lab], writers: Sequence[RunWriter], store: RecordStore, until: int | None
) -> None:
    """Level by level, those that any run lacks; then the end of each run that has all."""
    rungs, progress = labs[0].study.rungs(), labs[0].progress
    open_ = [writer for writer in writers if not writer.finished]
    todo = [r for r in rungs[:until] if any(r.level not in writer.levels() for writer in open_)]
    if todo and len(open_) < len(writers):
        done = next(writer.run for writer in writers if writer.finished)
        raise UnusableRecordError(
            f"run {open_[0].run} is trained together with {done}, which is finished already: "
            f"{remedy(store.files, done)}"
        )
    if open_:
        store.write_items(labs[0].items_key, item_table(labs[0].task))
    for rung in todo:
        more = f" and {len(labs) - 1} more" if len(labs) > 1 else ""
        progress(f"{labs[0].name}{more} level {rung.level}")
        if len(labs) == 1:
            labs[0].write_level(writers[0], rung)
        else:
            _write_together(labs, writers, rung)
    for lab, writer in zip(labs, writers, strict=True):
        if not writer.finished and len(writer.levels()) == len(rungs):
            lab.finish(writer)


def _write_together(labs: Sequence[Lab], writers: Sequence[RunWriter], rung: Rung) -> None:
    meeting = Meeting(len(labs))
    for place, lab in enumerate(labs):
        lab.train = meeting.trainer(place)
    works = [
        functools.partial(lab.write_level, writer, rung)
        for lab, writer in zip(labs, writers, strict=True)
    ]
    meeting.run(works, deterministic)


@dataclass
class Level:
    """Rows and blobs that one level leaves behind, filled stage by stage."""

    rung: Rung
    levels: list[dict[str, Any]]
    predictions: list[pd.DataFrame]
    items: list[pd.DataFrame]
    curves: list[pd.DataFrame]
    tickets: dict[str, Ticket]
    observed: dict[str, list[pd.DataFrame]]


class Lab:
    """One run's task, model and start, and the steps that protocols are made of."""

    def __init__(
        self,
        study: Study,
        seed: int,
        device: str = "cpu",
        progress: Progress = lambda _: None,
        task: Task | None = None,
    ) -> None:
        """task: items of one's own in place of those that the study names."""
        self.study, self.seed, self.name = study, seed, study.run_id(seed)
        self.progress = progress
        self.train: Callable[..., Training] = train
        loaded = task or load_task(
            study.task,
            data_seed=study.data_seed,
            train_items=study.train_items,
            validation_items=study.validation_items,
            test_items=study.test_items,
            features=study.features,
            pieces=WordPieces(study.model, data_folder()) if study.checkpoint else None,
        )
        self.items_key = task_key(loaded)
        self.task = show_regions(loaded, study.regions)
        if study.train_on == "train+test":
            joined = self.task.train.join(self.task.test)
            self.task = dataclasses.replace(self.task, train=joined)
        self.model = self._fresh(derive_seed(seed, "model"))
        models.set_arithmetic(self.model, study.kernels, study.precision)
        self.start_sha256 = "random"
        if study.checkpoint is not None:
            path = checkpoint_file(study.checkpoint, data_folder())
            progress(load_checkpoint(self.model, path).told(path))
            self.start_sha256 = file_sha256(path)
        elif study.start == "pretrained":
            self.start_sha256 = str(models.load_start(self.model)["sha256"])
        if self.task.kind == "multi":
            models.set_prior(self.model, self.task.train.labels)
        self.device = torch.device(device)
        self.model.to(self.device)
        # Whole splits go to the device once; batches are then taken there, by index.
        self.task = self.task.to(self.device)
        sample = self.task.train.inputs.take(slice(min(8, len(self.task.train.items))))
        self.dead = models.dead_names(self.model, sample)
        self.prunable = models.prunable_names(self.model, study.prunable, sample)
        self.groups = {n: models.group_of(self.model, n) for n, _ in self.model.named_parameters()}
        self.theta_0 = self.state()
        epochs = min(self.epochs(0), self.epochs(1))
        steps = steps_in(len(self.task.train.items), study) * epochs
        if study.rewind_step >= steps:
            raise StudyError(
                f"rewind_step: {study.rewind_step} lies beyond the training's {steps} steps"
            )

    def _fresh(self, seed: int) -> models.VLModel:
        return models.build(
            self.study.model,
            size=self.study.size,
            boxes=self.study.boxes,
            vocabulary_size=len(self.task.vocabulary),
            feature_dim=self.task.feature_dim,
            outputs=self.task.outputs,
            seed=seed,
        )

    def epochs(self, level: int) -> int:
        """Passes over the training items at a level."""
        own = self.study.dense_epochs if level == 0 else None
        return own or self.study.epochs

    def identity(self) -> dict[str, Any]:
        """What a run depends on beside its study: other values would give other numbers."""
        on_gpu = {"workspace": os.environ[WORKSPACE]} if self.device.type == "cuda" else {}
        return {
            "lab": LAB_FORMAT,
            "start weights": self.start_sha256,
            "task data": self.items_key,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": self.device.type,
            **on_gpu,
        }

    # -- weights --------------------------------------------------------------------------------
    def state(self) -> State:
        """A copy of all weights: `state_dict` alone would alias the live ones."""
        return {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}

    def rewind(self, state: State, ticket: Ticket | None = None) -> None:
        """Put every weight back to `state`, pruned ones to zero."""
        self.model.load_state_dict(state)
        if ticket is not None:
            ticket.apply_(dict(self.model.named_parameters()))

    def weights(self, state: State) -> State:
        return {name: state[name] for name in self.prunable}

    def dense_ticket(self) -> Ticket:
        return Ticket.dense(self.weights(self.theta_0))

    # -- the protocols --------------------------------------------------------------------------
    def write_level(self, writer: RunWriter, rung: Rung) -> None:
        """Compute one level and seal it (where it is not: others of its block may lack it)."""
        level = Level(rung, [], [], [], [], {}, {name: [] for name in self.study.observe})
        started, began = now(), time.perf_counter()
        if rung.level > 0 and self.study.protocol == "as_published":
            states = self.as_published_level(level)
        elif rung.level > 0:
            states = self.lottery_level(level, writer)
        else:
            states = self.dense_level(level)
        tables = {
            "levels": pd.DataFrame(level.levels),
            "predictions": pd.concat(level.predictions, ignore_index=True),
            "training": pd.concat(level.items, ignore_index=True),
            "curves": pd.concat(level.curves, ignore_index=True),
            **{name: pd.concat(rows, ignore_index=True) for name, rows in level.observed.items()},
        }
        blobs = {f"{name}.safetensors": tensors_to_bytes(state) for name, state in states.items()}
        blobs["tickets.safetensors"] = merge_tickets(level.tickets, self.start_sha256)
        # Per level, since a run that was stopped may go on later and elsewhere.
        circumstances = {
            "started": started,
            "seconds": time.perf_counter() - began,
            **describe_environment(self.device),
        }
        blobs["circumstances.json"] = to_json(circumstances)
        if rung.level not in writer.levels():
            writer.write_level(rung.level, tables, blobs)

    def dense_level(self, level: Level) -> dict[str, State]:
        """Level 0: train theta_0 to the end, and keep theta_k on the way."""
        kept = {"theta_k": self.theta_0}

        def keep_theta_k(steps: int, _: torch.optim.Optimizer) -> None:
            if steps == self.study.rewind_step:
                kept["theta_k"] = self.state()

        self._train(level, "main", self.dense_ticket(), after_step=keep_theta_k)
        trained = self.state()
        self._observe(level, "main", self.dense_ticket(), trained)
        self._observe_main(level, self.dense_ticket(), kept["theta_k"])
        return {**kept, "trained": trained}

    def lottery_level(self, level: Level, writer: RunWriter) -> dict[str, State]:
        """Prune what the last level trained (dense, if one-shot), rewind, train; then controls."""
        iterative = self.study.search == "iterative"
        source = level.rung.level - 1 if iterative else 0
        trained = tensors_from_bytes(writer.read_level(source, "trained.safetensors"))
        theta_k = tensors_from_bytes(writer.read_level(0, "theta_k.safetensors"))
        ticket = self._pruned(trained, level.rung, self._ticket_of(writer, source))
        self.rewind(trained, ticket)
        self._evaluate(level, "main", "pruned", ticket, "prune")
        if self.study.rewind == "weights":
            self.rewind(theta_k, ticket)
            self._evaluate(level, "main", "rewound", ticket, "rewind")
        self._train(level, "main", ticket)
        after = self.state()
        # The dense weights are read from disk only where something is made of them.
        dense = self._dense(writer) if "weights" in self.study.observe else after
        self._observe(level, "main", ticket, dense)
        self._observe_main(level, ticket, theta_k)
        for branch in self.study.branches_at(level.rung.level):
            own = self._branch(level, branch, ticket, theta_k, writer)
            self._observe(level, branch, own, dense)
        return {"trained": after}

    def as_published_level(self, level: Level) -> dict[str, State]:
        """From theta_0: after each epoch prune `amount` of what is left; end with a pruning."""
        self.rewind(self.theta_0)
        ticket, amount = self.dense_ticket(), level.rung.amount
        assert amount is not None

        def prune_after_epoch(_: int) -> Ticket:
            nonlocal ticket
            zeros = ticket.zeros + round(amount * (ticket.prunable - ticket.zeros))
            ticket = self._prune(self.state(), zeros, ticket, level.rung.level)
            return ticket

        began = time.perf_counter()
        training = self._fit(level, "main", ticket, after_epoch=prune_after_epoch)
        self._evaluate(level, "main", "pruned", ticket, "prune", training, began)
        return {"trained": self.state()}

    # -- the steps ------------------------------------------------------------------------------
    def _pruned(self, trained: State, rung: Rung, before: Ticket) -> Ticket:
        return self._prune(trained, rung.zeros(before.prunable), before, rung.level)

    def _prune(
        self, weights: State, zeros: int, before: Ticket, level: int, score: str | None = None
    ) -> Ticket:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "score", level))
        scores = pruning_score(
            score or self.study.score, self.weights(weights), self.weights(self.theta_0), generator
        )
        # Exact wherever it runs, so it may run where there is most bandwidth.
        there = {name: values.to(self.device) for name, values in scores.items()}
        return prune(before, there, zeros, self.study.scope, self.groups)

    def _ticket_of(self, writer: RunWriter, level: int) -> Ticket:
        if level == 0:
            return self.dense_ticket()
        data = writer.read_level(level, "tickets.safetensors")
        return Ticket.from_bytes(data, prefix=_prefix(level, "main"))

    def _branch(
        self, level: Level, branch: str, ticket: Ticket, theta_k: State, writer: RunWriter
    ) -> Ticket:
        """One control: same sparsity, same budget, another mask or other survivors; its ticket."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, branch, level.rung.level))
        start = theta_k
        if branch == "random-mask":
            ticket = random_mask(ticket, generator)
        elif branch == "shuffled-mask":
            ticket = shuffled_mask(ticket, generator)
        elif branch == "high-magnitude":
            ticket = self._prune(
                self._dense(writer),
                ticket.zeros,
                self.dense_ticket(),
                level.rung.level,
                "high-magnitude",
            )
        else:  # reinitialised: the same mask over survivors drawn anew
            fresh = self._fresh(derive_seed(self.seed, branch, level.rung.level)).state_dict()
            start = {**theta_k, **{n: fresh[n] for n in self.prunable}}
        self.rewind(start, ticket)
        self._evaluate(level, branch, "rewound", ticket, "rewind")
        self._train(level, branch, ticket)
        return ticket

    def _dense(self, writer: RunWriter) -> State:
        return tensors_from_bytes(writer.read_level(0, "trained.safetensors"))

    # -- what else is recorded ------------------------------------------------------------------
    def _observe(self, level: Level, branch: str, ticket: Ticket, dense: State) -> None:
        """Where the trained weights stand, beside the start and the dense model's."""
        if "weights" in self.study.observe:
            rows = observations.weight_rows(ticket, self.state(), self.theta_0, dense, self.groups)
            self._note(level, "weights", branch, rows)

    def _observe_main(self, level: Level, ticket: Ticket, theta_k: State) -> None:
        """Hidden states, and the line to a second training of the same ticket."""
        if "states" in self.study.observe:
            self._note(level, "states", "main", observations.state_rows(self.model, self.task))
        if "barriers" in self.study.observe:
            one = self.state()
            self.rewind(theta_k, ticket)
            # Another order of items from theta_k on, and nothing else (Frankle et al. 2020).
            other = derive_seed(self.seed, "second training")
            self._fit_with(level, ticket, other, first_step=self.study.rewind_step)
            rows = observations.line_rows(self.model, self.task, one, self.state(), self.rewind)
            self._note(level, "barriers", "main", rows)

    def _note(self, level: Level, name: str, branch: str, rows: list[dict[str, Any]]) -> None:
        about = {"run": self.name, "level": level.rung.level, "branch": branch}
        level.observed[name].append(pd.DataFrame([{**about, **row} for row in rows]))

    # -- training -------------------------------------------------------------------------------
    def _train(self, level: Level, branch: str, ticket: Ticket, **hooks: Any) -> None:
        """Train from where the model stands, then evaluate: training is the last event."""
        rewinds = self.study.rewind == "weights"
        began = time.perf_counter()
        first_step = self.study.rewind_step if rewinds and level.rung.level > 0 else 0
        training = self._fit(level, branch, ticket, first_step=first_step, **hooks)
        self._evaluate(level, branch, "trained", ticket, "train", training, began)

    def _is_ticket(self, level: Level) -> bool:
        return level.rung.level > 0 and self.study.protocol == "lottery"

    def _fit(self, level: Level, branch: str, ticket: Ticket, **options: Any) -> Training:
        training = self._fit_with(level, ticket, self.seed, **options)
        about: dict[str, Any] = {"run": self.name, "level": level.rung.level, "branch": branch}
        level.curves.append(training.curves.assign(**about))
        level.items.append(training.items.assign(**about))
        return training

    def _fit_with(self, level: Level, ticket: Ticket, seed: int, **options: Any) -> Training:
        fine_tuned = self.study.rewind == "none" and self._is_ticket(level)
        return self.train(
            self.model,
            self.task,
            self.study.model_copy(update={"epochs": self.epochs(level.rung.level)}),
            seed,
            ticket=ticket,
            schedule="constant" if fine_tuned else "full",
            **options,
        )

    def _evaluate(
        self,
        level: Level,
        branch: str,
        stage: str,
        ticket: Ticket,
        last_event: str,
        training: Training | None = None,
        began: float | None = None,
    ) -> None:
        """Write down counts, losses and every prediction of the model as it stands."""
        answers = answer(self.model, self.task, self.task.test)
        key: dict[str, Any] = {
            "run": self.name, "level": level.rung.level, "branch": branch, "stage": stage,
        }  # fmt: skip
        level.predictions.append(prediction_frame(self.task, answers).assign(**key))
        validation = answer(self.model, self.task, self.task.validation)
        level.tickets[_prefix(level.rung.level, branch)] = ticket
        level.levels.append(
            {
                **key,
                "amount": level.rung.amount,
                **self._counts(ticket),
                "last_event": last_event,
                "epochs": self.epochs(level.rung.level) if training else 0,
                "steps": training.steps if training else 0,
                "train_loss": training.curves["train_loss"].iloc[-1] if training else None,
                "validation_loss": validation.loss,
                "validation_accuracy": validation.accuracy,
                "seconds": time.perf_counter() - began if began is not None else 0.0,
            }
        )

    def _counts(self, ticket: Ticket) -> dict[str, Any]:
        """Exact numbers of zeros: over prunable weights, over all weights, and by group."""
        weights = sum(p.numel() for p in self.model.parameters())
        by_group = ticket.counts_by_group(self.groups)
        counts: dict[str, Any] = {
            "sparsity": ticket.sparsity,
            "sparsity_all": ticket.zeros / weights,
            "zeros": ticket.zeros,
            "prunable": ticket.prunable,
            "weights": weights,
        }
        for group in GROUPS:
            zeros, prunable = by_group.get(group, (0, 0))
            counts |= {f"zeros_{group}": zeros, f"prunable_{group}": prunable}
        return counts | {"collapsed": ",".join(collapsed(ticket, self.groups, MODALITIES))}

    # -- the end --------------------------------------------------------------------------------
    def finish(self, writer: RunWriter) -> None:
        tickets = {
            prefix: ticket
            for level in writer.levels()
            for prefix, ticket in self._tickets_at(writer, level)
        }
        circumstances = [
            json.loads(writer.read_level(level, "circumstances.json")) for level in writer.levels()
        ]
        writer.finish(self._about(circumstances), merge_tickets(tickets, self.start_sha256))

    def _tickets_at(self, writer: RunWriter, level: int) -> Iterator[tuple[str, Ticket]]:
        data = writer.read_level(level, "tickets.safetensors")
        for branch in ("main", *self.study.branches_at(level)):
            prefix = _prefix(level, branch)
            yield prefix, Ticket.from_bytes(data, prefix=prefix)

    def _about(self, circumstances: list[dict[str, Any]]) -> dict[str, Any]:
        """study.json; circumstances: when, how long and on what each level was made."""
        weights = {n: p.numel() for n, p in self.model.named_parameters()}
        return {
            "format": FORMAT,
            "run": self.name,
            "seed": self.seed,
            "study": self.study.settings(),
            "hash": self.study.hash,
            "identity": self.identity(),
            "items": self.items_key,
            "task": {
                "kind": self.task.kind,
                "classes": list(self.task.classes),
                "decisions": list(self.task.decisions),
                "train_items": len(self.task.train.items),
                "validation_items": len(self.task.validation.items),
                "test_items": len(self.task.test.items),
            },
            "weights": {
                "all": sum(weights.values()),
                "prunable": sum(weights[n] for n in self.prunable),
                "never_used": sum(weights[n] for n in self.dead),
                "never_used_names": list(self.dead),
            },
            "levels": len(circumstances),
            "finished": now(),
            **circumstances[0],
            "seconds": sum(level["seconds"] for level in circumstances),
        }


def _prefix(level: int, branch: str) -> str:
    return f"level-{level:03d}/{branch}"


def item_table(task: Task) -> pd.DataFrame:
    """Text and facts of each test item; what only a drawing needs (arrays) stays out."""
    facts = task.test.facts
    plain = [c for c in facts if pd.api.types.is_scalar(facts[c].iloc[0])]
    return facts[plain]


def prediction_frame(task: Task, answers: Answers) -> pd.DataFrame:
    """One row per decision of each test item.

    Logits, as far as they are kept: single: one decision with all its logits; multi: a decision per
    finding with its one logit.
    """
    items, decisions = task.test.items, task.decisions
    count = len(items) * len(decisions)
    whole = "int8" if task.outputs <= MOST_LOGITS - 1 else "int16"
    frame = pd.DataFrame(
        {
            "item": [item for item in items for _ in decisions],
            "decision": list(decisions) * len(items),
            "label": task.test.labels.reshape(-1).numpy().astype(whole),
            "prediction": answers.prediction.reshape(-1).numpy().astype(whole),
        }
    )
    if answers.logits is not None:
        frame["logits"] = list(answers.logits.reshape(count, -1).numpy())
    for name in ("confidence", "credit"):
        if (values := getattr(answers, name)) is not None:
            frame[name] = values.numpy()
    return frame
