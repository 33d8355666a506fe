# Two commands do everything: `make course` to learn, `make test` to work on the course.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAUNCH ?= 1
# How many processes the tests run in; 0 is one after the other in this one.
JOBS ?= 2
PYTEST = $(BIN)/pytest -n $(JOBS) --dist worksteal
# Slow tests that start several processes themselves, or build in the checkout.
ALONE = tests/adversarial tests/coursekit/grading tests/test_packaging.py
# nbgrader and kaleido start programs by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: course test test-slow oldest mutants build site clean

course: $(VENV)/.course
	@$(BIN)/course start . $(if $(filter 0,$(LAUNCH)),--no-open)

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/course build --check
	$(BIN)/course lint
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow $(ALONE:%=--ignore=%)
	$(BIN)/pytest -m slow $(ALONE)

# The oldest versions that pyproject.toml allows, in an environment of their own.
oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet -e . pytest hypothesis safetensors numpy -c constraints-oldest.txt
	.venv-oldest/bin/python -m pytest -m "not slow" tests/part_utils/test_plots_*.py tests/part_utils/test_language_models.py \
		tests/part_utils/test_activations.py tests/part_utils/test_evaluation.py tests/part_utils/test_feature_browser.py \
		tests/part_utils/test_toy_model.py tests/part_utils/test_autoencoder.py tests/part_utils/test_resampling.py tests/coursekit/work/test_page.py

# How many wrong answers the checks catch and name, and how many different right ones they accept.
SEEDS ?= 1
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants --seeds $(SEEDS)

# The solved notebooks, executed, and the learners', released from them.
build: $(VENV)/.dev
	$(BIN)/course build

# Web pages of the executed notebooks, the manual and the library, in site/. Nothing is executed.
site: $(VENV)/.dev
	$(BIN)/course site

$(VENV)/.course: requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "The course needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python's venv module is missing; install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet -r requirements.txt -e . -c constraints.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.course
	$(BIN)/python -m pip install --quiet -e '.[dev]' -c constraints.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
