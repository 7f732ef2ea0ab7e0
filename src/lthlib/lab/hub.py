"""Files of a model hub, fetched once: weights and vocabularies of published models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lthlib.errors import WeightsError, in_one_line

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What a repository may hold its weights as, the safest first."""


def fetch(repository: str, names: Sequence[str], place: Path) -> Path:
    """The first of these files that a repository of the hub has; kept in the hub's own cache.

    repository: owner/name; place: where the file would also be found, for the error.
    Raises WeightsError where it cannot be fetched, and says where to put it by hand.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    reason = f"it has no {' or '.join(names)}"
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except LocalEntryNotFoundError as error:
            reason = in_one_line(error.__cause__ or error)
            break
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError, ValueError) as error:
            reason = in_one_line(error)
            break
    raise WeightsError(
        f"{repository} cannot be fetched from the hub ({reason[:150]}); get {names[0]} elsewhere "
        f"and put it at {place}"
    )


def checkpoint_file(name: str, folder: Path) -> Path:
    """Where a checkpoint lies: a file in the data folder's `checkpoints`, else one of the hub.

    name: a file's name, or owner/name of a repository. Raises WeightsError where there is neither.
    """
    place = folder / "checkpoints" / name
    if place.is_file():
        return place
    if name.count("/") != 1 or name.startswith(".") or ".." in name:
        raise WeightsError(f"there is no checkpoint {place}: put it there, or name owner/name")
    return fetch(name, WEIGHTS, place)
