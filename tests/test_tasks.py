"""The two tasks: what may not leak, what must be there, and that it is the same everywhere."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from lthlib.errors import TaskError
from lthlib.lab import tasks
from lthlib.lab.cache import default_folder
from lthlib.lab.tasks import digit_reports, digits, scenes
from lthlib.lab.tasks.inputs import Split, Task
from lthlib.lab.tasks.relations import NOUNS, RELATIONS
from lthlib.lab.tasks.vocabulary import UNK
from pixel_judge import JUDGES, ink

Labels = NDArray[np.int64]
PARTS = ("train", "validation", "test")
MAKERS = {"digits": digits.make, "digit-reports": digit_reports.make}
DRAWING = list(scenes.Scenes.__annotations__)
each_task = pytest.mark.parametrize("name", tasks.TASKS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> dict[str, Task]:
    return {name: tasks.load(name, cache=folder) for name in tasks.TASKS}


@pytest.fixture(scope="module")
def captions(loaded: dict[str, Task]) -> Task:
    return loaded["digits"]


@pytest.fixture(scope="module")
def reports(loaded: dict[str, Task]) -> Task:
    return loaded["digit-reports"]


def parts(task: Task) -> dict[str, Split]:
    return {part: getattr(task, part) for part in PARTS}


def part_of(split: Split, count: int) -> Split:
    """The first `count` items, which are as random as any."""
    first = slice(count)
    return Split(
        split.items[first], split.inputs.take(first), split.labels[first], split.facts[first]
    )


def truth(split: Split) -> Labels:
    return split.labels[:, 0].numpy()


def within_chance(score: float, count: int) -> bool:
    return abs(score - 0.5) < 3.5 * 0.5 / np.sqrt(count)


# --- shape -----------------------------------------------------------------------------------


@each_task
def test_every_split_fits_together(loaded: dict[str, Task], name: str) -> None:
    task = loaded[name]
    assert task.name == name and task.outputs == {"digits": 2, "digit-reports": 14}[name]
    assert len(task.test) >= 1000
    for part, split in parts(task).items():
        count = len(split)
        assert split.labels.shape == (count, len(task.decisions))
        assert split.labels.dtype == torch.int64 and set(split.labels.unique().tolist()) == {0, 1}
        assert list(split.facts["item"]) == list(split.items)
        assert len(set(split.items)) == count
        assert split.items[17] == f"{part}-000017"


@each_task
def test_inputs_and_their_masks(loaded: dict[str, Task], name: str) -> None:
    inputs = loaded[name].test.inputs
    assert [(t.dtype, tuple(t.shape[1:])) for t in vars(inputs).values()] == [
        (torch.int64, (12 if name == "digits" else 24,)),
        (torch.bool, (12 if name == "digits" else 24,)),
        (torch.float32, (8, 64)),
        (torch.float32, (8, 4)),
        (torch.bool, (8,)),
    ]
    assert (inputs.text_mask == (inputs.input_ids != 0)).all()
    assert (inputs.input_ids[:, 0] == 1).all()
    for values in (inputs.region_features, inputs.boxes):
        assert values.min() >= 0 and values.max() <= 1
        assert not values[~inputs.region_mask].any()
    sides = inputs.boxes[..., 2:] - inputs.boxes[..., :2]
    assert (sides[inputs.region_mask] > 0).all()


def test_inputs_can_be_taken_and_moved(captions: Task) -> None:
    index = torch.tensor([5, 2, 9])
    taken = captions.test.inputs.take(index).to("cpu")
    assert len(taken) == 3
    for name, tensor in vars(taken).items():
        assert torch.equal(tensor, getattr(captions.test.inputs, name)[index])
    assert len(captions.test.inputs.take(slice(10, 14))) == 4


def test_every_word_is_known_and_every_word_is_used(loaded: dict[str, Task]) -> None:
    used = torch.cat([task.train.inputs.input_ids.flatten() for task in loaded.values()]).unique()
    size = len(loaded["digits"].vocabulary)
    assert UNK not in used.tolist()
    assert set(range(5, size)) <= set(used.tolist())


@each_task
def test_no_text_is_cut(loaded: dict[str, Task], name: str) -> None:
    for split in parts(loaded[name]).values():
        words = split.facts["text"].str.count(r"\w+|\.")
        assert (words + 2 == split.inputs.text_mask.sum(dim=1).numpy()).all()


# --- nothing shared between the parts --------------------------------------------------------


@each_task
def test_no_item_no_scene_and_no_digit_image_is_shared(loaded: dict[str, Task], name: str) -> None:
    items: Counter[str] = Counter()
    drawings: Counter[str] = Counter()
    images: Counter[int] = Counter()
    for split in parts(loaded[name]).values():
        items.update(split.items)
        drawings.update(
            str([list(column) for column in row]) for row in split.facts[DRAWING].to_numpy()
        )
        images.update(set(np.concatenate(split.facts["image"].to_list())) - {-1})
    assert max(items.values()) == max(drawings.values()) == max(images.values()) == 1


def test_other_seeds_and_the_other_task_keep_to_the_same_digit_images(folder: Path) -> None:
    shown = {
        (name, seed, part): set(np.concatenate(split.facts["image"].to_list())) - {-1}
        for name in tasks.TASKS
        for seed in (1, 2)
        for part, split in parts(
            tasks.load(
                name,
                data_seed=seed,
                train_items=200,
                validation_items=200,
                test_items=200,
                cache=folder,
            )
        ).items()
    }
    for (_, _, one), here in shown.items():
        for (_, _, two), there in shown.items():
            assert one == two or not here & there


# --- digits: neither the text nor the picture decides ----------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_every_caption_is_as_often_true_as_false(captions: Task, part: str) -> None:
    split = getattr(captions, part)
    counts = pd.crosstab(split.facts["text"], truth(split))
    assert (counts[0] == counts[1]).all()


@pytest.mark.parametrize("part", PARTS)
def test_the_halves_of_a_pair_differ_in_nothing_but_the_drawing(captions: Task, part: str) -> None:
    split = getattr(captions, part)
    _, shown = scenes.digit_images()
    facts = split.facts.assign(
        label=truth(split),
        digits=[tuple(sorted(shown[i] for i in row if i >= 0)) for row in split.facts["image"]],
    )
    pairs = facts.groupby("pair")
    assert (pairs.size() == 2).all() and (pairs["label"].sum() == 1).all()
    for same in ("text", "digits", "relation", "subject", "object"):
        assert (pairs[same].agg(lambda column: len(set(column))) == 1).all()


def test_the_halves_of_a_pair_are_not_found_by_their_place(captions: Task) -> None:
    places = captions.train.facts.reset_index().groupby("pair")["index"].agg(list)
    first, second = np.array(places.to_list()).T
    assert np.mean(second - first == 1) < 0.01
    assert abs(np.corrcoef(first, second)[0, 1] - 0.5) < 0.05  # as for two random places, sorted
    labels = truth(captions.train)
    assert within_chance(labels[first].mean(), len(first))
    assert within_chance((labels[1:] == labels[:-1]).mean(), len(labels) - 1)


def test_every_relation_comes_equally_often(captions: Task) -> None:
    for split in parts(captions).values():
        assert set(split.facts["relation"].value_counts()) == {len(split) // len(RELATIONS)}
    sizes = captions.test.facts["meta_category"].value_counts()
    assert sizes.to_dict() == {
        "Projective": 600,
        "Proximity": 400,
        "Adjacency": 200,
        "Topological": 200,
        "Unallocated": 100,
        "Directional": 100,
    }


def read_captions(train: Split, test: Split) -> float:
    """Test accuracy of a real classifier of words and pairs of words."""
    model = make_pipeline(
        CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+"),
        LogisticRegression(C=10, max_iter=1000),
    )
    model.fit(train.facts["text"], truth(train))
    return float(model.score(test.facts["text"], truth(test)))


def test_a_classifier_of_captions_alone_is_right_on_exactly_half(captions: Task) -> None:
    assert read_captions(captions.train, captions.test) == 0.5


def test_that_classifier_would_notice_a_leak(captions: Task) -> None:
    def leaky(split: Split) -> Split:
        said = split.facts["text"].where(
            split.labels[:, 0].numpy() == 0, split.facts["text"].str.replace("left", "right")
        )
        return Split(split.items, split.inputs, split.labels, split.facts.assign(text=said))

    assert read_captions(leaky(captions.train), leaky(captions.test)) > 0.55


def pooled(split: Split) -> NDArray[np.float32]:
    """What a simple look at all regions gives, whatever their order: [N, features]."""
    inputs = split.inputs
    seen = torch.cat([inputs.region_features, inputs.boxes], dim=2)
    shown = inputs.region_mask[..., None]
    many = shown.sum(dim=1)
    mean = seen.sum(dim=1) / many
    spread = ((seen - mean[:, None]) ** 2 * shown).sum(dim=1) / many
    low = seen.masked_fill(~shown, 1).amin(dim=1)
    return torch.cat([mean, spread, low, seen.amax(dim=1), many], dim=1).numpy()


def layout(split: Split) -> NDArray[np.float32]:
    """What a perfect look gives: corner and size of each digit 0 to 9, 0 where absent [N, 30]."""
    _, shown = scenes.digit_images()
    seen = np.zeros((len(split), 10, 3), dtype=np.float32)
    for row, fact in enumerate(split.facts.itertuples()):
        for image, *place in zip(fact.image, fact.left, fact.top, fact.size, strict=True):
            if image >= 0:
                seen[row, shown[image]] = place
    return seen.reshape(len(split), -1)


LOOKS: dict[str, Callable[[Split], NDArray[np.float32]]] = {"pooled": pooled, "layout": layout}
FORESTS = {"forest": lambda: RandomForestClassifier(30, min_samples_leaf=5, random_state=0)}
CLASSIFIERS = FORESTS | {"linear": lambda: make_pipeline(StandardScaler(), RidgeClassifier())}


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("look", LOOKS)
def test_classifiers_of_the_picture_alone_are_at_chance(
    captions: Task, look: str, classifier: str
) -> None:
    see = LOOKS[look]
    model = CLASSIFIERS[classifier]().fit(see(captions.train), truth(captions.train))
    score = model.score(see(captions.test), truth(captions.test))
    assert within_chance(score, len(captions.test)), score


def test_that_classifier_would_notice_a_leak_in_the_picture(captions: Task) -> None:
    leaky = [pooled(split) for split in (captions.train, captions.test)]
    for seen, split in zip(leaky, (captions.train, captions.test), strict=True):
        seen[:, 65] += 0.05 * truth(split)  # three pixels further down where the caption is true
    model = CLASSIFIERS["linear"]().fit(leaky[0], truth(captions.train))
    assert model.score(leaky[1], truth(captions.test)) > 0.55


# --- digits: the labels are right, and can be read from the regions ---------------------------


@pytest.mark.parametrize("part", ["validation", "test"])
def test_labels_agree_with_a_second_opinion_from_the_ink(captions: Task, part: str) -> None:
    split = getattr(captions, part)
    _, shown = scenes.digit_images()
    for row, label in zip(split.facts.to_dict("records"), truth(split), strict=True):
        slots = [
            int(
                np.flatnonzero(
                    [i >= 0 and shown[i] == NOUNS.index(row[role]) for i in row["image"]]
                )[0]
            )
            for role in ("subject", "object")
        ]
        verdict = JUDGES[row["relation"]](*(ink(row, slot) for slot in slots))
        assert verdict == bool(label), row["item"]
        assert row["text"] == f"the {row['subject']} is {row['relation']} the {row['object']}"


def read_regions(train: Split) -> Callable[[Split], NDArray[np.float64]]:
    """Log-odds of each digit in each region, by a classifier of the crops of `train` alone."""
    shown = train.inputs.region_mask.numpy()
    label = np.stack(train.facts["region_label"].to_list())
    model = SVC(C=10).fit(train.inputs.region_features.numpy()[shown], label[shown])

    def read(split: Split) -> NDArray[np.float64]:
        mask = split.inputs.region_mask.numpy()
        score = np.full((*mask.shape, 11), -np.inf)
        score[mask] = model.decision_function(split.inputs.region_features.numpy()[mask])
        return score

    return read


def decide(relation: str, subject: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """The relation of two detected boxes, in pixels, by the simplest rule that could work."""
    right, down = (other[:2] + other[2:] - subject[:2] - subject[2:]) / 2
    gap = np.maximum(np.maximum(subject[:2] - other[2:], other[:2] - subject[2:]), 0)
    apart = float(np.hypot(*gap))
    kind = next(r for r in RELATIONS if r.name == relation)
    rules = (right > 0, down > 0, right > 0, down > 0, apart < 13, apart < 1.5)
    return bool(rules[kind.evidence]) == (kind.sign == 1)


@pytest.mark.slow
def test_who_reads_digits_and_geometry_off_the_regions_is_nearly_always_right(
    captions: Task,
) -> None:
    read, test = read_regions(part_of(captions.train, 800)), captions.test
    score, boxes = read(test), test.inputs.boxes.numpy().astype(float) * scenes.CANVAS
    answers = []
    for row, fact in enumerate(test.facts.itertuples()):
        subject, other = (
            boxes[row, score[row, :, NOUNS.index(noun)].argmax()]
            for noun in (fact.subject, fact.object)
        )
        answers.append(decide(fact.relation, subject, other))
    assert np.mean(np.array(answers) == truth(test)) >= 0.97


# --- digit-reports ---------------------------------------------------------------------------


def test_findings_are_as_rare_and_as_skewed_as_those_of_open_i(reports: Task) -> None:
    # Open-I, test split of Li et al. 2020: 72.2 % normal, 3.14 % positive, from 10.4 % down
    for split in parts(reports).values():
        rates = split.labels.double().mean(dim=0)
        assert abs(rates.mean() - 0.031) < 0.004
        assert 0.68 < split.facts["normal"].mean() < 0.77
    rates = reports.train.labels.double().mean(dim=0)
    assert rates.max() > 0.08 and rates.min() < 0.008
    assert (reports.train.labels.sum(dim=0) >= 30).all()
    assert (reports.test.labels.sum(dim=0) >= 3).all()


def test_findings_columns_say_what_the_labels_say(reports: Task) -> None:
    for split in parts(reports).values():
        for row, labels in zip(split.facts.itertuples(), split.labels.numpy(), strict=True):
            there = [n for n, label in zip(reports.decisions, labels, strict=True) if label]
            assert row.findings == ",".join(there)
            assert row.normal == (not there)


def test_findings_are_what_the_picture_shows(reports: Task) -> None:
    """Each finding, decided again from the drawing by a rule of its own."""
    _, digit = scenes.digit_images()
    split = reports.test
    for row, labels in zip(split.facts.to_dict("records"), split.labels.numpy(), strict=True):
        slots = [slot for slot, image in enumerate(row["image"]) if image >= 0]
        shown = [int(digit[row["image"][slot]]) for slot in slots]
        drawn = [ink({**row, "turns": [0] * 8, "shade": [16] * 8}, slot) for slot in slots]
        meet = any((a & b).any() for i, a in enumerate(drawn) for b in drawn[:i])
        bright = [ink({**row, "turns": [0] * 8}, slot, least=160).any() for slot in slots]
        sizes = [row["size"][slot] for slot in slots]
        canvas = scenes.render(scenes.Scenes(*(np.array(row[c])[None] for c in DRAWING)))[0] > 0
        seen = {
            **{
                name: NOUNS.index(name) in shown for name in ("zero", "seven", "six", "four", "one")
            },
            "large digit": max(sizes) >= 22,
            "small digit": min(sizes) <= 11,
            "touching digits": meet,
            "faint digit": not all(bright),
            "turned digit": any(row["turns"][slot] for slot in slots),
            "twin digits": len(set(shown)) < len(shown),
            "crowding": len(shown) >= 5,
            "lone digit": len(shown) == 1,
            "empty half": not (canvas[:, :32].any() and canvas[:, 32:].any()),
        }
        assert [int(seen[name]) for name in reports.decisions] == labels.tolist(), row["item"]


def test_reports_never_lie_and_leave_half_out(reports: Task) -> None:
    said = there = 0
    for split in parts(reports).values():
        for row in split.facts.itertuples():
            findings = set(filter(None, row.findings.split(",")))
            named, denied = set(), set()
            for sentence in row.text.rstrip(".").split(". "):
                if sentence in {"normal scene", "clear", "no findings"}:
                    assert row.normal
                elif sentence.startswith("no "):
                    denied.add(sentence.removeprefix("no "))
                elif sentence != "digits seen":
                    named.add(sentence.rsplit(" ", 1)[0])
            assert named <= findings and not denied & findings
            assert denied <= set(reports.decisions)
            assert named == set(filter(None, row.named.split(",")))
            said, there = said + len(named), there + len(findings)
    assert 0.45 < said / there < 0.55


def test_every_combination_of_findings_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    often = tuple(finding._replace(share=0.12) for finding in digit_reports.FINDINGS)
    monkeypatch.setattr(digit_reports, "FINDINGS", often)
    rounds, fill = [], scenes.fill

    def counted(*arguments: Any) -> Any:
        rounds.append(len(arguments[1]))
        assert len(rounds) < 500, f"{rounds[-1]} scenes still do not fit"
        return fill(*arguments)

    monkeypatch.setattr(scenes, "fill", counted)
    found = digit_reports.draw_findings(scenes.generator(3), 4000)
    assert len(np.unique(found, axis=0)) > 500
    assert len(digit_reports.draw(scenes.generator(4), found, "test")) == 4000


@pytest.mark.slow
def test_findings_can_be_read_off_the_regions(reports: Task) -> None:
    """A forest on a few sums over regions sees findings that no report needs to name."""
    read = read_regions(part_of(reports.train, 800))

    def look(split: Split) -> NDArray[np.float64]:
        boxes, mask = split.inputs.boxes.numpy().astype(float), split.inputs.region_mask.numpy()
        score = read(split)
        digit = mask & (score.argmax(axis=-1) != scenes.DISTRACTOR)
        side = (boxes[..., 2:] - boxes[..., :2]).mean(axis=-1)
        best = np.sort(np.where(mask[..., None], score, -2)[..., :10], axis=1)[:, -2:]
        return np.column_stack(
            [
                best.reshape(len(split), -1),
                np.where(digit, side, 1).min(axis=1),
                np.where(digit, side, 0).max(axis=1),
                digit.sum(axis=1),
            ]
        )

    forest = RandomForestClassifier(40, min_samples_leaf=2, max_features=0.5, random_state=0)
    some = part_of(reports.train, 3000)
    forest.fit(look(some), some.labels.numpy())
    guess, labels = forest.predict(look(reports.test)), reports.test.labels.numpy()
    assert (guess == labels).mean() > 0.98  # saying nothing gives 0.969
    for name in ("zero", "seven", "six", "large digit", "small digit", "lone digit"):
        column = reports.decisions.index(name)
        assert guess[labels[:, column] == 1, column].mean() > 0.7, name


# --- the same everywhere, and kept ------------------------------------------------------------

DIGESTS = {
    "digits": "eaa71378f37ba5335b48576772259b3a2a5d2a128c0298113d88ce82dbb06b03",
    "digit-reports": "f3057d787c057dada95bcbf7dd717bf2314f42704bda9305bb61fabeb270b51a",
}


@each_task
def test_made_items_are_the_same_on_every_machine(name: str) -> None:
    """If this fails after a change to the tasks, raise `version` in the task's RECIPE, then
    put the new digest here: kept items and published records depend on it."""
    items = MAKERS[name]("test", 1000, 7)
    digest = hashlib.sha256("\n".join(items.text.tolist()).encode())
    for key, column in sorted(items.arrays().items()):
        if column.dtype.kind != "U":
            digest.update(key.encode() + np.ascontiguousarray(column).tobytes())
    digest.update(items.regions.region_features.tobytes() + items.regions.unit_boxes.tobytes())
    assert digest.hexdigest() == DIGESTS[name]


@each_task
def test_seeds_and_parts_give_other_items(name: str) -> None:
    first = MAKERS[name]("test", 64, 7)
    assert not np.array_equal(first.scenes.left, MAKERS[name]("test", 64, 8).scenes.left)
    assert not np.array_equal(first.labels, MAKERS[name]("validation", 64, 7).labels)


def small(name: str, where: Path) -> Task:
    return tasks.load(name, train_items=40, validation_items=20, test_items=20, cache=where)


def same(one: Task, two: Task) -> bool:
    return all(
        torch.equal(a.labels, b.labels)
        and all(torch.equal(x, getattr(b.inputs, n)) for n, x in vars(a.inputs).items())
        and a.items == b.items
        and a.facts.map(str).equals(b.facts.map(str))
        for a, b in zip(parts(one).values(), parts(two).values(), strict=True)
    )


@each_task
def test_kept_items_are_found_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small(name, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(digits, "make", None)
    monkeypatch.setattr(scenes, "render", None)  # nothing can be made any more
    assert same(first, small(name, tmp_path))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "one bit": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    "first bit": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "cut short": lambda content: content[:-100],
    "empty": lambda content: b"",
    "something else": lambda content: b"<html>not found</html>" * 10,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_items_are_made_again(damage: str, tmp_path: Path) -> None:
    first = small("digits", tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path, content in kept.items():
        path.write_bytes(DAMAGE[damage](content))
    assert same(first, small("digits", tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        task = small("digits", tmp_path)
    assert len(task.train) == 40
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="LTHLIB_CACHE"):
        task = small("digits", tmp_path / "file")
    assert len(task.test) == 20


def test_where_items_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTHLIB_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    tasks.load("digits", train_items=2, validation_items=2, test_items=2)
    assert len(list((tmp_path / "mine").iterdir())) == 3
    monkeypatch.delenv("LTHLIB_CACHE")
    for platform, variable, expected in (
        ("linux", "XDG_CACHE_HOME", tmp_path / "lthlib"),
        ("win32", "LOCALAPPDATA", tmp_path / "lthlib"),
        ("darwin", "HOME", tmp_path / "Library" / "Caches" / "lthlib"),
    ):
        monkeypatch.setattr("sys.platform", platform)
        monkeypatch.setenv(variable, str(tmp_path))
        assert default_folder() == expected


def test_another_version_is_kept_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small("digits", tmp_path)
    newer = digits.RECIPE.__class__(**{**vars(digits.RECIPE), "version": 999})
    monkeypatch.setitem(tasks._RECIPES, "digits", newer)
    small("digits", tmp_path)
    assert len(list(tmp_path.iterdir())) == 6


@each_task
def test_a_scene_can_be_drawn_from_its_facts_even_after_parquet(
    loaded: dict[str, Task], name: str, tmp_path: Path
) -> None:
    split = loaded[name].test
    split.facts.head(20).to_parquet(tmp_path / "facts.parquet")
    back = Split(
        split.items, split.inputs, split.labels, pd.read_parquet(tmp_path / "facts.parquet")
    )
    for item in range(20):
        canvas = tasks.render(split, item)
        assert canvas.shape == (64, 64) and canvas.dtype == np.float32
        assert 0.8 < canvas.max() <= 1 and canvas.min() == 0
        assert np.array_equal(canvas, tasks.render(back, item))
        # what a region holds is what the canvas shows there: as bright on average
        for box, crop in zip(
            split.inputs.boxes[item].numpy(),
            split.inputs.region_features[item].numpy(),
            strict=True,
        ):
            x1, y1, x2, y2 = (box * 64).astype(int)
            if x2 > x1:
                assert abs(canvas[y1:y2, x1:x2].mean() - crop.mean()) < 0.003


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("digit", {}, "unknown task 'digit'; did you mean 'digits'?"),
        ("digit-report", {}, "did you mean 'digit-reports'?"),
        ("vqa", {}, "known: digits, digit-reports"),
        (
            "digits",
            {"train_items": 0},
            "train_items must be a whole number from 1 to 200000, not 0",
        ),
        ("digits", {"validation_items": -2}, "validation_items must be"),
        ("digits", {"test_items": 10**9}, "test_items must be a whole number from 1 to 200000"),
        ("digits", {"test_items": 10.0}, "not 10.0"),
        ("digits", {"test_items": True}, "not True"),
        ("digits", {"test_items": "12"}, "not '12'"),
        ("digits", {"test_items": 1001}, "test_items must be even for digits, not 1001"),
        ("digit-reports", {"data_seed": -1}, "data_seed must be a whole number from 0, not -1"),
        ("digit-reports", {"data_seed": 1.5}, "not 1.5"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    name: str, arguments: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskError) as caught:
        tasks.load(name, cache=tmp_path, **arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_small_odd_counts_are_fine_where_items_stand_alone(tmp_path: Path) -> None:
    task = tasks.load(
        "digit-reports", train_items=3, validation_items=1, test_items=5, cache=tmp_path
    )
    assert [len(split) for split in parts(task).values()] == [3, 1, 5]
