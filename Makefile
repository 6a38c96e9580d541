# make demo · make test: each sets up .venv itself. PYTHON=python3.12 picks another interpreter.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Tests without a cluster: several files at a time, of one thread each.
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
export YOLO_AUTOINSTALL := false
export MUJOCO_GL ?= egl

.PHONY: help setup demo serve test test-all lint format clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	@sh scripts/system-packages.sh
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[device,server,home,dev]"
	@touch $@

setup: $(READY)  ## the virtual environment, with the versions that were tested

demo: $(READY)  ## the main job, end to end, on the simulated home (out/demo)
	$(BIN)/spinml demo --out out/demo

serve: $(READY)  ## the service on this machine, until Ctrl-C
	$(BIN)/spinml serve --config cluster/laptop.yaml

lint: $(READY)  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## lint and all tests but the slow ones
	$(SIDE_BY_SIDE) -m "not slow and not ray"
	$(BIN)/python -m pytest -m "not slow and ray"

test-all: lint  ## every test
	$(SIDE_BY_SIDE) -m "not slow and not ray"
	$(BIN)/python -m pytest -m "slow or ray"

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## the virtual environment and all output
	rm -rf .venv out
