# One profile for everything that is built here, so that nothing is compiled twice.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
BIN := $(TARGET)/release
# What users get: the same programs with their debug data in files beside them.
DIST := $(TARGET)/dist
WORKSPACE := --workspace --release --locked
# Most tests wait for processes rather than compute.
TEST_THREADS = $(or $(RUST_TEST_THREADS),$(shell echo $$(( 2 * $$(nproc) ))))
# The link's absolute target, so that checkouts which share a target folder share torch-sys too.
WITH_LIBTORCH := LIBTORCH=$${LIBTORCH:-$$(readlink -f .libtorch)}

.PHONY: help
help: ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.libtorch:
	@trainer/c10d/scripts/fetch-libtorch.sh

.PHONY: build
build: .libtorch ## build lockstep, lockstep-agent, lockstep-gpu and lockstep-worker into target/dist
	$(WITH_LIBTORCH) $(CARGO) build --release --locked -p lockstep -p lockstep-agent -p lockstep-gpu -p lockstep-trainer
	trainer/image/strip.sh $(DIST) $(BIN)/lockstep $(BIN)/lockstep-agent $(BIN)/lockstep-gpu $(BIN)/lockstep-worker

# What an image needs, without the launcher.
.PHONY: worker
worker: .libtorch
	$(WITH_LIBTORCH) $(CARGO) build --release --locked -p lockstep-gpu -p lockstep-trainer

# What workers reach CUDA and NCCL through, beside the programs' folders, where they look for it.
NCCL := $(TARGET)/lib/liblockstep_nccl.so

.PHONY: nccl
nccl: $(NCCL) ## build the library for GPUs, target/lib/liblockstep_nccl.so (needs no GPU, and no CUDA)

$(NCCL): trainer/c10d/scripts/build-nccl.sh $(wildcard trainer/c10d/shim/*.h trainer/c10d/shim/guard.cpp trainer/c10d/shim/nccl/* trainer/c10d/shim/nccl/*/*) | .libtorch
	$(WITH_LIBTORCH) $< $@

.PHONY: gpu-check
gpu-check: build nccl python ## collect what checks a machine with a GPU into target/gpu-check, and rehearse it here
	$(WITH_LIBTORCH) CARGO="$(CARGO)" tests/gpu/pack.sh $(TARGET)/gpu-check $(DIST) $(NCCL)
	$$(tests/scripts/pytorch-venv.sh) $(TARGET)/gpu-check/check.py --out $(TARGET)/gpu-check

# Where the pictures of an example are: a folder or an archive that `lockstep data pack` takes.
DATA ?= ../shared/data/cifar10/images.tar

.PHONY: example-data
example-data: build ## pack CIFAR-10 for cifar-resnet20.yaml, from DATA=cifar-10-binary.tar.gz or another archive or folder
	$(DIST)/lockstep data pack $(DATA) datasets/cifar10 --split train=0.8,test=0.2

.PHONY: demo
demo: build ## train a digit classifier on two nodes of this machine, real data, real DDP
	$(DIST)/lockstep launch -f trainer/examples/digits.yaml --local --run-dir runs/demo

.PHONY: chaos-demo
chaos-demo: build ## train it on four nodes while workers and agents are killed, and compare the bytes with those of a run in peace
	tests/scripts/chaos-demo.sh $(DIST)

# What tests start. The same targets and so the same features as `cargo test`: dependencies are compiled once.
.PHONY: test-binaries
test-binaries: .libtorch
	$(WITH_LIBTORCH) $(CARGO) build $(WORKSPACE) --all-targets

.PHONY: test
test: test-binaries nccl python stores ## all tests (needs no network once libtorch, PyTorch and the stores are there)
	LOCKSTEP_PYTHON=$$(tests/scripts/pytorch-venv.sh) RUST_TEST_THREADS=$(TEST_THREADS) $(WITH_LIBTORCH) $(CARGO) test $(WORKSPACE) --exclude lockstep-cluster-tests

.PHONY: test-full
test-full: build test ## the same, the crate that `lockstep new` writes, and whole twins in PyTorch: 1, 2 and 4 ranks, each precision
	tests/scripts/new-crate.sh --bin $(DIST)
	LOCKSTEP_PYTHON=$$(tests/scripts/pytorch-venv.sh) $(WITH_LIBTORCH) $(CARGO) test --release --locked -p lockstep-trainer --test gpt --test resnet -- --ignored --nocapture

.PHONY: soak-fuzz
soak-fuzz: .libtorch ## every fuzz target for LOCKSTEP_FUZZ_SECONDS (default: 60), with the number of its inputs
	$(WITH_LIBTORCH) CARGO="$(CARGO)" tests/scripts/soak-fuzz.sh

.PHONY: python
python: ## PyTorch, safetensors and tensorboard as judges, in a venv outside the checkout
	@tests/scripts/pytorch-venv.sh > /dev/null

# Other people's object stores that tests run against.
.PHONY: stores
stores:
	@tests/scripts/azurite.sh > /dev/null
	@tests/scripts/moto.sh > /dev/null

.PHONY: check
check: .libtorch ## quick gate for each commit: format, clippy, unit tests
	$(CARGO) fmt --all --check
	$(WITH_LIBTORCH) $(CARGO) clippy $(WORKSPACE) --all-targets -- -D warnings
	$(WITH_LIBTORCH) $(CARGO) test $(WORKSPACE) --lib

.PHONY: lint
lint: .libtorch ## format, clippy, licences and advisories, direction of dependencies
	$(CARGO) fmt --all --check
	$(WITH_LIBTORCH) $(CARGO) clippy $(WORKSPACE) --all-targets -- -D warnings
	tests/scripts/dependency-direction.sh
	tests/scripts/deny.sh
	tests/scripts/named-tests.sh

.PHONY: doc
doc: .libtorch ## API documentation, without warnings
	RUSTDOCFLAGS="-D warnings" $(WITH_LIBTORCH) $(CARGO) doc $(WORKSPACE) --no-deps

.PHONY: book
book: ## the book of docs/ as a website, into target/book
	tests/scripts/book.sh $(TARGET)/book

.PHONY: bench
bench: build python read-pictures ## measure against PyTorch and torchrun; prints and writes tests/benches/results
	LOCKSTEP_PYTHON=$$(tests/scripts/pytorch-venv.sh) tests/benches/run.py --bin $(DIST)

.PHONY: bench-recovery
bench-recovery: build python ## measure recovery against torchrun and torchft; prints and writes tests/benches/results
	LOCKSTEP_PYTHON=$$(tests/scripts/pytorch-venv.sh) LOCKSTEP_TORCHFT_PYTHON=$$(tests/scripts/torchft-venv.sh) \
		tests/benches/recovery/run.py --bin $(DIST)

.PHONY: read-pictures
read-pictures: .libtorch
	$(WITH_LIBTORCH) $(CARGO) build --release --locked -p lockstep-datasets --example read-pictures

.PHONY: soak
soak: test-binaries ## a million logged steps with 200 kills: storage, memory and descriptors stay bounded; writes tests/benches/results
	tests/benches/soak.py --bin $(BIN)

.PHONY: test-recovery
test-recovery: test-binaries ## random faults on real runs, by fixed seeds: the same bytes at the end, and no promise broken
	$(WITH_LIBTORCH) $(CARGO) test --release --locked -p lockstep-e2e --test campaign -- --nocapture

# Which runs, and which faults.
SEEDS ?= 1000..1100

.PHONY: soak-recovery
soak-recovery: test-binaries ## the same for SEEDS=from..to, added to tests/benches/results/recovery-campaigns.md
	$(WITH_LIBTORCH) CARGO="$(CARGO)" tests/scripts/soak-recovery.sh $(SEEDS)

# Linked without the machine's C library, so that an init container can bring it into any image.
.PHONY: static-agent
static-agent:
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --locked --target x86_64-unknown-linux-gnu -p lockstep-agent

.PHONY: cluster-up
cluster-up: ## start a Kubernetes cluster on this machine (as root) with image and data; prints the exports that a shell needs
	@$(MAKE) --no-print-directory build static-agent >&2
	@tests/cluster/demo.sh --bin $(BIN)

.PHONY: cluster-down
cluster-down: ## take that cluster away
	@tests/cluster/down.sh

.PHONY: image
image: build static-agent ## Lockstep's image as an OCI tar, reproducibly, into target/lockstep-image.tar
	tests/cluster/image.sh --bin $(BIN)

.PHONY: sbom
sbom: image ## what is in the image, as CycloneDX JSON, into target/lockstep-image.cdx.json
	trainer/image/sbom.sh $(TARGET)/lockstep-image.tar

.PHONY: test-image
test-image: build static-agent ## build the Dockerfile with buildah over Debian packages (as root), and check the image
	tests/cluster/dockerfile-test.sh --bin $(BIN)

.PHONY: test-image-cuda
test-image-cuda: build static-agent nccl ## lay out the image's CUDA variant (as root; fetches 2.5 GB once), and start what is in it
	tests/gpu/image-test.sh $(BIN) $(NCCL)

# Quick ones, several at a time; slow ones likewise; and those that need a cluster for themselves, or one of another kind.
ON_CLUSTER := thin commands waits refusals endings faults manifests contract clouds examples
SLOW_ON_CLUSTER := keys outsider fleet python

.PHONY: test-cluster
test-cluster: test-binaries static-agent stores ## tests on a real cluster (as root; builds its parts on first use)
	tests/cluster/self-test.sh --quick
	$(WITH_LIBTORCH) tests/cluster/run-tests.sh $(ON_CLUSTER)

.PHONY: test-cluster-full
test-cluster-full: test-binaries static-agent nccl ## the same, and machines and servers that fail, Kueue, the Dockerfile
	tests/cluster/self-test.sh
	$(WITH_LIBTORCH) tests/cluster/run-tests.sh $(ON_CLUSTER) $(SLOW_ON_CLUSTER)
	$(WITH_LIBTORCH) tests/cluster/run-tests.sh --alone nodes
	$(WITH_LIBTORCH) LOCKSTEP_CLUSTER_TLS=1 tests/cluster/run-tests.sh tls
	tests/cluster/kueue-test.sh --bin $(BIN)
	tests/cluster/dockerfile-test.sh --bin $(BIN) --cluster
	tests/gpu/image-test.sh $(BIN) $(NCCL)

.PHONY: bench-cluster
bench-cluster: build static-agent ## measure against Kubeflow Trainer on a real cluster (as root); prints and writes tests/benches/results
	tests/cluster/bench.sh --bin $(BIN)
