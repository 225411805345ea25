"""Where a training's numbers go besides TensorBoard: Weights & Biases, Trackio, MLflow, by name.

They get what TensorBoard gets, and the recipe; nothing that is computed or kept in the run's folder
depends on them.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r21d_lib.errors import R21DError, SettingsError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

    from r21d_lib.training.recipes import Recipe

TENSORBOARD = "tensorboard"
_PROJECT = "r21d"  # the project or experiment whose runs they are
NAMES = (TENSORBOARD, "wandb", "trackio", "mlflow")


def make(names: Sequence[str], run: Path) -> list["GeneralTracker"]:
    """Return Accelerate's trackers of these names, named as the run's folder is; not started yet.

    Args:
        names: of `NAMES`; TensorBoard writes anyway and is left out.
        run: the run's folder.

    Raises:
        SettingsError: if a name is unknown or its package is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    options: dict[str, dict[str, Any]] = {
        "wandb": {"name": run.name, "dir": str(run)},
        "trackio": {"name": run.name},
        "mlflow": {"run_name": run.name},
    }
    made = []
    for name in dict.fromkeys(names):
        if name not in NAMES:
            raise SettingsError(f"log_with {name!r} is unknown: choose {', '.join(NAMES)}")
        if name == TENSORBOARD:
            continue
        if importlib.util.find_spec(name) is None:
            raise SettingsError(
                f"log_with {name} needs the package {name}: python -m pip install {name}"
            )
        if name not in LOGGER_TYPE_TO_CLASS:
            raise SettingsError(f"this accelerate knows no {name}: python -m pip install -U accelerate")
        made.append(LOGGER_TYPE_TO_CLASS[name](_PROJECT, **options[name]))
    return made


def start(accelerator: "Accelerator", recipe: "Recipe") -> None:
    """Start the trackers of a training, and give those besides TensorBoard the recipe.

    Raises:
        SettingsError: if one of them cannot start, such as without its login.
    """
    from accelerate.tracking import GeneralTracker

    try:
        accelerator.init_trackers(TENSORBOARD)  # the name of TensorBoard's folder in the run's
        for tracker in accelerator.trackers:
            if tracker.name != TENSORBOARD:
                tracker.store_init_configuration(_settings(recipe))
    except R21DError:
        raise
    except Exception as error:  # each has errors of its own
        others = [its.name for its in accelerator.log_with if isinstance(its, GeneralTracker)]
        if not others:
            raise
        raise SettingsError(
            f"log_with {', '.join(others)} cannot start ({error}): log in to it or set it up, or leave "
            "it out"
        ) from error


def _settings(recipe: "Recipe") -> dict[str, Any]:
    """Return every value of a recipe under its own name, as numbers and texts."""
    values = recipe.to_dict()
    flat = {**values, **values["clips"], **values["training"]}
    plain = (bool, int, float, str)
    return {
        key: value if isinstance(value, plain) else str(value)
        for key, value in flat.items()
        if key not in ("clips", "training")
    }
