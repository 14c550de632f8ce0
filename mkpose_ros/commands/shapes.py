"""`mkpose shapes`: a picture of the shapes that scenes are made of."""

from __future__ import annotations

from pathlib import Path

import click
import cv2
from rich.console import Console

from mkpose_ros.commands.options import common_options, write_json

__all__ = ["shapes"]


@click.command()
@click.argument("picture", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="train", help="Whose shapes.")
@click.option("--variants", is_flag=True, help="The unusual kinds that the training split has besides.")
@click.option("--count", type=click.IntRange(min=1), default=10, help="Shapes of each category.")
@click.option("--categories", default=None, metavar="A,B", help="Only these (default: all, and distractors).")
@click.option(
    "--meshes",
    "folders",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="A folder of `mkpose meshes` with shapes of this split (default: the shipped ones for test).",
)
@click.option("--tile", "tile_px", type=click.IntRange(min=32), default=120, help="Size of a shape's square (px).")
@common_options
def shapes(
    picture: Path,
    split: str,
    variants: bool,
    count: int,
    categories: str | None,
    folders: tuple[Path, ...],
    tile_px: int,
    json_file: str | None,
    seed: int,
) -> None:
    """Draw shapes, a row for each category, into PICTURE: real meshes first, then generated ones."""
    from mkpose_ros.synthesis.library import DISTRACTOR, ShapeLibrary
    from mkpose_ros.synthesis.portraits import draw_shapes, rows_of

    if not cv2.haveImageWriter(str(picture)):
        raise click.UsageError(f"{picture}: no such kind of picture, expected a name that ends in .png or .jpg")
    wanted = tuple(c.strip() for c in categories.split(",")) if categories else None
    library = ShapeLibrary(split, seed, categories=wanted, folders=folders or None)
    rows = rows_of(library, wanted or (*library.categories, DISTRACTOR), count, variants)
    if not rows:
        raise click.UsageError(f"--variants: the split {split} has none of these categories")
    picture.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(picture), draw_shapes(rows, tile_px)[..., ::-1])
    Console(stderr=True).print(f"{picture}: {sum(map(len, rows.values()))} shapes of {len(rows)} categories")
    write_json({"shapes": {name: [shape.name for shape in row] for name, row in rows.items()}}, json_file)
