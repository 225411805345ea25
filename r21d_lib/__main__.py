"""The command line as a module, for `python -m r21d_lib` and `accelerate launch -m r21d_lib`."""

from r21d_lib.cli.main import main

main()
