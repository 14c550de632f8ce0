"""`mkpose meshes`: convert folders or packages of meshes into canonical, metric shapes."""

from __future__ import annotations

from pathlib import Path

import click

from mkpose_ros.commands.options import common_options, write_json

__all__ = ["meshes"]

_PACKAGES = ("sweethome3d", "robosuite", "metaworld", "pybullet")


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--kind", type=click.Choice(["folder", *_PACKAGES]), default="folder", help="What SOURCE is.")
@click.option("--catalogue", type=click.Path(exists=True, path_type=Path), help="YAML of models, for --kind folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the shapes and index.json go.")
@common_options
def meshes(source: Path, kind: str, catalogue: Path | None, out: Path, json_file: str | None, seed: int) -> None:
    """Convert the meshes of SOURCE (a folder, a wheel, a .deb) into shapes that scenes can use."""
    from mkpose_ros.synthesis import meshes as conversion

    if kind == "folder":
        if catalogue is None:
            raise click.UsageError("--kind folder needs --catalogue, the YAML that says which file is what")
        records = conversion.convert_folder(source, catalogue, out)
    else:
        records = getattr(conversion, f"convert_{kind}")(source, out)
    click.echo(f"{len(records)} models in {out}")
    write_json({"models": [record.name for record in records]}, json_file)
