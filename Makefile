# make lab    two sites on this machine, shown to work      make lab-info   their addresses, as JSON
# make test   what CI runs; make test-all: everything       make lab-down   remove the lab
.DEFAULT_GOAL := help
SHELL := /bin/bash
LAB := .venv/bin/python molecule/lab
INSIDE := molecule/lab/in-machine-namespace
# What takes long for what it proves is left out unless ALL is set, as `make test-all` does.
SELECTION := $(if $(ALL),,-m "not long")
# Seconds for each fuzz target: a minute, or an hour for all of them together.
FUZZ_SECONDS ?= $(if $(ALL),420,60)
SCENARIOS := $(if $(ALL),--all,--scenario-name default)
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-header --annotation-style line \
	--no-emit-index-url --only-binary :all: --group build $(if $(UPGRADE),--upgrade)
# pytest that records the lines and branches it ran in .cache/coverage/SUITE.
COVERAGE = COVERAGE_FILE=.cache/coverage/$(1) pytest $(SELECTION) --cov --cov-report= --cov-fail-under=0
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup lock audit lab lab-info lab-down image images test test-all lint docs unit collection integration coverage image-tests security fuzz benchmark molecule

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install what the lab and the tests need on Debian 12 or 13, as root
	@molecule/lab/setup

lock: setup ## pin and hash the dependencies that pyproject.toml names
	uv pip compile $(LOCK) --extra dev --output-file requirements-dev.lock pyproject.toml
	uv pip compile $(LOCK) --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml

audit: setup ## compare the pinned dependencies with an advisory database
	@app/audit_dependencies.py requirements.lock requirements-dev.lock

lab: setup ## start two sites on this machine, push in one and pull in the other
	@$(LAB) up

lab-info: ## print the lab's addresses and logins as JSON
	@$(LAB) info

lab-down: ## remove everything that the lab made
	@$(LAB) down

image: setup ## build localhost/atoll-registry:dev
	@$(LAB) images registry

images: setup ## build every image that changed, and the archives that hosts get
	@$(LAB) images

test: setup ## what CI runs: all but what takes long
	@.ci/side-by-side images lint,unit
	@.ci/side-by-side integration,image-tests molecule,collection,security fuzz
	@.ci/side-by-side coverage

test-all: ## everything: also every client, store and scenario, and the figures
	$(MAKE) test benchmark ALL=1

lint: setup ## look at the form of everything
	ruff check .
	ruff format --check .
	mypy
	PYTHONPATH=app lint-imports --no-cache
	PYTHONPATH=app python -m reference --check
	app/check_documentation.py
	app/check_prose.py
	yamllint --strict .
	codespell
	collection/changelog.py check
	@! git grep -nE '^(<<<<<<<|>>>>>>>) '
	ansible-lint --offline

docs: setup ## generate the reference from the code and build the site in .cache/site
	PYTHONPATH=app python -m reference
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

unit: setup ## tests that need nothing but Python
	$(call COVERAGE,unit) app/tests/unit collection/tests --ignore collection/tests/built

collection: setup ## the collection as users get it: built, installed, documented, sane
	pytest collection/tests/built

integration: images ## the application against real PostgreSQL, Redis and Ceph, a set for each of 3 processes
	@$(if $(ALL),$(LAB) images swift-store azure-store)
	$(call COVERAGE,integration) --durations 15 --numprocesses 3 --dist loadfile app/tests/integration app/tests/durability

coverage: ## what the last unit and integration runs covered; fails below the floor in pyproject.toml
	@.ci/coverage

image-tests: images ## the built image, as `podman run` starts it
	@$(LAB) images clients $(if $(ALL),engines)
	pytest $(SELECTION) --durations 15 --numprocesses 2 --dist loadfile app/tests/image

security: images ## attacks on the built image
	pytest $(SELECTION) --durations 15 app/tests/security

fuzz: setup ## every parser of untrusted bytes with hostile inputs, a minute each
	ATOLL_FUZZ_SECONDS=$(FUZZ_SECONDS) nice -n 19 pytest --numprocesses 2 --dist load app/tests/fuzz

benchmark: images ## figures: planning and claiming a million blobs, copying beside rclone
	pytest --quiet --capture=no app/tests/integration/bench_*.py

molecule: images ## the whole, rolled out on machines that run systemd
	$(INSIDE) molecule test $(SCENARIOS)
