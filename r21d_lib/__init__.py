"""R(2+1)D, explained and reproduced: networks, data path, protocol and explanation."""

__version__ = "0.1.0"
