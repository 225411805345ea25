"""The two profiles that drive every notebook: each is a recipe.

`figures` is the default: ActionFigures, a small network, a laptop. `hmdb51` is the real thing:
HMDB51, the paper's 34-layer network on 32 frames, a GPU. Nothing else in a notebook depends on
the profile.
"""

from collections.abc import Sequence

from r21d_lib import recipes
from r21d_lib.errors import SettingsError
from r21d_lib.recipes import Recipe

PROFILES = {"figures": "figures_finetune", "hmdb51": "hmdb51_finetune"}


def get_profile(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return a profile's recipe.

    Args:
        name: "figures" or "hmdb51".
        changes: "key=value", as `r21d train` takes them, to make a run smaller or larger.

    Raises:
        SettingsError: naming the profiles that exist, or the key that does not.
    """
    if name not in PROFILES:
        raise SettingsError(f"no profile is called {name!r}: choose {' or '.join(PROFILES)}")
    return recipes.read(PROFILES[name], changes)
