use std::ops::{Div, Sub};

use super::real::Real;

/// What pooling, normalisation and losses ask of an element beyond [`Real`].
pub(crate) trait Float: Real + Sub<Output = Self> + Div<Output = Self> {
    const NEG_INFINITY: Self;

    fn exp(self) -> Self;
    fn is_nan(self) -> bool;
}

macro_rules! float {
    ($t:ty) => {
        impl Float for $t {
            const NEG_INFINITY: Self = <$t>::NEG_INFINITY;

            #[inline(always)]
            fn exp(self) -> Self {
                <$t>::exp(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
        }
    };
}

float!(f32);
float!(f64);
