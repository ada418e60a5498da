//! Integration tests of tallow-report.

mod html;
