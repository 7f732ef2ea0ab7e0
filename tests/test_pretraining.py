"""Pre-training: what it may see, what it asks, and that it can be made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lthlib.errors import StudyError
from lthlib.lab import pretraining as pre
from lthlib.lab.models import build
from lthlib.lab.models.starts import body
from lthlib.lab.tasks.relations import NOUNS
from lthlib.lab.tasks.scenes import EMPTY, images_of
from lthlib.lab.tasks.vocabulary import MASK, PAD, UNK, vocabulary

torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it gives

SMALL = pre.Recipe(scenes=96, epochs=2, batch_size=32, seed=3)


@pytest.fixture(scope="module")
def corpus() -> pre.Corpus:
    return pre.draw_corpus(200, seed=7)


def test_scenes_show_training_images_only(corpus: pre.Corpus) -> None:
    shown = set(corpus.scenes.image[corpus.scenes.image != EMPTY].tolist())
    assert shown
    assert shown <= set(np.concatenate(images_of("train")).tolist())


def test_captions_name_digits_that_are_there_and_the_boxes_are_theirs(corpus: pre.Corpus) -> None:
    said = pre.read_captions(corpus, seed=1)
    for row in range(len(corpus)):
        words = [vocabulary()[i] for i in said.ids[row]]
        for place, digit in zip(said.noun_at[row], said.noun[row], strict=True):
            assert words[place] == NOUNS[digit]
            (slot,) = np.flatnonzero(corpus.scenes.digit[row] == int(digit))
            drawn = torch.from_numpy(corpus.scenes.boxes[row, slot] / 64).float()
            assert torch.equal(corpus.digit_boxes[row, digit], drawn)
            (region,) = torch.nonzero(corpus.region_class[row] == digit)[:, 0]
            assert (corpus.boxes[row, region] - drawn).abs().max() < 4 / 64, "a jittered box"
        assert said.noun_at[row, 0] < said.noun_at[row, 1]
    assert not torch.equal(said.ids, pre.read_captions(corpus, seed=2).ids)


def test_region_classes_are_asked_where_there_is_a_region(corpus: pre.Corpus) -> None:
    assert torch.equal(corpus.region_class != pre.IGNORED, corpus.mask)
    asked = corpus.region_class[corpus.mask]
    assert asked.min() == 0
    assert asked.max() == pre.CLASSES - 1


def test_hidden_words_are_those_to_restore(corpus: pre.Corpus) -> None:
    ids = pre.read_captions(corpus, seed=1).ids.repeat(20, 1)
    shown, word = pre.hide_words(ids, 0.3, torch.Generator().manual_seed(0))
    asked = word != pre.IGNORED
    assert torch.equal(word[asked], ids[asked])
    assert torch.equal(shown[~asked], ids[~asked])
    assert not asked[ids <= UNK].any(), "marks and padding are never hidden"
    assert torch.equal(shown == PAD, ids == PAD)
    share = asked[ids > UNK].float().mean()
    assert share == pytest.approx(0.3, abs=0.01)
    masked = (shown == MASK)[asked].float().mean()
    kept = (shown == ids)[asked].float().mean()
    assert masked == pytest.approx(0.8, abs=0.02)
    # A tenth is left, and one in 49 of the words drawn at random is the same again.
    assert kept == pytest.approx(0.1 + 0.1 / 49, abs=0.02)


def test_an_epoch_reads_every_scene_once_with_its_own_answers(corpus: pre.Corpus) -> None:
    said = pre.read_captions(corpus, seed=1)
    generator = torch.Generator().manual_seed(0)
    seen = []
    for inputs, targets in pre.batches(corpus, said, SMALL, generator):
        for i in range(len(inputs)):
            same = (corpus.features == inputs.region_features[i]).flatten(1).all(dim=1)
            (row,) = torch.nonzero(same)[:, 0].tolist()
            seen.append(row)
            assert torch.equal(targets.region_class[i], corpus.region_class[row])
            assert torch.equal(targets.noun_box[i], corpus.digit_boxes[row][said.noun[row]])
            restored = torch.where(
                targets.word[i] == pre.IGNORED, inputs.input_ids[i], targets.word[i]
            )
            assert torch.equal(restored, said.ids[row])
    assert sorted(seen) == list(range(len(corpus)))


def test_a_hidden_name_asks_for_no_box(corpus: pre.Corpus) -> None:
    model = build(
        "uniter", size="tiny", vocabulary_size=len(vocabulary()), feature_dim=64, outputs=1, seed=0
    )
    lessons, said = pre.Lessons(model), pre.read_captions(corpus, seed=1)
    inputs, targets = next(pre.batches(corpus, said, SMALL, torch.Generator().manual_seed(0)))
    at_nouns = torch.zeros_like(targets.word, dtype=torch.bool).scatter(1, targets.noun_at, True)
    every, none = targets.word.clone(), targets.word.clone()
    every[at_nouns] = 9
    none[at_nouns] = pre.IGNORED
    hidden = lessons(inputs, pre.Targets(every, *_rest(targets)))
    told = lessons(inputs, pre.Targets(none, *_rest(targets)))
    assert hidden["noun_box"] == 0
    assert told["noun_box"] > 0


def _rest(targets: pre.Targets) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return targets.region_class, targets.noun_at, targets.noun_box


@pytest.mark.parametrize(
    "change",
    [{"scenes": 0}, {"epochs": "abc"}, {"batch_size": 1.5}, {"epochs": True}, {"seed": -1}],
)
def test_counts_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(StudyError, match=f"{next(iter(change))}: .* whole number"):
        pre.Recipe(**change)  # type: ignore[arg-type]


# -- parameters of the notebook -------------------------------------------------------------------
@pytest.fixture
def given(tmp_path: Path) -> dict[str, object]:
    return {
        "model": "visualbert", "boxes": False, "scenes": 96, "epochs": 2, "learning_rate": 1e-3,
        "seed": 3, "tries": 2, "least": 0.8, "folder": str(tmp_path / "a" / "b"),
    }  # fmt: skip


def test_parameters_become_a_recipe_a_study_and_a_folder(
    given: dict[str, object], tmp_path: Path
) -> None:
    recipe, study, folder = pre.read_parameters({**given, "_": 1, "pre": pre, "learning_rate": 1})
    assert recipe == pre.Recipe(scenes=96, epochs=2, learning_rate=1, seed=3)
    assert (study.model, study.boxes, study.epochs, study.seeds) == ("visualbert", False, 4, (0, 1))
    assert folder == tmp_path / "a" / "b" and list(folder.iterdir()) == []
    assert pre.read_parameters({**given, "folder": ""})[2] == pre.WEIGHTS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"leest": 1}, "unknown parameter 'leest'; did you mean 'least'?"),
        ({"ladder": "imp"}, "unknown parameter 'ladder'"),
        ({"model": "uniterr"}, "unknown model 'uniterr'; did you mean 'uniter'?"),
        ({"model": "uniter"}, "boxes: only visualbert can go without them"),
        ({"boxes": "no"}, "boxes: 'no' will not do"),
        ({"scenes": 0}, "scenes: 0 will not do: a whole number from 1 is needed"),
        ({"epochs": 2.5}, "epochs: 2.5 will not do: a whole number from 1 is needed"),
        ({"seed": "x"}, "seed: 'x' will not do: a whole number from 0 is needed"),
        ({"tries": 0}, "tries: 0 will not do: a whole number from 1 is needed"),
        ({"tries": True}, "tries: True will not do: a whole number from 1 is needed"),
        ({"least": "x"}, "least: 'x' will not do: a number from 0 to 1 is needed"),
        ({"least": 80}, "least: 80 will not do: a number from 0 to 1 is needed"),
        ({"least": float("nan")}, "least: nan will not do"),
        ({"learning_rate": "1e-3"}, "learning_rate: '1e-3' will not do: a number above 0"),
        ({"learning_rate": 0}, "learning_rate: 0 will not do: a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate: nan will not do"),
        ({"folder": 7}, "folder: 7 will not do: text is needed"),
        ({"folder": "a\0b"}, "cannot be written to"),
    ],
)
def test_parameters_are_refused_before_anything_is_taught(
    given: dict[str, object], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    with pytest.raises(StudyError) as caught:
        pre.read_parameters({**given, **change})
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written_is_refused(
    given: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("no folder")
    with pytest.raises(StudyError, match=r"folder: '.*/a/b' cannot be written to: "):
        pre.read_parameters(given)


@pytest.mark.parametrize("name", ["visualbert", "lxmert", "uniter"])
def test_pretraining_can_be_made_again_and_teaches(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pre, "HELD_OUT", 64)
    rows: list[dict[str, float]] = []
    torch.manual_seed(1)
    first, curves = pre.pretrain(name, recipe=SMALL, report=rows.append)
    torch.manual_seed(2)
    second, again = pre.pretrain(name, recipe=SMALL)
    assert all(torch.equal(body(first)[k], body(second)[k]) for k in body(first))
    measured = [c for c in curves if c != "seconds"]
    assert curves[measured].equals(again[measured])
    assert curves.to_dict("records") == rows
    assert curves["word_loss"].is_monotonic_decreasing
    assert curves["region_loss"].is_monotonic_decreasing
