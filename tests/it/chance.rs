//! Random numbers that a seed repeats.

/// Marsaglia's xorshift: numbers that a seed repeats.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % bound
    }
}

/// The seed of this run: `BBTOKEN_TEST_SEED`, for another walk than the usual one.
pub(crate) fn seed() -> u64 {
    let wanted = std::env::var("BBTOKEN_TEST_SEED").ok();
    wanted.map_or(1, |seed| {
        seed.parse().expect("BBTOKEN_TEST_SEED is a number")
    })
}
