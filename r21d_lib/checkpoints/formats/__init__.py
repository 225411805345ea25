"""The published forms of weight files: their pickles, read safely, and their names for weights."""
