"""Data sets: lists of labelled videos (`listed`, `hmdb51`, `action_figures`) and their frames."""

from r21d_lib.datasets.listed import VideoList

__all__ = ["VideoList"]
