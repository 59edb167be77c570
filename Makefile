# Everything happens in .venv; nothing is installed globally. `make quickstart` and `make test` work on a machine that
# has only Python 3.10+ and make.
PYTHON ?= python3
VENV := .venv
# processes that run the tests; one thread of PyTorch each
WORKERS ?= 2
# for each target of make fuzz
SECONDS ?= 60
RUN := runs/quickstart
# what hands of photographs need beside requirements.txt; bounds as in pyproject.toml
DEMO := "ai-edge-litert>=2.1,<3" "av>=14.2,<19"
DATA := $(RUN)/data

PYTEST = $(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help quickstart test lint coverage docs fuzz constraints clean

help:
	@echo "make quickstart   hands of ten photographs; synthesise data, train, predict and score a small AMVUR on the CPU"
	@echo "make test         linter, type checker and the default test suite"
	@echo "make lint         linter and type checker only"
	@echo "make coverage     the default test suite, and which lines and branches of handlit/ it reaches"
	@echo "make docs         the documentation site, strictly: site/index.html, readable without a network"
	@echo "make fuzz         damaged files for every reader, SECONDS=60 for each"
	@echo "make constraints  constraints.txt: the exact versions in .venv, when the tests have passed with them"
	@echo "make clean        remove what quickstart wrote and the environment"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "handlit needs Python 3.10 or newer: make PYTHON=/path/to/python3 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

$(VENV)/installed-docs: requirements-docs.txt $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet -r requirements-docs.txt
	@touch $@

quickstart: $(VENV)/installed
	rm -rf $(RUN)
	@echo "ten photographs of hands in 3D, before anything is trained"
	@{ $(VENV)/bin/python -m pip install --quiet $(DEMO) && $(VENV)/bin/python main.py fetch-detector && \
		$(VENV)/bin/python main.py demo examples/real_hands --out $(RUN)/real_hands --viewer; } || \
		echo "the photographs are left out for the reason above (docs/how_to/demo.md); the rest needs neither detector nor network"
	$(VENV)/bin/python main.py synth --layout ho3d_v3 --preset easy --out $(DATA) --train 5600 --evaluation 300 --seed 0
	$(VENV)/bin/python main.py fit --config configs/experiment/quickstart_mean_hand.yaml
	$(VENV)/bin/python main.py fit --config configs/experiment/quickstart.yaml
	$(VENV)/bin/python main.py predict --config $(RUN)/mean_hand/config.yaml
	$(VENV)/bin/python main.py predict --config $(RUN)/amvur/config.yaml
	$(VENV)/bin/python main.py score $(RUN)/amvur/pred.zip $(RUN)/mean_hand/pred.zip $(DATA) --out $(RUN)/scores
	@echo "submission: $(RUN)/amvur/pred.zip"
	@echo "report:     $(RUN)/scores/report.html"
	@echo "picture:    $(RUN)/amvur/predictions.png"
	@test ! -f $(RUN)/real_hands/sheet.jpg || echo "photographs: $(RUN)/real_hands/sheet.jpg, viewer.html"

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# the type checker works while the tests run, and speaks when they have ended
test: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy > $(VENV)/mypy.txt 2>&1 & types=$$!; \
		echo "$(PYTEST)"; $(PYTEST); tests=$$?; \
		wait $$types; types=$$?; cat $(VENV)/mypy.txt; \
		exit $$((tests || types))

coverage: $(VENV)/installed-dev
	$(PYTEST) --cov --cov-report=term:skip-covered

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet
	$(VENV)/bin/python -m scripts.docs.check site

fuzz: $(VENV)/installed-dev
	HANDLIT_FUZZ_SECONDS=$(SECONDS) $(PYTEST) tests/fuzz -o timeout=0 -o faulthandler_timeout=0

constraints: $(VENV)/installed-dev
	$(VENV)/bin/python scripts/constraints.py > $(VENV)/constraints.txt && mv $(VENV)/constraints.txt constraints.txt

clean:
	rm -rf $(RUN) $(VENV) site
