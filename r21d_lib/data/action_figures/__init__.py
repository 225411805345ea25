"""ActionFigures: people that code draws, doing twelve actions of HMDB51, and fourteen others.

The default data set of the notebooks, and the one that the shipped checkpoint was pretrained on.
"""

from r21d_lib.data.action_figures.actions import MOTION_PAIRS, ORDER_BLIND_CEILING
from r21d_lib.data.action_figures.generation import (
    SOURCE_CLASSES,
    TARGET_CLASSES,
    drawn_subset,
    film_course,
    generate,
    load,
    render,
)
from r21d_lib.data.action_figures.sheets import contact_sheet, write_contact_sheets
