# Two commands on a fresh Debian 12 (root): `make demo` and `make test`. Everything below is safe to repeat.
#
# What is slow to build (site images, the OpenZFS guest) is kept outside the checkout, in $(IMAGES) and $(GUEST), and
# rebuilt when its recipe changes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= /usr/bin/python3
VENV ?= .venv
BIN := $(VENV)/bin
IMAGES ?= /var/cache/hybrid/images
GUEST ?= /var/cache/hybrid/guest
IMAGE ?= static php
NODES ?= 3
SEEDS ?= 200
FROM ?= 0
ONLY ?=
SEED ?=
SECONDS ?= 60
DEBIAN ?= /var/cache/hybrid/debian

.PHONY: help setup packages native images deb demo story faults test test-deb test-openzfs test-fast check format simulate mutations crashes differential fuzz bench clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

packages: ## Debian packages that a node and its tests need
	@contrib/setup/packages

$(VENV)/.complete: pyproject.toml contrib/setup/venv | packages
	@contrib/setup/venv $(PYTHON) $(VENV)

setup: packages $(VENV)/.complete native ## everything but the images

native: packages ## what has a compiled form, where there is a compiler
	@contrib/setup/native $(PYTHON)

images: setup ## site images, built from Debian packages: those of the demo, or IMAGE="wordpress mariadb"
	@$(BIN)/python -m hybrid_containers.build $(IMAGE) --store $(IMAGES)

deb: setup ## the Debian package: build/hybrid_VERSION_ARCH.deb
	@contrib/setup/packages dpkg-dev
	@contrib/debian/build $(PYTHON) $(VENV) build

demo: images ## a cluster of three nodes on this machine, until Ctrl-C
	@$(BIN)/hybrid demo --nodes $(NODES) --image-dir $(IMAGES)

story: images ## the demo without a person: every promise measured
	@mkdir -p build
	@$(BIN)/hybrid demo --story --json build/story.json --image-dir $(IMAGES)

faults: images ## real nodes killed, hung and cut apart, judged; ONLY=F1,F5-two for some of them
	@mkdir -p build
	@$(BIN)/python -m hybrid.lab.faults --only "$(ONLY)" $(if $(SEED),--seed $(SEED)) --json build/faults.json --image-dir $(IMAGES)

test: IMAGE = static php mariadb postgres mail
test: images ## every test that runs on this machine
	@mkdir -p build
	@contrib/setup/packages nsd knot zsh fish    # not by `setup`: a server would have port 53 taken at its next start
	@HYBRID_IMAGES=$(IMAGES) $(BIN)/pytest --junitxml=build/test.xml -q

test-deb: deb images ## the package installed, upgraded, purged and serving a site, in a clean Debian
	@HYBRID_IMAGES=$(IMAGES) HYBRID_DEBIAN=$(DEBIAN) $(BIN)/pytest -q tests/debian

test-openzfs: setup ## the tests that need OpenZFS, in an emulated machine that has it
	@contrib/setup/packages $$(sed 's/#.*//' contrib/lab/guest/packages)
	@$(BIN)/python -m hybrid_containers.build static --store $(IMAGES)
	@nice -n 5 $(BIN)/python -m hybrid.lab.guest --store $(GUEST) --images $(IMAGES) test --json build/openzfs.json

test-fast: setup ## tests without root, ZFS, containers or clusters
	@$(BIN)/pytest -q -m "not zfs and not lxc and not cluster"

check: setup ## lint, format, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

simulate: setup ## SEEDS histories of whole clusters, from seed FROM
	@mkdir -p build
	@$(BIN)/python -m tests.simulation.run $(SEEDS) $(FROM)

crashes: setup ## every crash point of every deed, and every second one in the recovery
	@$(BIN)/python -m tests.crashes.run

mutations: setup ## rules broken on purpose, one at a time: the simulation must notice each
	@mkdir -p build
	@$(BIN)/python -m tests.simulation.mutants

fuzz: setup ## the parsers that face the internet, SECONDS each
	@nice -n 5 $(BIN)/python -m tests.fuzz.http $(SECONDS)
	@nice -n 5 $(BIN)/python -m tests.fuzz.ssh $(SECONDS)

bench: setup ## ours beside the named peers: AREA=scale, replication (peer: sanoid), proxy (peers: haproxy nginx-light, load: wrk)
	@mkdir -p build
	@$(BIN)/python -m tests.bench.$(AREA)

differential: setup ## the pool in memory against zfs-fuse: SEEDS lists of operations, from seed FROM
	@DIFFERENTIAL_SEEDS=$(SEEDS) DIFFERENTIAL_FROM=$(FROM) $(BIN)/pytest -q tests/differential

clean: ## what was built in the checkout
	@rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache proxy/hybrid_proxy/*.abi3.so dns/hybrid_dns/*.abi3.so
