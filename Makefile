# `make demo` and `make test` set up everything they need on a fresh machine. Python 3.10 to 3.13.
PYTHON ?= python3
VENV ?= .venv
DISTRO ?= kilted
export MKPOSE_ROS_DISTRO = $(DISTRO)

BIN = $(VENV)/bin
WHEELS = build/wheels-$(DISTRO)
PIP = $(BIN)/pip --disable-pip-version-check -q
SOURCES = $(wildcard $(shell git ls-files 2>/dev/null))

.PHONY: help install install-test demo test test-slow test-jazzy lint format bench system docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## everything that `mkpose demo` needs, in .venv

install-test: $(VENV)/.installed-test

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip

$(VENV)/.installed: $(BIN)/pip $(SOURCES)
	@sh scripts/system_packages.sh g++
	rm -rf $(WHEELS) && $(PIP) wheel --no-deps -w $(WHEELS) .
	$(PIP) install $(WHEELS)/*.whl
	$(PIP) install --force-reinstall --no-deps $(WHEELS)/*.whl
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@sh scripts/system_packages.sh egl
	$(PIP) install torch==2.13.0
	$(PIP) install "$$(ls $(WHEELS)/*.whl)[test]"
	@touch $@

demo: install ## play the shipped recording through the node: table, video, contact sheet in out/demo
	$(BIN)/mkpose demo --out out/demo

test: install-test lint ## lint, unit tests, real nodes over DDS, the demo on 10 frames; under 15 minutes on 2 cores
	$(BIN)/pytest -q

test-slow: install-test ## the tests that take minutes
	$(BIN)/pytest -q -m slow

test-jazzy: ## the ROS tests against the Jazzy wheels, in a virtual environment of their own
	$(MAKE) VENV=.venv-jazzy DISTRO=jazzy install
	.venv-jazzy/bin/pip -q install pytest hypothesis
	.venv-jazzy/bin/pytest -q test/ros

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install-test ## format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-test ## measure everything on an idle machine, ten to fifteen minutes, and write it into docs/
	$(BIN)/mkpose bench all

docs: install ## the generated pages of docs/
	$(BIN)/python -m mkpose_ros.ros.parameters > docs/parameters.md

clean: ## remove what was built; models and data stay
	rm -rf build install log *.egg-info $(VENV) .venv-jazzy
