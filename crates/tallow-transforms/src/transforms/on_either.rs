/// Both methods of a general transform that has one `apply` for u8 and f32.
macro_rules! on_either {
    () => {
        fn apply_u8(&self, image: &mut Image<u8>, rng: &mut SampleRng) -> Result<(), Problem> {
            self.apply(ImageMut::from(image), rng)
        }

        fn apply_f32(&self, image: &mut Image<f32>, rng: &mut SampleRng) -> Result<(), Problem> {
            self.apply(ImageMut::from(image), rng)
        }
    };
}
pub(super) use on_either;
