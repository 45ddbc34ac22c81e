# Everything a person does with this source tree. `make help` lists it. Works from a path with spaces in it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo demo-reset environment assets test test-fast check format pictures system-packages bench soak lock

help: ## this list
	@echo "Bursar, the marketplace and the accounting office of shared research computing"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' Makefile | expand -t 26
	@echo
	@echo "Settings: PORT=8000 BURSAR_HOME=folder DATABASE_URL=postgresql://... PYTHON=python3.12"

demo: ## start the demo and print its address; Ctrl-C stops it, the data stay
	@scripts/house demo

demo-reset: ## throw the demo's data away and start afresh
	@scripts/house demo-reset

environment: ## .venv with everything for development, and the page assets
	@scripts/house environment

assets: ## bundle the page assets
	@scripts/house assets

test: ## every test that can run here; names at the end what could not
	@scripts/house test

test-fast: ## a quick look, under 2 minutes: no browser, no SLURM, nothing that is marked as slow
	@scripts/house test-fast

check: ## format, lint, types, layers, migrations, API description, translations
	@scripts/house check

pictures: ## every page in light, dark and on a phone, into test-results/shots
	@scripts/house pictures

format: ## put the code in its form
	@scripts/house format

system-packages: ## Debian packages for the fullest test run (root): browser, SLURM, PostgreSQL 15
	@scripts/system-packages.sh

bench: ## measure what has a target
	@scripts/house bench

soak: ## the long checks in full; takes hours
	@scripts/house soak

lock: ## write requirements/*.txt anew from pyproject.toml
	@scripts/house environment && scripts/lock.sh
