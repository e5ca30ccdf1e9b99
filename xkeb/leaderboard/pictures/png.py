"""A picture as PNG, without a browser."""

from __future__ import annotations

from xkeb.errors import RequestError, optional_import


def as_png(svg: str, scale: float) -> bytes:
    """Args:
        svg: as `Drawing.printed` makes it.
        scale: pixels to a unit of the picture.

    Raises:
        RequestError: what draws it isn't installed.
    """
    try:
        cairosvg = optional_import("cairosvg", "plot", "A picture as PNG")
    except OSError as error:  # the library that it calls isn't there
        raise RequestError(
            "A picture as PNG needs the library cairo, which the system lacks (Debian: libcairo2)."
        ) from error
    content: bytes = cairosvg.svg2png(bytestring=svg.encode(), scale=scale)
    return content
