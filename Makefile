# gridpact. `make help` lists the targets.

SHELL := /bin/bash
PYTHON ?= python3
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
STAMP := build/stamps
PYTEST = $(PY) -m pytest -q -p no:pytest-brownie -p no:cacheprovider

# The pinned compiler and test chains first.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
export SOLCX_BINARY_PATH := $(CURDIR)/.solcx

SOURCES := $(shell find contracts -name '*.sol')
NETWORK ?= development
FUZZ := FOUNDRY_DISABLE_NIGHTLY_WARNING=1

.DEFAULT_GOAL := help
.PHONY: help install setup demo study test fuzz coverage site bench streets limits heldback gas costs faults adversaries soak lint contracts clean figures

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

install: $(STAMP)/run ## install what a run needs below this folder, and nothing for tests

setup: $(STAMP)/dev $(STAMP)/contracts ## install everything below this folder and compile the contracts

# Ganache comes with the tools of the tests.
DEMO_CHAIN := $(if $(findstring ganache,$(ARGS)),$(STAMP)/node,$(STAMP)/anvil)

demo: $(STAMP)/run $(DEMO_CHAIN) ## run a community's day on a local chain (ARGS="..." is passed on to gridpact run)
	@$(VENV)/bin/gridpact run $(ARGS)

study: $(STAMP)/run ## the four scenarios over a summer and a winter week, as the B-DER report has them (ARGS="..." as above)
	@$(VENV)/bin/gridpact study $(ARGS)

# Tests that mostly wait: for deadlines, for services that come back, for endpoints that do not answer.
WAITING := $(addprefix tests/integration/test_,endpoints.py service.py service_days.py faults.py)

test: setup ## all tests (NETWORK=ganache-cli for the contract tests on Ganache)
	@echo "Testing four things at once: whole rounds; what waits (build/waiting.log); units (build/units.log); and the"
	@echo "contracts (build/contracts.log), on $(NETWORK) and then by some 44,000 random calls (make fuzz for two million),"
	@echo "and after them the command line"
	@{ deploy/brownie test tests/contracts --network $(NETWORK) && \
	    $(FUZZ) FOUNDRY_INVARIANT_RUNS=10 FOUNDRY_INVARIANT_DEPTH=200 forge test --summary && \
	    $(PY) deploy/artifacts.py --check; contracts=$$?; \
	    $(PYTEST) tests/e2e; exit $$((contracts | $$?)); } > build/contracts.log 2>&1 & contracts=$$!; \
	  $(PYTEST) tests/unit tests/property > build/units.log 2>&1 & units=$$!; \
	  $(PYTEST) $(WAITING) > build/waiting.log 2>&1 & waiting=$$!; \
	  $(PYTEST) tests/integration $(addprefix --ignore ,$(WAITING)); rounds=$$?; \
	  wait $$waiting; waiting=$$?; cat build/waiting.log; \
	  wait $$units; units=$$?; cat build/units.log; \
	  wait $$contracts; contracts=$$?; cat build/contracts.log; \
	  exit $$((rounds | waiting | units | contracts))

fuzz: setup ## the contracts' invariants over 2,200,000 random calls, by forge
	@$(FUZZ) FOUNDRY_INVARIANT_RUNS=100 FOUNDRY_INVARIANT_DEPTH=1000 forge test --summary

coverage: setup ## branches of the contracts that their tests take; fails below 100 %
	@$(PY) deploy/coverage.py -q

site: $(STAMP)/dev $(STAMP)/node ## the documentation site, into build/site
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH=deploy/site $(PY) -m mkdocs build > build/site.log 2>&1 || { cat build/site.log >&2; exit 1; }
	@echo "The site: build/site/index.html"

.PHONY: notebooks
notebooks: ## the tutorials as Jupyter notebooks, into build/notebooks
	@"$(PYTHON)" deploy/site/notebooks.py docs/tutorials build/notebooks

bench: setup ## measure docs/benchmarks.md and reports/bench.json again (half an hour on two cores)
	@$(PY) -m measure.bench --out docs/benchmarks.md --json reports/bench.json

streets: setup ## play rounds on streets of 20 kinds, drawn by chance (an hour; ARGS="--seeds 0 1" for some of them)
	@$(PY) -m measure.streets --jobs 2 --json build/streets.json $(ARGS)

limits: setup ## which limit of network files breaks first as panels grow (seconds; ARGS="FOLDER/Master.dss ...")
	@$(PY) -m measure.first_limit $(ARGS)

heldback: setup ## what to hold back on eulv55 at five penetrations, at 95 and 99 % (2 minutes of a core)
	@.venv/bin/gridpact aggregator risk --case eulv55 --penetrations 0,25,50,75,100 --out build/held-back

gas: setup ## measure docs/gas.md and reports/gas.json again (a quarter of an hour on two cores)
	@$(PY) -m measure.gas --out docs/gas.md --json reports/gas.json

costs: setup ## make docs/costs.md again from the reports
	@$(PY) -m measure.costs --out docs/costs.md

figures: $(STAMP)/run ## put the figures of reports/ into README and docs
	@$(PY) -m measure.figures

faults: setup ## play 200 rounds in which things go wrong, and write reports/faults.json (some fifteen minutes)
	@$(PY) -m measure.faults --rounds 200 --json reports/faults.json

adversaries: setup ## play against adversaries, 560 rounds in memory and 73 on Anvil, and write reports/adversaries*.json (half an hour)
	@$(PY) -m measure.adversaries --rounds 360 --seed 7 --json reports/adversaries.json
	@$(PY) -m measure.adversaries_sealed --rounds 200 --seed 7 --json reports/adversaries-sealed.json
	@$(PY) -m measure.adversaries_on_chain --rounds 48 --json reports/adversaries-on-chain.json
	@$(PY) -m measure.adversaries_on_chain --rounds 24 --seed 2 --sealed --json reports/adversaries-on-chain-sealed.json

soak: setup ## run services through 48 days in compressed time, and check memory and open files
	@$(PY) -m measure.soak --rounds 48

.PHONY: mutations
mutations: setup ## every file that a command reads, changed by chance, and tables drawn by chance (half an hour)
	@GRIDPACT_MUTATIONS=2000 GRIDPACT_TABLES=2000 $(PYTEST) tests/property/test_mutations.py tests/property/test_own_habits.py \
	  tests/property/test_networks.py

.PHONY: clearings
clearings: setup ## every clearing of the markets against its oracle on a thousand cases drawn anew (minutes)
	@HYPOTHESIS_PROFILE=campaign $(PYTEST) $(addprefix tests/unit/market/test_,$(addsuffix .py,call_auction truthful_auction \
	  double_auction merit_order identified_pricing pool_prices game))

.PHONY: survival
survival: $(STAMP)/run ## what re-agreements keep of a plan: 20 draws on four days (40 minutes of a core; finished draws are taken over)
	@$(PY) -m measure.survival --json reports/survival.json $(ARGS)

.PHONY: weeks
weeks: $(STAMP)/run ## the same over both weeks of two cases, two draws, four re-agreements a day (an hour)
	@$(PY) -m measure.survival --weeks --draws 2 --re-agreements 4 --json reports/weeks.json $(ARGS)

.PHONY: losers
losers: $(STAMP)/run ## who loses by how a pool is paid and adders are borne: three days and six streets (15 minutes of a core)
	@$(PY) -m measure.losers --json reports/losers.json $(ARGS)

.PHONY: against
against: $(STAMP)/run ## every 13th day of a year by the first version and by this one, into reports/against.json (6 minutes; ARGS="--every 1" for all)
	@$(PY) -m measure.against --json reports/against.json $(ARGS)

.PHONY: phases
phases: $(STAMP)/run ## plans on streets with phases, judged by OpenDSS, into reports/phases.json (an hour; ARGS=--ipopt with casadi)
	@OMP_NUM_THREADS=1 $(PY) -m measure.phases --json reports/phases.json $(ARGS)

.PHONY: hybrid
hybrid: $(STAMP)/run ## 16 feeders with 64 homes each under a contract above them, on one Anvil (a quarter of an hour, both cores)
	@nice -n 10 $(VENV)/bin/gridpact hybrid --day 06-12 --feeders 16 --households 64 --out runs/hybrid $(ARGS)

.PHONY: platforms
platforms: setup ## the same round, auction and manager on each chain that is here (GETH, EVMD or BESU_HOME name more; half an hour)
	@$(PY) -m measure.platforms --json reports/platforms.json $(ARGS) && $(PY) -m measure.figures

.PHONY: plans
plans: $(STAMP)/run ## which pricing suits whom: 64 homes for a year, and the thesis's 15 homes (half a minute)
	@$(PY) -m measure.plans && $(PY) -m measure.figures

.PHONY: proofs
proofs: setup ## what is proved of 3,700 streets drawn by chance, and of 9,000 spoilt books, on the contract and by its model
	@GRIDPACT_STREETS=20 deploy/brownie test tests/contracts/test_street.py -k "verdict or book" --network development

.PHONY: days
days: setup ## 100 days of random calls on a settlement of days, against a plain model (some ten minutes)
	@GRIDPACT_DAYS=100 deploy/brownie test tests/contracts/test_day_stateful.py --network development -s

.PHONY: faultydays
faultydays: setup ## play 100 days on Anvil with households to which things go wrong, and count the money (an hour)
	@$(PY) -m measure.days --days 100 --json reports/days.json

.PHONY: vectors
vectors: $(STAMP)/dev ## write tests/vectors again, which the models of the contracts make
	@PYTHONPATH=tests $(PY) -m reference.vectors

.PHONY: endpoints
endpoints: setup ## every habit of endpoints on Anvil and eth-tester, most on Ganache (half an hour)
	@GRIDPACT_MATRIX=all $(PY) -m pytest -p no:pytest-brownie -p no:cacheprovider tests/integration/test_endpoints.py

.PHONY: commands
commands: setup ## every block of shell commands in the documentation that a machine like this can run (half an hour)
	@GRIDPACT_COMMANDS=all $(PYTEST) tests/e2e/test_commands.py

.PHONY: live
live: $(STAMP)/run ## measure the live page: time with 10,000 events, memory after a month of them, bytes (a minute)
	@$(PY) -m measure.live

lint: $(STAMP)/dev $(STAMP)/node ## ruff, mypy and Slither
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(PY) deploy/analyse.py

contracts: $(STAMP)/contracts ## compile the contracts and refresh the artifacts of the Python package
	@echo "Refreshing the artifacts of the Python package"
	@$(PY) deploy/artifacts.py

clean: ## remove everything that setup made
	@rm -rf $(VENV) node_modules .solcx build clients/*.egg-info

$(STAMP)/run: pyproject.toml requirements.lock
	@deploy/check-tools python "$(PYTHON)"
	@mkdir -p $(STAMP)
	@"$(PYTHON)" deploy/install.py run
	@touch $@

$(STAMP)/dev: requirements.txt $(STAMP)/run
	@"$(PYTHON)" deploy/install.py dev
	@touch $@

$(STAMP)/anvil: package.json package-lock.json
	@deploy/check-tools node
	@mkdir -p $(STAMP)
	@rm -f $(STAMP)/node
	@"$(PYTHON)" deploy/install.py anvil
	@touch $@

$(STAMP)/node: package.json package-lock.json
	@deploy/check-tools node
	@mkdir -p $(STAMP)
	@"$(PYTHON)" deploy/install.py node
	@touch $(STAMP)/anvil $@

$(STAMP)/contracts: $(STAMP)/dev $(STAMP)/node $(SOURCES) brownie-config.yaml deploy/solc deploy/brownie
	@echo "Compiling the contracts (up to a minute)"
# All of them: the order of functions in the bytecode depends on what is compiled together.
	@mkdir -p .solcx && ln -sf ../deploy/solc .solcx/solc-v0.8.30
	@deploy/brownie compile --all > build/compile.log 2>&1 || { cat build/compile.log >&2; exit 1; }
	@touch $@
