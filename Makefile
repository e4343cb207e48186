# Holdfast. Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -E --preserve-env=HOME)
LAB := $(SUDO) python3 molecule/lab/lab.py
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export HOLDFAST_CACHE ?= $(HOME)/.cache/holdfast
# every recipe below starts with the set-up it needs; it takes a second when all is there
VENV_CHECK = venv=$$(bash molecule/lab/setup.sh check); export PATH="$$venv/bin:$$PATH"
VENV_LAB = venv=$$(bash molecule/lab/setup.sh lab); export PATH="$$venv/bin:$$PATH"
# sudo resets PATH
IN_LAB = $(LAB) enter -- env PATH="$$PATH"

.PHONY: help setup demo test test-long check format benchmark lab-up lab-provision lab-shell lab-status lab-down clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup: ## install what the rest needs (apt, virtualenv, collections)
	@$(VENV_LAB); echo "setup: all is there ($$venv)"

demo: ## the main job, for real, in the lab: lose a table, get it back to the row (KEEP=1 leaves the lab up)
	@$(VENV_LAB); $(IN_LAB) python tests/demo/demo.py

test: ## everything; T=check|simulation|default|backup_restore|rebuild|vendor_roles|failover or T=a pytest path runs one part, KEEP=1 leaves the lab up
	@$(VENV_LAB); $(IN_LAB) python tests/stages.py $(T)

test-long: ## what takes longer than CI allows: run before resolving an issue
	@$(VENV_LAB); $(IN_LAB) python tests/stages.py long

check: ## lint, types, unit and contract tests: no lab, under 2 minutes
	@$(VENV_CHECK); python tests/stages.py check

format: ## let ruff format the Python
	@$(VENV_CHECK); ruff format scripts tests molecule; ruff check --fix scripts tests molecule

benchmark: ## backups against the same tools in a plain shell pipeline, on 3 GB; commits with and without guards: prints the ratios
	@$(VENV_LAB); $(IN_LAB) python tests/benchmark/backup_overhead.py
	@$(VENV_LAB); $(IN_LAB) python tests/benchmark/commit_rate.py

lab-up: ## start the lab's hosts: db1 db2 app1 store
	@$(VENV_LAB); $(LAB) up

lab-provision: lab-up ## start the lab and run the production playbooks on it
	@$(VENV_LAB); $(IN_LAB) ansible-playbook -i inventories/lab molecule/lab/store.yml playbooks/site.yml

lab-shell: ## a root shell on a host: make lab-shell HOST=db1
	@test -n "$(HOST)" || { echo "which host? make lab-shell HOST=db1"; exit 2; }
	@$(VENV_LAB); $(LAB) shell $(HOST)

lab-status: ## one line a host
	@$(VENV_LAB); $(LAB) status

lab-down: ## remove the lab's hosts and their data
	@$(VENV_LAB); $(LAB) down

clean: lab-down ## remove the lab, and the cache of images and virtualenvs
	@$(LAB) clean
