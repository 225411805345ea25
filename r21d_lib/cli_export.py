"""The commands of `r21d` that take a network elsewhere: export (ONNX, torch.export) and site."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

CHECKPOINT_HELP = "figures (the shipped one), a weight file, or a name that `r21d weights` lists."


@app.command(
    epilog="**Examples:** `r21d export figures --to net.onnx` · `r21d export figures --to net.pt2` · "
    "`r21d export build/runs/RUN/best.safetensors --to mine.onnx`"
)
def export(
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    to: Annotated[Path, typer.Option(help="The file: .onnx, or .pt2 for torch.export's program.")],
) -> None:
    """Write a network for another runtime; the file is kept only if it agrees with torch to 1e-4."""
    from r21d_lib.export import export

    typer.echo(export(checkpoint, to))
