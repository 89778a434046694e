# `make` prints the targets. Each sets up what it needs; only Python 3.10+ and pip's usual
# package index are required. Settings: `make test PYTHON=python3.13`.

PYTHON ?= python3
VENV ?= .venv
# What `make venv` installs besides the core; see [options.extras_require] in setup.cfg.
EXTRAS ?= all,dev
# Seconds after which a test run starts no further test; one test takes at most `timeout` (setup.cfg).
TEST_BUDGET ?= 1500
# Test files that run side by side: much of their time is waiting for processes and servers.
JOBS ?= 2
# More arguments for pytest, e.g. ARGS="-x -k wildcard".
ARGS ?=

bin := $(VENV)/bin
pytest := -m pytest --session-timeout=$(TEST_BUDGET)
comma := ,

# The client that `make demo URL=...` needs, by the scheme of the URL.
scheme := $(firstword $(subst :, ,$(URL)))
client := $(or $(and $(filter redis rediss,$(scheme)),redis),$(and $(filter kafka,$(scheme)),kafka),$(and $(filter amqp amqps,$(scheme)),rabbitmq),$(and $(filter nats tls,$(scheme)),nats),$(and $(filter postgres postgresql,$(scheme)),postgres))
demo_extras := flask$(if $(client),$(comma)$(client))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: venv
venv: $(VENV)/.installed-$(EXTRAS) ## Make or refresh the virtual environment in .venv

.PHONY: lint
lint: venv ## Check the code with ruff
	$(bin)/ruff check .

.PHONY: types
types: venv ## Check the types with mypy, strictly
	$(bin)/mypy

.PHONY: test
test: lint types ## Everything: lint, types, all tests with branch coverage
	@$(bin)/coverage erase
	@$(bin)/coverage run $(pytest) -n $(JOBS) $(ARGS); status=$$?; \
	$(bin)/coverage combine --quiet && $(bin)/coverage report || exit 1; exit $$status

.PHONY: unit
unit: venv ## Unit tests only
	$(bin)/python $(pytest) tests/unit $(ARGS)

.PHONY: conformance
conformance: venv ## The one suite that every transport must pass
	$(bin)/python $(pytest) tests/conformance $(ARGS)

.PHONY: test-pythons
test-pythons: ## Unit and lifecycle tests on each Python 3.10 to 3.13 found
	@TEST_BUDGET=$(TEST_BUDGET) .ci/test-pythons

.PHONY: demo
demo: $(VENV)/.installed-$(demo_extras) ## Sign-up demo with Flask (URL=redis://... for another transport)
	$(bin)/python examples/signup/run.py $(if $(URL),--url '$(URL)')

.PHONY: docs
docs: venv ## Build the documentation into docs/_build
	$(bin)/sphinx-build -W --keep-going -n -b html docs docs/_build

.PHONY: storm
storm: venv ## Kill members and servers for most of an hour, and write docs/reliability (TRANSPORT=redis)
	$(bin)/python -m tests.faults.all_storms $(TRANSPORT)

.PHONY: bench
bench: venv ## Measure throughput and latency (TRANSPORT=redis for one of them)
	$(bin)/python -m benchmarks $(if $(TRANSPORT),--only $(TRANSPORT))

.PHONY: coverage
coverage: ## Lines the last `make test` missed, also as HTML in .coverage-html
	@test -f .coverage || $(MAKE) test
	@$(bin)/coverage html --quiet
	@$(bin)/coverage report --show-missing

.PHONY: clean
clean: services-down ## Remove everything that was made here
	rm -rf .venv .venvs .coverage .coverage.* .coverage-html .hypothesis .mypy_cache .pytest_cache
	rm -rf .services .ruff_cache build dist docs/_build *.egg-info
	find eventbus tests examples benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

include docker/services.mk

# One stamp per set of extras, newer than setup.cfg when that set is installed. Debian's Python may
# come without ensurepip: `venv` then leaves an environment without pip behind, hence the test for it.
$(VENV)/.installed-%: setup.cfg setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "eventbus needs Python 3.10 or newer; name one with PYTHON=")'
	@$(bin)/python -m pip --version >/dev/null 2>&1 \
		|| $(PYTHON) -m venv --clear $(VENV) \
		|| $(PYTHON) -m virtualenv --quiet --clear $(VENV)
	@echo "Installing eventbus[$*] into $(VENV)"
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable '.[$*]'
	@touch '$@'
