"""The command `r21d live`: a camera of this machine, a stream or a file, recognised as it goes."""

from pathlib import Path
from typing import Annotated

import typer

from r21d_lib.cli import Panel, outputs, say, say_what_it_knows
from r21d_lib.errors import SettingsError

app = typer.Typer()


@app.command(
    rich_help_panel=Panel.predict,
    epilog="**Examples:** `r21d live` · `r21d live --camera 1 --seconds 60 --output me.mp4` · "
    "`r21d live rtsp://192.168.0.10/stream` · `r21d live clip.avi --fast --output clip_live.mp4`",
)
def live(
    source: Annotated[
        str | None, typer.Argument(help="A video file or an address (rtsp, http); else the camera.")
    ] = None,
    camera: Annotated[int | None, typer.Option(help="Number of the camera; 0 if not given.")] = None,
    checkpoint: Annotated[
        str, typer.Option(help="figures (shipped), or whatever `r21d evaluate` takes.")
    ] = "figures",
    output: Annotated[
        Path | None,
        typer.Option(help="Write a video with the answers; live.mp4 where there is no display."),
    ] = None,
    window: Annotated[
        bool | None, typer.Option(help="Open a window; where there is a display, if not given.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many.", min=0)] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="A file: every frame, as fast as it goes, not in its time.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; a GPU if there is one.")] = None,
    force: outputs.Force = False,
) -> None:
    """Show what the network sees now, until Ctrl-C: in a window, or in a video where there is none.

    The newest frames win: what comes faster than it can be shown is dropped and counted.
    """
    if source is not None and camera is not None:
        raise SettingsError(f"{source} and --camera {camera} are two sources: give one of them")
    from r21d_lib.live import sources
    from r21d_lib.live import window as live_view
    from r21d_lib.prediction.recognizer import Recognizer

    opened = sources.open_camera(camera or 0) if source is None else sources.open_source(source)
    if window is None:
        window = not fast and live_view.can_open_a_window()
    if output is None and not window:
        output = Path("live.mp4")
    if output is not None:
        outputs.check(output, inputs=[Path(source or "")], force=force)
    recognizer = Recognizer(checkpoint, device=device)
    say_what_it_knows(recognizer)
    watched = live_view.show(
        opened,
        recognizer,
        output=output,
        window=window,
        seconds=seconds,
        fast=fast,
        say=say,
    )
    say(str(watched))
    if output is not None:
        say(f"wrote {output}")
