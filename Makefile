# make lab    start two sites on this machine      make lab-info   print their addresses as JSON
# make test   run the tests of CI                  make lab-down   remove the lab
.DEFAULT_GOAL := help
SHELL := /bin/bash
LAB := .venv/bin/python molecule/lab
INSIDE := molecule/lab/in-machine-namespace
# Tests with the marker `long` run only if ALL is set, as by `make test-all`.
SELECTION := $(if $(ALL),,-m "not long")
# Seconds for each fuzz target: a minute or, with ALL, about an hour for all targets.
FUZZ_SECONDS ?= $(if $(ALL),420,60)
# The oldest supported version of ansible-core or, with ALL, every version with a lock file.
ANSIBLE_VERSIONS := $(if $(ALL),$(sort $(patsubst collection/ansible_versions/%.lock,%,$(wildcard collection/ansible_versions/*.lock))),2.18)
SCENARIOS := $(if $(ALL),--all,--scenario-name default)
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-header --annotation-style line \
	--no-emit-index-url --only-binary :all: --group build $(if $(UPGRADE),--upgrade)
# Run pytest and record its coverage in .cache/coverage/SUITE.
COVERAGE = COVERAGE_FILE=.cache/coverage/$(1) pytest $(SELECTION) --cov --cov-report= --cov-fail-under=0
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup lock audit lab lab-info lab-down image images test test-all lint docs unit collection ansible-versions integration coverage image-tests security fuzz screenshots benchmark bench molecule

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install the dependencies on Debian 12 or 13, as root
	@molecule/lab/setup

lock: setup ## pin and hash the dependencies in pyproject.toml
	uv pip compile $(LOCK) --extra dev --output-file requirements-dev.lock pyproject.toml
	uv pip compile $(LOCK) --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml
	@collection/ansible_versions/lock $(if $(UPGRADE),--upgrade)

audit: setup ## check the pinned dependencies for known vulnerabilities
	@app/audit_dependencies.py requirements.lock requirements-dev.lock

lab: setup ## start two sites, push to one and pull from the other
	@$(LAB) up

lab-info: ## print the lab's addresses and logins as JSON
	@$(LAB) info

lab-down: ## remove the lab
	@$(LAB) down

image: setup ## build localhost/atoll-registry:dev
	@$(LAB) images registry

images: setup ## build changed images and their archives for hosts
	@$(LAB) images

test: setup ## run the tests of CI: all except those marked as long
	@.ci/side-by-side images,lint unit
	@.ci/side-by-side integration,image-tests molecule,collection,ansible-versions,security fuzz
	@.ci/side-by-side coverage

test-all: ## run all tests and benchmarks
	$(MAKE) test benchmark ALL=1

lint: setup ## run linters and type checks
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

docs: setup ## generate the reference, build the site in .cache/site
	PYTHONPATH=app python -m reference
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

unit: setup ## run the tests that need only Python
	$(call COVERAGE,unit) app/tests/unit
	pytest $(SELECTION) --numprocesses 2 --dist loadfile collection/tests --ignore collection/tests/built

collection: setup ## build, install and test the Ansible collection
	pytest collection/tests/built

ansible-versions: setup ## test the collection with supported versions of ansible-core
	@collection/ansible_versions/run $(ANSIBLE_VERSIONS)

integration: images ## test against PostgreSQL, Redis and Ceph
	@$(if $(ALL),$(LAB) images swift-store azure-store)
	$(call COVERAGE,integration) --durations 15 --numprocesses 3 --dist loadfile app/tests/integration app/tests/durability

coverage: ## report the coverage of the last unit and integration tests
	@.ci/coverage

image-tests: images ## test the built image
	@$(LAB) images clients $(if $(ALL),engines)
	pytest $(SELECTION) --durations 15 --numprocesses 2 --dist loadfile app/tests/image

security: images ## attack the built image
	pytest $(SELECTION) --durations 15 app/tests/security

fuzz: setup ## fuzz the parsers of untrusted input, a minute each
	ATOLL_FUZZ_SECONDS=$(FUZZ_SECONDS) nice -n 19 pytest --numprocesses 2 --dist load app/tests/fuzz

screenshots: images ## write a screenshot of each page of the panel to .cache/screenshots
	ATOLL_SCREENSHOTS=$(CURDIR)/.cache/screenshots pytest --quiet -k "fits_into or has_a_picture" \
		app/tests/durability/test_panel_accessibility.py

benchmark: images ## measure task planning, claims and copies
	pytest --quiet --capture=no app/tests/integration/bench_*.py

bench: setup ## compare the speed with docker-registry and the limits; ONLY=PART
	@PYTHONPATH=app:molecule/lab python -m tests.benchmark $(if $(ONLY),--only $(ONLY)) $(ARGUMENTS)

molecule: images ## test deployments on machines with systemd
	$(INSIDE) molecule test $(SCENARIOS)
