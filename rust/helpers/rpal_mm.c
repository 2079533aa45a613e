// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inline functions and macros of memory management that RPAL's Rust code calls.
 */
#ifdef CONFIG_RPAL

#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pgalloc.h>
#include <linux/pkeys.h>
#include <linux/sched/mm.h>

__rust_helper int rust_helper_mmap_write_lock_killable(struct mm_struct *mm)
{
	return mmap_write_lock_killable(mm);
}

__rust_helper int rust_helper_mmap_read_lock_killable(struct mm_struct *mm)
{
	return mmap_read_lock_killable(mm);
}

__rust_helper void rust_helper_mmap_write_unlock(struct mm_struct *mm)
{
	mmap_write_unlock(mm);
}

__rust_helper void rust_helper_mmap_write_lock(struct mm_struct *mm)
{
	mmap_write_lock(mm);
}

__rust_helper struct vm_area_struct *
rust_helper_find_vma_intersection(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	return find_vma_intersection(mm, start, end);
}

/* Makes the table for the top-level entry of @addr. May sleep. */
__rust_helper int rust_helper_rpal_p4d_alloc(struct mm_struct *mm, unsigned long addr)
{
	return p4d_alloc(mm, pgd_offset(mm, addr), addr) ? 0 : -ENOMEM;
}

/*
 * Puts @peer's table for the top-level entry of @addr below @mm's.
 * p4d_populate() and not a copied entry: that would carry the NX bit with which
 * page-table isolation poisons user entries in the kernel half.
 */
__rust_helper int rust_helper_rpal_p4d_link(struct mm_struct *mm, struct mm_struct *peer,
					    unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	pgd_t *peer_pgd = pgd_offset(peer, addr);
	p4d_t *p4d, *peer_p4d;
	int ret = 0;

	if (pgd_none(*peer_pgd))
		return -ENOENT;
	peer_p4d = p4d_offset(peer_pgd, addr);
	if (p4d_none(*peer_p4d))
		return -ENOENT;
	p4d = p4d_offset(pgd, addr);

	spin_lock(&mm->page_table_lock);
	if (p4d_none(*p4d))
		p4d_populate(mm, p4d, p4d_pgtable(*peer_p4d));
	else
		ret = -EBUSY;
	spin_unlock(&mm->page_table_lock);
	return ret;
}

/* Takes the entry out again; the caller flushes. */
__rust_helper void rust_helper_rpal_p4d_unlink(struct mm_struct *mm, unsigned long addr)
{
	p4d_t *p4d = p4d_offset(pgd_offset(mm, addr), addr);

	spin_lock(&mm->page_table_lock);
	p4d_clear(p4d);
	spin_unlock(&mm->page_table_lock);
}

/*
 * Replaces the protection key that mm->def_flags put on a new mapping, and maps
 * writable pages for writing at once. VM_SHARED would do that too, but such a
 * mapping needs a file (see remap_file_pages()); without VM_MAYWRITE it is no
 * copy-on-write mapping either.
 */
__rust_helper void rust_helper_rpal_vma_set_pkey(struct vm_area_struct *vma, int pkey)
{
	vm_flags_clear(vma, ARCH_VM_PKEY_FLAGS);
	vm_flags_set(vma, (vm_flags_t)pkey << VM_PKEY_SHIFT);
	vma->vm_page_prot = vm_get_page_prot(vma->vm_flags |
					     (vma->vm_flags & VM_WRITE ? VM_SHARED : 0));
}

/* Only behind the insertion of pages, see above. */
__rust_helper void rust_helper_rpal_vma_may_write(struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE)
		vm_flags_set(vma, VM_MAYWRITE);
}

__rust_helper void rust_helper_rpal_vma_seal(struct vm_area_struct *vma, bool seal)
{
	vm_flags_mod(vma, seal ? VM_SEALED : 0, seal ? 0 : VM_SEALED);
}

/*
 * Is @addr an address whose faults only the owner of @mm may meet: in a special
 * mapping, or in none, which a stack may have to grow into? Under the mmap_lock.
 */
__rust_helper bool rust_helper_rpal_is_special(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);

	return !vma || vma->vm_flags & (VM_SHADOW_STACK | VM_IO | VM_PFNMAP | VM_MIXEDMAP);
}

__rust_helper void rust_helper_rpal_set_def_pkey(struct mm_struct *mm, int pkey)
{
	mm->def_flags |= (vm_flags_t)pkey << VM_PKEY_SHIFT;
}

__rust_helper void rust_helper_rpal_mmap_topdown(struct mm_struct *mm)
{
	mm_flags_set(MMF_TOPDOWN, mm);
}

__rust_helper void *rust_helper_rpal_page_address(struct page *page)
{
	return page_address(page);
}

__rust_helper unsigned long rust_helper_page_to_pfn(struct page *page)
{
	return page_to_pfn(page);
}

__rust_helper struct page *rust_helper_rpal_alloc_pages(unsigned int order)
{
	return alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, order);
}

__rust_helper void rust_helper_mmap_assert_locked(struct mm_struct *mm)
{
	mmap_assert_locked(mm);
}

__rust_helper struct mem_cgroup *rust_helper_rpal_memcg_enter(struct mm_struct *mm,
							      struct mem_cgroup **own)
{
	*own = get_mem_cgroup_from_mm(mm);
	return set_active_memcg(*own);
}

__rust_helper void rust_helper_rpal_memcg_leave(struct mem_cgroup *old, struct mem_cgroup *own)
{
	set_active_memcg(old);
	mem_cgroup_put(own);
}

__rust_helper void rust_helper_rpal_lock_mm_context(struct mm_struct *mm)
{
#ifdef CONFIG_ADDRESS_MASKING
	set_bit(MM_CONTEXT_LOCK_LAM, &mm->context.flags);
#endif
}

#endif /* CONFIG_RPAL */
