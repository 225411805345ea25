"""The commands of `r21d` that publish: pictures, a network for another runtime, and the site."""

from pathlib import Path
from typing import Annotated

import typer

from r21d_lib.cli import Panel
from r21d_lib.files import BUILD

app = typer.Typer()

CHECKPOINT_HELP = "figures (the shipped one), a weight file, or a name that `r21d weights` lists."


@app.command(rich_help_panel=Panel.publish, epilog="**Example:** `r21d draw` writes figures/")
def draw(
    to: Annotated[
        Path | None, typer.Option(help="Folder of the pictures; figures/ where not given.")
    ] = None,
) -> None:
    """Draw the pictures that need no training: kernels, networks, map, race, overlay, sheets."""
    from r21d_lib.data import action_figures
    from r21d_lib.suite import pictures, repository

    to = to or repository.FIGURES
    written = [
        *pictures.write_figures(to),
        pictures.write_overlay(to),
        *action_figures.write_contact_sheets(to),
    ]
    typer.echo("\n".join(f"wrote {path}" for path in written))


@app.command(
    rich_help_panel=Panel.publish,
    epilog="**Examples:** `r21d export figures --to net.onnx` · `r21d export figures --to net.pt2` · "
    "`r21d export build/runs/RUN/best.safetensors --to mine.onnx`",
)
def export(
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    to: Annotated[Path, typer.Option(help="The file: .onnx, or .pt2 for torch.export's program.")],
) -> None:
    """Write a network for another runtime; the file is kept only if it agrees with torch to 1e-4."""
    from r21d_lib.publish.export import export

    typer.echo(export(checkpoint, to))


@app.command(
    rich_help_panel=Panel.publish,
    epilog="**Examples:** `r21d site` · `python3 -m http.server -d build/site` · "
    "`r21d site --to public --checkpoint mine.safetensors`",
)
def site(
    to: Annotated[Path, typer.Option(help="The folder to build.")] = BUILD / "site",
    checkpoint: Annotated[str, typer.Option(help=f"The live page's network: {CHECKPOINT_HELP}")] = (
        "figures"
    ),
    vendor: Annotated[
        Path | None, typer.Option(help="A node_modules folder to copy from, where npm cannot fetch.")
    ] = None,
    allow_drift: Annotated[
        bool,
        typer.Option("--allow-drift", help="Take copies whose numbers drifted, too, and mark them."),
    ] = False,
) -> None:
    """Build the static site: notebooks as pages that work offline, and the network in the browser."""
    from r21d_lib.publish.site import build

    pages = build(to, checkpoint=checkpoint, vendor=vendor, allow_drift=allow_drift)
    executed = sum(page.executed for page in pages)
    typer.echo(f"{to}: {len(pages)} notebooks, {executed} of them with widgets, and live.html")
    if executed < len(pages):
        typer.echo("widgets come with the copies that `r21d reproduce` leaves in build/executed")
