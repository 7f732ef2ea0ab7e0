"""Tables of what can be asked: every parameter of a study, the presets, the ladders."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import pandas as pd

from lthlib.reference import PARTS
from lthlib.report.exhibits import Exhibit, sparsity_text
from lthlib.report.plain import plain_table
from lthlib.study import (
    PRESETS,
    PUBLISHED_AMOUNTS,
    PUBLISHED_ROUNDS,
    Study,
    cumulative,
    plan,
    reference,
)


def parameters() -> Exhibit:
    """Every field of Study: what it may be, what it is unless said otherwise, what it means."""
    rows = [
        {
            "parameter": name,
            "may be": _choices(field.annotation),
            "default": _text(field.default),
            "meaning": str(field.description),
        }
        for name, field in Study.model_fields.items()
    ]
    return plain_table(pd.DataFrame(rows), "Every parameter of a study, from its own definition.")


def presets() -> Exhibit:
    """What each preset runs."""
    rows = []
    for name, preset in PRESETS.items():
        studies = plan(name)
        runs = sum(len(study.seeds) for study in studies)
        trainings = sum(len(study.seeds) * study.trainings() for study in studies)
        shared = ", ".join(f"{key} {_text(value)}" for key, value in preset.shared.items())
        rows.append(
            {
                "preset": name,
                "meant for": preset.about,
                "settings": shared,
                "studies": len(studies),
                "runs": runs,
                "trainings": trainings,
            }
        )
    return plain_table(
        pd.DataFrame(rows),
        "The presets. A run is one study at one seed; each of its levels trains.",
    )


def parts() -> Exhibit:
    """What each part of the reference study asks, and how much it trains."""
    rows = []
    for name, part in PARTS.items():
        studies = reference(name)
        rows.append(
            {
                "part": name,
                "asks": part.about,
                "studies": len(studies),
                "seeds": len(studies[0].seeds),
                "trainings": sum(len(study.seeds) * study.trainings() for study in studies),
            }
        )
    return plain_table(
        pd.DataFrame(rows),
        "The parts of the reference study, which is the preset `full`. A study that stands in two "
        "parts is run once.",
    )


def ladders() -> Exhibit:
    """Sparsity of each level of the named ladders, with the amounts of the main source."""
    rows = [
        {"ladder": "imp", "level": r.level, "pruned each round": "20 % of the rest, once",
         "sparsity, %": sparsity_text(r.sparsity)}
        for r in Study.build().rungs()[1:]
    ]  # fmt: skip
    for name, amounts in PUBLISHED_AMOUNTS.items():
        rows += [
            {
                "ladder": name,
                "level": level,
                "pruned each round": f"{100 * amount:g} % of the rest, {PUBLISHED_ROUNDS} times",
                "sparsity, %": sparsity_text(cumulative(amount)),
            }
            for level, amount in enumerate(amounts, start=1)
        ]
    return plain_table(
        pd.DataFrame(rows),
        "The named ladders; level 0 is dense everywhere. The imp ladder goes on as far as the "
        "parameter `levels` says.",
    )


def _choices(annotation: Any) -> str:
    """A type in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of: {_choices(get_args(annotation)[0])}"
    if hasattr(annotation, "__metadata__"):
        return _choices(annotation.__origin__)
    if get_args(annotation):
        return ", or ".join(_choices(part) for part in get_args(annotation))
    names = {bool: "true, false", int: "whole number", float: "number", type(None): "null"}
    return names.get(annotation, str(annotation))


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_text(part) for part in value)}]"
    return str(value)
