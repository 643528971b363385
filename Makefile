# The commands of this repository. CI runs `make check`; the rest is for people.
PYTHON ?= python3
UPGRADE ?=
WORKERS ?= $(shell expr $$(nproc) + 1)

BIN := .venv/bin
INSTALLED := .venv/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: venv demo test check bench soak constraints clean

venv: $(INSTALLED)

# Every version and hash comes from constraints.txt, the build backend's too; nothing is resolved here. dkimpy comes as
# plain Python in a source archive only.
$(INSTALLED): constraints.txt pyproject.toml
	@command -v git >/dev/null || { echo "mspctl needs git: install the package git" >&2; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "mspctl needs Python: install the package python3, or say make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mspctl needs Python 3.11 or newer: say make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "mspctl needs Python's venv: install the package python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --only-binary :all: --no-binary dkimpy --require-hashes -r constraints.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: venv
	@$(BIN)/python scripts/demo.py

# One process more than there are processors, because tests wait for servers; a file's tests stay together, because they
# share what they start.
test: venv
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --durations=25

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(MAKE) --no-print-directory test

bench: venv
	$(BIN)/python bench/run.py
	$(BIN)/python -m bench.transfer
	$(BIN)/python bench/mail.py
	$(BIN)/python bench/firewall.py
	$(BIN)/python bench/hosts.py
	$(BIN)/python -m bench.provider

soak: venv
	$(BIN)/pytest -m soak

# Resolves again what pyproject.toml asks for, for every Python and platform, and the Modoboa that tests start. Pins that
# still fit stay as they are; `make constraints UPGRADE=--upgrade` takes the newest.
constraints:
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --quiet uv
	build/uv/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --no-emit-index-url --no-header --quiet $(UPGRADE) \
		--output-file constraints.txt
	printf 'modoboa==2.12.0\ngunicorn\n' | build/uv/bin/uv pip compile - --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet $(UPGRADE) \
		--no-emit-package rrdtool-bindings --no-emit-package progressbar33 \
		--no-emit-package django-xforwardedfor-middleware --output-file tests/servers/modoboa.txt

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
