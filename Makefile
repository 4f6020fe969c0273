# Ringfence. A bare `make` lists what can be made.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export CGO_ENABLED ?= 0
OUT := out
KERNEL ?= own

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

deps: ## install Debian packages and web modules that building and testing need
	@tests/install-deps

dev: web ## run the PBX on this machine, without root, in seconds
	go run ./cmd/pbxd -dev

run: deps web ## build the image, boot it in QEMU, print the set-up URL
	@mkdir -p $(OUT)
	go build -o $(OUT)/mkimage ./cmd/mkimage
	@$(OUT)/mkimage run -kernel $(KERNEL) -o $(OUT) # not by go run, which calls Ctrl-C an error

test: deps web kernel ## every suite but the drills, with a budget each
	go run ./tests/suites

drills: deps web kernel ## the long ones: power cuts, floods, fuzzing; hours
	go run ./tests/suites -drills

bench: deps web kernel ## timed figures of what ships
	RINGFENCE_BENCH=1 go test -count=1 -v -p 1 -timeout 90m ./bench/...

check: ## formatting, vet, architecture rules; seconds
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...
	go test ./internal/archtest

image: deps web kernel ## build all of a release into out/; RINGFENCE_SIGN_KEY=FILE signs it
	go run ./cmd/mkimage build -kernel $(KERNEL) -format all -o $(OUT)

deb: deps web ## build the Debian package into out/
	go run ./cmd/mkimage deb -o $(OUT)

kernel: deps ## build the kernel, or take it from the cache
	go run ./cmd/mkimage kernel -kernel $(KERNEL)

web: web/dist/.vite/manifest.json ## build the user interface

WEB_SOURCES := $(shell find web/src web/public web/plugins web/*.html web/*.json web/*.ts -type f 2>/dev/null)
web/dist/.vite/manifest.json: $(WEB_SOURCES) web/node_modules/.package-lock.json
	cd web && npm run build

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --ignore-scripts --no-audit --no-fund && touch node_modules/.package-lock.json

generate: ## rewrite generated files: docs, API document, web client
	go test ./internal/ports ./internal/api ./internal/archtest ./internal/wsi ./firewall -run 'Current|OpenAPI|Golden' -update
	cd web && npm run gen

rows: ## which requirement is proven by which test
	@go run ./tests/rows

.PHONY: help deps dev run test drills bench check image deb kernel web generate rows
