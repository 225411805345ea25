"""Activations of each clip of many videos, a file a video: written whole, not computed twice."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.files import fitting, sha256, whole_file
from r21d_lib.prediction.prediction import Prediction
from r21d_lib.prediction.recognizer import Recognizer

Format = Literal["safetensors", "parquet"]
METADATA_KEY = "r21d"


def extract(
    recognizer: Recognizer,
    found: Mapping[str, Path],
    folder: str | Path,
    names: Sequence[str],
    *,
    form: Format = "safetensors",
    num_clips: int = 10,
    every: float | None = None,
    force: bool = False,
    progress: bool = True,
) -> Iterator[tuple[Path, str | None]]:
    """Write <folder>/<video's name>.<form> for each video that has no such file of this request
    and of the recogniser's classes.

    A .safetensors file holds a (clips, ...) float32 tensor an activation, `starts`, (clips,) int64, the
    first frame of each clip at the rate of the clips, and `seconds`, (clips,) float64, its time. A
    .parquet file has a row a clip with the columns video, start [frame], seconds and one list of
    float32 an activation, flattened. The metadata under "r21d" say in JSON how they were made, and
    the activations' shapes.

    Args:
        recognizer: whose activations they are.
        found: a video's name to its path, from `inputs.find`.
        folder: where the files go.
        names: of activations, see `Recognizer.activations`.
        form: "safetensors" or "parquet".
        num_clips, every: where clips are, see `Recognizer.predict`.
        force: replaces also files that nobody wrote here.
        progress: shows a bar when it takes more than two seconds.

    Yields:
        The file, and "written", "there" (of an earlier run), or the error's line, of each video.

    Raises:
        SettingsError: if a name or the form does not exist.
    """
    if form not in ("safetensors", "parquet"):
        raise SettingsError(f"features are not written as {form!r}: choose safetensors or parquet")
    recognizer.check_names(names)
    request = {
        "checkpoint": sha256(recognizer.source),
        "clips": json.loads(json.dumps(recognizer.clips.to_dict())),  # lists, as in the file's note
        "names": list(names),
        "num_clips": num_clips,
        "every": every,
    }
    for name, path in tqdm(found.items(), "features", unit="video", disable=not progress, delay=2):
        target = Path(folder) / fitting(name, f".{form}")
        try:
            if path.is_file():
                status = path.stat()
                request["video"] = [str(path.resolve()), status.st_size, status.st_mtime_ns]
                note = _note(target, form)
                if (note.get("request"), note.get("classes")) == (request, list(recognizer.classes)):
                    yield target, "there"
                    continue
            if target.exists() and not force and not _note(target, form):
                raise SettingsError(
                    f"{target} is there and holds no features: choose another folder, or give --force"
                )
            said = recognizer.predict(
                path, num_clips=num_clips, every=every, features=names, progress=progress
            )
            note = {
                "request": request,
                "classes": list(said.classes),
                "fps": said.fps,
                "frames": said.num_frames,
                "span": said.span,
                "shapes": {key: list(value.shape[1:]) for key, value in said.features.items()},
            }
            with whole_file(target) as partial:
                _write(partial, form, name, said, json.dumps(note))
        except R21DError as error:
            yield path, str(error)
        else:
            yield target, "written"


def _write(
    path: Path,
    form: Format,
    name: str,
    said: Prediction,
    note: str,
) -> None:
    starts, features = said.starts, said.features
    seconds = said.seconds(starts)
    if form == "safetensors":
        import safetensors.numpy

        tensors = {"starts": starts, "seconds": seconds, **features}
        safetensors.numpy.save_file(tensors, path, metadata={METADATA_KEY: note})
        return
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, Any] = {"video": [name] * len(starts), "start": starts, "seconds": seconds}
    for key, value in features.items():
        columns[key] = list(value.reshape(len(value), -1))
    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table.replace_schema_metadata({METADATA_KEY: note}), path)


def _note(path: Path, form: Format) -> dict[str, Any]:
    """Return what a file says of itself; nothing where it is missing, damaged or somebody else's."""
    if not path.is_file():
        return {}
    try:
        if form == "safetensors":
            import safetensors

            with safetensors.safe_open(path, framework="np") as file:
                text = file.metadata()[METADATA_KEY]
        else:
            import pyarrow.parquet

            text = pyarrow.parquet.read_schema(path).metadata[METADATA_KEY.encode()]
        note = json.loads(text)
    except Exception:  # whatever is wrong with the file, it is written anew
        return {}
    return note if isinstance(note, dict) else {}
