"""Scenes, regions, relations and words, each against something that was not built with them."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lthlib.errors import TaskError
from lthlib.lab.tasks import relations, scenes, vocabulary
from lthlib.lab.tasks.scenes import CANVAS, DISTRACTOR, EMPTY, Regions, Scenes
from pixel_judge import JUDGES, ink


@pytest.fixture(scope="module")
def drawn() -> Scenes:
    return relations.training_scenes(400, 5)


@pytest.fixture(scope="module")
def found(drawn: Scenes) -> Regions:
    return scenes.detect(drawn, 5)


def one_digit(
    image: int, left: int, top: int, size: int, shade: int = 16, turns: int = 0
) -> Scenes:
    empty = np.zeros((1, scenes.SLOTS), dtype=np.int64)
    columns = []
    for value in (image, left, top, size, shade, turns):
        column = empty + (EMPTY if len(columns) == 0 else 0)
        column[0, 3] = value
        columns.append(column)
    return Scenes(*columns)


# --- the digits ------------------------------------------------------------------------------


def test_parts_share_no_image_and_use_them_all() -> None:
    parts = {part: scenes.images_of(part) for part in ("train", "validation", "test")}
    everything = np.concatenate([np.concatenate(rows) for rows in parts.values()])
    assert sorted(everything) == list(range(1797))


def test_parts_hold_every_digit_in_the_same_share() -> None:
    _, shown = scenes.digit_images()
    for part, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        for digit, rows in enumerate(scenes.images_of(part)):
            assert (shown[rows] == digit).all()
            assert abs(len(rows) - share * (shown == digit).sum()) <= 1


def test_no_image_occurs_twice_among_the_digits() -> None:
    pixels, _ = scenes.digit_images()
    assert len(np.unique(pixels.reshape(-1, 64), axis=0)) == 1797


def test_other_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda return_X_y: (np.zeros((3, 64)), [0]))
    scenes.digit_images.cache_clear()
    try:
        with pytest.raises(TaskError, match="reinstall scikit-learn"):
            scenes.digit_images()
    finally:
        scenes.digit_images.cache_clear()


# --- drawing and cropping --------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 11, 17, 28])
def test_a_digit_is_drawn_as_bilinear_interpolation_says(size: int) -> None:
    pixels, _ = scenes.digit_images()
    canvas = scenes.render(one_digit(42, 20, 30, size))[0].astype(float)
    centres = np.clip((np.arange(size) + 0.5) * 8 / size - 0.5, 0, 7)
    across = np.array([np.interp(centres, np.arange(8), row) for row in pixels[42]])
    expected = np.array([np.interp(centres, np.arange(8), column) for column in across.T]).T
    assert np.abs(canvas[30 : 30 + size, 20 : 20 + size] - expected * 255 / 16).max() <= 0.501
    canvas[30 : 30 + size, 20 : 20 + size] = 0
    assert not canvas.any()


def test_shade_and_turns_change_what_is_drawn_and_nothing_else() -> None:
    plain, faint, turned = (
        scenes.render(one_digit(42, 20, 30, 16, shade, turns))[0].astype(int)
        for shade, turns in ((16, 0), (8, 0), (16, 1))
    )
    assert np.abs(faint - plain / 2).max() <= 0.5
    inside = (slice(30, 46), slice(20, 36))
    assert (turned[inside] == np.rot90(plain[inside])).all()
    assert turned.sum() == plain.sum()


@given(
    st.integers(0, CANVAS - 1), st.integers(0, CANVAS - 1), st.integers(1, 32), st.integers(1, 32)
)
def test_a_crop_is_the_mean_of_the_area_under_each_of_its_pixels(
    left: int, top: int, width: int, height: int
) -> None:
    canvas = np.random.default_rng(0).integers(0, 256, (CANVAS, CANVAS), dtype=np.uint8)
    box = np.array([left, top, min(left + width, CANVAS), min(top + height, CANVAS)])
    inside = canvas[box[1] : box[3], box[0] : box[2]].astype(float)
    # each pixel eight times over, so that eighths of a box are whole blocks
    blocks = np.kron(inside, np.ones((8, 8))).reshape(8, inside.shape[0], 8, inside.shape[1])
    got = scenes.crop(canvas[None], box[None, None])[0, 0].reshape(8, 8)
    assert np.abs(got - blocks.mean(axis=(1, 3))).max() <= 0.501


def test_a_box_at_the_last_pixel_can_be_cropped() -> None:
    canvas = np.full((1, CANVAS, CANVAS), 200, dtype=np.uint8)
    corner = np.array([[[CANVAS - 8, CANVAS - 8, CANVAS, CANVAS]]])
    assert (scenes.crop(canvas, corner) == 200).all()


# --- placing and detecting -------------------------------------------------------------------


def test_digits_lie_on_the_canvas_and_apart_unless_they_touch(drawn: Scenes) -> None:
    boxes, there = drawn.boxes, drawn.present
    assert boxes[there].min() >= 0 and boxes[there].max() <= CANVAS
    gap = scenes.gap_squared(boxes[:, :, None], boxes[:, None])
    both = there[:, :, None] & there[:, None] & ~np.eye(scenes.SLOTS, dtype=bool)
    close = both & (gap < scenes.CLEARANCE**2)
    assert not close[:, 2:].any(), "only the two of a touching pair may be that close"
    assert (gap[close] == 0).all()


def test_a_scene_shows_two_to_six_different_digits(drawn: Scenes) -> None:
    shown = [row[row != EMPTY] for row in drawn.digit]
    assert {len(row) for row in shown} == {2, 3, 4, 5, 6}
    assert all(len(set(row)) == len(row) for row in shown)


def test_training_scenes_use_training_images_and_differ_by_seed(drawn: Scenes) -> None:
    assert set(drawn.image[drawn.present]) <= set(np.concatenate(scenes.images_of("train")))
    assert not (relations.training_scenes(400, 6).image == drawn.image).all(axis=1).any()


def test_every_digit_is_found_once_in_a_box_around_it(drawn: Scenes, found: Regions) -> None:
    for row in range(len(drawn)):
        for slot in np.flatnonzero(drawn.present[row]):
            (region,) = np.flatnonzero(found.label[row] == drawn.digit[row, slot])
            assert np.abs(found.boxes[row, region] - drawn.boxes[row, slot]).max() <= 2


def test_padding_comes_last_and_is_blank(found: Regions) -> None:
    assert (np.diff(found.mask.astype(int), axis=1) <= 0).all()
    assert ((found.label == EMPTY) == ~found.mask).all()
    assert not found.crops[~found.mask].any() and not found.boxes[~found.mask].any()
    assert found.unit_boxes.min() == 0 and found.unit_boxes.max() <= 1
    assert found.region_features.dtype == np.float32 and found.region_features.max() <= 1
    sides = found.boxes[..., 2:] - found.boxes[..., :2]
    assert sides[found.mask].min() >= 6


def test_distractors_show_less_than_half_of_any_digit(drawn: Scenes, found: Regions) -> None:
    rows, regions = np.nonzero(found.label == DISTRACTOR)
    assert 0.5 * len(drawn) < len(rows) < 1.5 * len(drawn)
    for row, region in zip(rows, regions, strict=True):
        x1, y1, x2, y2 = found.boxes[row, region]
        shown = np.zeros((CANVAS, CANVAS), dtype=bool)
        shown[y1:y2, x1:x2] = True
        for left, top, right, bottom in drawn.boxes[row][drawn.present[row]]:
            assert shown[top:bottom, left:right].mean() <= 0.4


def test_the_place_of_a_region_tells_nothing(drawn: Scenes, found: Regions) -> None:
    place = (found.label == drawn.digit[:, :1]).argmax(axis=1) / (found.mask.sum(axis=1) - 1)
    assert abs(place.mean() - 0.5) < 3.5 * place.std() / np.sqrt(len(place))


def test_a_detector_s_seed_changes_its_boxes_only(drawn: Scenes, found: Regions) -> None:
    again, other = scenes.detect(drawn, 5), scenes.detect(drawn, 6)
    assert (again.crops == found.crops).all() and (again.boxes == found.boxes).all()
    assert not (other.boxes == found.boxes).all()


# --- relations -------------------------------------------------------------------------------


def box(left: int, top: int, side: int = 10) -> np.ndarray:
    return np.array([[left, top, left + side, top + side]])


@pytest.mark.parametrize(
    ("name", "subject", "other", "verdict"),
    [
        ("left of", box(0, 0), box(10, 0), 1),
        ("left of", box(0, 0), box(9, 0), 0),
        ("left of", box(10, 0), box(0, 0), -1),
        ("right of", box(10, 0), box(0, 0), 1),
        ("above", box(0, 0), box(30, 20), 1),
        ("below", box(0, 0), box(30, 20), -1),
        ("over", box(0, 0), box(4, 20), 1),
        ("over", box(0, 0), box(5, 20), 0),
        ("at the left side of", box(0, 0), box(20, 4), 1),
        ("at the right side of", box(0, 0), box(20, 5), 0),
        ("near", box(0, 0), box(13, 14), 1),
        ("near", box(0, 0), box(14, 14), 0),
        ("near", box(0, 0), box(34, 0), -1),
        ("far from", box(0, 0), box(24, 30), 1),
        ("far from", box(0, 0), box(24, 29), 0),
        ("touching", box(0, 0), box(8, 8), 1),
        ("touching", box(0, 0), box(15, 0), 0),
        ("detached from", box(0, 0), box(16, 0), 1),
    ],
)
def test_relations_by_hand(name: str, subject: np.ndarray, other: np.ndarray, verdict: int) -> None:
    number = [relation.name for relation in relations.RELATIONS].index(name)
    assert relations.holds(np.array([number]), subject, other) == [verdict]


def test_relations_come_in_opposite_pairs() -> None:
    sides = [(relation.evidence, relation.sign) for relation in relations.RELATIONS]
    assert sorted(sides) == sorted((kind, -sign) for kind, sign in sides)


@pytest.mark.parametrize("truth", [True, False])
def test_captions_agree_with_the_ink(drawn: Scenes, truth: bool) -> None:
    said = relations.captions(drawn, 1, truth=truth)
    for row, text in enumerate(said.text):
        name = relations.RELATIONS[said.relation[row]].name
        noun = relations.NOUNS
        assert text == f"the {noun[said.subject[row]]} is {name} the {noun[said.object[row]]}"
        fields = {field: getattr(drawn, field)[row] for field in Scenes.__annotations__}
        subject, other = (
            ink(fields, int(np.flatnonzero(drawn.digit[row] == digit)[0]))
            for digit in (said.subject[row], said.object[row])
        )
        assert JUDGES[name](subject, other) is truth


def test_captions_speak_of_every_relation(drawn: Scenes) -> None:
    said = relations.captions(drawn, 1)
    assert np.bincount(said.relation, minlength=len(relations.RELATIONS)).min() >= 8


def test_names_and_meta_categories_are_those_of_vsr() -> None:
    folder = os.environ.get("LTHLIB_SHARED")
    if not folder:
        pytest.skip("LTHLIB_SHARED is not set")
    path = Path(folder) / "data" / "vsr" / "analysis" / "rel_meta_category_dict.txt"
    vsr = {
        name.strip(): category
        for category, names in csv.reader(path.read_text().splitlines(), delimiter=":")
        for name in names.split(",")
    }
    assert {r.name: r.meta_category for r in relations.RELATIONS}.items() <= vsr.items()


# --- words -----------------------------------------------------------------------------------


def test_the_vocabulary_starts_with_the_special_tokens_and_repeats_nothing() -> None:
    listed = vocabulary.vocabulary()
    assert listed[:5] == ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
    assert len(set(listed)) == len(listed)


def test_encode() -> None:
    word = vocabulary.vocabulary().index
    ids = vocabulary.encode(["No LARGE digit.", "the zebra", "", "one " * 9], 7)
    assert ids.tolist() == [
        [1, word("no"), word("large"), word("digit"), word("."), 2, 0],
        [1, word("the"), vocabulary.UNK, 2, 0, 0, 0],
        [1, 2, 0, 0, 0, 0, 0],
        [1, *[word("one")] * 5, 2],
    ]
