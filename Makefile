# Two stacks of the same role: `up` and so on under .run (no root, no Docker), `compose-up` and so
# on in containers.
PYTHON ?= python3
PORT ?= 8080
ARGS ?=
SCENARIOS ?=
T ?=

# Everything stays inside the clone.
export XDG_CACHE_HOME := $(CURDIR)/.cache
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export TMPDIR := $(CURDIR)/.cache/tmp
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
export PYTHONDONTWRITEBYTECODE := 1
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose \
    || echo .cache/docker-compose) --project-directory compose
export PORT
# Of a proxy that intercepts TLS, for the image builds.
export CERTIFICATES ?= $(or $(PIP_CERT),/dev/null)
export DOCKER_BUILDKIT := 1
# Ansible's lines as they are, not boxed.
export MOLECULE_COMMAND_BORDERS := false
# A collection whose scenarios are still where a project has them.
export MOLECULE_GLOB := molecule/*/molecule.yml
PARALLEL = $(MAKE) --no-print-directory --jobs=2 --output-sync
PLAYBOOK = ansible-playbook -i inventory/local site.yml \
    -e tornado_app_nginx_listen=127.0.0.1:$(PORT)
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help

$(shell mkdir -p $(TMPDIR))

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | \
	    while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

setup: .venv/ready nginx ## make .venv with pinned tools, and install nginx where it is missing

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "make: Python 3.11 or newer is needed; PYTHON=... names another")'
	@echo 'making .venv with the tools of requirements.txt'
	@$(PYTHON) -m venv .venv
	@$(PIP) --requirement requirements.txt
	@touch $@

.venv/ready-test: .venv/ready requirements-test.txt
	@echo 'adding the tools of requirements-test.txt'
	@# Ansible compiles what it takes from collections itself, and 15,000 files take their time.
	@grep ^ansible== requirements-test.txt | $(PIP) --no-compile --no-deps --requirement /dev/stdin
	@$(PIP) --requirement requirements-test.txt
	@.venv/bin/python -m tests.support.oldest_tornado
	@touch $@

.venv/ready-bench: .venv/ready-test requirements-bench.txt
	@echo 'adding the tools of requirements-bench.txt'
	@$(PIP) --requirement requirements-bench.txt
	@touch $@

# Asks apt for those of some programs that are missing. The package of a server would start it;
# policy-rc.d forbids that while it is installed.
define INSTALL
missing=; for name in $(1); do command -v $$name >/dev/null || missing="$$missing $$name"; done; \
[ -z "$$missing" ] || { \
    echo "installing$$missing from the distribution, not started (apt-get, as root)"; \
    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
    policy=/usr/sbin/policy-rc.d; [ -e $$policy ] && policy=; \
    [ -z "$$policy" ] || \
        printf '#!/bin/sh\nexit 101\n' | $$sudo install -m 755 /dev/stdin $$policy; \
    $$sudo apt-get update -qq && \
        $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            $$(echo $$missing | sed 's/\<ssh\>/openssh-client/; s/\<sshd\>/openssh-server/; \
                s/\<cc\>/gcc/; s/\<python3-config\>/python3-dev/') >/dev/null; code=$$?; \
    [ -z "$$policy" ] || $$sudo rm $$policy; \
    exit $$code; }
endef

nginx wrk ssh:
	@$(call INSTALL,$@)

# What Molecule's hosts and the containers are made of.
base-images: programs
	@docker info >/dev/null
	@compose/base-image 12
	@compose/base-image 13

programs:
	@$(call INSTALL,nginx wrk chromium faketime redis-server ssh sshd cc python3-config)

demo: setup ## deploy, roll and break the demo app under load, and report (PORT=, ARGS=)
	@PORT=$(PORT) python -m bench.demo $(ARGS)

bench: setup .venv/ready-bench wrk ## this kit, the known recipe and others, into bench/results
	@python -m bench.compare $(ARGS)

soak: setup .venv/ready-bench wrk ## REQUESTS (1000000) over ROLLS (100): nothing lost or grown
	@python -m bench.soak $(addprefix --requests ,$(REQUESTS)) $(addprefix --rolls ,$(ROLLS)) $(ARGS)

up: setup ## local: deploy the demo app here, without Docker, on 127.0.0.1:PORT
	@$(PLAYBOOK) $(ARGS)
	@echo 'http://127.0.0.1:$(PORT)/'

roll: ## local: restart the processes of `make up` in turn
	@.run/demo/bin/demo-ctl restart $(ARGS)

status: ## local: show them
	@.run/demo/bin/demo-ctl status $(ARGS)

down: ## local: drain and stop them
	@if [ -S .run/demo/run/supervisor.sock ]; then .run/demo/bin/demo-ctl shutdown; \
	    else echo 'nothing runs'; fi

# Compose v2, as a plugin of docker or as the program of Debian 13's package.
docker-compose:
	@docker compose version >/dev/null 2>&1 || [ -x .cache/docker-compose ] || \
	    compose/fetch-compose .cache/docker-compose
	@docker info >/dev/null

compose/ladder.yaml: .venv/ready
	@[ -n "$$TORNADO_APP_MAX_WAIT" ] || eval $$(grep ^TORNADO_APP_MAX_WAIT= compose/.env); \
	    ansible-playbook --inventory localhost, compose/ladder.yml \
	    $${TORNADO_APP_MAX_WAIT:+-e tornado_app_max_wait=$$TORNADO_APP_MAX_WAIT} \
	    >.cache/ladder.log || { cat .cache/ladder.log; exit 1; }

compose-up: docker-compose compose/ladder.yaml ## containers: the same stack, on 127.0.0.1:PORT
	@compose/base-image
	@$(COMPOSE) up --build --detach
	@id=$$($(COMPOSE) ps --all --quiet release) && code=$$(docker wait $$id) && \
	    docker logs $$id && [ "$$code" = 0 ]
	@echo 'http://127.0.0.1:$(PORT)/'

compose-roll: docker-compose ## containers: restart the processes in turn
	@$(COMPOSE) exec --no-TTY app sh -c 'exec $$(echo /opt/app/bin/*-ctl) restart'

compose-status: docker-compose ## containers: show them
	@$(COMPOSE) exec --no-TTY app sh -c 'exec $$(echo /opt/app/bin/*-ctl) status'

compose-config: docker-compose compose/ladder.yaml ## containers: show what Compose makes of it
	@$(COMPOSE) config

compose-load: docker-compose ## containers: let 100 clients ask for LOAD_SECONDS (60)
	@$(COMPOSE) --profile load run --rm --no-TTY load

compose-down: docker-compose ## containers: drain, then remove them and their images
	@$(COMPOSE) --profile load down --volumes --rmi all --remove-orphans
	@docker image prune --force >/dev/null \
	    --filter label=com.docker.compose.project=$${COMPOSE_PROJECT_NAME:-tornado-app}
	@docker image ls --filter label=tornado-app.base --filter reference=debian \
	    --format '{{.Repository}}:{{.Tag}}' | xargs --no-run-if-empty docker image rm >/dev/null

lint: .venv/ready-test ## ruff, mypy, yamllint, ansible-lint
	ruff check .
	ruff format --check .
	mypy
	yamllint --strict .
	ansible-lint --offline

CHECK_TESTS = python -m pytest --dist=worksteal tests/unit tests/templates tests/drain

check: .venv/ready-test nginx ## lint, types, unit, templates, drain: no Docker, no root, 2 minutes
	@$(PARALLEL) lint check-tests

# More than the cores, as these mostly wait.
check-tests:
	$(CHECK_TESTS) --numprocesses=3

# What pytest takes: make test T='tests/conductor -k revert'
test: ## all tests, or those of T=
	@$(MAKE) --no-print-directory --jobs=2 .venv/ready-bench programs $(if $(T),,base-images)
	$(if $(T),python -m pytest $(T),@$(MAKE) --no-print-directory test-all)

# Molecule beside all others. A recipe after + is shown as it runs, the others in one piece.
test-all: docker-compose
	@$(PARALLEL) molecule-create lint test-processes molecule-shared test-stacks molecule-fleet

test-processes:
	$(CHECK_TESTS)
	python -m pytest tests/conductor

# Compose's tests remove the base images that Molecule's hosts are made of.
test-stacks: molecule-create
	+MAKEFLAGS= python -m pytest tests/compose tests/recipes tests/faults tests/stack

# One of all: make molecule SCENARIOS='-s default'
molecule: molecule-tools ## the role on systemd, in containers
	$(if $(SCENARIOS),molecule test $(SCENARIOS),@$(PARALLEL) molecule-shared molecule-fleet)

molecule-tools: .venv/ready-test wrk ssh
	@docker info >/dev/null

molecule-create: molecule-tools
	molecule create

# The fleet has hosts of its own, all others share theirs.
molecule-shared: molecule-create
	molecule test --scenario-name default --scenario-name rolling --scenario-name broken_release \
	    --scenario-name change

molecule-fleet: molecule-create
	molecule test --scenario-name fleet

docs: .venv/ready ## write docs/variables.md from the argument specs
	@python -m docs.variables

lock: ## compile the lock files again
	@$(PYTHON) -m venv .cache/pip-tools
	@.cache/pip-tools/bin/python -m pip install --quiet pip-tools
	@for name in requirements requirements-test requirements-bench; do \
	    .cache/pip-tools/bin/pip-compile --quiet --upgrade --strip-extras --no-header \
	    --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	    --output-file $$name.txt $$name.in; done

clean: down ## remove everything that was made here
	@! command -v docker >/dev/null || \
	    docker image ls --quiet --filter label=tornado-app.molecule | sort -u | \
	    xargs --no-run-if-empty docker image rm --force >/dev/null
	@rm -rf .venv .cache .run out

.PHONY: help setup nginx wrk ssh programs base-images demo bench soak up roll \
    status down docker-compose compose/ladder.yaml compose-up compose-roll compose-status \
    compose-config compose-load compose-down lint check check-tests test test-all test-processes \
    test-stacks docs molecule \
    molecule-tools molecule-create molecule-shared molecule-fleet lock clean
