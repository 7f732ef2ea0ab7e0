"""Every table and figure of the main source, by its number: what makes it again, and where.

`ENTRIES` is the one list. A chapter shows the entries of its page, section by section; the index is
read off the list; and a test compares it with the numbers that the source prints. Builders are
shared by models, ladders and measures, and lie beside this file:

    reproduced_evidence   records and printed numbers, side by side
    reproduced_columns    columns, words and data that tables share
    reproduced_tables     tables by level             reproduced_rates    over learning rates
    reproduced_figures    figures                     reproduced_items    what items look like
    reproduced_meaning    words, quotes, conclusions  reproduced_words    sentences of the chapters
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import pandas as pd

from lthlib.errors import RecordError, unknown
from lthlib.records import RecordStore
from lthlib.report.exhibits import Exhibit, model_name
from lthlib.report.source import figures as reproduced_figures
from lthlib.report.source import items as reproduced_items
from lthlib.report.source import meaning as reproduced_meaning
from lthlib.report.source import published
from lthlib.report.source import rates as reproduced_rates
from lthlib.report.source import tables as reproduced_tables
from lthlib.report.source.evidence import Evidence, seeds_held
from lthlib.study import MODELS, PUBLISHED_AMOUNTS, reference

Builder = Callable[[Evidence], Exhibit]
SUMMARY, RATES, REPORTS, INDEX = (
    "source-summary",
    "source-rates",
    "source-reports",
    "source-index",
)


@dataclass(frozen=True)
class Entry:
    """One table or figure of the source, and what makes it again.

    number: as in published.json; what: what it shows; page, section: where it stands; build: makes
    it from the evidence of its page; parts: of the reference study that our side comes from, with
    the choices that narrow them.
    """

    number: str
    what: str
    page: str
    section: str
    build: Builder
    parts: tuple[str, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """The name under which a page shows it."""
        return re.sub(r"[^a-z0-9]+", "-", self.number.lower()).strip("-")

    def exhibit(self, evidence: Evidence) -> Exhibit:
        made = self.build(evidence)
        return replace(made, caption=f"{self.number}. {self.what}. {made.caption}")


# -- the list -------------------------------------------------------------------------------------
# Numbers of one model and ladder: accuracy, its t-tests, fidelity's t-tests, faithfulness.
_NUMBERS = {
    ("visualbert", "secondary"): (4, 5, 7, 8),
    ("lxmert", "secondary"): (9, 10, 11, 12),
    ("uniter", "secondary"): (13, 14, 15, 16),
    ("visualbert", "concluding"): (17, 18, 19, 20),
    ("lxmert", "concluding"): (21, 22, 23, 24),
    ("uniter", "concluding"): (25, 26, 27, 28),
}
_WILCOXON = 6


def page_of(model: str, ladder: str) -> str:
    """The chapter of one model and ladder."""
    return f"source-{ladder}-{model}"


def _chapter(model: str, ladder: str) -> Iterator[Entry]:
    """The tables of one model on one ladder of VSR."""
    accuracy, accuracy_p, fidelity_p, faithfulness = _NUMBERS[model, ladder]
    name, here = model_name(model), {"model": model, "ladder": ladder}

    def entry(
        number: str, what: str, section: str, build: Callable[..., Exhibit], **more: str
    ) -> Entry:
        return Entry(
            number, f"{what} of {name}, {ladder} pruning", page_of(model, ladder), section,
            partial(build, table=number, **here, **more),
            (f"published-{ladder}", ladder), {"model": model},
        )  # fmt: skip

    tables = reproduced_tables
    appendix = f"Appendix {ladder} {name}"
    yield entry(
        f"Table {accuracy}", "Accuracy", "Accuracy", tables.measure_table, measure="accuracy"
    )
    yield entry(f"Table {accuracy_p}", "t-tests of accuracy", "Accuracy", tables.dense_tests_table)
    if (model, ladder) == ("visualbert", "secondary"):
        yield entry(
            f"Table {_WILCOXON}", "Wilcoxon's test of accuracy", "Accuracy", tables.wilcoxon_table
        )
    yield entry(
        f"{appendix} average fidelity", "Mean fidelity", "Fidelity", tables.fidelity_pairs_table
    )
    yield entry(
        f"Table {fidelity_p}", "t-tests of fidelity", "Fidelity", tables.pair_tests_table,
        measure="fidelity", metric="p_value_ttest_fidelity",
    )  # fmt: skip
    yield entry(
        f"Table {faithfulness}", "Faithful and unfaithful accuracy", "Faithfulness",
        tables.faithfulness_table,
    )  # fmt: skip
    for kind, measure in (
        ("faithful", "faithful_accuracy"),
        ("unfaithful", "unfaithful_accuracy_dense"),
    ):
        yield entry(
            f"{appendix} {kind} t-test", f"t-tests of {kind} accuracy", "Faithfulness",
            tables.pair_tests_table, measure=measure, metric=f"p_value_ttest_{kind}_accuracy",
        )  # fmt: skip
    if ladder == "concluding":
        counts = f"{appendix} average confusion matrix"
        for title, measure in (("F1", "f1"), ("Precision", "precision"), ("Recall", "recall")):
            yield entry(
                f"{appendix} average {title}", title, "Precision and recall", tables.measure_table,
                measure=measure, counts=counts,
            )  # fmt: skip
        yield entry(counts, "Confusion matrix", "Precision and recall", tables.confusion_table)


def _rates() -> Iterator[Entry]:
    """Learning rates: VSR's form and Open-I's."""
    parts = ("published-rates",)
    grid = reproduced_rates.rates_table
    for at, model in ((29, "visualbert"), (30, "uniter"), (31, "lxmert")):
        name, task = f"Table {at}", "digit-reports"
        yield Entry(
            name, f"Accuracy of {model_name(model)} on Open-I over learning rates", REPORTS,
            "Accuracy", partial(grid, table=name, model=model, task=task, measure="accuracy"),
            parts, {"model": model, "task": task},
        )  # fmt: skip
    for at, model, table in (
        (19, "visualbert", 29),
        (20, "lxmert", 31),
        (21, "uniter", 30),
    ):
        yield Entry(
            f"Figure {at}", f"Accuracy of {model_name(model)} on Open-I over learning rates",
            REPORTS, "Figures",
            partial(reproduced_figures.rates_figure, model=model, task="digit-reports",
                    table=f"Table {table}"),
            parts, {"model": model, "task": "digit-reports"},
        )  # fmt: skip
    for model in ("visualbert", "lxmert"):
        prefix = f"Appendix learning rate {model_name(model)}"
        for number, measure in (
            (f"Learning rate {model_name(model)} accuracy", "accuracy"),
            (f"{prefix} F1", "f1"),
            (f"{prefix} Precision", "precision"),
            (f"{prefix} Recall", "recall"),
        ):
            section = "Accuracy" if measure == "accuracy" else "Precision and recall"
            title = {"f1": "F1"}.get(measure, measure.capitalize())
            yield Entry(
                number, f"{title} of {model_name(model)} over learning rates", RATES, section,
                partial(grid, table=number, model=model, task="digits", measure=measure),
                parts, {"model": model, "task": "digits"},
            )  # fmt: skip
    # The source prints none at its lowest rate, and one of them twice.
    for rate, place in (
        ("0.000075", 1),
        ("0.0001", 2),
        ("0.000125 (first printing)", 3),
        ("0.000125 (second printing)", 3),
        ("0.00015", 4),
    ):
        number = f"Appendix learning rate VisualBERT fidelity at {rate}"
        yield Entry(
            number, "Fidelity of VisualBERT between pruned levels", RATES, "Fidelity",
            partial(reproduced_rates.rate_fidelity_table, table=number, model="visualbert",
                    task="digits", place=place),
            parts, {"model": "visualbert", "task": "digits"},
        )  # fmt: skip


def _words() -> Iterator[Entry]:
    """Tables of words and of other people's results, and figures of the data."""
    both = ("published-concluding", "concluding")
    meaning = reproduced_meaning
    yield Entry(
        "Table 1.1", "What faithful samples are said to be", SUMMARY, "Words",
        partial(meaning.meaning_table, table="Table 1.1", measure=meaning.ease,
                question="Share of right answers that dense models of other seeds give to faithful "
                "and unfaithful decisions: are they easier?"),
        both,
    )  # fmt: skip
    yield Entry(
        "Table 1.2", "How sure a model is said to be", SUMMARY, "Words",
        partial(meaning.meaning_table, table="Table 1.2", measure=meaning.sureness,
                question="Mean probability that the pruned model gives its own answer, on faithful "
                "and unfaithful decisions: is it surer?"),
        both,
    )  # fmt: skip
    yield Entry(
        "Figure 8", "Steps to a winning ticket", SUMMARY, "Words", meaning.steps_table, both
    )
    items = reproduced_items
    figures = (
        ("Figure 3", "An item of the Open-I form", items.scene_figure, "digit-reports"),
        ("Figure 4", "Splits and findings of the Open-I form", items.findings_figure,
         "digit-reports"),
        ("Figure 5", "An item of the VSR form", items.scene_figure, "digits"),
        ("Figure 6", "Items per relation of the VSR form", items.relations_figure, "digits"),
        ("Figure 7", "Labels of the VSR form", items.labels_figure, "digits"),
    )  # fmt: skip
    for number, what, build, task in figures:
        yield Entry(number, what, SUMMARY, "Data", partial(build, task=task))
    for number, name, part, task in (
        ("Table 2", "Open-I", "reports", "digit-reports"),
        ("Table 3", "VSR", "concluding", "digits"),
    ):
        yield Entry(
            number, f"Results of others on {name}", SUMMARY, "Data",
            partial(meaning.literature_table, table=number, part=part, task=task), (part,),
        )  # fmt: skip


def _summary() -> Iterator[Entry]:
    """Figures 9 to 18, and the quoted table that shares a number with one of them."""
    yield Entry(
        "Figure 9", "Pruned in the end against pruned in each round", SUMMARY, "How much is pruned",
        reproduced_figures.final_share_figure, ("published-secondary", "published-concluding"),
    )  # fmt: skip
    faithful, unfaithful = "faithful_accuracy", "unfaithful_accuracy_dense"
    shown = (
        (10, "visualbert", ("accuracy", "fidelity")),
        (11, "visualbert", (faithful,)),
        (12, "visualbert", (unfaithful,)),
        (13, "lxmert", ("accuracy",)),
        (14, "lxmert", ("fidelity",)),
        (15, "lxmert", (faithful, unfaithful)),
        (16, "uniter", ("accuracy",)),
        (17, "uniter", ("fidelity",)),
        (18, "uniter", (faithful, unfaithful)),
    )
    titles = {"accuracy": "Accuracy", "fidelity": "Fidelity", faithful: "Accuracy on faithful",
              unfaithful: "Accuracy of dense on unfaithful"}  # fmt: skip
    for at, model, measures in shown:
        accuracy, _, _, faithfulness = _NUMBERS[model, "concluding"]
        tables = {
            "accuracy": f"Table {accuracy}",
            "fidelity": f"Appendix concluding {model_name(model)} average fidelity",
            faithful: f"Table {faithfulness}",
            unfaithful: f"Table {faithfulness}",
        }
        yield Entry(
            f"Figure {at}",
            f"{' and '.join(titles[m] for m in measures).capitalize()} of {model_name(model)}",
            SUMMARY, model_name(model),
            partial(reproduced_figures.ladder_figure, model=model, ladder="concluding",
                    panels=[(m, tables[m]) for m in measures]),
            ("published-concluding", "concluding"), {"model": model},
        )  # fmt: skip
    number = "Figure 13 (second)"
    yield Entry(
        number, "Latent concepts of language models", SUMMARY, "Latent concepts",
        partial(reproduced_meaning.concepts_table, table=number),
    )  # fmt: skip


def _entries() -> Iterator[Entry]:
    yield from _words()
    for ladder in PUBLISHED_AMOUNTS:
        for model in MODELS:
            yield from _chapter(model, ladder)
    yield from _summary()
    yield from _rates()


ENTRIES: tuple[Entry, ...] = tuple(_entries())


# -- chapters -------------------------------------------------------------------------------------
def on_page(page: str) -> list[Entry]:
    """The entries of a chapter, in the order in which it shows them.

    Raises RecordError for a page that has none.
    """
    found = [entry for entry in ENTRIES if entry.page == page]
    if not found:
        raise RecordError(unknown("page with exhibits of the main source", page, pages()))
    return found


def pages() -> list[str]:
    """The chapters that show entries."""
    return list(dict.fromkeys(entry.page for entry in ENTRIES))


def sections(page: str) -> list[str]:
    """The sections of a chapter."""
    return list(dict.fromkeys(entry.section for entry in on_page(page)))


def section(page: str, name: str, evidence: Evidence) -> Iterator[tuple[Exhibit, str]]:
    """Each exhibit of a section with its name, as :func:`lthlib.report.show.show` takes them.

    Raises RecordError for a section that the page does not have, at once.
    """
    if name not in sections(page):
        raise RecordError(f"page {page}: {unknown('section', name, sections(page))}")
    chosen = [entry for entry in on_page(page) if entry.section == name]
    return ((entry.exhibit(evidence), entry.anchor) for entry in chosen)


# -- index ----------------------------------------------------------------------------------------
def index(store: RecordStore) -> pd.DataFrame:
    """The list as a table: number, what, page, anchor, printed, made_from, seeds.

    printed: how many numbers the source prints of it; seeds: how many of our seeds its parts have
    in this store, as text.
    """
    printed = published.tables().set_index("table")["numbers"]
    rows = [
        {
            "number": entry.number,
            "what": entry.what,
            "page": entry.page,
            "anchor": entry.anchor,
            "printed": int(printed.get(entry.number, 0)),
            "made_from": ", ".join(entry.parts) or "the tasks and the source alone",
            "seeds": "; ".join(_seeds(entry, part, store) for part in entry.parts) or "none needed",
        }
        for entry in sorted(ENTRIES, key=_place)
    ]
    return pd.DataFrame(rows)


def _place(entry: Entry) -> tuple[int, float, str]:
    """Tables by number, then figures, then what has no number by name."""
    kind, _, rest = entry.number.partition(" ")
    numbered = {"Table": 0, "Figure": 1}
    if kind not in numbered:
        return 2, 0.0, entry.number
    return numbered[kind], float(rest.partition(" ")[0]), rest


def _seeds(entry: Entry, part: str, store: RecordStore) -> str:
    """How many seeds of the entry's studies of a part are there, and of how many."""
    studies = reference(part, **entry.choices)
    held = [seeds_held(study, store) for study in studies]
    low, high = min(held), max(held)
    count = f"{low}" if low == high else f"{low} to {high}"
    return f"{count} of {len(studies[0].seeds)}"


def index_html(table: pd.DataFrame) -> str:
    """The index as HTML whose links lead to each exhibit; the book's extension resolves them."""
    heads = ("number", "what it shows", "numbers printed", "ours made from", "seeds")
    # Names are long enough to be wrapped, unlike the cells of other tables.
    wrap = '<td style="white-space: normal">'
    rows = "".join(
        f"<tr>{wrap}{_link(row['page'], row['anchor'], row['number'])}</td>"
        + "".join(
            f"{wrap}{_safe(row[name])}</td>" for name in ("what", "printed", "made_from", "seeds")
        )
        + "</tr>"
        for _, row in table.iterrows()
    )
    head = "".join(f"<th>{text}</th>" for text in heads)
    return (
        '<div style="overflow-x: auto"><table class="exhibit-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _link(page: str, anchor: str, text: str) -> str:
    return f'<a href="book:chapters/{page}#{anchor}">{_safe(text)}</a>'


def _safe(text: object) -> str:
    return html.escape(str(text))
