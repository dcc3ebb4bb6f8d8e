.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
JOBS ?= 2

PDE := $(addprefix kitinet/,table4 table6 table7 figure2a figure2b figure5 figure6)
CONDENSATION := $(addprefix kitinet/,section5_7 figure3a figure3b figure7 figure8 figure9 figure10 knudsen knudsen_fno) \
	$(addprefix ko/,figure2 figure4 knudsen)
VISION := $(addprefix kitinet/,table3 section5_7_conv1) $(addprefix ko/,table1 figure3)

.PHONY: help setup reproduce pde condensation vision fashion test check check-configs tables clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(VENV)/.installed ## make .venv and install, if anything changed since

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

reproduce: setup ## Table 4 on Burgers at scale=laptop: train FNO, KITI-FNO and controls over seeds, print the table
	$(BIN)/kiti-table kitinet/table4 --scale laptop --only Burgers --run --jobs $(JOBS)

pde: setup ## every table and figure of the papers' PDEs at scale=laptop: 181 runs, 90 minutes
	$(BIN)/kiti-table $(PDE) --scale laptop --run --jobs $(JOBS)

condensation: fashion ## every study of condensation and the theory; at laptop scale KO's Figure 4 and FNO's distances; 11 to 20 minutes
	$(BIN)/kiti-table $(CONDENSATION) --run --jobs $(JOBS)
	$(BIN)/python scripts/theory_lab.py --into runs/theory

vision: fashion ## ResNets of both papers at scale=laptop, on stand-ins: 132 runs, 50 to 90 minutes
	$(BIN)/kiti-table $(VISION) --scale laptop --run --jobs $(JOBS)

fashion: setup ## FashionMNIST, the stand-in for CIFAR-10, from Debian or torchvision
	$(BIN)/python scripts/fetch_fashion_mnist.py $(or $(KITI_DATA_DIR),data)

test: setup check ## lint, types, then every test: the quick ones first
	$(BIN)/python -m pytest -q -n 2 -m "not slow"
	$(BIN)/python -m pytest -q -n 2 -m slow

check: setup ## lint, format and types only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check-configs: setup ## every YAML composes and builds, every experiment takes a step at scale=smoke
	$(BIN)/python -m pytest -q -n 2 tests/configuration/test_config.py tests/configuration/test_experiments.py

tables: setup ## rebuild every committed table and figure from the committed records
	$(BIN)/kiti-table --rebuild
	$(BIN)/python scripts/theory_lab.py --into experiments/theory --rebuild
	$(BIN)/python scripts/resnet_cost.py --into experiments/kitinet/outputs

clean: ## remove the environment and caches; runs and data stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache *.egg-info
