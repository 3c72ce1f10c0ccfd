# Needs python3 (3.11 or later) with pip, and make. Everything lands in .venv; a second run reuses it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	$(BIN)/kvwall plan
	$(BIN)/kvwall step llama-3.1-8b --on h100 --batch 32 --context 8k
	$(BIN)/kvwall dashboard default --export kvwall-report.html

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Some distributions ship venv without ensurepip: there the pip of $(PYTHON) fills the new environment.
$(VENV)/.created:
	$(PYTHON) -m venv --clear $(VENV) 2>/dev/null \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.installed
