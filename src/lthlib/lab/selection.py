"""The lowest of many scores, exactly: which weights pruning drops.

A radix selection on the bits of float32: a histogram of the upper 16 bits of all kept scores finds
the bucket that holds the threshold, and a second one, of the lower 16 bits in that bucket, the
threshold itself. It reads the scores twice, copies no more than one tensor of them at a time, and
gives on every device what a full stable sort would give.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BUCKETS = 1 << 16
HALF = 1 << 15


def keep_largest(scores: Sequence[Tensor], masks: Sequence[Tensor], drop: int) -> list[Tensor]:
    """The masks less the `drop` lowest of the scores that they keep; a new mask for each.

    scores: float32, flat; masks: bool, flat, of the same sizes and on the same devices. No kept
    score is NaN, and `drop` is at most the number of kept ones. Equal scores go in the order of
    their position: the first tensor first, the lowest index first; -0.0 equals 0.0.
    """
    if drop == 0:
        return [mask.clone() for mask in masks]
    threshold, ties = _threshold(scores, masks, drop)
    result = []
    for score, mask in zip(scores, masks, strict=True):
        key = _keys(score)
        kept = mask & (key > threshold)
        equal = mask & (key == threshold)
        found = int(equal.count_nonzero())
        if found > ties:
            # The cut falls inside this tensor: what equals the threshold after it stays.
            equal[: int(equal.nonzero()[ties - 1]) + 1 if ties else 0] = False
            kept |= equal
        ties -= min(ties, found)
        result.append(kept)
    return result


def _threshold(scores: Sequence[Tensor], masks: Sequence[Tensor], drop: int) -> tuple[int, int]:
    """The key of the `drop`-th lowest kept score, and how many that equal it have to go."""
    upper = sum(_counts(_kept_keys(s, m) >> 16) for s, m in zip(scores, masks, strict=True))
    bucket, before = _place(upper, drop)

    def below(score: Tensor, mask: Tensor) -> Tensor:
        keys = _kept_keys(score, mask)
        inside = keys[(keys >> 16) == bucket - HALF]
        return _counts((inside & 0xFFFF) - HALF)

    lower = sum(below(s, m) for s, m in zip(scores, masks, strict=True))
    low, less = _place(lower, drop - before)
    return (bucket - HALF) * BUCKETS + low, drop - before - less


def _place(counts: Tensor | int, wanted: int) -> tuple[int, int]:
    """The bucket that holds the `wanted`-th, counted from 1, and how many lie in those before."""
    assert isinstance(counts, Tensor)
    upto = counts.cpu().cumsum(0)
    bucket = int(torch.searchsorted(upto, wanted))
    return bucket, int(upto[bucket] - counts[bucket])


def _counts(values: Tensor) -> Tensor:
    """How often each of -32768 to 32767 occurs: int64 [65536]."""
    return torch.bincount(values + HALF, minlength=BUCKETS)


def _kept_keys(score: Tensor, mask: Tensor) -> Tensor:
    return _keys(score[mask])


def _keys(score: Tensor) -> Tensor:
    """Whole numbers in the order of the scores: int32, the same order as float32's."""
    # Adding zero makes -0.0 equal to 0.0; of negative floats a larger pattern is a smaller number.
    bits = (score + 0.0).view(torch.int32)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
