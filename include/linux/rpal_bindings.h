/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the Rust side of RPAL needs beside rust/bindings/bindings_helper.h, in
 * one header so that upstream's list gets one line.
 */
#ifndef _LINUX_RPAL_BINDINGS_H
#define _LINUX_RPAL_BINDINGS_H

#ifdef CONFIG_RPAL
#include <linux/anon_inodes.h>
#include <linux/binfmts.h>
#include <linux/elf.h>
#include <linux/mmu_notifier.h>
#include <linux/pkeys.h>
#include <linux/prctl.h>
#include <linux/rpal.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <linux/smp.h>
#include <asm/tlbflush.h>

static const vm_flags_t RUST_CONST_HELPER_VM_FOREIGN_PT = VM_FOREIGN_PT;
static const vm_flags_t RUST_CONST_HELPER_VM_SEALED = VM_SEALED;
static const vm_flags_t RUST_CONST_HELPER_ARCH_VM_PKEY_FLAGS = ARCH_VM_PKEY_FLAGS;
static const int RUST_CONST_HELPER_VM_PKEY_SHIFT = VM_PKEY_SHIFT;
#endif

#endif /* _LINUX_RPAL_BINDINGS_H */
