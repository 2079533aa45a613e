# SPDX-License-Identifier: GPL-2.0-only
#
# RPAL for Linux. The repository has a kernel tree's shape, and so has this:
# what is not named here is a target of the kernel's own Makefile, run on the
# source with our patches and files (make LLVM=1 menuconfig, say).

B := tools/rpal/build

# Ours, and no business of the kernel's make. The compiler is always the
# build root's LLVM, whatever LLVM= says.
OURS := ALL=% LLVM=% KSRC=% CPUS=% CMD=% JOBS=% MIRROR=% FLAVOUR=% MUTANTS=% MINUTES=% SEED=% SERVICES=%
OURS += OPERATIONS=% LIVES=% WORKERS=%
KARGS := $(filter-out $(OURS),$(MAKEOVERRIDES)) $(if $(findstring k,$(firstword -$(MAKEFLAGS))),-k)
MAKEOVERRIDES :=
MAKEFLAGS += --no-print-directory
unexport MAKEFLAGS MFLAGS LLVM CMD
export KSRC CPUS MIRROR JOBS ALL MUTANTS MINUTES SEED SERVICES OPERATIONS LIVES WORKERS

# What takes long has other kernels by default.
kernels = $(if $(filter undefined,$(origin FLAVOUR)),$1,$(FLAVOUR))
STRESS := $(call kernels,debug kcsan)
FUZZ := $(call kernels,release debug kcsan)

FLAVOUR ?= release

PHONY := all
all: bzImage

PHONY += setup demo test stress fuzz lives bench kselftest upstream mutants userspace boot run debug check-off lint clean distclean help rustfmt rustfmtcheck

setup: ;@$(B)/setup.sh
demo bench: ;@$(B)/demo.sh $@
test: ;@$(B)/test.sh
stress: ;@$(B)/endure.sh $@ $(STRESS)
fuzz: ;@$(B)/endure.sh $@ $(FUZZ)
lives: ;@$(B)/endure.sh $@ $(FLAVOUR)
kselftest: ;@$(B)/test.sh kselftest
mutants: ;@$(B)/mutants.sh
upstream: ;@$(B)/upstream.sh
userspace: ;@$(B)/user.sh
debug: ;@$(B)/kmake.sh debug bzImage
check-off: ;@$(B)/check-off.sh
lint: ;@$(B)/lint.sh
rustfmt rustfmtcheck: ;@$(B)/lint.sh $@
boot: ;@$(B)/boot.sh $(FLAVOUR)

# The command reaches the guest as it was typed.
run: export RPAL_CMD = $(CMD)
run: ;@$(B)/boot.sh $(FLAVOUR) run

clean: ;@$(B)/clean.sh
distclean: ;@$(B)/clean.sh all
help: ;@sed -n 's/^#: //p' $(B)/help

# Everything else is the kernel's. The file itself is no target.
Makefile: ;
%: FORCE ;@$(B)/kmake.sh $(FLAVOUR) $(KARGS) $@

PHONY += FORCE
FORCE: ;
.PHONY: $(PHONY)
