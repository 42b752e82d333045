# Everything runs in .venv, which `make install` (or any target that needs it) builds.
PYTHON ?= python3
BIN := .venv/bin
NP ?= 2
ENV ?= Hopper-v5
POLICY ?= flow
STEPS ?= 100000
RUN ?= runs/$(ENV)-$(POLICY)
GOLDEN ?= tests/golden
UPSTREAM ?=
ACKTR ?=
SCALE ?= 1
SEEDS ?=
J ?=
FIGURES := fig1 fig2 fig3 fig4 fig5 fig6 fig7 ppo

.DEFAULT_GOAL := help
.PHONY: help install train test test-slow lint parity diff docs bench repro $(FIGURES) figures readme clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

install: .venv/.installed  ## build .venv with all extras, at the tested versions

.venv/.installed: setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

train: install  ## the main job: TRPO, flow policy, Hopper-v5, two ranks (set ENV POLICY STEPS NP RUN to change it)
	$(BIN)/mpirun -np $(NP) $(BIN)/python -m onpolicybaselines.run --alg=trpo_mpi --policy=$(POLICY) --env=$(ENV) \
		--num_timesteps=$(STEPS) --log_path=$(RUN) --save_path=$(RUN)/model.npz

test: install  ## the tests (a quarter of an hour at most on two cores; J=4: in four processes)
	$(BIN)/python -m pytest -n $(or $(J),2) --dist worksteal

test-slow: install  ## the tests that train to a result, too
	$(BIN)/python -m pytest -n $(or $(J),2) --dist worksteal -m 'slow or not slow'

lint: install  ## ruff, and mypy of the hints (mypy.ini)
	$(BIN)/ruff check .
	$(BIN)/mypy

parity: install  ## compare with recorded numbers of the TensorFlow 1 originals (GOLDEN=folder REPORT=file.md)
	$(BIN)/python -m pytest tests/parity --golden=$(GOLDEN) $(if $(REPORT),--parity-report=$(REPORT))

diff: install  ## pages beside a checkout of openai/baselines, into diff/ (UPSTREAM=folder, ACKTR=one of its old_acktr_cont)
	$(BIN)/python -m run.diff $(UPSTREAM) $(ACKTR)

docs: install  ## the site, into docs/site/ (UPSTREAM, ACKTR as above: with the pages of `make diff`)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file docs/mkdocs.yml
	$(if $(UPSTREAM),$(BIN)/python -m run.diff $(UPSTREAM) $(ACKTR) --out docs/site/diff)

bench: .venv/.bench  ## speed of training against the simulator's and sb3-contrib's (WHAT="speed profile ...")
	$(BIN)/python -m run.bench $(if $(WHAT),--what $(WHAT))

.venv/.bench: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	touch $@

repro: install  ## remake all figures of the paper (SCALE=0.1: a tenth of the steps; SCALE=smoke; SEEDS=2; J=4 runs at a time)
	$(MAKE) --keep-going $(FIGURES)

fig1:  ## Gaussians and flows of one KL divergence, or one entropy
fig2:  ## bandits, and how ants walk
fig3:  ## TRPO on MuJoCo tasks
fig4:  ## TRPO on the Humanoids of Roboschool
fig5:  ## ACKTR on MuJoCo and Roboschool tasks
fig6:  ## TRPO with trust regions of random size
fig7:  ## flows of other sizes
ppo: .venv/.bench  ## PPO2 with Gaussians and flows, and SB3's PPO
$(FIGURES): install
	$(BIN)/python -m run.$@ --scale $(SCALE) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(J),-j $(J))

figures: install  ## draw all figures again, without training
	for figure in $(FIGURES) why baselines; do $(BIN)/python -m run.$$figure --scale $(SCALE) --plot-only || exit; done

readme: install  ## write the tables of measurements in README.md and run/README.md anew, from results/
	$(BIN)/python -m run.readme

clean:  ## remove .venv and everything built
	rm -rf .venv build dist *.egg-info diff docs/site .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
