"""The files that answers about many videos go to: JSON, CSV, Parquet, whole at every moment."""

import csv
import json
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from r21d_lib.errors import escaped
from r21d_lib.files import whole_file

if TYPE_CHECKING:
    from r21d_lib.prediction.prediction import Prediction

_SECONDS_BETWEEN = 30.0  # a killed process loses the answers of so many seconds at most
_COLUMNS = ("video", "rank", "label", "probability", "agreement", "error", "knows")


class AnswersFile:
    """Collects a row a video and writes all of them, now and then and at the end, however that comes.

    Args:
        path: a file named .json, .csv (the five best classes of each video, a row each) or .parquet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._written = time.monotonic()

    def add(self, video: Path, said: "Prediction | None", error: str = "") -> None:
        """Add what was said of a video, and what went wrong with it."""
        row: dict[str, Any] = {"video": str(video)}
        if said is not None:
            row = said.to_dict()
            means = {key: value.mean(0).tolist() for key, value in said.features.items()}
            row |= {"features": means} if means else {}
        # A name may hold bytes that are no characters, which no text file takes.
        row["video"] = escaped(row["video"])
        self.rows.append(row | ({"error": error} if error else {}))
        if time.monotonic() - self._written > _SECONDS_BETWEEN:
            self.write()

    def write(self) -> None:
        """Write all rows, whole or not at all.

        Raises:
            UnwritableError: if the disk does not take them.
        """
        with whole_file(self.path) as partial:
            match self.path.suffix:
                case ".json":
                    partial.write_text(json.dumps(self.rows, indent=2) + "\n")
                case ".csv":
                    self._write_csv(partial)
                case _:
                    self._write_parquet(partial)
        self._written = time.monotonic()

    def __enter__(self) -> "AnswersFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.write()

    def _write_csv(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for row in self.rows:
                video = _no_formula(row["video"])
                for rank, answer in enumerate(row.get("top", ()), 1):
                    numbers = (f"{answer['probability']:.6f}", f"{answer['agreement']:.6f}")
                    label, knows = _no_formula(answer["label"]), escaped(row["knows"])
                    writer.writerow((video, rank, label, *numbers, "", knows))
                if "error" in row:
                    writer.writerow((video, "", "", "", "", _no_formula(row["error"]), ""))

    def _write_parquet(self, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        keys = list(dict.fromkeys(key for row in self.rows for key in row))
        whole = [{key: row.get(key) for key in keys} for row in self.rows]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(whole), path)


def _no_formula(text: str) -> str:
    """Return a text that a spreadsheet shows instead of computing it: behind an apostrophe."""
    text = escaped(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
