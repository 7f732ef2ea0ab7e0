"""The gallery: which items, what their cards say, and HTML that filters and cannot be broken."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import made_readings
import synthetic
from lthlib.errors import RecordError
from lthlib.report.questions import gallery, visible
from lthlib.report.questions.forgetting import answers
from lthlib.report.show import exhibit_html
from lthlib.study import Study

EVIL = 'the <b>one</b> & "two" is near</td><script>alert(1)</script>'


def seen(model: str = "uniter", seeds: int = 3, items: int = 40, seed: int = 0) -> gallery.Seen:
    runs = tuple(f"{model}-digits-s{i}" for i in range(seeds))
    predictions = synthetic.predictions(runs=runs, levels=2, items=items, seed=seed)
    found = answers(made_readings.with_logits(predictions))
    return gallery.Seen(
        study=Study(model=model, task="digits", seeds=tuple(range(seeds))),
        found=found,
        sparsity=[0.2, 0.36],
        beats=np.ones((seeds, 2), dtype=bool),
        facts=made_readings.facts(predictions),
        level=2,
    )


def scenes(studies: list[gallery.Seen]) -> dict[str, gallery.Scene]:
    canvas = np.zeros((64, 64), dtype=np.float32)
    canvas[10:20, 30:40] = 1
    boxes = [[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
    facts = studies[0].facts
    return {
        item: gallery.Scene(text, canvas, boxes)
        for item, text in zip(facts["item"], facts["text"], strict=True)
    }


def made(studies: list[gallery.Seen], unstable: int = 6, stable: int = 4) -> gallery.Gallery:
    return gallery.gallery(studies, gallery.chosen(studies, unstable, stable), scenes(studies))


class Page(HTMLParser):
    """Tags that are open and closed in order, and the cards and options among them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cards: list[dict[str, str | None]] = []
        self.options: dict[str, list[str]] = {}
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        about = dict(attrs)
        if tag == "article":
            self.cards.append(about)
        if tag == "select":
            self.select = self.options.setdefault(str(about["name"]), [])
        if tag == "option":
            self.select.append(str(about["value"]))
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


# -- which items ----------------------------------------------------------------------------------
def test_the_items_that_change_most_come_first_and_no_item_twice() -> None:
    studies = [seen(), seen("lxmert", seed=1)]
    shown = gallery.chosen(studies, 6, 4)
    assert len(shown) == shown["item"].nunique() == 10
    changed = np.mean([s.changed for s in studies], axis=0)
    most = shown[shown["kind"] == "changes most"]["changed"]
    assert most.tolist() == sorted(changed, reverse=True)[:6]
    least = shown[shown["kind"] == "changes least"]["changed"]
    assert least.max() <= np.sort(changed)[9]
    pd.testing.assert_frame_equal(shown, gallery.chosen(studies, 6, 4))


def test_levels_that_do_not_beat_the_rule_do_not_make_items_unstable() -> None:
    one = seen()
    closed = gallery.Seen(one.study, one.found, one.sparsity, np.zeros((3, 2), bool), one.facts, 2)
    assert closed.changed.tolist() == [0] * 40


# -- counts ---------------------------------------------------------------------------------------
def test_tallies_by_hand() -> None:
    label, dense, ticket = [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]
    both = synthetic.pair(label, dense, ticket)
    found = answers(made_readings.with_logits(both))
    study = gallery.Seen(
        Study(model="uniter", task="digits", seeds=(0,)), found, [0.2],
        np.ones((1, 1), bool), made_readings.facts(both), 1,
    )  # fmt: skip
    rows = gallery.tallies([study], found.items).set_index(["level", "item"]).loc[1]
    assert rows["kept"].tolist() == [1, 0, 0, 0]
    assert rows["lost"].tolist() == [0, 1, 0, 1]
    assert rows["gained"].tolist() == [0, 0, 1, 0]
    assert rows["true"].tolist() == [1, 0, 0, 1]


def test_every_seed_is_kept_lost_or_gained_with_two_classes() -> None:
    studies = [seen(), seen("lxmert", seeds=2, seed=1)]
    rows = gallery.tallies(studies, studies[0].found.items)
    assert (rows[list(gallery.OUTCOMES)].sum(axis=1) == rows["seeds"]).all()
    assert (rows.loc[rows["level"] == 0, "kept"] == rows.loc[rows["level"] == 0, "seeds"]).all()


# -- HTML -----------------------------------------------------------------------------------------
def test_the_html_is_well_formed_and_every_card_can_be_filtered() -> None:
    studies = [seen(), seen("lxmert", seeds=2, seed=1)]
    exhibit = made(studies)
    page = Page(exhibit_html(exhibit, "gallery"))
    assert len(page.cards) == 10
    assert page.options["model"] == ["uniter", "lxmert"]
    assert page.options["level"] == ["", "1", "2"]
    assert page.options["seeds"] == ["1", "2", "3"]
    assert page.tags.count("table") == 20
    for card in page.cards:
        assert card["data-relation"] in page.options["relation"]
        assert card["data-kind"] in page.options["kind"]
        for study in studies:
            triples = str(card[f"data-{study.study.model}"]).split(";")
            assert len(triples) == 2
            for triple in triples:
                assert sum(map(int, triple.split(","))) == len(study.found.runs)


def test_the_counts_in_a_card_are_those_of_the_data() -> None:
    exhibit = made([seen()])
    page = Page(exhibit.body)
    for card in page.cards:
        own = exhibit.data[(exhibit.data["item"] == card["id"]) & (exhibit.data["level"] > 0)]
        rows = own.sort_values("level")[list(gallery.OUTCOMES)].astype(str)
        assert card["data-uniter"] == ";".join(",".join(row) for row in rows.to_numpy())


def test_text_is_escaped_wherever_it_stands() -> None:
    one = seen()
    studies = [
        gallery.Seen(one.study, one.found, one.sparsity, one.beats,
                     one.facts.assign(text=EVIL, relation=EVIL), 2)
    ]  # fmt: skip
    page = Page(made(studies).body)
    assert page.tags.count("script") == 1
    assert "b" not in page.tags
    assert {card["data-relation"] for card in page.cards} == {EVIL}


def test_the_same_items_give_the_same_bytes() -> None:
    assert made([seen()]).body == made([seen()]).body


def test_it_is_small_and_needs_nothing_else() -> None:
    body = made([seen(), seen("lxmert", seed=1), seen("visualbert", seed=2)]).body
    assert len(body) / 10 < 8_000
    assert "src=" not in body
    assert "http" not in body


def test_pictures_are_those_of_the_canvas() -> None:
    body = made([seen()]).body
    data = body.split("data:image/png;base64,")[1].split('"')[0]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert image.shape == (64, 64)
    assert image[15, 35] == 0
    assert image[0, 0] == 255


def test_a_scene_that_belongs_to_another_item_is_refused() -> None:
    studies = [seen()]
    drawn = scenes(studies)
    shown = gallery.chosen(studies, 2, 2)
    first, second = shown["item"][:2]
    with pytest.raises(RecordError, match=f"item {first} has no scene"):
        gallery.gallery(studies, shown, drawn | {first: drawn[second]})
    with pytest.raises(RecordError, match="has no scene"):
        gallery.gallery(studies, shown, {})


def test_a_split_between_seeds_is_not_called_an_answer() -> None:
    row = pd.Series({"true": 2, "seeds": 4, "level": 1, "sparsity": 0.2, "kept": 4, "lost": 0,
                     "gained": 0, "note": ""})  # fmt: skip
    assert "~ split 2/4" in gallery._row(row, label=True)
    assert "✗ True 3/4" in gallery._row(row.replace({2: 3}), label=False)


# -- what changed items look like -----------------------------------------------------------------
def test_a_relation_that_changes_is_found_and_chance_is_not() -> None:
    one = seen(items=300)
    near = (one.facts["relation"] == "near").to_numpy()
    ticket = np.where(
        near & (np.arange(300) % 3 > 0), ~one.found.dense[:, None], one.found.dense[:, None]
    )
    ticket = np.broadcast_to(ticket, one.found.ticket.shape)
    found = answers(made_readings.with_logits(synthetic.predictions(items=4)))
    found = type(found)(**{**vars(one.found), "ticket": ticket})
    planted = gallery.Seen(one.study, found, one.sparsity, one.beats, one.facts, 2)
    boxes = pd.Series(np.arange(300) % 5, list(one.facts["item"]))
    rows = visible.looks([planted], boxes).set_index("fact")
    assert rows.loc["relation", "most"] == "near"
    assert rows.loc["relation", "holm_visible"] < 1e-6
    assert rows.loc["boxes", "holm_visible"] > 0.01
    assert rows.loc["subject", "flags"] == "one value only: no test"
    text = visible.looks_sentence(rows.reset_index())
    assert "UNITER: its relation" in text
    assert "one value only" in visible.looks_table(rows.reset_index()).table.to_string()


def test_items_that_never_change_give_no_test() -> None:
    one = seen()
    still = gallery.Seen(one.study, one.found, one.sparsity, np.zeros((3, 2), bool), one.facts, 2)
    rows = visible.looks([still], pd.Series(1, list(one.facts["item"])))
    assert rows["p_visible"].isna().all()
    assert "UNITER: none of them" in visible.looks_sentence(rows)


def test_only_one_level_that_beats_the_rule_says_what_changed_items_look_like() -> None:
    one = seen(items=100)
    near = (one.facts["relation"] == "near").to_numpy()
    # The last level collapses: near items change there, and chance alone decides at level 1.
    ticket = np.array(one.found.ticket)
    ticket[:, 1] = np.where(near, ~one.found.dense, one.found.dense)
    found = type(one.found)(**{**vars(one.found), "ticket": ticket})
    beats = np.array([[True, False]] * 3)
    boxes = pd.Series(1, list(one.facts["item"]))

    def relation(level: int) -> pd.Series:
        study = gallery.Seen(one.study, found, one.sparsity, beats, one.facts, level)
        return visible.looks([study], boxes).set_index("fact").loc["relation"]

    assert relation(1)["effect"] < 0.1 and relation(1)["seeds"] == 3
    collapsed = relation(2)
    assert collapsed["flags"] == "does not beat the trivial rule: no test"
    assert pd.isna(collapsed["p_visible"])


def test_the_control_is_how_often_dense_seeds_differ() -> None:
    one = seen(items=100)
    near = (one.facts["relation"] == "near").to_numpy()
    dense = np.array([near, ~near & False, ~near & False])
    found = type(one.found)(**{**vars(one.found), "dense": dense})
    study = gallery.Seen(one.study, found, one.sparsity, one.beats, one.facts, 2)
    assert study.changed_by_seed is not None
    # One of three seeds differs from both others on near items: two of three pairs.
    assert study.changed_by_seed == pytest.approx(np.where(near, 2 / 3, 0.0))
    rows = visible.looks([study], pd.Series(1, list(one.facts["item"]))).set_index("fact")
    assert rows.loc["relation", "effect_seeds"] == pytest.approx(1.0)
    assert "no test" in visible.looks_table(rows.reset_index()).table.to_string()
    rows["holm_visible"] = 1.0
    rows.loc["relation", ["holm_visible", "effect"]] = [0.001, 0.5]
    text = visible.looks_sentence(rows.reset_index())
    assert "its relation (50.0 %, 100.0)" in text and "In 1 of these 1 at least half" in text
    assert seen(seeds=1).changed_by_seed is None


def test_cards_say_which_levels_are_at_chance_or_constant() -> None:
    one = seen()
    ticket = np.array(one.found.ticket)
    ticket[:, 1] = True
    found = type(one.found)(**{**vars(one.found), "ticket": ticket})
    beats = np.array([[True, False], [True, False], [False, False]])
    study = gallery.Seen(one.study, found, one.sparsity, beats, one.facts, 1)
    assert study.notes == {1: "at chance at 1 of 3 seeds", 2: "constant"}
    body = made([study], 2, 2).body
    assert body.count("<em>constant</em>") == 4
    assert body.count("<em>at chance at 1 of 3 seeds</em>") == 4
    assert "<em>" not in made([one], 2, 2).body.split("</style>")[1]
