# The two commands of a fresh machine are `make demo` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help env asterisk check format test demo serve bench bench-speech prompts docs migration
RUN := .venv/bin
ARGS ?=
DEMO_ARGS = $(strip $(subst =, ,$(ARGS)))

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

env:  ## build .venv only
	@bash .ci/env

asterisk: env  ## install a real Asterisk 22 below .cache, once, as root (make test and a demo through it do that too)
	@bash .ci/asterisk

check: env  ## format, lint, types, import contracts, unit tests: under two minutes
	@command -v openssl >/dev/null || bash .ci/env openssl
	$(RUN)/ruff format --check gateway tests bench ivr_prompts
	$(RUN)/ruff check gateway tests bench ivr_prompts
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests/unit tests/contract tests/stateful tests/vectors

format: env  ## rewrite the code as the formatter wants it
	$(RUN)/ruff format gateway tests bench ivr_prompts
	$(RUN)/ruff check --fix gateway tests bench ivr_prompts

test: env  ## every check and every test
	@bash .ci/env postgresql sip-tester festival festvox-kdlpc16k festvox-us-slt-hts asterisk-core-sounds-en-wav \
		asterisk-moh-opsound-wav
	@bash .ci/asterisk
	$(MAKE) check
	$(RUN)/python -m pytest -m slow tests/unit tests/contract tests/stateful tests/vectors
	$(RUN)/python -m pytest tests/e2e
	$(RUN)/python -m pytest tests/pbx

demo: env  ## one complete real call; ARGS="--answer dtmf-no", "--path asterisk" (brings an Asterisk) and others
	@$(if $(findstring --path asterisk,$(DEMO_ARGS)),$(RUN)/python -m gateway.adapters.asterisk.local . || bash .ci/asterisk >&2)
	@$(RUN)/consent-gateway demo $(ARGS)

serve: env  ## keep the gateway running
	@$(RUN)/consent-gateway serve $(ARGS)

bench: env  ## print the benchmark tables
	$(RUN)/python -m bench $(ARGS)

bench-speech: env  ## measure spoken answers; ARGS="--quick", "--language de", "--corpus DIR"; an hour, a part of it once
	@$(if $(or $(findstring --corpus,$(ARGS)),$(findstring --again,$(ARGS))),:,bash .ci/env $$($(RUN)/python -c 'from bench.speech.voices import DEBIAN; print(*DEBIAN)'))
	@$(RUN)/python -m bench speech $(ARGS)

prompts: env  ## speak the prompts anew (fetches the voices as packages)
	@$(RUN)/consent-gateway prompts build $(ARGS)

migration: env  ## write the next step of a database's tables; DB=evidence|registry FOR="what it is for"
	$(RUN)/python -m gateway.adapters.store.migrations "$(DB)" "$(FOR)"

docs: env  ## draw docs/states.md from the code
	$(RUN)/python -m gateway.domain.diagram > docs/states.md
