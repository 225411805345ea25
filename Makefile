# make run   runs every notebook on this computer and checks the numbers
# make bench runs the benchmarks that this machine can, in about 15 minutes
# make gpu   runs all that waits for a GPU, in nine minutes on one card; no .venv: PY is its Python
# make test  runs the tests in a few minutes; make test-all also the slow ones: all notebooks, full scale
# make lab   opens JupyterLab on copies in build/lab, make lab LANG=pt in Portuguese; make check lints; make clean removes build/
# Each makes .venv on first use, and says how large it gets: about 7 GB with CUDA, 2 GB for a CPU alone.
PY ?= python3
V := .venv/bin
.PHONY: run test test-all bench gpu lab check setup clean

run: .venv/ok
	$(V)/r21d reproduce

# Of xdist's ways to share tests out, one that goes on after a worker crashed: those by file or group stop there.
PYTEST := $(V)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

test: .venv/ok
	$(PYTEST) -m "not thorough and not slow"

test-all: .venv/ok
	$(PYTEST) -m "not slow"
	$(V)/python -m pytest -m alone
	$(PYTEST) -m "slow and not alone" --durations=30

bench: .venv/ok
	$(V)/python benchmarks/run_all.py

gpu:
	$(PY) benchmarks/gpu.py

lab: .venv/ok
	$(V)/r21d lab $(if $(filter pt%,$(LANG)),--language pt-BR)

check: .venv/ok
	$(V)/ruff check .
	$(V)/ruff format --check .
	$(V)/mypy

setup: .venv/ok

clean:
	rm -rf build

# uv's index of builds of torch has the one for this machine, with CUDA or for its CPU; where that index
# does not answer within seconds, the plain wheel is taken, which has CUDA on Linux. The stamp comes
# last, so that an interrupted installation is taken up again.
HURRY := env UV_HTTP_RETRIES=0 UV_HTTP_TIMEOUT=4 UV_HTTP_CONNECT_TIMEOUT=4
PLAN := $(V)/uv pip install --dry-run --reinstall -p .venv -c constraints.txt torch torchvision
.venv/ok: pyproject.toml constraints.txt
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PY=/path/to/python3.11")'
	$(PY) -m venv .venv
	$(V)/python -m pip install -q --disable-pip-version-check uv
	@torch=--torch-backend=auto; \
	plan=$$($(HURRY) $(PLAN) $$torch 2>&1) || { torch=; plan=$$($(PLAN) 2>&1); }; \
	case "$$plan" in *nvidia-*) size="7 GB, with CUDA" ;; *) size="2 GB, for a CPU" ;; esac; \
	echo "installing into .venv: about $$size, once"; \
	$(V)/uv pip install -q $$torch --compile-bytecode -p .venv -c constraints.txt -e '.[all]' --group test
	@touch $@
