.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
JOBS ?= 2

INSTALL := pip install --quiet --disable-pip-version-check
# Debian's SLURM, installed where it is missing and apt has it.
SLURM := which slurmctld slurmd munged > /dev/null || { apt-get update -qq; apt-get install -y -qq slurm-wlm munge; } > /dev/null 2>&1 \
	|| { echo "no SLURM here, and apt-get install slurm-wlm munge fails" >&2; exit 1; }
QUICK := pytest -q -n 2 -m "not slow and not slurm"

PDE := $(addprefix kitinet/,table4 table6 table7 figure2a figure2b figure5 figure6)
CONDENSATION := $(addprefix kitinet/,section5_7 figure3a figure3b figure7 figure8 figure9 figure10 knudsen knudsen_fno) \
	$(addprefix ko/,figure2 figure4 knudsen)
VISION := $(addprefix kitinet/,table3 section5_7_conv1) $(addprefix ko/,table1 figure3)
TEXTS := kitinet/table5 ko/table3

.PHONY: help setup lock reproduce pde condensation vision imagenet texts language fashion test test-all test-slurm test-newest test-lowest check check-configs tables clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(VENV)/.installed ## create .venv and install, if anything has changed

# kiti is built with the locked packages, so that nothing else is downloaded.
$(VENV)/.installed: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m $(INSTALL) -r requirements.lock
	$(BIN)/python -m $(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

lock: ## update requirements.lock to the newest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python -m $(INSTALL) packaging
	.venv-lock/bin/python scripts/lock.py > .venv-lock/requirements.lock
	mv .venv-lock/requirements.lock requirements.lock
	rm -rf .venv-lock

reproduce: setup ## Table 4 on Burgers at scale=laptop: train FNO, KITI-FNO and controls over seeds, print the table
	$(BIN)/kiti-table kitinet/table4 --scale laptop --only Burgers --run --jobs $(JOBS)

pde: setup ## all PDE tables and figures of the papers at scale=laptop: 181 runs, 90 to 130 minutes
	$(BIN)/kiti-table $(PDE) --scale laptop --run --jobs $(JOBS)

condensation: fashion ## all condensation studies and the theory (KO's Figure 4 and FNO's distances at laptop scale); 11 to 20 minutes
	$(BIN)/kiti-table $(CONDENSATION) --run --jobs $(JOBS)
	$(BIN)/python scripts/theory_lab.py --into runs/theory

vision: fashion ## both papers' ResNets at scale=laptop, on stand-in data: 132 runs, 50 to 140 minutes
	$(BIN)/kiti-table $(VISION) --scale laptop --run --jobs $(JOBS)

imagenet: fashion ## KO's Table 2 at scale=laptop, on stand-in data: 45 runs, 45 to 130 minutes
	$(BIN)/kiti-table ko/table2 --scale laptop --run --jobs $(JOBS)

texts: setup ## both papers' text classifiers at scale=laptop, on stand-in data and encoders: 130 runs, some hours
	$(BIN)/python scripts/fetch_text_stand_ins.py $(or $(KITI_DATA_DIR),data)
	$(BIN)/kiti-table $(TEXTS) --scale laptop --run --jobs $(JOBS)

language: setup ## both papers' language models at scale=laptop, on stand-in corpora; some hours
	$(BIN)/python scripts/fetch_language_stand_ins.py $(or $(KITI_DATA_DIR),data)
	$(BIN)/kiti-table kitinet/table1 --scale laptop --run --jobs $(JOBS)   # before those that continue from its runs
	$(BIN)/kiti-table kitinet/table2 ko/table6 --scale laptop --run --jobs $(JOBS)

fashion: setup ## FashionMNIST, the stand-in for CIFAR-10, from Debian or torchvision
	$(BIN)/python scripts/fetch_fashion_mnist.py $(or $(KITI_DATA_DIR),data)

test: setup ## lint, types, quick tests; then the time that each part took
	$(BIN)/python scripts/test_all.py lint types quick

test-all: setup ## the same, then the slow tests and those on a SLURM cluster; writes tests/last_run.md
	-@$(SLURM)
	$(BIN)/python scripts/test_all.py lint types quick slow slurm --write tests/last_run.md

test-slurm: setup ## tests on a SLURM cluster on this machine; root, and Debian's slurm-wlm
	@$(SLURM)
	$(BIN)/python scripts/test_all.py slurm

test-newest: ## quick tests with the newest versions that pyproject.toml allows, in .venv-newest
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m $(INSTALL) -e '.[test]'
	.venv-newest/bin/python -m $(QUICK)

test-lowest: ## quick tests with the lowest versions, in .venv-lowest
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m $(INSTALL) packaging
	.venv-lowest/bin/python scripts/lowest_requirements.py test > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m $(INSTALL) -c .venv-lowest/lowest.txt -e '.[test]'
	.venv-lowest/bin/python -m $(QUICK)

check: setup ## lint, format and types only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check-configs: setup ## check that every YAML composes and builds, and every experiment takes a step at scale=smoke
	$(BIN)/python -m pytest -q -n 2 tests/configuration/test_config.py tests/configuration/test_experiments.py

tables: setup ## rebuild all committed tables and figures from the committed records
	$(BIN)/kiti-table --rebuild
	$(BIN)/python scripts/theory_lab.py --into experiments/theory --rebuild
	$(BIN)/python scripts/resnet_cost.py --into experiments/kitinet/outputs

clean: ## remove environments and caches; keep runs and data
	rm -rf $(VENV) .venv-lock .venv-newest .venv-lowest .pytest_cache .ruff_cache .mypy_cache *.egg-info
