"""A gallery of test items: scene, caption, and what every model answers at every level.

One piece of HTML that needs nothing else: pictures, styles and script lie in it, and it is filtered
in the page, without a server. Without JavaScript all items are shown, with all models.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from lthlib.errors import RecordError
from lthlib.records import RecordStore
from lthlib.report.exhibits import Exhibit, model_name, sparsity_text
from lthlib.report.measures import Bools, Floats, at_stage, beats_trivial
from lthlib.report.questions.forgetting import Answers, answers
from lthlib.report.reading import recorded
from lthlib.report.statistics import DENSE_LEVEL
from lthlib.report.tidy import focus
from lthlib.report.words import counted
from lthlib.study import Study, reference

UNSTABLE, STABLE = 36, 24
"""How many items of each kind are shown."""
OUTCOMES = ("kept", "lost", "gained")


# -- what the models answered ---------------------------------------------------------------------
@dataclass(frozen=True)
class Seen:
    """One study's answers, as far as the gallery needs them.

    sparsity: of each level beyond dense; beats: [R, L], True where dense and the level both beat
    the best trivial rule; facts: one row per test item; level: the one that sentences speak of.
    """

    study: Study
    found: Answers
    sparsity: list[float]
    beats: Bools
    facts: pd.DataFrame
    level: int

    @property
    def changed(self) -> Floats:
        """[N], the share of an item's answers that differ from dense, where `beats` holds."""
        counted = self.found.unfaithful[self.beats]
        return counted.mean(axis=0) if len(counted) else np.zeros(len(self.found.items))

    @property
    def changed_at_level(self) -> Floats:
        """[N], the same at `level` alone; 0 throughout where it beats the rule at no seed."""
        place = self.found.levels.index(self.level)
        counted = self.found.unfaithful[self.beats[:, place], place]
        return counted.mean(axis=0) if len(counted) else np.zeros(len(self.found.items))

    @property
    def changed_by_seed(self) -> Floats | None:
        """[N], the share of pairs of dense models whose answers differ; None with one seed."""
        count = len(self.found.runs)
        if count == 1:
            return None
        true = self.found.dense.sum(axis=0)
        return np.asarray(true * (count - true) / (count * (count - 1) / 2))

    @property
    def notes(self) -> dict[int, str]:
        """What a reader must know of a level before its answers; "" where there is nothing."""
        shares = self.found.ticket.mean(axis=2)
        constant, seeds = np.isin(shares, (0.0, 1.0)), len(self.found.runs)
        return {
            level: _note(int(self.beats[:, i].sum()), int(constant[:, i].sum()), seeds)
            for i, level in enumerate(self.found.levels)
        }


def _note(beats: int, constant: int, seeds: int) -> str:
    """Of a level at which `beats` seeds beat the trivial rule and `constant` give one answer."""
    if beats == seeds:
        return ""
    if constant == seeds:
        return "constant"
    some = f" at {seeds - beats} of {counted(seeds, 'seed')}" if beats else ""
    return f"at chance{some}"


def seen(part: str, store: RecordStore) -> list[Seen]:
    """The studies of a part of which at least one run is recorded; see :class:`Seen`."""
    studies = [s for s in reference(part) if any(store.has(run) for run in s.run_ids())]
    return [see(recorded(study, store), store) for study in studies]


def see(study: Study, store: RecordStore) -> Seen:
    """One study, whose runs are all recorded."""
    names, stage = study.run_ids(), study.judged_stage
    every = store.table("predictions", names)
    main = at_stage(every[every["branch"] == "main"], stage)
    found = answers(main, stage)
    gate = beats_trivial(main).pivot_table("beats", "run", "level").loc[found.runs].astype(bool)
    levels = at_stage(store.table("levels", names), stage)
    sparsity = levels[levels["branch"] == "main"].groupby("level")["sparsity"].mean()
    return Seen(
        study=study,
        found=found,
        sparsity=[float(sparsity[level]) for level in found.levels],
        beats=gate[found.levels].to_numpy() & gate[[DENSE_LEVEL]].to_numpy(),
        facts=store.items(store.study(names[0])["items"]),
        level=focus(every),
    )


def chosen(studies: Sequence[Seen], unstable: int = UNSTABLE, stable: int = STABLE) -> pd.DataFrame:
    """The items to show, by a rule that looks at no picture.

    First those whose answers change most often, over all models, levels that beat the trivial rule
    and seeds (ties by name), then some drawn at random, with a fixed seed, from the quarter that
    changes least.

    Returns item, kind ("changes most", "changes least"), changed (share of answers).
    """
    items = studies[0].found.items
    changed = np.mean([study.changed for study in studies], axis=0)
    order = np.lexsort((items, -changed))
    quarter = order[-max(stable, len(order) // 4) :]
    quarter = np.setdiff1d(quarter, order[:unstable])
    drawn = np.random.default_rng(0).choice(quarter, min(stable, len(quarter)), replace=False)
    rows = [*order[:unstable], *sorted(drawn)]
    kinds = ["changes most"] * min(unstable, len(order)) + ["changes least"] * len(drawn)
    return pd.DataFrame(
        {"item": [items[row] for row in rows], "kind": kinds, "changed": changed[rows]}
    )


def tallies(studies: Sequence[Seen], items: Sequence[str]) -> pd.DataFrame:
    """How many seeds keep, lose and gain each item, by model and level.

    Kept: the answer of dense, right or wrong; lost: dense was right and the ticket is not; gained:
    the reverse. Level 0 is dense, which keeps its answers.

    Returns item, model, level, sparsity, note (see :attr:`Seen.notes`), seeds, true (seeds that
    answer True), kept, lost, gained.
    """
    frames = []
    for study in studies:
        found = study.found
        where = [found.items.index(item) for item in items]
        label, dense = found.label[where], found.dense[:, None, where]
        given = np.concatenate([dense, found.ticket[..., where]], axis=1)
        right, was_right = given == label, dense == label
        counts = {
            "true": given,
            "kept": given == dense,
            "lost": was_right & ~right,
            "gained": ~was_right & right,
        }
        levels = [DENSE_LEVEL, *found.levels]
        index = pd.MultiIndex.from_product([levels, items], names=["level", "item"])
        columns = {name: values.sum(axis=0).ravel() for name, values in counts.items()}
        frame = pd.DataFrame(columns, index=index).reset_index()
        share = dict(zip(levels, [0.0, *study.sparsity], strict=True))
        frame = frame.assign(
            model=study.study.model,
            seeds=len(found.runs),
            sparsity=frame["level"].map(share),
            note=frame["level"].map({DENSE_LEVEL: "", **study.notes}),
        )
        frames.append(frame)
    names = ["item", "model", "level", "sparsity", "note", "seeds", "true", *OUTCOMES]
    return pd.concat(frames, ignore_index=True)[names]


# -- the page -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scene:
    """What one item shows.

    text: its caption; canvas: [H, W], 0 (paper) to 1 (ink); boxes: x1 y1 x2 y2 in 0..1.
    """

    text: str
    canvas: npt.NDArray[np.float32]
    boxes: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Gallery(Exhibit):
    """An exhibit whose body is finished HTML."""

    body: str = ""

    def table_html(self) -> str:
        return self.body


def gallery(studies: Sequence[Seen], shown: pd.DataFrame, scenes: Mapping[str, Scene]) -> Gallery:
    """The items of a frame of :func:`chosen` as cards, with filters above them.

    Raises RecordError where an item has no scene, or that of another item.
    """
    items = list(shown["item"])
    facts = studies[0].facts.set_index("item")
    for item in items:
        if item not in scenes or scenes[item].text != facts.loc[item, "text"]:
            raise RecordError(
                f"item {item} has no scene that goes with its text: draw the items of the study's "
                "own task, data_seed and test_items"
            )
    counts = tallies(studies, items)
    label = dict(zip(studies[0].found.items, studies[0].found.label.tolist(), strict=True))
    by_item = {str(item): part for item, part in counts.groupby("item")}
    cards = [
        _card(row["item"], row["kind"], facts.loc[row["item"]], label[row["item"]],
              by_item[row["item"]], scenes[row["item"]])
        for _, row in shown.iterrows()
    ]  # fmt: skip
    body = _PAGE.substitute(
        style=STYLE,
        filters=_filters(counts, facts.loc[items, "relation"]),
        cards="\n".join(cards),
        script=_SCRIPT,
        count=len(cards),
    )
    data = shown.merge(facts.reset_index(), on="item").merge(counts, on="item")
    data["label"] = data["item"].map(label)
    return Gallery(_caption(studies, shown), _alt(shown), data, body=body)


def _caption(studies: Sequence[Seen], shown: pd.DataFrame) -> str:
    kinds = shown["kind"].value_counts()
    seeds = ", ".join(f"{len(s.found.runs)} ({model_name(s.study.model)})" for s in studies)
    return (
        f"{len(shown)} of {len(studies[0].found.items):,} test items, chosen by a rule: the "
        f"{kinds.get('changes most', 0)} whose answers change most often between dense and ticket, "
        "over all models, seeds and levels that beat the best trivial rule, and "
        f"{kinds.get('changes least', 0)} drawn at random from the quarter that changes least. "
        f"Seeds: {seeds}. Each row gives the answer of most seeds, how many give it, and how many "
        "keep their own dense model's answer, lose it (right to wrong) or gain one (wrong to "
        "right). A level 'at chance' does not beat the best rule that looks at no input, and a "
        "'constant' one gives every item the same answer: what it keeps or loses there says "
        "nothing of the item. Boxes are the regions that models see; a box without a digit is a "
        "distractor."
    )


def _alt(shown: pd.DataFrame) -> str:
    return f"Gallery of {len(shown)} test items with filters by model, level, outcome and relation."


def _card(
    item: str, kind: str, facts: pd.Series[str], label: bool, counts: pd.DataFrame, scene: Scene
) -> str:
    tables, attributes = [], [f'data-relation="{html.escape(facts["relation"])}"']
    attributes.append(f'data-kind="{html.escape(kind)}"')
    for model, own in counts.groupby("model", sort=False):
        own = own.sort_values("level")
        numbers = own.loc[own["level"] != DENSE_LEVEL, list(OUTCOMES)].to_numpy().tolist()
        text = ";".join(",".join(str(n) for n in row) for row in numbers)
        attributes.append(f'data-{html.escape(str(model))}="{text}"')
        tables.append(_table(str(model), own, label))
    title, relation = html.escape(facts["text"]), html.escape(facts["relation"])
    return (
        f'<article class="lth-card" id="{html.escape(item)}" {" ".join(attributes)}>'
        f"{_picture(scene)}"
        f'<p class="lth-text"><strong>{title}</strong><br>label: {label} · {relation} · '
        f"{html.escape(kind)} · {html.escape(item)}</p>{''.join(tables)}</article>"
    )


def _table(model: str, own: pd.DataFrame, label: bool) -> str:
    rows = "".join(_row(row, label) for _, row in own.iterrows())
    return (
        f'<table data-model="{html.escape(model)}"><caption>{html.escape(model_name(model))}'
        '</caption><thead><tr><th scope="col">sparsity</th><th scope="col">answer</th>'
        f'<th scope="col">seeds</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _row(row: pd.Series[Any], label: bool) -> str:
    """One level: the answer of most seeds, whether it is right, and what became of dense's."""
    said, seeds = int(row["true"]), int(row["seeds"])
    if 2 * said == seeds:
        answer = f"~ split {said}/{seeds}"
    else:
        answers_true = 2 * said > seeds
        mark = "✓" if answers_true == label else "✗"
        answer = f"{mark} {answers_true} {max(said, seeds - said)}/{seeds}"
    level = int(row["level"])
    name = "dense" if level == DENSE_LEVEL else f"{sparsity_text(row['sparsity'])} %"
    note = f"<br><em>{html.escape(row['note'])}</em>" if row["note"] else ""
    became = ", ".join(f"{int(row[o])} {o}" for o in OUTCOMES if row[o] or o == "kept")
    return (
        f'<tr data-level="{level}"><th scope="row">{name}{note}</th><td class="lth-a">{answer}</td>'
        f'<td class="lth-s">{"" if level == DENSE_LEVEL else became}</td></tr>'
    )


def _picture(scene: Scene) -> str:
    """The canvas as a small PNG, and its boxes drawn over it."""
    height, width = scene.canvas.shape
    paper = np.rint(255 * (1 - np.clip(scene.canvas, 0, 1))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(paper).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    boxes = "".join(
        f'<rect x="{x1 * width:.1f}" y="{y1 * height:.1f}" width="{(x2 - x1) * width:.1f}" '
        f'height="{(y2 - y1) * height:.1f}"/>'
        for x1, y1, x2, y2 in scene.boxes
    )
    count = len(scene.boxes)
    name = html.escape(f"Scene with {count} {'box' if count == 1 else 'boxes'}, for: {scene.text}")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}">'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/>'
        f"{boxes}</svg>"
    )


def _filters(counts: pd.DataFrame, relations: pd.Series[str]) -> str:
    levels = counts[counts["level"] != DENSE_LEVEL].groupby("level")["sparsity"].mean()
    seeds = int(counts["seeds"].max())
    fields = {
        "model": ("Model", [(m, model_name(m)) for m in counts["model"].unique()]),
        "level": (
            "Sparsity",
            [("", "any level"), *((str(k), f"{sparsity_text(s)} %") for k, s in levels.items())],
        ),
        "outcome": (
            "Answer",
            [("", "any"), ("kept", "kept"), ("lost", "lost: right to wrong"),
             ("gained", "gained: wrong to right")],
        ),
        "seeds": ("By at least", [(str(n), counted(n, "seed")) for n in range(1, seeds + 1)]),
        "relation": ("Relation", [("", "any"), *((r, r) for r in sorted(relations.unique()))]),
        "kind": ("Items", [("", "all")] + [(k, k) for k in ("changes most", "changes least")]),
    }  # fmt: skip
    return "".join(_select(name, title, options) for name, (title, options) in fields.items())


def _select(name: str, title: str, options: Sequence[tuple[str, str]]) -> str:
    listed = "".join(
        f'<option value="{html.escape(value)}">{html.escape(text)}</option>'
        for value, text in options
    )
    return f'<label>{title} <select name="{name}">{listed}</select></label>'


_PAGE = Template(
    '<div class="lth-gallery"><style>$style</style>'
    '<form hidden aria-label="Filter the items">$filters'
    '<button type="reset">Show all</button></form>'
    '<p role="status">$count of $count items shown.</p>'
    '<div class="lth-cards">$cards</div><script>$script</script></div>'
)

# Colours come from the page, so that it can be light or dark; a scene is always ink on paper.
STYLE = """
.lth-gallery form{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:end;margin:0 0 .5rem}
.lth-gallery form[hidden],.lth-gallery .lth-card[hidden],.lth-gallery table[hidden]{display:none}
.lth-gallery label{display:flex;flex-direction:column;font-size:.85em}
.lth-gallery select,.lth-gallery button{font:inherit;min-height:2.2rem;max-width:100%;
color:inherit;background:transparent;border:1px solid currentColor;border-radius:.3rem;
padding:0 .4rem}
.lth-gallery option{color:#000;background:#fff}
.lth-gallery :focus-visible{outline:3px solid currentColor;outline-offset:2px}
.lth-gallery .lth-cards{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr))}
.lth-gallery .lth-card{border:1px solid rgba(128,128,128,.6);border-radius:.4rem;padding:.6rem;
min-width:0}
.lth-gallery svg{display:block;width:100%;max-width:12rem;margin:0 auto;background:#fff;
outline:1px solid rgba(128,128,128,.6);overflow:visible}
.lth-gallery svg image{image-rendering:pixelated}
.lth-gallery svg rect{fill:none;stroke:#D55E00;stroke-width:.8}
.lth-gallery .lth-text{font-size:.85em;margin:.4rem 0}
.lth-gallery table{width:100%;border-collapse:collapse;font-size:.8em;margin:.3rem 0;
display:table;table-layout:auto}
.lth-gallery caption{caption-side:top;text-align:left;font-weight:bold;padding:0;color:inherit}
.lth-gallery th,.lth-gallery td{text-align:left;padding:.1rem .3rem;border:0;
border-bottom:1px solid rgba(128,128,128,.35);background:none;color:inherit;font-weight:normal}
.lth-gallery tr[data-at] th,.lth-gallery tr[data-at] td{font-weight:bold;
border-bottom:2px solid currentColor}
"""

# Every card carries its counts: data-MODEL="kept,lost,gained;..." with one triple a level.
_SCRIPT = """
(function () {
  var root = document.currentScript.parentNode;
  var form = root.querySelector("form"), status = root.querySelector("[role=status]");
  var cards = Array.prototype.slice.call(root.querySelectorAll(".lth-card"));
  var outcomes = ["kept", "lost", "gained"];
  function passes(card, want) {
    if (want.relation && card.dataset.relation !== want.relation) return false;
    if (want.kind && card.dataset.kind !== want.kind) return false;
    if (!want.outcome) return true;
    var place = outcomes.indexOf(want.outcome);
    return card.getAttribute("data-" + want.model).split(";").some(function (triple, index) {
      var here = !want.level || Number(want.level) === index + 1;
      return here && Number(triple.split(",")[place]) >= Number(want.seeds);
    });
  }
  function apply() {
    var want = {}, shown = 0;
    Array.prototype.forEach.call(form.elements, function (field) {
      if (field.name) want[field.name] = field.value;
    });
    cards.forEach(function (card) {
      card.hidden = !passes(card, want);
      if (!card.hidden) shown += 1;
      Array.prototype.forEach.call(card.querySelectorAll("table"), function (table) {
        table.hidden = table.dataset.model !== want.model;
      });
      Array.prototype.forEach.call(card.querySelectorAll("tr[data-level]"), function (row) {
        row.toggleAttribute("data-at", row.dataset.level === want.level);
      });
    });
    status.textContent = shown + " of " + cards.length + " items shown.";
  }
  form.hidden = false;
  form.addEventListener("change", apply);
  form.addEventListener("reset", function () { setTimeout(apply, 0); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  apply();
})();
"""
