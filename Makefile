# Sets up .venv, then calls the tool that does the work.
DATASET ?= demo
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export CANGRAPH_HOME := $(CURDIR)
# threads that spin while they wait slow every other process on a shared machine
export OMP_WAIT_POLICY := PASSIVE
NOTEBOOKS := $(foreach s,data_prep teacher distillation fusion diagnostics tune your_car,notebooks/$(s).ipynb)

help:  ## list what can be made
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "make %-6s %s\n", $$1, $$2}' Makefile

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -qq --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: .venv/done  ## the five notebooks on the simulated bus, ends in runs/demo/diagnostics.html
	@$(MAKE) --no-print-directory run DATASET=demo

run: .venv/done  ## the five notebooks on a dataset: make run DATASET=hcrl_sa
	snakemake --cores all --quiet rules -- runs/$(DATASET)/diagnostics.html
	@python -m cangraph.runs $(DATASET)

lab: .venv/done  ## JupyterLab in notebooks/
	jupyter lab notebooks

test: .venv/done  ## lint, unit tests and doctests, then every notebook on its defaults
	ruff format --check .
	ruff check .
	nbstripout --verify $(NOTEBOOKS)
	pytest
	pytest --nbval --nbval-current-env --no-header -p no:cacheprovider $(NOTEBOOKS)

clean:  ## forget the demo run
	rm -rf runs/demo

.PHONY: help demo run lab test clean
.DEFAULT_GOAL := help
