"""The two profiles that drive every notebook: each is a recipe, and one more for the race.

`figures` is the default: ActionFigures, a small network, a laptop. `hmdb51` is the real thing:
HMDB51, the paper's 34-layer network on 32 frames, a GPU. Nothing else in a notebook depends on
the profile.
"""

from collections.abc import Mapping, Sequence

from r21d_lib.errors import SettingsError
from r21d_lib.training import recipes
from r21d_lib.training.recipes import Recipe

PROFILES = {"figures": "figures_finetune", "hmdb51": "hmdb51_finetune"}
# From random weights, the same for every network.
RACES = {"figures": "figures_race", "hmdb51": "hmdb51_scratch"}


def get_profile(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return a profile's recipe.

    Args:
        name: "figures" or "hmdb51".
        changes: "key=value", as `r21d train` takes them, to make a run smaller or larger.

    Raises:
        SettingsError: naming the profiles that exist, or the key that does not.
    """
    return _read(PROFILES, name, changes)


def get_race(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe with which a profile compares networks, as `get_profile` does."""
    return _read(RACES, name, changes)


def _read(table: Mapping[str, str], name: str, changes: Sequence[str]) -> Recipe:
    if name not in table:
        raise SettingsError(f"no profile is called {name!r}: choose {' or '.join(table)}")
    return recipes.read(table[name], changes)
