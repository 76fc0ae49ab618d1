# Everything runs in .venv, made on first use from constraints.txt. `make help` lists the targets.

PYTHON ?= python3
PORT ?= 8000
# Extra pip flags for torch alone, for example an index that offers builds without CUDA.
TORCH_PIP_FLAGS ?=

BIN := .venv/bin
READY := .venv/.ready
# nbgrader brings all of JupyterLab along: it has an environment of its own.
NBGRADER := .venv-instructor/bin/nbgrader
LATEX := latexmk texlive-xetex texlive-latex-extra texlive-fonts-recommended librsvg2-bin \
  fontconfig fonts-lmodern fonts-freefont-otf fonts-dejavu fonts-noto-cjk
EXTRAS := book,labs,paradigms,peft,real,test
STAGES := $(addprefix tests/test_,$(addsuffix .py,\
  models sft reward ppo ppo_resume objectives rollout generation pretrain pipeline evaluate quickstart))

.DEFAULT_GOAL := help
.PHONY: help book student pdf latex labs instructor test oldest lint bench serve clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

book: $(READY)  ## build the site into _build/html, executing its chapters; warnings are errors
	$(BIN)/jupyter-book build . -W --keep-going

student: $(READY)  ## build the site without solutions into _build/student/_build/html
	RLHF_BOOK_EDITION=student $(BIN)/jupyter-book build . --path-output _build/student -W --keep-going

labs: $(READY)  ## make the students' notebooks, labs/*.ipynb, from labs/source
	$(BIN)/rlhf-lab labs build

instructor: $(READY) $(NBGRADER)  ## answer keys and nbgrader's release; grades a made-up class
	$(BIN)/rlhf-lab labs rehearse --nbgrader $(NBGRADER) --output _build/instructor

pdf: latex $(READY)  ## build the book as one PDF, _build/latex/book.pdf; needs LaTeX
	@rm -f _build/latex/book.pdf
	LATEXMKOPTS="-interaction=nonstopmode -halt-on-error" \
	  $(BIN)/jupyter-book build . --builder pdflatex -W --keep-going
	@test -f _build/latex/book.pdf
	@! grep -E "undefined references|Missing character" _build/latex/book.log

# FreeSerif, DejaVu Sans Mono and Latin Modern Math set text, code and formulas. Without a Chinese
# font the PDF has marks in the place of the glossary's Chinese terms.
latex:
	@missing=""; \
	for name in latexmk xelatex rsvg-convert fc-list; do \
	  command -v $$name >/dev/null || missing="$$missing $$name"; \
	done; \
	for name in polyglossia unicode-math changepage; do \
	  kpsewhich $$name.sty >/dev/null 2>&1 || missing="$$missing $$name.sty"; \
	done; \
	for name in FreeSerif.otf DejaVuSansMono.ttf latinmodern-math.otf; do \
	  fc-list 2>/dev/null | grep -q "/$$name:" || missing="$$missing $$name"; \
	done; \
	test -z "$$missing" || { \
	  echo "make pdf needs LaTeX, a converter for figures, and fonts. Not found:$$missing"; \
	  echo "On Debian: apt-get install $(LATEX)"; \
	  exit 1; }
	@fc-list ":lang=zh" 2>/dev/null | grep -q . || \
	  echo "No font for the glossary's Chinese terms: apt-get install fonts-noto-cjk"

test: lint  ## lint, type-check and run all tests
	$(BIN)/pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder \
	  --durations 25 --durations-min 10

oldest:  ## test the stages with the oldest libraries that pyproject.toml allows, in .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	sed -n -e '/^dependencies/,/^]/s/^ *"\([^>"]*\)>=\([^",]*\).*/\1==\2/p' \
	  -e 's/^peft = \["peft>=\(.*\)"\]/peft==\1/p' pyproject.toml > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet -c .venv-oldest/constraints.txt -e '.[peft,test]'
	.venv-oldest/bin/pytest $(STAGES)

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## run the benchmarks; they write their results as files
	$(BIN)/python -m benchmarks

serve: book  ## build the site and serve it on this machine
	@echo "http://127.0.0.1:$(PORT)/"
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

clean:  ## delete what was built; keeps the environments
	rm -rf _build build .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

$(NBGRADER): requirements-instructor.txt constraints.txt | $(READY)
	$(BIN)/python -m venv .venv-instructor
	.venv-instructor/bin/python -m pip install --quiet --upgrade pip
	.venv-instructor/bin/python -m pip install --quiet -c constraints.txt -r requirements-instructor.txt
	@touch $@

# Without an NVIDIA GPU the pinned torch goes in first, so that no other package asks for a build
# with CUDA. With one, the pin is dropped: pip takes a CUDA build in the range of pyproject.toml.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
	  { echo "Could not make .venv (on Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	@if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then \
	  grep -v '^torch==' constraints.txt > .venv/constraints.txt; \
	else \
	  cp constraints.txt .venv/constraints.txt && \
	  $(BIN)/python -m pip install --quiet $(TORCH_PIP_FLAGS) "$$(grep '^torch==' constraints.txt)"; \
	fi
	$(BIN)/python -m pip install --quiet -c .venv/constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
