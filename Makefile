# Sets up .venv, then calls the tool that does the work.
DATASET ?= demo
SEED ?= 0
SEEDS ?= 1
BEFORE ?= demo
AFTER ?= demo
METRIC ?= auprc
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export CANGRAPH_HOME := $(CURDIR)
# threads that spin while they wait slow every other process on a shared machine
export OMP_WAIT_POLICY := PASSIVE
NOTEBOOKS := $(foreach s,data_prep teacher distillation fusion diagnostics runs tune your_car scan,\
	notebooks/$(s).ipynb)

help:  ## list what can be made
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "make %-8s%s\n", $$1, $$2}' Makefile

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -qq --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: .venv/done  ## the five notebooks on the simulated bus, ends in runs/demo/diagnostics.html
	@$(MAKE) --no-print-directory run DATASET=demo

RUN = runs/$(DATASET)$(patsubst %,/seed_%,$(filter-out 0,$(SEED)))
run: .venv/done  ## the five notebooks on a dataset: make run DATASET=hcrl_sa SEED=1
	snakemake --cores all --quiet rules -- $(RUN)/diagnostics.html
	@echo $(RUN)/diagnostics.html
	@python -c 'import json; print(json.load(open("$(RUN)/diagnostics.json"))["headline"])'

# what fails leaves the other runs alone; the page is made of those that are there
all: .venv/done  ## the same on every dataset in CANGRAPH_DATA and the demo: make all SEEDS=2
	snakemake --cores all --keep-going --quiet rules --config seeds=$(SEEDS) \
		|| { $(MAKE) --no-print-directory summary; exit 1; }
	@echo runs/summary.html

summary: .venv/done  ## all runs that are there on one page, runs/summary.html
	snakemake --cores 1 --quiet rules --forcerun page -- runs/summary.html

compare: .venv/done  ## two runs: make compare BEFORE=kept AFTER=hcrl_sa, runs/compare.html
	snakemake --cores 1 --quiet rules --forcerun page \
		--config before=$(BEFORE) after=$(AFTER) metric=$(METRIC) -- runs/compare.html

lab: .venv/done  ## JupyterLab in notebooks/
	jupyter lab notebooks

test: .venv/done  ## lint, types, unit tests and doctests, then every notebook on its defaults
	ruff format --check .
	ruff check .
	mypy
	nbstripout --verify $(NOTEBOOKS)
	OMP_NUM_THREADS=1 pytest --numprocesses auto --dist worksteal
	OMP_NUM_THREADS=1 pytest --nbval --nbval-current-env --no-header -p no:cacheprovider $(NOTEBOOKS)

clean:  ## forget the demo run
	rm -rf runs/demo

.PHONY: help demo run all summary compare lab test clean
.DEFAULT_GOAL := help
