"""A gallery as the page shows it: each picture drawn once for every row, with its numbers as a table."""

from __future__ import annotations

from assignbench.report.drawn import DrawnGallery, DrawnPanel, DrawnPicture
from assignbench.report.figure import Field
from assignbench.report.gallery import Gallery, Panel, Picture
from assignbench.report.picture_svg import legend_svg, picture_svg, shared_image

COLUMNS = (
    "strategy",
    "seed",
    "moves AP by, points",
    "objects found at any score",
    "of",
    "wrong detections shown",
    "objects that nothing teaches",
)
MOST_ROWS = 8  # of a picture that are drawn; of more, those that differ most and the next ones


def drawn(gallery: Gallery, name: str) -> DrawnGallery:
    """Draw the pictures of a data set.

    Args:
        gallery: what there is to draw.
        name: begins the ids of its images in the page.
    """
    pictures = tuple(_picture(each, f"{name}-{place}") for place, each in enumerate(gallery.pictures))
    many = len(gallery.rows)
    more = (f"of {many} strategies {MOST_ROWS} are drawn, the others stand in the tables",) if many > MOST_ROWS else ()
    return DrawnGallery(gallery.dataset, legend_svg(), (*gallery.notes, *more), pictures)


def _picture(picture: Picture, name: str) -> DrawnPicture:
    contrast = picture.contrast
    better, worse = (contrast.a, contrast.b) if contrast.points > 0 else (contrast.b, contrast.a)
    place = {better: 0, worse: 1}
    panels = sorted(picture.panels, key=lambda panel: place.get(panel.row, 2))
    return DrawnPicture(
        picture.name,
        f"picture {picture.id}, {picture.width} × {picture.height}",
        better,
        worse,
        abs(contrast.points),
        picture.width,
        picture.height,
        name,
        shared_image(picture, name) if picture.jpeg is not None else "",
        COLUMNS,
        tuple(_numbers(picture, panel) for panel in panels),
        tuple(
            DrawnPanel(panel.row, picture_svg(picture, panel, name), "; ".join((*_shown(panel), *panel.remarks)))
            for panel in panels[:MOST_ROWS]
        ),
    )


def _shown(panel: Panel) -> tuple[str, ...]:
    """From which score on detections are drawn."""
    found = panel.detected
    if found is None:
        return ()
    left = found.low + found.more
    return (f"detections are drawn from a score of {found.least:.2f} on, {left} are left out",)


def _numbers(picture: Picture, panel: Panel) -> tuple[Field, ...]:
    found, where = panel.detected, panel.locations
    return (
        panel.row,
        panel.seed,
        panel.influence,
        None if found is None else found.found,
        picture.required,
        None if found is None else found.wrong,
        None if where is None else where.untaught,
    )
