//! Settings that are left out when a recipe is written.

/// Whether a setting has the default of its type: false, 0, or that of a group of settings.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
