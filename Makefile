# Everything a person or CI runs. PYTHON picks the interpreter that makes .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export RAY_USAGE_STATS_ENABLED := 0
export NO_MKDOCS_2_WARNING := 1

.PHONY: help demo test fuzz chaos flips scale memory filter bench feed gpu gpu-ray reference notebook docs docs-commands release-check lint check clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# The stamp is newer than pyproject.toml exactly when what it declares is installed.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # which knows groups
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	touch $(STAMP)

demo: $(STAMP)  ## build sample shards, score them on local Ray, print a table
	$(BIN)/shardsift demo

# Files are shared between processes: what a module has started, say Ray, serves all of its tests.
# A thread each is enough: together they have no more cores.
test: $(STAMP)  ## the whole test suite, by three processes, which wait for Ray more than they compute
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

fuzz: $(STAMP)  ## thousands of broken tars and images, new ones every time; takes minutes
	SHARDSIFT_TEST_FUZZ=1 $(BIN)/python -m pytest -s tests/fuzz --hypothesis-show-statistics --timeout 3600

chaos: $(STAMP)  ## killed workers, lost and preempted nodes, which depend on timing; takes minutes
	SHARDSIFT_TEST_CHAOS=1 $(BIN)/python -m pytest tests/integration/test_chaos.py tests/integration/test_killed_verbs.py tests/integration/test_fencing.py tests/integration/test_starved_machines.py tests/integration/test_stop_and_resume.py tests/integration/test_joined_cluster.py tests/shardsift/engine/test_coordinator.py tests/jobs/training/test_trainer.py tests/integration/test_compose.py tests/jobs/slurm tests/jobs/monitoring

flips: $(STAMP)  ## 1,500 flipped bits in each kind of file that is written; takes a quarter of an hour
	SHARDSIFT_TEST_FLIPS=1500 $(BIN)/python -m pytest -s tests/integration/test_flips.py --timeout 3600

scale: $(STAMP)  ## a million simulated shards on a thousand actors; takes a minute
	SHARDSIFT_TEST_SHARDS=1000000 SHARDSIFT_TEST_ACTORS=1000 $(BIN)/python -m pytest -s tests/shardsift/engine/test_scale.py -k memory

memory: $(STAMP)  ## peak memory of a shard of 2 GB against one of 200 MB, and of huge images; takes minutes
	SHARDSIFT_TEST_SHARD_MB=200 $(BIN)/python -m pytest -s tests/integration/test_memory.py

filter: $(STAMP)  ## filter 10^7 rows next to DuckDB and polars; takes minutes
	SHARDSIFT_TEST_ROWS=10000000 $(BIN)/python -m pytest -s tests/integration/test_filter_at_scale.py tests/shardsift/outputs/test_compaction.py --timeout 7200

bench: $(STAMP)  ## speed next to the published code and a plain loop; takes minutes
	SHARDSIFT_TEST_BENCH=1 $(BIN)/python -m pytest tests/jobs/bench/test_speed.py tests/jobs/bench/test_gpu.py
	$(BIN)/python -m jobs.bench speed

feed: $(STAMP)  ## what an actor does for a picture, model left out; AGAINST=COMMIT for two in turn; takes minutes
	SHARDSIFT_TEST_BENCH=1 $(BIN)/python -m pytest tests/jobs/bench/test_feed.py
	$(BIN)/python -m jobs.bench feed $(if $(AGAINST),--against $(AGAINST))

# No Ray, no network, no venv: the Python and the torch that the machine with the GPU has.
GPU_PYTHON ?= python3
DEVICE ?= cuda
GPU_FLAGS ?= $(if $(filter cpu,$(DEVICE)),--images 64 --sizes 256x256 --dtypes float32 --batch-sizes 16 --decode-workers 2)
gpu:  ## scores and speed on a GPU, by GPU_PYTHON's torch; DEVICE=cpu to try it; takes minutes
	SHARDSIFT_TEST_DEVICE=$(DEVICE) PYTHONPATH=pipeline:. $(GPU_PYTHON) -m pytest --confcutdir tests/gpu tests/gpu
	PYTHONPATH=pipeline:. $(GPU_PYTHON) -m jobs.bench gpu --device $(DEVICE) $(GPU_FLAGS)

gpu-ray: $(STAMP)  ## actors on the GPUs of this machine, pinned, and killed while they score
	SHARDSIFT_TEST_DEVICE=$(DEVICE) $(BIN)/python -m pytest tests/integration/test_gpu_actors.py

notebook: $(STAMP)  ## run the notebooks of docs/tutorials anew, and keep what they show
	$(BIN)/python -m jobs.notebook

reference: $(STAMP)  ## what docs/ and the comments of configs/ say of the code, from the code
	$(BIN)/python -m jobs.reference

docs: $(STAMP)  ## the documentation as a site, into site/; a broken link is an error
	$(BIN)/mkdocs build --strict

docs-commands: $(STAMP)  ## run every command and notebook of the documentation; takes minutes
	SHARDSIFT_TEST_DOCS=1 $(BIN)/python -m pytest -s tests/integration/test_docs_commands.py tests/test_notebook.py --timeout 1800

release-check: $(STAMP)  ## install what would be released as the pages say, in a fresh environment; takes minutes
	SHARDSIFT_TEST_RELEASE=1 $(BIN)/python -m pytest tests/integration/test_release.py --timeout 3600

lint: $(STAMP)  ## formatting, lints, layers, types, docstrings, and that the documentation builds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --quiet --no-header tests/test_architecture.py
	$(BIN)/lint-imports
	$(BIN)/deptry pipeline
	$(BIN)/pyright
	@PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=pipeline $(BIN)/pyright --verifytypes shardsift --ignoreexternal > $(VENV)/types.txt || { cat $(VENV)/types.txt; exit 1; }
	$(BIN)/shellcheck .ci/run jobs/slurm/score.sbatch
	$(BIN)/mkdocs build --strict --quiet

check: lint test  ## what CI runs

clean:  ## remove what the targets made
	rm -rf $(VENV) demo bench build dist site *.egg-info
