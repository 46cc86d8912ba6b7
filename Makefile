# Givre. `make demo` and `make test` prepare all they need in .venv and in the cache folder; nothing else is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo study test faults soak lint format clean help

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## *' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"make: Python 3.11 or newer is needed, found {v.major}.{v.minor}: call `make PYTHON=python3.12 ...`")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/installed   ## the simulated plant and Givre beside it: ARGS="--for 60 --report out.json"
	@$(BIN)/givre demo $(ARGS)

study: $(VENV)/installed  ## the field study repeated on the shared data: DATA=../shared/data; writes docs/study.md
	@$(BIN)/python -m benchmarks.study --data $(or $(DATA),../shared/data) --out docs

test: $(VENV)/installed   ## every test: ARGS="-k window" to choose, ARGS="-n 0 -x FILE" one after the other
	@$(BIN)/python -m pytest -n 3 $(ARGS)

faults: $(VENV)/installed ## every case of fault and attack, slow ones too; writes docs/reliability.md: ARGS="F12 S3" to choose
	@$(BIN)/python tests/faults/print_cases.py $(ARGS)

soak: $(VENV)/installed   ## hours of random faults around the running service: ARGS="--hours 1 --seed 7 --every 120"
	@$(BIN)/python tests/faults/soak.py $(ARGS)

lint: $(VENV)/installed   ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed ## lay the code out
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

clean:           ## take away what make made here (the model cache stays)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
