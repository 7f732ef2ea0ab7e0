# Two commands do everything on a machine with git, make and Python 3.11 or newer:
#   make report    install, train, prune, record, execute the notebooks, build the book
#   make test      install, run the tests
# Neither needs an activated environment. Both do only what is not yet done.

PRESET ?= quick
VENV ?= .venv
BIN := $(VENV)/bin
FIND_PYTHON := for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  && { echo $$p; exit 0; }; done; exit 1

.PHONY: report test install lint book bench pretrain clean help

help:            ## say what there is to make
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

install: $(VENV)/installed  ## make the environment from the lock file

$(VENV)/installed: requirements.lock pyproject.toml
	@python=$$($(FIND_PYTHON)) || { echo "make: no Python 3.11 or newer with venv and pip was found;" \
	  "install one (on Debian and Ubuntu also its package python3-venv) and try again" >&2; exit 1; }; \
	echo "making $(VENV) with $$python; this downloads some gigabytes once"; \
	$$python -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

report: install  ## run the studies of PRESET (quick) that are not yet run, and build the book
	$(BIN)/lth report --preset $(PRESET)

book: install    ## build the book from the records that are there
	$(BIN)/lth book --preset $(PRESET)

test: install    ## run the tests, a process a core
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: install    ## check style and types, and say how large each room is
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(BIN)/python tests/rooms.py

bench: install   ## measure speed and memory into benchmarks/results
	$(BIN)/python -m benchmarks

pretrain: install ## make the shipped starts again
	$(BIN)/lth pretrain

clean:           ## remove what was built; environment and records stay
	rm -rf _build book/_build book/chapters runs/* .pytest_cache .mypy_cache .ruff_cache
