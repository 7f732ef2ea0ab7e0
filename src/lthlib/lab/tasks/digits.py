"""`digits`: is the caption true of the scene? VSR's form on handwritten digits.

Items come in pairs: one caption, a scene of which it is clearly true, and one of which it is
clearly false, with the same digits drawn from other images. So every rule that reads the text
alone is right on exactly half the items of each split; and since relations come in opposite
pairs, equally often, scenes of true and of false captions look alike.
"""

from __future__ import annotations

import numpy as np

from lthlib.lab.tasks import relations as rel
from lthlib.lab.tasks import scenes as sc
from lthlib.lab.tasks.items import Items, Recipe
from lthlib.lab.tasks.scenes import Part

_STREAM = {"train": 11, "validation": 12, "test": 13}


def make(part: Part, count: int, seed: int) -> Items:
    """`count` items (an even number) of one part; the same for the same arguments."""
    random = sc.generator(seed, _STREAM[part])
    pairs = count // 2
    relation = random.permutation(np.arange(pairs) % len(rel.RELATIONS))
    digits = rel.draw_digits(random, pairs)
    order = random.permutation(count)  # so that the halves of a pair are not neighbours
    pair, label = order % pairs, order // pairs
    relation, digits = relation[pair], digits[pair]
    scenes = rel.draw(random, digits, relation, label == 1, part)
    subject, other = digits[:, 0], digits[:, 1]
    named = [rel.RELATIONS[r] for r in relation]
    return Items(
        text=np.array([rel.sentence(*w) for w in zip(subject, relation, other, strict=True)]),
        labels=label[:, None],
        scenes=scenes,
        regions=sc.detect(scenes, int(random.integers(2**63))),
        facts={
            "relation": np.array([r.name for r in named]),
            "meta_category": np.array([r.meta_category for r in named]),
            "subject": np.array(rel.NOUNS)[subject],
            "object": np.array(rel.NOUNS)[other],
            "pair": pair,
        },
    )


RECIPE = Recipe(
    name="digits",
    version=2,
    kind="single",
    decisions=("label",),
    classes=("False", "True"),
    width=12,
    counts={"train": 8000, "validation": 800, "test": 1600},
    step=2,
    make=make,
)
