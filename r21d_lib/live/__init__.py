"""Actions recognised while they happen: rolling clips of a camera, a stream or a browser."""
