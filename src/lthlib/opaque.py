"""Images without transparency: what is see-through is laid on white, as on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def on_white(image: Image.Image) -> Image.Image:
    """An image in RGB. (Plain conversion would show whatever colour lies hidden, mostly black.)"""
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    whole = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
