"""Options that every subcommand shares, and the JSON they write (docs/cli.md is the contract)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["common_options", "write_json"]


def common_options(function: Callable) -> Callable:
    """Adds --json FILE and --seed N; the command receives `json_file` and `seed`."""
    function = click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")(
        function
    )
    return click.option(
        "--json", "json_file", metavar="FILE", default=None, help="Write the result as JSON; - is standard output."
    )(function)


def write_json(result: Any, json_file: str | None) -> None:
    """Write a JSON-able result to a file, to standard output ("-"), or nowhere (None)."""
    if json_file is None:
        return
    text = json.dumps(result, indent=2) + "\n"
    if json_file == "-":
        click.echo(text, nl=False)
    else:
        path = Path(json_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
