# Everything starts here. `make run`: the platform on this machine. `make test`: the whole suite. `make loop`: the loop without a browser.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := requirements/constraints-$(if $(GPU),gpu,cpu).txt
STAMP := $(VENV)/.installed-$(if $(GPU),gpu,cpu)
QUIET_THREADS := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0

.PHONY: run test loop setup bridge labelstudio-server rembg check lock clean
run: setup
	@$(BIN)/python manage.py up

# The suite in two processes, a file at a time; what ARGS names a file for in one. WORKERS=0: in this one process.
WORKERS ?= $(if $(findstring tests/,$(ARGS)),0,2)
test: setup
	@$(QUIET_THREADS) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

loop: setup
	@$(QUIET_THREADS) $(BIN)/python manage.py loop $(if $(QUICK),--quick) $(ARGS)

# Builds .venv; does nothing while pyproject.toml and the constraints are what they were.
setup: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "adproof needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": name another with PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing (about 3 minutes and 2.7 GB the first time) ..."
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=26' setuptools
	@$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[ml,dev$(if $(GPU),$(comma)timm)]'
	@touch $(STAMP)

comma := ,

# The bridge to Label Studio: its SDK's pins clash with ours, so it has an environment of its own (docs/labelstudio.md).
BRIDGE := .venv-bridge
bridge: $(BRIDGE)/.installed

$(BRIDGE)/.installed: pyproject.toml requirements/constraints-labelstudio.txt
	@test -x $(BRIDGE)/bin/python || $(PYTHON) -m venv $(BRIDGE)
	@echo "Installing (about 1 minute and 0.8 GB the first time) ..."
	@$(BRIDGE)/bin/python -m pip install --quiet --upgrade 'pip>=26' setuptools
	@$(BRIDGE)/bin/python -m pip install --quiet -c requirements/constraints-labelstudio.txt -e '.[labelstudio]'
	@touch $@

# A Label Studio of the version that the tests speak to, for them and for trying the bridge out.
LABELSTUDIO := .venv-labelstudio-server
labelstudio-server: $(LABELSTUDIO)/.installed

$(LABELSTUDIO)/.installed: requirements/constraints-labelstudio-server.txt
	@test -x $(LABELSTUDIO)/bin/python || $(PYTHON) -m venv $(LABELSTUDIO)
	@echo "Installing Label Studio (about 2 minutes and 1 GB the first time) ..."
	@$(LABELSTUDIO)/bin/python -m pip install --quiet --upgrade 'pip>=26'
	@$(LABELSTUDIO)/bin/python -m pip install --quiet -c $< label-studio
	@touch $@

# rembg, which `bench perception` is compared with: it brings numba, scikit-image and pymatting, which nothing else here needs.
REMBG := .venv-rembg
rembg: $(REMBG)/.installed

$(REMBG)/.installed: requirements/constraints-rembg.txt
	@test -x $(REMBG)/bin/python || $(PYTHON) -m venv $(REMBG)
	@echo "Installing rembg (about 1 minute and 0.6 GB the first time) ..."
	@$(REMBG)/bin/python -m pip install --quiet --upgrade 'pip>=26'
	@$(REMBG)/bin/python -m pip install --quiet -c $< rembg onnxruntime
	@touch $@

# Fast checks: style, types, directions of import, and the tests that take seconds.
check: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check config accounts runs generation datasets_app rfnet_service training && $(BIN)/mypy && $(BIN)/lint-imports
	@$(QUIET_THREADS) $(BIN)/python -m pytest -q -m 'not slow and not browser and not broker'

# Resolve the newest versions that work together and write them down.
lock:
	@$(BIN)/python -m pip install --quiet uv
	@for kind in cpu gpu; do \
	  $(BIN)/uv pip compile -q --no-header --no-annotate --extra ml --extra dev --extra render $$( [ $$kind = gpu ] && echo --extra timm ) \
	    -c requirements/torch-$$kind.txt pyproject.toml -o requirements/constraints-$$kind.txt; done

clean:
	rm -rf $(VENV) build *.egg-info
