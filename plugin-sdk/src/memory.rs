//! The memory of a policy. Every call gets a fresh instance, so what is freed early is hardly ever needed again: memory that is there from
//! the start is handed out front to back and never taken back, which spares a call most of its bookkeeping and every growth. What does not
//! fit goes to the usual allocator, so a policy that allocates without end still reuses what it frees.
//!
//! How much there is from the start is up to the plugin: the link argument `--initial-memory`.
#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The policies' allocator.
#[derive(Debug)]
pub struct Memory {
    /// The first byte that nobody has; 0 before the first allocation.
    next: Cell<usize>,
    /// Where the memory of the start ends.
    end: Cell<usize>,
}

// SAFETY: a guest has one thread.
unsafe impl Sync for Memory {}

unsafe extern "C" {
    /// Set by the linker: the end of the static data and of the stack.
    static __heap_base: u8;
}

impl Memory {
    /// One for the whole plugin.
    #[allow(clippy::new_without_default, reason = "it is made once, in a static")]
    pub const fn new() -> Self {
        Self {
            next: Cell::new(0),
            end: Cell::new(0),
        }
    }

    fn next(&self) -> usize {
        if self.end.get() == 0 {
            self.next.set(&raw const __heap_base as usize);
            // Nobody has grown it yet: this runs before the first allocation.
            self.end.set(core::arch::wasm32::memory_size(0) << 16);
        }
        self.next.get()
    }

    /// Whether these bytes, if any, are the last that were handed out.
    fn is_last(&self, at: *mut u8, size: usize) -> bool {
        at as usize + size == self.next.get()
    }

    fn is_own(&self, at: *mut u8) -> bool {
        (at as usize) < self.end.get()
    }
}

// SAFETY: what is handed out lies between the linker's `__heap_base` and the end of the memory that the module began with, each byte at most
// once; the usual allocator uses only memory that it has grown itself.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let at = self.next().next_multiple_of(layout.align());
        match at.checked_add(layout.size()) {
            Some(next) if next <= self.end.get() => {
                self.next.set(next);
                at as *mut u8
            }
            _ => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let at = unsafe { self.alloc(layout) };
        // Memory of the start is zero until somebody writes it, and is handed out once.
        if !at.is_null() && !self.is_own(at) {
            unsafe { at.write_bytes(0, layout.size()) };
        }
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !self.is_own(at) {
            unsafe { System.dealloc(at, layout) };
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.is_own(at) {
            return unsafe { System.realloc(at, layout, size) };
        }
        if size <= layout.size() {
            return at;
        }
        if self.is_last(at, layout.size()) && at as usize + size <= self.end.get() {
            self.next.set(at as usize + size);
            return at;
        }
        unsafe {
            let to = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !to.is_null() {
                to.copy_from_nonoverlapping(at, layout.size());
            }
            to
        }
    }
}
