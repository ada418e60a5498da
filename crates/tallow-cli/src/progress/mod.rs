//! Display of progress: bars or the whole screen on a terminal, a line for each epoch elsewhere, and events in a file.
//!
//! All of them show one [`State`](state::State), which [`Watch`] updates from the trainer's callbacks. Progress goes to standard
//! error; standard output is for results.

mod bars;
mod download;
mod draw;
mod events;
mod notes;
mod screen;
mod state;
pub mod terminal;
mod text;
mod watch;

pub use download::DownloadProgress;
pub use notes::Notes;
pub use watch::Watch;
