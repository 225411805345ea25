# make run   runs every notebook on this computer and checks the numbers
# make bench runs the benchmarks that this machine can, in about 15 minutes
# make test  runs the tests in a few minutes; make test-all also the slow ones: all notebooks, full scale
# make lab   opens JupyterLab; make check lints; make clean removes build/
# Each makes .venv on first use (about 6 GB, most of it torch; half a minute to a few minutes).
PY ?= python3
V := .venv/bin
.PHONY: run test test-all bench lab check setup clean

run: .venv/ok
	$(V)/r21d reproduce

test: .venv/ok
	$(V)/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist loadfile

test-all: .venv/ok
	$(V)/python -m pytest --durations=30

bench: .venv/ok
	$(V)/python benchmarks/run_all.py

lab: .venv/ok
	$(V)/jupyter lab notebooks

check: .venv/ok
	$(V)/ruff check .
	$(V)/ruff format --check .
	$(V)/mypy

setup: .venv/ok

clean:
	rm -rf build

# The stamp comes last, so that an interrupted installation is taken up again.
.venv/ok: pyproject.toml constraints.txt
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PY=/path/to/python3.11")'
	@echo "installing into .venv (about 6 GB, once)"
	$(PY) -m venv .venv
	$(V)/python -m pip install -q --disable-pip-version-check uv
	$(V)/uv pip install -q --compile-bytecode -p .venv -c constraints.txt -e '.[all]' --group test
	@touch $@
