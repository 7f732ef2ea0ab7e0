"""Protocols, on all three models: exact, nested, truly rewound, resumable bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from safetensors.torch import load as tensors_from_bytes
from torch.optim.optimizer import register_optimizer_step_post_hook

from lthlib.errors import RecordError, StudyError
from lthlib.lab import lottery, training
from lthlib.lab.tickets import Ticket
from lthlib.records import RecordStore, open_store
from lthlib.study import MODELS, Study

SMALL: dict[str, Any] = {
    "epochs": 1, "batch_size": 16, "train_items": 48, "validation_items": 16, "test_items": 32,
}  # fmt: skip


class Witness:
    """Notes the model's weights at every evaluation of the test split, and what came before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[tuple[int, str, str], dict[str, torch.Tensor], Ticket]] = []
        self.events: list[str] = []
        real_evaluate, real_train = lottery.Lab._evaluate, lottery.train
        real_prune, real_rewind = lottery.prune, lottery.Lab.rewind

        def evaluate(
            lab: Any, level: Any, branch: str, stage: str, ticket: Ticket, *rest: Any
        ) -> None:
            self.seen.append(((level.rung.level, branch, stage), lab.state(), ticket))
            self.events.append(f"evaluate {stage}")
            real_evaluate(lab, level, branch, stage, ticket, *rest)

        def note(word: str, real: Any) -> Any:
            def noted(*args: Any, **kwargs: Any) -> Any:
                result = real(*args, **kwargs)
                self.events.append(word)
                return result

            return noted

        monkeypatch.setattr(lottery.Lab, "_evaluate", evaluate)
        monkeypatch.setattr(lottery, "train", note("train", real_train))
        monkeypatch.setattr(lottery, "prune", note("prune", real_prune))
        monkeypatch.setattr(lottery.Lab, "rewind", note("rewind", real_rewind))

    def state(self, level: int, branch: str, stage: str) -> dict[str, torch.Tensor]:
        return next(s for key, s, _ in self.seen if key == (level, branch, stage))

    def ticket(self, level: int, branch: str, stage: str) -> Ticket:
        return next(t for key, _, t in self.seen if key == (level, branch, stage))


def small(**choices: Any) -> Study:
    return Study.build({**SMALL, "start": "random", **choices})


def run(tmp_path: Path, **choices: Any) -> tuple[RecordStore, Study]:
    study = small(**choices)
    store = open_store(tmp_path)
    for seed in study.seeds:
        lottery.run(study, seed, store)
    return store, study


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def dense_steps(study: Study) -> list[dict[str, torch.Tensor]]:
    """The weights after 0, 1, 2, ... optimizer steps of a dense training, with no lottery in it."""
    lab = lottery.Lab(study, 0)
    states = [lab.state()]
    hook = register_optimizer_step_post_hook(lambda *_: states.append(lab.state()))
    try:
        with training.deterministic():
            training.train(lab.model, lab.task, study, 0)
    finally:
        hook.remove()
    return states


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rewind_step", [0, 2])
def test_lottery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, rewind_step: int
) -> None:
    witness = Witness(monkeypatch)
    theta_ks: list[bytes] = []
    real = lottery.RunWriter.read_level

    def read_level(writer: Any, level: int, name: str) -> bytes:
        data = real(writer, level, name)
        if name == "theta_k.safetensors":
            theta_ks.append(data)
        return data

    monkeypatch.setattr(lottery.RunWriter, "read_level", read_level)
    store, study = run(tmp_path, model=model, levels=3, rewind_step=rewind_step)
    assert len(set(theta_ks)) == 1, "the stored theta_k must never change"
    theta_k = tensors_from_bytes(theta_ks[0])
    trained_dense = witness.state(0, "main", "trained")
    assert any(not torch.equal(theta_k[n], trained_dense[n]) for n in theta_k)

    levels = store.table("levels")
    previous = None
    for rung in study.rungs()[1:]:
        ticket = witness.ticket(rung.level, "main", "rewound")
        assert ticket.zeros == rung.zeros(ticket.prunable)
        state = witness.state(rung.level, "main", "rewound")
        for name, weight in state.items():
            if name in ticket.masks:
                mask = ticket.masks[name]
                assert torch.equal(weight[mask], theta_k[name][mask]), "survivors are theta_k"
                assert not weight[~mask].any()
            else:
                assert torch.equal(weight, theta_k[name]), "unprunable weights are rewound too"
        if previous is not None:
            assert ticket.is_within(previous)
        previous = ticket
        trained = witness.state(rung.level, "main", "trained")
        counted = sum(int((trained[n] == 0).sum()) for n in ticket.masks)
        row = levels[(levels.level == rung.level) & (levels.stage == "trained")].iloc[0]
        assert counted == row.zeros == ticket.zeros
        assert row.sparsity == row.zeros / row.prunable
        assert row.sparsity_all == row.zeros / row.weights
        assert row.weights == sum(w.numel() for w in theta_k.values() if w.is_floating_point())
    assert witness.events == [
        "train", "evaluate trained",
        *["prune", "rewind", "evaluate pruned", "rewind", "evaluate rewound", "train",
          "evaluate trained"] * 3,
    ]  # fmt: skip
    assert levels[levels.stage == "trained"]["last_event"].eq("train").all()
    assert levels[levels.stage == "pruned"]["last_event"].eq("prune").all()


@pytest.mark.parametrize("rewind_step", [0, 1, 3, 5])
def test_theta_k_is_what_k_steps_leave_and_tickets_train_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rewind_step: int
) -> None:
    written: dict[int, dict[str, bytes]] = {}
    real = lottery.RunWriter.write_level

    def write_level(writer: Any, level: int, tables: Any, blobs: Any) -> None:
        written[level] = dict(blobs)
        real(writer, level, tables, blobs)

    monkeypatch.setattr(lottery.RunWriter, "write_level", write_level)
    choices: dict[str, Any] = {"epochs": 2, "levels": 1, "rewind_step": rewind_step}
    choices["branches"] = ["random-mask"]
    states = dense_steps(small(**choices))
    total = len(states) - 1
    assert total == 6
    counted: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: counted.append(1))
    try:
        store, _ = run(tmp_path, **choices)
    finally:
        hook.remove()

    theta_k = tensors_from_bytes(written[0]["theta_k.safetensors"])
    assert [equal(theta_k, state) for state in states] == [
        step == rewind_step for step in range(total + 1)
    ]
    assert equal(tensors_from_bytes(written[0]["trained.safetensors"]), states[-1])
    steps = store.table("levels").query("stage == 'trained'").set_index(["level", "branch"]).steps
    rest = total - rewind_step
    assert steps.to_dict() == {(0, "main"): total, (1, "main"): rest, (1, "random-mask"): rest}
    assert len(counted) == total + 2 * rest


def test_a_ticket_that_prunes_nothing_trains_as_dense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(monkeypatch)
    run(tmp_path, ladder=[1e-9])
    dense, ticket = witness.state(0, "main", "trained"), witness.state(1, "main", "trained")
    assert witness.ticket(1, "main", "trained").zeros == 0
    assert equal(ticket, dense), "dense and tickets share order, dropout and schedule"


@pytest.mark.parametrize("model", MODELS)
def test_seeds_draw_their_own_start(model: str) -> None:
    """A head for each seed; of the rest all is drawn, or nothing where it is pre-trained."""
    for start in ("random", "pretrained"):
        study = small(model=model, start=start, seeds=[0, 1])
        lab = lottery.Lab(study, 0)
        one, again, other = (lottery.Lab(study, seed).theta_0 for seed in (0, 0, 1))
        assert equal(one, again)
        heads = {n for n in one if lab.groups.get(n) == "head" and one[n].ndim > 1}
        drawn = {*heads, *lab.prunable} if start == "random" else heads
        assert heads
        assert {n for n in drawn if torch.equal(one[n], other[n])} == set()
        # Apart from the head, starts that are pre-trained are one and the same.
        if start == "pretrained":
            assert {n for n in one if not torch.equal(one[n], other[n])} == heads


ORDERS = {
    "low-magnitude": {"trained": "small ones pruned"},
    "high-magnitude": {"trained": "large ones pruned"},
    "magnitude-at-init": {"theta_0": "small ones pruned"},
    "random": {},
}
"""In which weights' sizes a score's choice is an order; in those that are not named it is none."""


@pytest.mark.parametrize("score", get_args(Study.model_fields["score"].annotation))
def test_scores_choose_the_survivors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: str
) -> None:
    witness = Witness(monkeypatch)
    _, study = run(tmp_path, score=score, ladder=[0.3, 0.6], rewind_step=1)
    theta_0, theta_k = dense_steps(study)[:2]
    before = {n: torch.ones_like(m) for n, m in witness.ticket(1, "main", "pruned").masks.items()}
    for level in (1, 2):
        masks = witness.ticket(level, "main", "pruned").masks
        trained = witness.state(level - 1, "main", "trained")
        found = {}
        for place, state in (("theta_0", theta_0), ("theta_k", theta_k), ("trained", trained)):
            kept = torch.cat([state[n][m].abs() for n, m in masks.items()])
            gone = torch.cat([state[n][before[n] & ~m].abs() for n, m in masks.items()])
            if gone.max() <= kept.min():
                found[place] = "small ones pruned"
            elif kept.max() <= gone.min():
                found[place] = "large ones pruned"
            elif score == "random":
                assert kept.median().item() == pytest.approx(gone.median().item(), rel=0.05)
        assert found == ORDERS[score]
        before = masks


def test_random_scores_differ_from_seed_to_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets = []
    for seed in (0, 1):
        witness = Witness(monkeypatch)
        run(tmp_path, score="random", ladder=[0.5], seeds=[seed])
        tickets.append(witness.ticket(1, "main", "pruned").masks)
        monkeypatch.undo()
    one, other = (torch.cat([m.flatten() for m in masks.values()]) for masks in tickets)
    assert (one == other).float().mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("model", MODELS)
def test_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    witness = Witness(monkeypatch)
    store, _ = run(tmp_path, model=model, protocol="as_published", ladder=[0.1, 0.5], epochs=3)
    levels = store.table("levels").set_index(["level", "stage"])
    for level, true in ((1, 0.271), (2, 0.875)):
        row = levels.loc[(level, "pruned")]
        assert row.sparsity == pytest.approx(true, abs=1e-4)
        assert row.last_event == "prune", "the published pipeline never trains after pruning"
        state = witness.state(level, "main", "pruned")
        ticket = witness.ticket(level, "main", "pruned")
        assert sum(int((state[n] == 0).sum()) for n in ticket.masks) >= row.zeros
        assert any(n.endswith("bias") for n in ticket.masks), "it prunes biases and layer norms too"
        assert row.prunable + store.study(store.runs()[0])["weights"]["never_used"] == row.weights
    assert "trained" not in levels.loc[1].index
    assert witness.events[:2] == ["train", "evaluate trained"]
    assert witness.events[2:] == ["rewind", *["prune"] * 3, "train", "evaluate pruned"] * 2


def test_one_shot_prunes_every_level_from_dense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(monkeypatch)
    run(tmp_path, search="one-shot", ladder=[0.3, 0.6])
    dense = witness.state(0, "main", "trained")
    for level in (1, 2):
        state, ticket = (
            witness.state(level, "main", "pruned"),
            witness.ticket(level, "main", "pruned"),
        )
        kept = torch.cat([dense[n][m].abs() for n, m in ticket.masks.items()])
        gone = torch.cat([dense[n][~m].abs() for n, m in ticket.masks.items()])
        assert gone.max() <= kept.min()
        assert all(torch.equal(state[n][m], dense[n][m]) for n, m in ticket.masks.items())


@pytest.mark.parametrize("rewind", ["learning-rate", "none"])
def test_without_rewinding_weights_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rewind: str
) -> None:
    witness = Witness(monkeypatch)
    store, study = run(tmp_path, rewind=rewind, levels=1)
    assert "rewound" not in set(store.table("levels").stage)
    dense, pruned = witness.state(0, "main", "trained"), witness.state(1, "main", "pruned")
    ticket = witness.ticket(1, "main", "pruned")
    assert all(torch.equal(pruned[n][m], dense[n][m]) for n, m in ticket.masks.items())
    rates = store.table("curves").query("level == 1")["learning_rate"]
    expected = study.learning_rate * (0.1 if rewind == "none" else 1 / 3)
    assert rates.tolist() == pytest.approx([expected])


def test_branches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness(monkeypatch)
    branches = ["random-mask", "shuffled-mask", "reinitialised", "high-magnitude"]
    store, study = run(tmp_path, levels=2, branches=branches, branch_levels=[2])
    main_events = [
        "prune", "rewind", "evaluate pruned", "rewind", "evaluate rewound", "train",
        "evaluate trained",
    ]  # fmt: skip
    branch_events = ["rewind", "evaluate rewound", "train", "evaluate trained"]
    assert witness.events == [
        "train", "evaluate trained", *main_events * 2, *branch_events * 3, "prune", *branch_events,
    ]  # fmt: skip
    assert witness.events.count("train") == study.trainings() == 7
    curves = store.table("curves").groupby(["level", "branch"]).size()
    assert set(curves.loc[2].index) == {"main", *branches}
    table = store.table("levels")
    assert set(table[table.level == 1].branch) == {"main"}
    assert set(table[table.level == 2].branch) == {"main", *branches}
    assert len(set(table[table.level == 2].zeros)) == 1
    main = witness.ticket(2, "main", "rewound")
    theta_k = witness.state(2, "main", "rewound")
    theta_0 = lottery.Lab(study, 0).theta_0
    tickets = {b: witness.ticket(2, b, "trained") for b in branches}
    shuffled = tickets["shuffled-mask"]
    assert all(int(m.sum()) == int(main.masks[n].sum()) for n, m in shuffled.masks.items())
    assert any(not torch.equal(m, main.masks[n]) for n, m in shuffled.masks.items())
    assert any(
        int(m.sum()) != int(main.masks[n].sum()) for n, m in tickets["random-mask"].masks.items()
    )
    for branch, ticket in tickets.items():
        rewound, trained = (witness.state(2, branch, s) for s in ("rewound", "trained"))
        for name, mask in ticket.masks.items():
            assert not rewound[name][~mask].any()
            assert not trained[name][~mask].any()
            assert not mask.any() or not torch.equal(rewound[name], trained[name]), "never trained"
            if branch != "reinitialised":
                assert torch.equal(rewound[name][mask], theta_0[name][mask])
    again = witness.state(2, "reinitialised", "rewound")
    for name, mask in main.masks.items():
        assert torch.equal(tickets["reinitialised"].masks[name], mask)
        assert not torch.equal(again[name][mask], theta_k[name][mask])
    for name in set(theta_k) - set(main.masks):
        assert torch.equal(again[name], theta_k[name]), "only prunable weights are drawn anew"
    dense = witness.state(0, "main", "trained")
    high = tickets["high-magnitude"]
    kept = torch.cat([dense[n][m].abs() for n, m in high.masks.items()])
    gone = torch.cat([dense[n][~m].abs() for n, m in high.masks.items()])
    assert kept.max() <= gone.min()
    saved = store.blob(store.runs()[0], "tickets.safetensors")
    for branch, ticket in tickets.items():
        read = Ticket.from_bytes(saved, prefix=f"level-002/{branch}")
        assert all(torch.equal(read.masks[n], m) for n, m in ticket.masks.items())


@pytest.mark.parametrize("scope", ["layer", "modality"])
def test_scopes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str) -> None:
    witness = Witness(monkeypatch)
    store, _ = run(tmp_path, model="lxmert", scope=scope, ladder=[0.5])
    ticket = witness.ticket(1, "main", "pruned")
    assert ticket.zeros == round(0.5 * ticket.prunable)
    row = store.table("levels").query("level == 1").iloc[0]
    for group in ("language", "vision", "fusion"):
        share = row[f"zeros_{group}"] / row[f"prunable_{group}"]
        assert share == pytest.approx(0.5, abs=0.01)


def test_a_collapsed_modality_is_reported(tmp_path: Path) -> None:
    store, _ = run(tmp_path, model="lxmert", ladder=[0.999])
    assert store.table("levels").query("level == 1")["collapsed"].str.len().gt(0).all()


def test_the_records_hold_every_prediction(tmp_path: Path) -> None:
    store, study = run(tmp_path, task="digit-reports", levels=1)
    about = store.study(study.run_id(0))
    predictions = store.table("predictions")
    per_stage = 32 * len(about["task"]["decisions"])
    counts = predictions.groupby(["level", "branch", "stage"]).size()
    assert counts.to_dict() == {
        (0, "main", "trained"): per_stage,
        **{(1, "main", stage): per_stage for stage in ("pruned", "rewound", "trained")},
    }
    logits = torch.tensor([row[0] for row in predictions.logits])
    assert torch.equal((logits >= 0).long(), torch.tensor(predictions.prediction.tolist()))
    assert set(store.items(about["items"])["item"]) == set(predictions["item"])
    assert about["study"]["levels"] == 1
    assert about["versions"]["torch"] == torch.__version__.split("+")[0]
    training = store.table("training")
    assert len(training) == 2 * 48


def test_any_fsspec_url_will_do(tmp_path: Path) -> None:
    local, study = run(tmp_path, levels=1)
    name = study.run_id(0)
    for url in ("memory://lottery", f"file://{tmp_path}/by-url"):
        store = RecordStore(url)
        lottery.run(study, 0, store)
        store.verify(name)
        assert store.blob(name, "predictions.parquet") == local.blob(name, "predictions.parquet")


def test_a_rewind_beyond_the_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="rewind_step: 3 lies beyond the training's 3 steps"):
        run(tmp_path, rewind_step=3)


def test_a_finished_run_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, levels=1)
    monkeypatch.setattr(lottery, "train", None)
    run(tmp_path, levels=1)


def test_other_data_or_weights_under_way_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.build({**SMALL, "start": "random", "levels": 1})
    monkeypatch.setattr(lottery.Lab, "finish", lambda *_: None)
    lottery.run(study, 0, open_store(tmp_path))
    monkeypatch.setattr(lottery, "LAB_FORMAT", 99)
    with pytest.raises(RecordError, match="begun with another lab"):
        lottery.run(study, 0, open_store(tmp_path))


KILLED = """
import sys
sys.path.insert(0, sys.argv[4])
from benchmarks.killing import die, die_in_write
from lthlib.lab import lottery
from lthlib.records import open_store
from lthlib.study import Study
limit, trainings = int(sys.argv[2]), 0
real_train = lottery.train
def train(*args, **kwargs):
    global trainings
    trainings += 1
    if limit == -trainings:
        kwargs["after_step"] = die
    return real_train(*args, **kwargs)
lottery.train = train
die_in_write(limit)
lottery.run(Study.build(eval(sys.argv[3])), 0, open_store(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "choices, limits",
    [
        ({"model": "uniter"}, (-3, 7, 24)),
        ({"model": "visualbert", "rewind_step": 1}, (-2, 12)),
        (
            {
                "model": "lxmert", "protocol": "as_published", "ladder": [0.5], "epochs": 3,
                "levels": 4, "branches": [],
            },
            (-2, 9),
        ),
    ],
    ids=["uniter", "visualbert-rewinding", "lxmert-as-published"],
)  # fmt: skip
def test_kill_and_resume_gives_equal_bytes(
    tmp_path: Path, choices: dict[str, Any], limits: tuple[int, ...]
) -> None:
    """kill -9 in a training step and in writes; what is resumed equals the uninterrupted run."""
    choices = {
        **SMALL, "start": "random", "levels": 2, "branches": ["random-mask", "reinitialised"],
        **choices,
    }  # fmt: skip
    whole, study = run(tmp_path / "whole", **choices)
    name = study.run_id(0)
    here = str(Path(__file__).parents[1])
    for limit in limits:  # a training (negative), or a write
        place = tmp_path / f"killed{limit}"
        command = [sys.executable, "-c", KILLED, str(place), str(limit), repr(choices), here]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == -9, done.stderr
        assert not open_store(place).has(name)
        resumed, _ = run(place, **choices)
        for file in ("predictions", "training", "curves"):
            assert resumed.blob(name, f"{file}.parquet") == whole.blob(name, f"{file}.parquet")
        assert resumed.blob(name, "tickets.safetensors") == whole.blob(name, "tickets.safetensors")
        timeless = [s.table("levels").drop(columns="seconds") for s in (resumed, whole)]
        pd.testing.assert_frame_equal(*timeless)
