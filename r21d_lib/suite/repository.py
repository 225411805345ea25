"""The repository's folders: notebooks, figures, recorded numbers. A package alone has none."""

from r21d_lib.errors import SettingsError
from r21d_lib.files import CHECKOUT

if CHECKOUT is None:
    raise SettingsError(
        "this needs the notebooks, figures and recorded numbers, which an installed package does not "
        "have: clone the repository and run `make setup` there"
    )
REPOSITORY = CHECKOUT
NOTEBOOK_FOLDER = REPOSITORY / "notebooks"
FIGURES = REPOSITORY / "figures"
RECORDED = REPOSITORY / "tests" / "recorded"
BENCHMARKS = REPOSITORY / "benchmarks"
