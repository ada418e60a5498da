//! Instruction set of the kernels.

use std::sync::OnceLock;

use pulp::Arch;

/// Best instruction set of this processor, or the lesser one named by the environment variable `TALLOW_SIMD`:
///
/// - `avx2`: AVX2 and FMA, on x86 processors that have them;
/// - `portable`: no vector instructions beyond those that the binary was built for.
///
/// With the variable, one machine can test all paths. An unknown name, or one that the processor does not have, is ignored with a
/// warning. The variable is read once, so all kernels of a process use the same set.
pub(crate) fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(|| match std::env::var("TALLOW_SIMD") {
        Ok(name) => named(&name).unwrap_or_else(|| {
            let best = Arch::new();
            tracing::warn!("TALLOW_SIMD={name} is not available on this processor, using {best:?}: expected `avx2` or `portable`");
            best
        }),
        Err(_) => Arch::new(),
    })
}

/// Name of the instruction set of the kernels in this process: `avx512`, `avx2`, `neon`, `simd128` or `portable`.
///
/// It is the best of the processor, unless the environment variable `TALLOW_SIMD` is `avx2` or `portable`.
pub fn instruction_set() -> &'static str {
    match arch() {
        Arch::Scalar => "portable",
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) => "avx2",
        #[cfg(target_arch = "x86_64")]
        Arch::V4(_) => "avx512",
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => "neon",
        #[cfg(target_family = "wasm")]
        Arch::Simd128(_) => "simd128",
        #[allow(
            unreachable_patterns,
            reason = "on some processors there are no others"
        )]
        _ => "other",
    }
}

/// Instruction set of this name, if there is one and the processor has it.
fn named(name: &str) -> Option<Arch> {
    match name {
        "portable" => Some(Arch::Scalar),
        #[cfg(target_arch = "x86_64")]
        "avx2" => pulp::x86::V3::try_new().map(Arch::V3),
        _ => None,
    }
}

/// Prefetches the cache line at `p` for reading.
#[inline(always)]
pub(crate) fn prefetch_read(p: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, harmless for any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Prefetches the cache line at `p` for writing.
#[inline(always)]
pub(crate) fn prefetch_write(p: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above; processors without the instruction treat it as a prefetch for reading, or ignore it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_ET0>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_what_is_there() {
        assert!(matches!(named("portable"), Some(Arch::Scalar)));
        assert!(named("avx1024").is_none() && named("").is_none());
        #[cfg(target_arch = "x86_64")]
        match pulp::x86::V3::try_new() {
            Some(_) => assert!(matches!(named("avx2"), Some(Arch::V3(_)))),
            None => assert!(named("avx2").is_none()),
        }
    }

    /// The continuous integration runs all tests with the variable set.
    #[test]
    fn the_variable_is_heeded() {
        let wanted = std::env::var("TALLOW_SIMD").ok();
        let expected = wanted.as_deref().and_then(named).unwrap_or_default();
        assert_eq!(format!("{:?}", arch()), format!("{expected:?}"));
        if let Some(name) = wanted.filter(|name| named(name).is_some()) {
            assert_eq!(instruction_set(), name);
        }
    }
}
