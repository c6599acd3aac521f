# `make help` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help
help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: system
system: ## Install the Debian packages that the lab needs (root)
	@scripts/system-packages

.PHONY: install
install: $(INSTALLED) ## Install this package and its locked dependencies into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@scripts/install "$(PYTHON)" "$(VENV)"
	@touch $@

.PHONY: demo
demo: system install ## Bring up four lab hosts, deploy to them, and let the model answer
	@scripts/demo

.PHONY: check
check: install ## Lint, types and unit tests: no host needed
	@scripts/check

.PHONY: test
test: system install ## Everything: `make check`, then the tests on the lab's hosts
	@scripts/check
	@scripts/test-lab

.PHONY: served
served: system install
	@$(BIN)/gx10 lab up
	@$(BIN)/pyinfra inventory.py deploy.py -y

.PHONY: chaos
chaos: served ## The fault matrix against a lab that serves: each case three times, results in .cache/chaos.json
	@$(BIN)/python -m tests.chaos.run

.PHONY: chaos-long
chaos-long: served ## The fault matrix's cables that are out for ten minutes, each three times: an hour and a quarter
	@$(BIN)/python -m tests.chaos.run --long --only "cut for 600"

.PHONY: soak-gang
soak-gang: served ## Half an hour of prefills of 200 000 tokens, bursts, long answers and idle times: no restart
	@$(BIN)/python -m tests.chaos.soak

.PHONY: bench-noop
bench-noop: install ## Time a deploy that changes nothing, and count what it asks each host
	@$(BIN)/python -m gx10.bench.noop

.PHONY: bench-image
bench-image: install ## Time how the image reaches the workers, beside the plain way (the lab, deployed)
	@$(BIN)/python -m gx10.bench.image

.PHONY: bench-demo
bench-demo: system install ## Time `make demo` in a fresh clone, with empty and with warm caches; peak memory and disk
	@$(BIN)/python -m gx10.bench.demo

.PHONY: bench-weights
bench-weights: system install ## Move 4 GB of weights to three lab hosts at once, beside raw TCP and rsync
	@$(BIN)/python -m gx10.bench.weights

.PHONY: faults-weights
faults-weights: system install ## Kill, cut, fill, flip, lie: weights under faults on the lab's hosts
	@$(BIN)/python -m pytest tests/faults/test_weights.py -q -s

.PHONY: soak-kill
soak-kill: system install ## Kill the controller at ten random moments of a first deploy to fresh hosts
	@$(BIN)/python -m pytest tests/soak/test_first_deploy_killed.py -q -s

.PHONY: soak-lab
soak-lab: system install ## What CI has no time for: all four hosts lose power; the lab's own commands are killed at more moments
	@$(BIN)/python -m pytest tests/lab -m soak -q

.PHONY: soak-switch
soak-switch: system install ## Serve another model and the first again, with a client that asks all the time
	@$(BIN)/python -m pytest tests/soak/test_switch_models.py -q -s

.PHONY: faults-image
faults-image: system install ## The torch trap, and hosts, cables, disks and daemons that fail under the image (the lab)
	@$(BIN)/python -m pytest tests/lab/test_torch_trap.py tests/faults/test_image_faults.py -q -s

.PHONY: night
night: system install ## The nightly unit where it is installed: verdicts, restarts, timer, boot, every drift (the lab, an hour)
	@scripts/test-night

.PHONY: drift
drift: system install ## A run by hand killed at every boundary of a restart, and the page in a browser (the lab)
	@scripts/test-drift

.PHONY: docs-commands
docs-commands: served ## Type every command of the documents in its situation, and write docs/documented-commands.md
	@$(BIN)/python -m tests.documented.run

.PHONY: prove-mods
prove-mods: install ## Prove the mods on three published CUDA wheels of vLLM (10 GB, no GPU)
	@$(BIN)/python -m pytest tests/wheels -q

.PHONY: lock
lock: install ## Resolve the dependencies anew and write requirements.lock
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --python-version 3.11 --universal --all-extras --output-file requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --python-version 3.12 --universal --extra reconcile --constraint requirements.lock \
	  --output-file gx10/reconcile/requirements.lock pyproject.toml

.PHONY: reconcile-wheels
reconcile-wheels: install ## Collect the wheels of the reconciler's environment for its host into dist/reconcile-wheels
	@$(BIN)/python -m gx10.reconcile.wheels dist/reconcile-wheels

.PHONY: docs
docs: install ## Write docs/settings.md from the settings models
	@$(BIN)/python -m gx10.engine.reference > docs/settings.md

.PHONY: clean
clean: ## Take the lab down and remove .venv; the cache of downloads stays
	@if [ -x $(BIN)/gx10 ]; then $(BIN)/gx10 lab down; fi
	@rm -rf $(VENV)
