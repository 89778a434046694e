# The five servers, in containers where a Docker engine answers, else as plain processes.
# Needs no virtual environment. ONLY="redis nats" names some of them.
# EVENTBUS_SERVICES_DIR: where they keep their data; EVENTBUS_SERVICES_CACHE: where downloads stay.

PYTHON ?= python3
VENV ?= .venv
ONLY ?=

services_run = VENV='$(VENV)' PYTHONPATH='$(dir $(realpath $(lastword $(filter %services.mk,$(MAKEFILE_LIST)))))' \
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m services

.PHONY: services
services: ## Start Redis, RabbitMQ, NATS, PostgreSQL and Kafka (ONLY="redis nats" for some)
	@$(services_run) up $(ONLY)

.PHONY: services-down
services-down: ## Stop them; their data stays
	@$(services_run) down $(ONLY)

.PHONY: services-env
services-env: ## Print their addresses as export lines for a shell
	@$(services_run) env $(ONLY)
