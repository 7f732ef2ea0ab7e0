"""What sparsity buys: latency, memory and file size of pruned models, from `benchmarks.savings`.

The results are lists of rows, one list for each part; see :func:`benchmarks.savings.measure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lthlib.report.benchmarks import Found, about, read_benchmarks
from lthlib.report.draw import (
    BLACK,
    BLUE,
    GREEN,
    HEIGHT,
    ORANGE,
    PANEL_HEIGHT,
    PAPER,
    PURPLE,
    SKY,
    SPARSITY_AXIS,
    VERMILLION,
    WIDTH,
    Look,
    finish_axes,
    paper_style,
)
from lthlib.report.exhibits import Exhibit, model_name, sparsity_text
from lthlib.report.plain import plain_table
from lthlib.report.tidy import in_order
from lthlib.report.words import counted, finished, listed

PART = "savings"
NOT_MEASURED = "Not measured yet: `make bench` measures what sparsity buys, and this page shows it."
BATCH_LOOKS = (
    Look("", BLUE, "o"),
    Look("", VERMILLION, "s", "--"),
    Look("", GREEN, "^", "-."),
    Look("", PURPLE, "D", ":"),
)
FILE_LOOKS = {
    "csr": Look("CSR, 32-bit indices", VERMILLION, "s", "--"),
    "dense": Look("dense, with zeros", BLACK, "X", ":"),
    "bits": Look("mask as bits", ORANGE, "^", "-."),
    "coded": Look("mask coded", BLUE, "o"),
    "coded_bfloat16": Look("coded, in bfloat16", GREEN, "D", (0, (5, 1, 1, 1))),
    "bound": Look("mask at its entropy", SKY, "_", "-"),
}
WAYS = {
    "dense": "dense",
    "dense float32": "dense, float32",
    "zeros": "dense with zeros",
    "csr": "CSR",
    "2:4": "2:4",
    "structured": "heads and neurons removed",
    "removed": "recorded ticket, its dead units removed",
}
SIZES = {"base": "base size", "tiny": "tiny size"}
KINDS = {"head": "heads", "neuron": "neurons"}
_AIM = 0.05
_NOISE = 0.05


def read_savings(folder: Path) -> dict[str, Found]:
    """Results with this part, by device; raises RecordError for a damaged file."""
    return {name: found for name, found in read_benchmarks(folder).items() if PART in found}


def rows_of(found: Found, part: str) -> pd.DataFrame:
    """One part as a frame; empty where it was not measured."""
    return pd.DataFrame(found[PART].get(part, []))


def measured(found: Found, part: str, **chosen: Any) -> pd.DataFrame:
    """Those rows of a part whose columns have the chosen values."""
    rows = rows_of(found, part)
    for column, value in chosen.items():
        rows = rows[rows[column] == value] if column in rows else rows[:0]
    return rows


# -- latency -------------------------------------------------------------------------------------
def ratio_figure(found: Found, way: str, size: str) -> Exhibit | None:
    """Time against dense over sparsity (CSR) or over the share removed; None where not measured."""
    rows = measured(found, "latency", way=way, size=size)
    if rows.empty:
        return None
    models = in_order(rows["model"])
    looks = dict(zip(sorted(rows["batch"].unique()), BATCH_LOOKS, strict=False))
    with paper_style():
        height = PANEL_HEIGHT * len(models) + 1.5
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)
        panels = figure.subplots(len(models), sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, model in zip(panels, models, strict=True):
            for batch, look in looks.items():
                own = rows[(rows["model"] == model) & (rows["batch"] == batch)]
                _draw_ratio(axes, own, look._replace(name=f"batch of {batch}"))
            axes.axhline(1, color=BLACK, linewidth=1.3, linestyle="--", label="dense")
            for batch, look in looks.items():
                _mark_break_even(axes, found, size, model, batch, look if way == "csr" else None)
            axes.set(title=model_name(model), ylabel="time / dense")
        _ratio_axis(panels[0])
        panels[-1].set_xlabel(SPARSITY_AXIS if way == "csr" else "heads and neurons removed, %")
        finish_axes(figure, panels[0])
    diamonds = " A large hollow diamond marks a break-even." if way == "csr" else ""
    what = "CSR" if way == "csr" else "A model without some of its heads and neurons"
    caption = (
        f"{what} against the dense model, {SIZES[size]}: time of a forward pass of "
        f"{_tokens(rows)} as a ratio of minima over {counted(rows['repeats'], 'turn')}, on a "
        "logarithmic scale; thin bars: to the ratio of medians, which other programs on the "
        f"machine touch more. Below the dashed line it is faster.{diamonds} "
        f"{about(found, PART)}"
    )
    ends = rows.sort_values(["batch", "share"]).groupby(["model", "batch"], sort=False)
    said = "; ".join(
        f"{model_name(str(model))}, batch of {batch}: {own['ratio_of_minima'].iloc[0]:.2f} at "
        f"{sparsity_text(own['share'].iloc[0])} % to {own['ratio_of_minima'].iloc[-1]:.2f} at "
        f"{sparsity_text(own['share'].iloc[-1])} %"
        for (model, batch), own in ends
    )
    return Exhibit(caption, f"Line chart of time against dense. {said}.", rows, figure)


def _draw_ratio(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    rows = rows.sort_values("share")
    least, medians = (rows[f"ratio_of_{name}"].to_numpy() for name in ("minima", "medians"))
    axes.errorbar(
        100 * rows["share"],
        least,
        yerr=np.clip(np.stack([least - medians, medians - least]), 0, None),
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        linewidth=1.8,
        markersize=6,
        elinewidth=1.2,
        label=look.name,
    )


def _mark_break_even(
    axes: Axes, found: Found, size: str, model: str, batch: int, look: Look | None
) -> None:
    rows = measured(found, "break_even", size=size, model=model, batch=batch)
    if look is None or rows.empty or pd.isna(rows["sparsity"].iloc[0]):
        return
    axes.plot(
        [100 * rows["sparsity"].iloc[0]], [1], marker="D", markersize=11, markerfacecolor="none",
        markeredgecolor=look.colour, markeredgewidth=2, linestyle="",
    )  # fmt: skip


def _ratio_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low / 1.6 <= t <= high * 1.6]
    axes.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def latency_table(found: Found, size: str) -> Exhibit:
    """Every way that was timed at a size: minimum and median, and the ratio to dense."""
    rows = measured(found, "latency", size=size)
    texts = [
        {
            "model": model_name(row["model"]),
            "way": WAYS[row["way"]],
            "share, %": sparsity_text(row["share"]),
            "batch": f"{row['batch']}",
            "milliseconds (minimum, median)": f"{1e3 * row['min']:.3g}, {1e3 * row['median']:.3g}",
            "against dense, minima": f"{row['ratio_of_minima']:.2f}",
            "against dense, medians": f"{row['ratio_of_medians']:.2f} "
            f"({row['lowest_ratio']:.2f} to {row['highest_ratio']:.2f})",
        }
        for _, row in rows.iterrows()
    ]
    caption = (
        f"A forward pass of {_tokens(rows)}, {SIZES[size]}. Share: of prunable weights that are "
        "zero, or of the heads and neurons of each layer that were removed. Against dense: ratios "
        "of minima and of medians; in brackets the lowest and highest of all turns, of which each "
        "way had "
        f"{counted(rows['repeats'], 'turn').removesuffix(' turns')}. {about(found, PART)}"
    )
    return plain_table(pd.DataFrame(texts), caption, data=rows)


def _tokens(rows: pd.DataFrame) -> str:
    return f"{counted(rows['tokens'], 'place')} for words and regions an item"


@finished
def break_even_sentence(found: Found, size: str) -> str:
    """Where CSR begins to pay, batch by batch, or that it does not."""
    rows = rows_of(found, "break_even")
    rows = rows[rows["size"] == size] if len(rows) else rows
    if rows.empty:
        return f"CSR was not timed at {SIZES[size]} on this machine."
    parts = []
    for model, own in rows.groupby("model", sort=False):
        pays = own[own["sparsity"].notna()]
        at = [
            f"{sparsity_text(row['sparsity'])} % (batch of {row['batch']})"
            for _, row in pays.iterrows()
        ]
        if at:
            parts.append(f"{model_name(str(model))}: as fast as dense at {listed(at)}")
        for faster, own_part in own[own["sparsity"].isna()].groupby(
            own["ratio_at_last"] <= 1, sort=False
        ):
            batches = listed([str(batch) for batch in own_part["batch"]])
            least, most = own_part["ratio_at_last"].min(), own_part["ratio_at_last"].max()
            times = (
                f"{least:.2f}" if f"{least:.2f}" == f"{most:.2f}" else f"{least:.2f} to {most:.2f}"
            )
            verdict = "faster at every sparsity measured" if faster else "it pays at none"
            parts.append(
                f"{model_name(str(model))} at batches of {batches}: {verdict}; at "
                f"{sparsity_text(own_part['last'].iloc[0])} % it takes {times} times as long"
            )
    return (
        f"CSR at {SIZES[size]} on {_machine(found)}, one thread, interpolated between measured "
        f"sparsities: {'; '.join(parts)}."
    )


@finished
def zeros_sentence(found: Found) -> str:
    """What zeros alone buy."""
    ratios = measured(found, "latency", way="zeros")["ratio_of_minima"]
    share = measured(found, "latency", way="zeros")["share"].iloc[0]
    middle = ratios.median()
    verdict = "so zeros alone save no time" if middle > 1 - _NOISE else "so zeros alone save time"
    return (
        f"With {sparsity_text(share)} % of the prunable weights at zero and nothing else changed, "
        f"a forward pass takes {middle:.2f} times as long as the dense model's (median over sizes, "
        f"models and batches of ratios of minima, which lie between {ratios.min():.2f} and "
        f"{ratios.max():.2f}), {verdict} on {_machine(found)}."
    )


@finished
def structured_sentence(found: Found, size: str) -> str:
    """What removal buys at each share, at the largest batch."""
    rows = measured(found, "latency", way="structured", size=size)
    if rows.empty:
        return f"Structured removal was not timed at {SIZES[size]}."
    rows = rows[rows["batch"] == rows["batch"].max()]
    texts = []
    for share, own in rows.groupby("share"):
        low, high = own["ratio_of_minima"].min(), own["ratio_of_minima"].max()
        times = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        texts.append(f"{sparsity_text(float(str(share)))} % removed, {times}")
    return (
        f"What removal would buy at {SIZES[size]}, as a share of the dense model's time (ratio of "
        f"minima) at batches of {rows['batch'].iloc[0]} on {_machine(found)}: "
        f"{'; '.join(texts)}. The heads and "
        "neurons were chosen by their norm for this measurement; no ticket here has such a mask."
    )


@finished
def removal_sentence(found: Found) -> str:
    """What exact removal buys on recorded tickets, at the largest batch."""
    rows = measured(found, "latency", way="removed")
    if rows.empty:
        return "Removal of dead units was not timed on this machine."
    rows = rows[rows["batch"] == rows["batch"].max()]
    last = rows[rows["share"] == rows.groupby("model")["share"].transform("max")]
    texts = [
        f"{model_name(row['model'])} at {sparsity_text(row['share'])} %: "
        f"{row['ratio_of_minima']:.2f}"
        for _, row in last.iterrows()
    ]
    return (
        "Removing exactly what is dead of the sparsest recorded ticket of the first seed leaves, "
        "of the dense model's time (ratio of minima) at batches of "
        f"{rows['batch'].iloc[0]} on {_machine(found)}: {'; '.join(texts)}. Its answers are those "
        "of the masked model."
    )


@finished
def two_of_four_sentence(found: Found) -> str:
    """2:4 on a GPU, or why there is none."""
    rows = measured(found, "latency", way="2:4")
    if rows.empty:
        reason = found[PART].get("two_of_four")
        return (
            f"2:4 was not measured on {_machine(found)}: {reason or 'it needs an NVIDIA GPU'}. "
            "Its figures are missing here."
        )
    texts = [
        f"{model_name(row['model'])} at {SIZES[row['size']]}, batch of {row['batch']}: "
        f"{row['ratio_of_minima']:.2f}"
        for _, row in rows.iterrows()
    ]
    return (
        "2:4 in float16 against dense in float16, half of the weights of each linear map at zero "
        f"(ratio of least times on {_machine(found)}): {'; '.join(texts)}. Its masks are made for "
        "it: a ticket of any other mask does not fit."
    )


def _machine(found: Found) -> str:
    hardware = found["about"]["parts"][PART]["hardware"]
    return str(hardware["processor"] if hardware["device"] == "cpu" else hardware["device"])


# -- memory --------------------------------------------------------------------------------------
def memory_table(found: Found) -> Exhibit | None:
    """What each form holds in memory; None where it was not measured."""
    rows = rows_of(found, "memory")
    if rows.empty:
        return None
    dense = float(rows.loc[rows["way"] == "dense", "held_bytes"].iloc[0])
    texts = [
        {
            "way": WAYS[row["way"]],
            "share, %": sparsity_text(row["share"]),
            "memory held, MB": f"{row['held_bytes'] / 1e6:,.0f}",
            "against dense": f"{row['held_bytes'] / dense:.2f}",
            **(
                {"a pass of 64 items adds, MB": f"{row['pass_bytes'] / 1e6:,.0f}"}
                if "pass_bytes" in rows
                else {}
            ),
        }
        for _, row in rows.iterrows()
    ]
    how = (
        "on the GPU, by torch's allocator"
        if "pass_bytes" in rows
        else "in a process of its own, beyond what was there before, after a forward pass"
    )
    first = rows.iloc[0]
    caption = (
        f"Memory that {model_name(first['model'])} at {SIZES[first['size']]} holds {how}. Share: "
        "of prunable weights that are zero, or of heads and neurons that were removed. One "
        f"measurement each. {about(found, PART)}"
    )
    return plain_table(pd.DataFrame(texts), caption, data=rows)


# -- files ---------------------------------------------------------------------------------------
def files_figure(found: Found) -> Exhibit | None:
    """File size against sparsity in each form, for the large model; None where not measured."""
    rows = measured(found, "files", of="drawn")
    if rows.empty:
        return None
    rows = rows.sort_values("sparsity", ignore_index=True)
    with paper_style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", facecolor=PAPER)
        axes = figure.subplots()
        for name, look in FILE_LOOKS.items():
            axes.plot(
                100 * rows["sparsity"], rows[name] / 1e6, color=look.colour, marker=look.marker,
                linestyle=look.line, linewidth=1.8, markersize=6, label=look.name,
            )  # fmt: skip
        axes.set(xlabel=SPARSITY_AXIS, ylabel="file size, MB", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        finish_axes(figure, axes)
    caption = (
        "Bytes, on a logarithmic scale, of a whole model of "
        f"{rows['weights'].iloc[0]:,} weights on disk, {rows['prunable'].iloc[0]:,} of them "
        "prunable (drawn at random, pruned by magnitude). The coded file was written and "
        "measured; the other forms follow from it by what they hold in place of the coded mask. "
        f"{about(found, PART)}"
    )
    said = "; ".join(
        f"{look.name} {rows[name].iloc[0] / 1e6:,.3g} to {rows[name].iloc[-1] / 1e6:,.3g} MB"
        for name, look in FILE_LOOKS.items()
    )
    return Exhibit(caption, f"Line chart of file size against sparsity: {said}.", rows, figure)


def files_table(found: Found, of: str) -> Exhibit | None:
    """File sizes and the mask's code against its entropy, each level's mean over its seeds."""
    rows = measured(found, "files", of=of)
    if rows.empty:
        return None
    by = [name for name in ("model", "task", "level") if name in rows and rows[name].notna().all()]
    if "level" not in by:
        by.append("sparsity")
    excess = rows["code"] / rows["entropy"].where(rows["entropy"] > 0) - 1
    data = rows.assign(excess=excess).groupby(by, sort=False)
    unit, per = ("MB", 1e6) if rows["dense"].max() > 1e7 else ("kB", 1e3)
    texts = []
    for _, own in data:
        first, most = own.iloc[0], own["excess"].max()
        texts.append(
            {
                "model": model_name(first["model"]),
                **({"task": str(first["task"])} if "task" in by else {}),
                "sparsity, %": sparsity_text(own["sparsity"].mean()),
                **{
                    f"{FILE_LOOKS[name].name}, {unit}": f"{own[name].mean() / per:,.1f}"
                    for name in FILE_LOOKS
                },
                f"mask alone, {unit}": f"{own['code'].mean() / per:,.2f}",
                "beyond the entropy, %": "no mask" if pd.isna(most) else f"{100 * most:.2f}",
            }
        )
    seeds = (
        ""
        if of != "recorded"
        else (
            f" Means over {counted(data['run'].nunique(), 'seed')}; of the last column the highest."
        )
    )
    caption = (
        f"{_FILES_OF[of]}.{seeds} Beyond the entropy: how much longer the coded mask is, headers "
        f"included, than the sum over tensors of n H(share kept). {about(found, PART)}"
    )
    return plain_table(pd.DataFrame(texts), caption, data=rows)


_FILES_OF = {
    "drawn": "A base-size model, drawn at random and pruned by magnitude: bytes on disk",
    "starts": "The tiny pre-trained starts, pruned by magnitude: bytes on disk",
    "recorded": "Tickets of the records that come with the repository, with as many values as "
    "survive: bytes on disk",
}


@finished
def coding_sentence(found: Found) -> str:
    """How near the code comes to the bound, and whether the aim is met."""
    rows = rows_of(found, "files")
    rows = rows[rows["entropy"] > 0] if len(rows) else rows
    if rows.empty:
        return "File sizes were not measured on this machine."
    excess = rows["code"] / rows["entropy"] - 1
    texts = []
    for of, name in (
        ("drawn", "a model of base size"),
        ("recorded", "recorded tickets of tiny models"),
        ("starts", "tiny starts, up to the highest sparsity"),
    ):
        own = excess.where(rows["of"] == of)
        if own.notna().any():
            met = "within" if own.max() <= _AIM else "beyond"
            worst = rows["sparsity"].to_numpy()[int(own.argmax())]
            texts.append(
                f"for {name} at most {100 * own.max():.1f} % longer "
                f"(at {sparsity_text(worst)} %, {met} the aim of {100 * _AIM:.0f} %)"
            )
    return (
        "A coded mask, with all its headers, is never shorter than its entropy tensor by tensor, "
        f"and is {'; '.join(texts)}."
    )


# -- dead heads and neurons ----------------------------------------------------------------------
def dead_table(found: Found) -> Exhibit | None:
    """Heads and neurons that tickets leave dead, beside what random masks would."""
    rows = rows_of(found, "dead")
    if rows.empty:
        return None
    rows = rows[rows["sparsity"] > 0]
    texts = []
    keys = ["of", "model", "task", "branch", "level", "sparsity_shown"]
    shown = rows.assign(
        branch=rows["branch"].fillna("main"),
        level=rows["level"].fillna(-1),
        task=rows["task"].fillna("none"),
        sparsity_shown=rows["sparsity"].map(sparsity_text),
    )
    for (of, model, task, branch, _, sparsity), own in shown.groupby(keys, sort=False):
        text = {
            "ticket": _TICKETS[str(of)] if branch == "main" else str(branch),
            "model": model_name(str(model)),
            "task": str(task),
            "sparsity, %": str(sparsity),
        }
        for kind, name in KINDS.items():
            each = own[own["kind"] == kind]
            text[f"dead {name}"] = f"{each['dead'].mean():.4g} of {each['total'].iloc[0]:,}"
            text[f"{name} expected by chance"] = _few(each["expected"].mean())
        texts.append(text)
    recorded = rows[rows["of"] == "recorded"]
    seeds = counted(recorded.groupby(["model", "task"])["run"].nunique(), "seed")
    caption = (
        f"Heads and neurons of tickets that nothing reads or that always say the same. Recorded: "
        f"means over {seeds} of the records that come with the repository; pruned start: the "
        "pre-trained start, pruned by magnitude at once; base size: weights drawn at random, "
        "pruned by magnitude (one each). Expected by chance: the mean under random masks with as "
        f"many zeros in each tensor. {about(found, PART)}"
    )
    return plain_table(pd.DataFrame(texts), caption, data=rows)


_TICKETS = {"recorded": "recorded", "starts": "pruned start", "drawn": "base size, drawn"}


@finished
def dead_sentence(found: Found) -> str:
    """How many units the recorded tickets leave dead at their sparsest level."""
    rows = measured(found, "dead", of="recorded", branch="main")
    if rows.empty:
        return "Dead heads and neurons were not counted on this machine."
    last = rows[rows["level"] == rows.groupby("run")["level"].transform("max")]
    texts = []
    for kind, name in KINDS.items():
        own = last[last["kind"] == kind]
        texts.append(
            f"{own['dead'].sum():.0f} of {own['total'].sum():,} {name} "
            f"(by chance {_few(own['expected'].sum())})"
        )
    low, high = last["sparsity"].min(), last["sparsity"].max()
    span = sparsity_text(low)
    if sparsity_text(high) != span:
        span = f"{span} to {sparsity_text(high)}"
    return (
        f"At the sparsest level of the {last['run'].nunique()} recorded runs ({span} % of prunable "
        f"weights zero) {listed(texts)} are dead: that is all that exact removal could take out."
    )


def _few(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 else f"{count:.2g}"


def base_and_tiny(found: Found) -> Sequence[str]:
    """The sizes that were timed, the larger first."""
    there = set(rows_of(found, "latency")["size"])
    return [size for size in SIZES if size in there]


def first_with(results: Mapping[str, Found], part: str) -> Found | None:
    """The first device's results that have a part; those of the CPU before others."""
    for found in results.values():
        if found[PART].get(part):
            return found
    return None
