"""HMDB51: its lists, its files out of whatever people have, and a check of both."""

from r21d_lib.data.hmdb51.doctor import Finding, examine
from r21d_lib.data.hmdb51.fetching import Source, fetch, find, sources
from r21d_lib.data.hmdb51.official import check_counts, default_folder, known_names, load
from r21d_lib.data.hmdb51.preparation import prepare_files
