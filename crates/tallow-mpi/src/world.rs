//! World of MPI processes.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tallow_train::{BUCKET_BYTES, Communicator};

use crate::error::{Error, Result};
use crate::exchange::{Exchanges, framed};
use crate::launch::Launch;
use crate::library::Library;

/// Exit code of a process that panicked, as that of a program in Rust.
const PANICKED: i32 = 101;
/// Exit code of a process that left the world without [`Mpi::finish`].
const LEFT: i32 = 1;
/// Time in which a library must end this process, or leave its world. One that waits for what cannot be reached would never.
const ENDS: Duration = Duration::from_secs(10);

/// Settings of a world.
#[derive(Clone, Debug)]
pub struct Options {
    /// MPI library, a file or the name of one; by default that of the environment variable `TALLOW_MPI`, or the first one that is found.
    pub library: Option<String>,
    /// Time without news from another rank after which a rank gives up; ten minutes by default.
    pub limit: Duration,
    /// Time in which all processes must have started MPI; ten minutes by default.
    pub start: Duration,
    /// Launcher that started the processes, whose number must be that of the world.
    pub launch: Option<Launch>,
    /// Bytes of gradients that are added at a time, the same on all ranks; [`BUCKET_BYTES`] by default. See [`Communicator::bucket_bytes`].
    pub bucket_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        let library = std::env::var("TALLOW_MPI").ok();
        Self {
            library: library.filter(|library| !library.is_empty()),
            limit: Duration::from_secs(600),
            start: Duration::from_secs(600),
            launch: None,
            bucket_bytes: BUCKET_BYTES,
        }
    }
}

/// This process in a world of MPI processes, a [`Communicator`] for a trainer.
///
/// One thread makes all calls of MPI, so that any level of its thread support does. Any thread of the program may ask it to, as the one by
/// which a trainer sends gradients. [`finish`](Self::finish) leaves the world after a clean end. A process that drops it without, by an error
/// or a panic, ends all processes: none waits for one that is gone.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use tallow_mpi::{Mpi, Options};
/// use tallow_train::{Communicator, TrainConfig, Trainer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config: TrainConfig = unimplemented!();
/// let mpi = Arc::new(Mpi::join(Options::default())?);
/// println!("rank {} of {}", mpi.rank(), mpi.world());
/// let trainer = Trainer::new(config).with_communicator(mpi.clone());
/// // trainer.fit(...)
/// mpi.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mpi {
    library: Library,
    about: About,
    work: Sender<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
    finished: AtomicBool,
    limit: Duration,
    bucket_bytes: usize,
}

/// Place of a process in its world, and what is known of both.
#[derive(Clone, Debug)]
struct About {
    rank: usize,
    world: usize,
    version: String,
    host: String,
}

/// Work of the thread that communicates, each with the place for its result.
#[derive(Debug)]
enum Work {
    Exchange(Vec<Vec<u8>>, Sender<Result<Vec<Vec<u8>>>>),
    Finish(Sender<Result<()>>),
}

impl Mpi {
    /// Joins the world of this process. A process can do so once.
    ///
    /// # Errors
    /// [`Error::NoLibrary`] when there is no MPI library, [`Error::World`] when the launcher has started another number of processes than
    /// the library sees, [`Error::Ranks`] when not all have started in time: the library still waits for them then, and the process should end.
    /// Some libraries end the process themselves when something is wrong.
    pub fn join(options: Options) -> Result<Self> {
        static JOINED: AtomicBool = AtomicBool::new(false);
        let open_mpi = options.launch.is_none_or(|launch| launch.open_mpi);
        let (library, _) = Library::open(options.library.as_deref(), open_mpi)?;
        if JOINED.swap(true, Ordering::SeqCst) {
            let message = "has been started in this process before, and MPI can be started once";
            return Err(Error::Thread(message.to_string()));
        }
        let (limit, start, bucket_bytes) = (options.limit, options.start, options.bucket_bytes);
        let (work, waiting) = channel();
        let (joined, about) = channel();
        let thread = thread::Builder::new().name("tallow-mpi".to_string());
        let thread = thread
            .spawn(move || communicate(&library, &options, &joined, &waiting))
            .map_err(|error| Error::Thread(format!("cannot be started: {error}")))?;
        let about = answer(&about, start, |seconds| {
            format!(
                "MPI has not started in {seconds} s: another process was not started or has stopped, or its machine cannot be reached"
            )
        })?;
        let mpi = Self {
            library,
            about,
            work,
            thread: Mutex::new(Some(thread)),
            finished: AtomicBool::new(false),
            limit,
            bucket_bytes,
        };
        if let Err(error) = mpi.check() {
            // The error is for the caller, who could not read it if all ended here.
            mpi.finished.store(true, Ordering::SeqCst);
            return Err(error);
        }
        Ok(mpi)
    }

    /// Name and version of the MPI library.
    pub fn version(&self) -> &str {
        &self.about.version
    }

    /// Leaves the world, when all processes do. Afterwards nothing can be sent.
    ///
    /// # Errors
    /// [`Error::Ranks`] when another process has ended without.
    pub fn finish(&self) -> Result<()> {
        self.barrier()?;
        let (sender, answered) = channel();
        self.send(Work::Finish(sender))?;
        // All are here, but a process may die or stop in between. A limit for messages may be shorter than an end takes.
        answer(&answered, self.limit.max(ENDS), |seconds| {
            format!(
                "rank {} has waited {seconds} s for the end of MPI: another process has stopped, or its machine cannot be reached",
                self.rank()
            )
        })?;
        self.finished.store(true, Ordering::SeqCst);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            thread.join().map_err(|_| ended())?;
        }
        Ok(())
    }

    /// Checks that messages arrive: a library with another interface than expected would show here, and not as a wrong result.
    fn check(&self) -> Result<()> {
        let rank = |rank: usize| (rank as u64).to_le_bytes().to_vec();
        let ranks = self.all_gather(&rank(self.rank()))?;
        let expected = (0..self.world()).map(rank);
        match expected.eq(ranks) {
            true => Ok(()),
            false => {
                let message = format!(
                    "messages by {} arrive in another order or with another content",
                    self.version()
                );
                Err(tallow_train::Error::Ranks(message).into())
            }
        }
    }

    fn send(&self, work: Work) -> Result<()> {
        self.work.send(work).map_err(|_| ended())
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.about.rank
    }

    fn world(&self) -> usize {
        self.about.world
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> tallow_train::Result<Vec<Vec<u8>>> {
        if parts.len() != self.world() {
            let message = format!("{} parts for {} ranks", parts.len(), self.world());
            return Err(tallow_train::Error::Ranks(message));
        }
        let parts = parts.iter().map(|part| framed(part)).collect();
        let (answer, answered) = channel();
        let result = self
            .send(Work::Exchange(parts, answer))
            .and_then(|()| answered.recv().map_err(|_| ended()))
            .flatten();
        result.map_err(|error| match error {
            Error::Ranks(error) => error,
            error => tallow_train::Error::Ranks(error.to_string()),
        })
    }

    fn host(&self) -> String {
        self.about.host.clone()
    }

    fn bucket_bytes(&self) -> usize {
        self.bucket_bytes
    }

    /// Ends all processes, this one too, with this exit code.
    fn abort(&self, code: i32, why: &str) {
        end_after(ENDS, code);
        tracing::info!("rank {} ends all processes: {why}", self.about.rank);
        self.library.abort(code);
        // Where the library cannot, the launcher ends the others when one process ends like this.
        process::exit(code);
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if !self.finished.load(Ordering::SeqCst) {
            let (code, why) = match thread::panicking() {
                true => (PANICKED, "it has panicked"),
                false => (LEFT, "it has left without a clean end"),
            };
            tracing::warn!("rank {}: {why}, which ends all processes", self.about.rank);
            self.abort(code, why);
        }
    }
}

fn ended() -> Error {
    Error::Thread("has ended".to_string())
}

/// Answer of the thread that communicates. After `limit` it is an error with the message for so many seconds.
fn answer<T>(
    answered: &Receiver<Result<T>>,
    limit: Duration,
    late: impl FnOnce(u64) -> String,
) -> Result<T> {
    match answered.recv_timeout(limit) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Disconnected) => Err(ended()),
        Err(RecvTimeoutError::Timeout) => {
            Err(tallow_train::Error::Ranks(late(limit.as_secs())).into())
        }
    }
}

/// Ends this process with this exit code after a time, if nothing else does, whatever its other threads wait for.
fn end_after(time: Duration, code: i32) {
    let thread = thread::Builder::new().name("tallow-mpi-end".to_string());
    // Without the thread the library alone ends it.
    let _ = thread.spawn(move || {
        thread::sleep(time);
        end(code)
    });
}

/// Ends this process without the functions that libraries have registered for its end, which may wait too.
#[cfg(unix)]
fn end(code: i32) {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}

#[cfg(not(unix))]
fn end(code: i32) {
    process::exit(code)
}

/// Makes all calls of MPI, until the end.
fn communicate(
    library: &Library,
    options: &Options,
    joined: &Sender<Result<About>>,
    waiting: &Receiver<Work>,
) {
    let about = start(library, options.launch);
    let rank = about.as_ref().ok().map(|about| about.rank);
    let sent = joined.send(about);
    let (Some(rank), Ok(())) = (rank, sent) else {
        return;
    };
    let mut exchanges = Exchanges::new(*library, rank, options.limit);
    for work in waiting {
        match work {
            Work::Exchange(parts, answer) => {
                // The one who asked may be gone by now, as may the program.
                let _ = answer.send(exchanges.run(parts));
            }
            Work::Finish(answer) => {
                let _ = answer.send(library.finalize());
                return;
            }
        }
    }
}

/// Starts MPI, and checks the number of processes.
fn start(library: &Library, launch: Option<Launch>) -> Result<About> {
    library.init()?;
    let (rank, world) = library.rank_and_world()?;
    let version = library.version();
    if let Some(launch) = launch
        && let Some(expected) = launch.world
        && expected != world
    {
        // Alone in its world, so that nobody waits.
        if world == 1 {
            library.finalize()?;
        }
        return Err(Error::World {
            launcher: launch.launcher,
            expected,
            found: world,
            library: version,
        });
    }
    Ok(About {
        rank,
        world,
        version,
        host: library.host(),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::env;
    use std::process::Command;

    use super::*;

    /// Set where a test runs itself in another process.
    const INSIDE: &str = "TALLOW_MPI_TEST_INSIDE";

    /// As after an abort that does not return.
    #[test]
    fn a_process_ends_though_its_threads_wait() {
        if env::var_os(INSIDE).is_some() {
            end_after(Duration::from_millis(50), 77);
            thread::sleep(Duration::from_secs(120));
            return;
        }
        let name = "world::tests::a_process_ends_though_its_threads_wait";
        let mut command = Command::new(env::current_exe().unwrap());
        let command = command.args(["--exact", name]).env(INSIDE, "1");
        assert_eq!(command.output().unwrap().status.code(), Some(77));
    }

    #[test]
    fn an_answer_has_a_limit() {
        let (sender, answered) = channel::<Result<u8>>();
        let ask = || {
            answer(&answered, Duration::from_millis(10), |seconds| {
                format!("late by {seconds} s")
            })
        };
        assert_eq!(ask().unwrap_err().to_string(), "late by 0 s");
        sender.send(Ok(7)).unwrap();
        assert_eq!(ask().unwrap(), 7);
        drop(sender);
        assert!(matches!(ask(), Err(Error::Thread(_))));
    }
}
