//! Integration tests.

mod baselines;
mod equivalence;
mod error_rates;
mod external;
mod rounds;
mod simulation;
mod traces;
