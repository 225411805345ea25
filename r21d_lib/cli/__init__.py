"""The command line `r21d`."""
