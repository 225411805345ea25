"""From video files to clips: decoding, lists of labelled videos, caches of frames, sampling."""
