"""Studies: what is refused and how, what the hash covers, what the ladders mean."""

from __future__ import annotations

import sys

import pytest

from lthlib.errors import StudyError
from lthlib.study import (
    MODELS,
    PRESETS,
    Study,
    cumulative,
    plan,
    reference,
    studies_from_parameters,
)


@pytest.mark.parametrize(
    ("choices", "names"),
    [
        ({"model": "unitr"}, ["model", "'unitr'", "did you mean 'uniter'"]),
        ({"task": "digit"}, ["task", "did you mean 'digits'"]),
        ({"ladder": "concludin"}, ["ladder", "did you mean 'concluding'"]),
        ({"ladder": [1.2]}, ["ladder", "1.2", "above 0 and up to 1"]),
        ({"ladder": ["abc"]}, ["ladder", "abc", "list of sparsities"]),
        ({"ladder": "abc"}, ["ladder", "'abc'"]),
        ({"ladder": 0.5}, ["ladder", "0.5", "list of sparsities"]),
        ({"ladder": [0.5, 0.3]}, ["ladder", "rise"]),
        ({"seeds": []}, ["seeds", "at least 1"]),
        ({"seeds": 3}, ["seeds", "3 is no list", "[3]"]),
        ({"seeds": [1, 1]}, ["seeds", "twice"]),
        ({"seeds": [-1]}, ["seeds", "-1"]),
        ({"epochs": "three"}, ["epochs", "'three'", "text", "whole number"]),
        ({"epochs": "1.5"}, ["epochs", "1.5"]),
        ({"epochs": True}, ["epochs", "True"]),
        ({"epochs": 0}, ["epochs", "0"]),
        ({"learning_rate": "0,001"}, ["learning_rate", "'0,001'", "decimal point"]),
        ({"learning_rate": float("nan")}, ["learning_rate"]),
        ({"boxes": "yes"}, ["boxes", "'yes'", "papermill: True or False"]),
        ({"lr": 0.1}, ["'lr'", "known:"]),
        ({"learning_rat": 0.1}, ["did you mean 'learning_rate'"]),
        ({"branches": ["random"]}, ["branches", "did you mean 'random-mask'"]),
        ({"boxes": False}, ["boxes", "only visualbert"]),
        ({"rewind": "none", "rewind_step": 3}, ["rewind_step", "no meaning"]),
        ({"ladder": "secondary", "levels": 3}, ["levels", "imp"]),
        ({"branch_levels": [1], "branches": []}, ["branch_levels", "branches is empty"]),
        ({"branch_levels": [40]}, ["branch_levels", "ends at level"]),
        ({"protocol": "as_published", "ladder": "imp"}, ["ladder", "as_published"]),
        ({"protocol": "as_published", "epochs": 5}, ["epochs", "fixes it at 3"]),
        ({"protocol": "as_published", "branches": ["random-mask"]}, ["branches", "rewinds none"]),
        ({"protocol": "as_published", "ladder": [0.5, 0.5]}, ["ladder", "rise"]),
        ({"rewind": "none", "branches": ["random-mask"]}, ["branches", "rewound tickets"]),
        ({"size": "base", "start": "pretrained"}, ["start", "base", "'random'"]),
        ({"observe": ["weight"]}, ["observe", "did you mean 'weights'"]),
        ({"dense_epochs": 9}, ["dense_epochs", "one-shot"]),
        ({"train_on": "train+test"}, ["train_on", "levels to 0"]),
        ({"protocol": "as_published", "observe": ["weights"]}, ["observe", "fixes it"]),
        ({"clip_norm": float("inf")}, ["clip_norm", "finite"]),
        ({"score": "high-magnitude", "branches": ["high-magnitude"]}, ["branches", "no control"]),
    ],
)
def test_refusals_are_one_line_that_names_the_thing(choices: dict, names: list[str]) -> None:
    choices = {"model": "uniter", **choices}
    with pytest.raises(StudyError) as caught:
        plan("quick", **choices)
    text = str(caught.value)
    assert "\n" not in text
    for name in names:
        assert name in text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ({"learning_rate": "5e-4"}, {"learning_rate": 0.0005}),
        ({"epochs": "3", "test_items": "1e2"}, {"epochs": 3, "test_items": 100}),
        ({"model": "visualbert", "boxes": "false"}, {"model": "visualbert", "boxes": False}),
    ],
)
def test_text_that_can_mean_one_thing_only_is_taken(text: dict, meant: dict) -> None:
    """YAML reads 5e-4 as text, and papermill true: the run is that of the plain value."""
    assert Study.build(text) == Study.build(meant)
    assert Study.build(text).hash == Study.build(meant).hash


def test_unknown_preset() -> None:
    with pytest.raises(StudyError, match="did you mean 'quick'"):
        plan("quik")


def test_every_preset_makes_valid_distinct_studies() -> None:
    for preset in PRESETS:
        studies = plan(preset)
        names = [name for study in studies for name in study.run_ids()]
        assert len(set(names)) == len(names) > 0
        assert {study.model for study in studies} == set(MODELS)


def test_full_preset_has_ten_seeds_both_ladders_both_protocols() -> None:
    studies = plan("full")
    found = {(s.ladder, s.protocol) for s in studies if len(s.seeds) == 10 for _ in MODELS}
    assert found == {
        (ladder, protocol)
        for ladder in ("secondary", "concluding")
        for protocol in ("lottery", "as_published")
    }


def test_parts_of_the_reference_study_share_runs_and_keep_their_own_seeds() -> None:
    # The source's usual rate stands in two parts, with ten seeds and with three.
    (usual,) = reference("published-secondary", model="uniter")
    (again,) = reference("published-rates", model="uniter", task="digits", learning_rate=1e-3)
    assert usual.name == again.name
    assert (len(usual.seeds), len(again.seeds)) == (10, 3)
    (planned,) = [study for study in plan("full") if study.name == usual.name]
    assert planned.seeds == usual.seeds


def test_unknown_parts_and_choices_are_refused() -> None:
    with pytest.raises(StudyError, match="did you mean 'concluding'"):
        reference("concludin")
    with pytest.raises(StudyError, match="no study with model 'vilbert'"):
        reference("concluding", model="vilbert")


def test_hash_covers_every_setting_but_seeds() -> None:
    study = Study.build()
    other = {
        "task": "digit-reports", "model": "lxmert", "start": "random",
        "regions": "none", "search": "one-shot", "rewind": "none", "rewind_step": 5,
        "ladder": [0.5], "levels": 2, "score": "random", "scope": "layer",
        "prunable": "everything", "branches": ["random-mask"], "epochs": 9, "batch_size": 7,
        "learning_rate": 0.5, "weight_decay": 0.5, "warmup": 0.5, "clip_norm": 0.5,
        "train_items": 99, "validation_items": 99, "test_items": 99, "data_seed": 9,
        "observe": ["weights"], "kernels": "fused", "precision": "bfloat16", "together": 4,
    }  # fmt: skip
    published = {"task": "vsr-random", "start": "random"}
    hashes = {Study.build({name: value}).hash for name, value in other.items()}
    hashes |= {
        Study.build(model="visualbert", boxes=False).hash,
        Study.build(protocol="as_published").hash,
        Study.build(size="base", start="random").hash,
        Study.build(branches=["random-mask"], branch_levels=[1]).hash,
        Study.build(levels=1, dense_epochs=9).hash,
        Study.build(levels=0, train_on="train+test").hash,
        *(Study.build(published, features=name).hash for name in ("coco", "mine")),
        Study.build(checkpoint="model_LXRT.pth").hash,
    }
    covered = {*other, "boxes", "protocol", "branch_levels", "seeds", "size"}
    covered |= {"dense_epochs", "train_on", "features", "checkpoint"}
    assert covered == set(Study.model_fields), "a new field needs a line here"
    assert len(hashes) == len(other) + 9
    assert study.hash not in hashes
    assert Study.build(seeds=[7]).hash == study.hash


def test_settings_learned_later_leave_old_names_alone() -> None:
    # The name under which this study's records were shipped before `observe` and others existed.
    study = Study.build(
        model="uniter", ladder=[0.4, 0.7, 0.9], epochs=3, batch_size=128,
        branches=["random-mask", "reinitialised"], branch_levels=[1],
    )  # fmt: skip
    assert study.hash == "136cab08"


def test_settings_describe_the_study_again() -> None:
    for preset in PRESETS:
        for study in plan(preset):
            assert Study.build(study.settings()).name == study.name


def test_run_names_stay_what_they_were() -> None:
    # Shipped records are found by these names: a change here must come with new records.
    study = Study.build(model="lxmert", ladder=[0.5], seeds=[3])
    assert study.run_ids() == [f"lxmert-digits-lottery-list-{study.hash}-s3"]
    assert Study.build().hash == Study.build({"levels": 4}).hash


def test_published_amounts_mean_cumulative_sparsity() -> None:
    # METHOD: 10 % three times is 27.1 %, 99 % three times is all but a millionth.
    table = {0.10: 0.271, 0.17: 0.4282, 0.25: 0.5781, 0.30: 0.657, 0.40: 0.784, 0.50: 0.875}
    for amount, sparsity in table.items():
        assert cumulative(amount) == pytest.approx(sparsity, abs=5e-5)
    assert cumulative(0.99) == pytest.approx(0.999999)
    for protocol in ("lottery", "as_published"):
        rungs = Study.build(protocol=protocol, ladder="concluding").rungs()
        assert [r.sparsity for r in rungs[1:]] == pytest.approx(list(table.values()), abs=5e-5)
        assert [r.amount for r in rungs] == [None, *table]


def test_imp_ladder_prunes_a_fifth_of_the_rest() -> None:
    rungs = Study.build(levels=3).rungs()
    assert [r.sparsity for r in rungs] == pytest.approx([0, 0.2, 0.36, 0.488])
    assert [r.zeros(1000) for r in rungs] == [0, 200, 360, 488]


def test_choices_narrow_a_preset_or_make_one_study() -> None:
    assert [s.model for s in plan("quick", model="lxmert", task="digits")] == ["lxmert"]
    (lone,) = plan("quick", model="lxmert", task="digit-reports")
    (like,) = plan("quick", model="uniter", task="digit-reports")
    assert lone.settings() == {**like.settings(), "model": "lxmert"}, "the task lends its settings"
    full = plan("full", model="uniter", task="digits", ladder="secondary", learning_rate=1e-3)
    assert {s.protocol for s in full} == {"lottery", "as_published"}
    published = plan("full", protocol="as_published")
    assert {s.ladder for s in published} == {"secondary", "concluding"}
    assert len(published) + len(plan("full", protocol="lottery")) == len(plan("full"))
    (bare,) = plan("quick", model="uniter", task="digits", branches=[])
    assert bare.branch_levels == ()
    (imp,) = plan("quick", model="uniter", task="digits", levels=2)
    assert imp.ladder == "imp"
    assert plan("base", model="uniter", task="digit-reports")[0].size == "base"
    changed = plan("quick", model="uniter", task="digits", ladder="concluding")
    assert [len(s.rungs()) for s in changed] == [7]
    assert plan("quick", model="uniter", task="digits", protocol="as_published")[0].epochs == 3


def test_counts_trainings() -> None:
    study = Study.build(levels=3, branches=["random-mask", "reinitialised"], branch_levels=[2])
    assert study.trainings() == 4 + 2
    assert Study.build(levels=3, branches=["random-mask"]).trainings() == 4 + 3


def test_parameters_of_a_notebook() -> None:
    namespace = {
        "In": [], "_": 1, "sys": sys, "plan": plan,
        "model": "uniter", "task": "digits", "seeds": [4], "epochs": None, "preset": "ci",
    }  # fmt: skip
    (study,) = studies_from_parameters(namespace)
    assert (study.seeds, study.epochs) == ((4,), 1)
    with pytest.raises(StudyError, match="unknown parameter 'modle'; did you mean 'model'"):
        studies_from_parameters({**namespace, "modle": "uniter"})
    with pytest.raises(StudyError, match="unknown parameter 'top'"):
        studies_from_parameters({**namespace, "top": 3})
    assert studies_from_parameters({**namespace, "top": 3}, also=["top"])
    for odd in ({"store": 3}, {"workers": "two"}, {"workers": True}, {"preset": ["quick"]}):
        (name,) = odd
        with pytest.raises(StudyError, match=f"{name}: .* will not do"):
            studies_from_parameters({**namespace, **odd})
