"""Every figure: pure functions from arrays and tables to a `Figure`."""

from r21d_lib.plots.classes import classes_of_runs, confusion_matrix, per_class_accuracy
from r21d_lib.plots.clip_length import accuracy_by_clips, clip_lengths, film_scores
from r21d_lib.plots.drawings import (
    MIDDLE_RULES,
    block_costs,
    factorized_block,
    kernels,
    response_frame,
    response_strips,
)
from r21d_lib.plots.flow import flow, flow_colours
from r21d_lib.plots.inside import (
    attention,
    feature_map,
    histogram,
    kernel_films,
    kernel_images,
    low_rank,
    temporal_kernels,
)
from r21d_lib.plots.networks import network_costs, network_flow, network_groups, stage_costs
from r21d_lib.plots.race import (
    VERDICT_COLOURS,
    accuracy_against_compute,
    accuracy_and_compute,
    class_table,
    error_curves,
    kind_colour,
    pairs,
    standings,
    time_changes,
    verdicts,
)
from r21d_lib.plots.results import (
    accuracy_bars,
    budgets,
    named_values,
    printed_streams,
    running_values,
    seed_curves,
    training_curves,
)
from r21d_lib.plots.style import (
    BOTH,
    CHOSEN,
    DARK,
    KIND_COLOURS,
    PLAIN,
    RIGHT,
    SPACE,
    TIME,
    TURNS,
    WRONG,
    Figure,
    Values,
    evenly,
    open_axes,
)
from r21d_lib.plots.videos import (
    clip_grid,
    clip_starts,
    frame_strip,
    prediction,
    single_frame,
    video_scores,
)
