//! The memory allocator of the programs.

use std::ffi::c_int;

/// Large activations are allocated and freed in every step. The system's allocator returns their pages each time and faults them in
/// again; mimalloc keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` in the `mi_option_t` of mimalloc 2 and 3, which `libmimalloc-sys` does not name. A test compares it with
/// the option that the environment variable `MIMALLOC_PURGE_DELAY` sets.
const PURGE_DELAY: c_int = 15;

/// Keeps freed memory for the next step instead of returning it to the system after a while. `MIMALLOC_PURGE_DELAY`, where it is
/// set, decides instead.
pub fn keep_freed_memory() {
    // SAFETY: `mi_option_set_default` may be called at any time and from any thread. It writes an integer into a table of mimalloc
    // that only the allocator reads, and ignores an option that it does not have.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, -1) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn purge_delay() -> std::ffi::c_long {
        // SAFETY: Reads an integer of an option that exists.
        unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
    }

    /// Runs this test again with the environment variable, which reaches the option before `main`.
    #[test]
    fn the_purge_delay_is_the_option_of_the_environment_variable() {
        const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";
        if std::env::var(VARIABLE).as_deref() == Ok("4321") {
            assert_eq!(purge_delay(), 4321);
            keep_freed_memory();
            assert_eq!(purge_delay(), 4321, "the variable decides");
            return;
        }
        let name = "allocator::tests::the_purge_delay_is_the_option_of_the_environment_variable";
        let this = std::env::current_exe().unwrap();
        let output = Command::new(this)
            .args(["--exact", name])
            .env(VARIABLE, "4321")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        if std::env::var_os(VARIABLE).is_none() {
            keep_freed_memory();
            assert_eq!(purge_delay(), -1);
        }
    }
}
